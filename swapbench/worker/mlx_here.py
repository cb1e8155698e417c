"""Which MLX this process has, and on what device: of older ones too, whose names were others."""

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import mlx.core as mx


def device_info() -> dict[str, Any]:
    """What MLX tells of its device; empty where it tells nothing."""
    # 0.30 has it under metal alone, and raises there where there is no Metal.
    ask = getattr(mx, "device_info", None) or getattr(mx.metal, "device_info", dict)
    with suppress(RuntimeError):
        return dict(ask())
    return {}


def mlx_identity() -> tuple[dict[str, str], str]:
    """Versions of mlx and mlx-lm, as far as they are here; MLX's default device."""
    versions = {}
    for package in ("mlx", "mlx-lm", "transformers"):
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions, f"{mx.default_device().type.name} ({device_info().get('device_name', 'unknown')})"
