"""Older MLX, whose names were others."""

import re
from importlib.metadata import PackageNotFoundError
from typing import Literal

import mlx.core as mx
import pytest

from swapbench import compat
from swapbench.machine.environment import this_machine
from swapbench.wire.events import WHEEL


def test_what_older_mlx_tells_of_metal_alone_is_asked_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(mx, "device_info")
    monkeypatch.setattr(mx.metal, "device_info", lambda: {"device_name": "Apple M4"})
    assert compat.device_info() == {"device_name": "Apple M4"}


def test_where_it_tells_nothing_the_device_has_the_processor_s_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise RuntimeError("[metal::device_info] Cannot get device info without metal backend")

    monkeypatch.delattr(mx, "device_info")
    monkeypatch.setattr(mx.metal, "device_info", refuse)
    assert compat.mlx_identity()[1].endswith(f"({this_machine().processor})")


def test_packages_that_are_not_there_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "mlx":
            return "0.30.3"
        raise PackageNotFoundError(name)

    monkeypatch.setattr(compat, "version", version)
    versions, _ = compat.mlx_identity()
    assert {name: said for name, said in versions.items() if name != WHEEL} == {"mlx": "0.30.3"}


def test_the_platform_of_the_wheel_is_told() -> None:
    versions, _ = compat.mlx_identity()
    assert re.fullmatch(r"(manylinux|macosx)_\d+_\d+_\w+", versions[WHEEL])


@pytest.mark.parametrize(("share", "limit"), [("recommended", 17 << 30), ("nothing", 0)])
def test_what_is_wired_is_up_to_metals_recommendation(
    share: Literal["recommended", "nothing"], limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(compat, "device_info", lambda: {"max_recommended_working_set_size": 17 << 30})
    monkeypatch.setattr(mx, "set_wired_limit", asked.append)
    compat.wire(share)
    assert asked == [limit]


def test_without_metal_nothing_is_wired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compat, "device_info", lambda: {"device_name": "AMD EPYC"})
    monkeypatch.setattr(mx, "set_wired_limit", lambda _: pytest.fail("nobody has Metal here"))
    compat.wire("recommended")
