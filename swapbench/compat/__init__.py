"""What versions of MLX call otherwise; beside it every use of inner parts of mlx-lm."""

from contextlib import suppress
from typing import Any

import mlx.core as mx


def device_info() -> dict[str, Any]:
    """What MLX tells of its device; empty where it tells nothing."""
    # 0.30 has it under metal alone, and raises there where there is no Metal.
    ask = mx.device_info if hasattr(mx, "device_info") else mx.metal.device_info
    with suppress(RuntimeError):
        return dict(ask())
    return {}
