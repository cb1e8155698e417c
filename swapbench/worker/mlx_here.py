"""Which MLX this process has, and on what device: of older ones too, whose names were others."""

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import mlx.core as mx

from swapbench.environment import this_machine


def device_info() -> dict[str, Any]:
    """What MLX tells of its device; empty where it tells nothing."""
    # 0.30 has it under metal alone, and raises there where there is no Metal.
    ask = mx.device_info if hasattr(mx, "device_info") else mx.metal.device_info
    with suppress(RuntimeError):
        return dict(ask())
    return {}


def mlx_identity() -> tuple[dict[str, str], str]:
    """Versions of mlx and mlx-lm, as far as they are here; MLX's default device."""
    versions = {}
    for package in ("mlx", "mlx-lm", "transformers"):
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    name = device_info().get("device_name") or this_machine().processor
    return versions, f"{mx.default_device().type.name} ({name})"
