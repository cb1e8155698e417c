"""Which MLX this process has, and on what device; beside it every use of inner parts of mlx-lm."""

import re
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution, version
from typing import Any, Literal

import mlx.core as mx


def device_info() -> dict[str, Any]:
    """What MLX tells of its device; empty where it tells nothing."""
    # 0.30 has it under metal alone, and raises there where there is no Metal.
    ask = mx.device_info if hasattr(mx, "device_info") else mx.metal.device_info
    with suppress(RuntimeError):
        return dict(ask())
    return {}


def wire(share: Literal["recommended", "nothing"]) -> None:
    """Have Metal keep so much of its buffers wired, as mlx_lm.server does when it starts.

    Not while anything is computed; MLX's CPU build wires nothing.
    """
    most = device_info().get("max_recommended_working_set_size")
    if most is not None:
        mx.set_wired_limit(int(most) if share == "recommended" else 0)


def mlx_identity() -> tuple[dict[str, str], str]:
    """Versions of mlx and mlx-lm, as far as they are here, and mlx's wheel; MLX's default device."""
    from swapbench.machine.environment import this_machine
    from swapbench.wire.events import WHEEL  # which loaders do without

    versions = {}
    for package in ("mlx", "mlx-lm", "transformers"):
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    with suppress(PackageNotFoundError):
        # One version has several wheels for macOS, which differ.
        tags = re.findall(r"^Tag: .*-(\S+)$", distribution("mlx").read_text("WHEEL") or "", re.MULTILINE)
        if tags:
            versions[WHEEL] = tags[0]
    name = device_info().get("device_name") or this_machine().processor
    return versions, f"{mx.default_device().type.name} ({name})"
