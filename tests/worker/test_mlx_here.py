"""Older MLX, whose names were others."""

from importlib.metadata import PackageNotFoundError

import mlx.core as mx
import pytest

from swapbench.environment import this_machine
from swapbench.worker import mlx_here


def test_what_older_mlx_tells_of_metal_alone_is_asked_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(mx, "device_info")
    monkeypatch.setattr(mx.metal, "device_info", lambda: {"device_name": "Apple M4"})
    assert mlx_here.device_info() == {"device_name": "Apple M4"}


def test_where_it_tells_nothing_the_device_has_the_processor_s_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise RuntimeError("[metal::device_info] Cannot get device info without metal backend")

    monkeypatch.delattr(mx, "device_info")
    monkeypatch.setattr(mx.metal, "device_info", refuse)
    assert mlx_here.mlx_identity()[1].endswith(f"({this_machine().processor})")


def test_packages_that_are_not_there_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "mlx":
            return "0.30.3"
        raise PackageNotFoundError(name)

    monkeypatch.setattr(mlx_here, "version", version)
    assert mlx_here.mlx_identity()[0] == {"mlx": "0.30.3"}
