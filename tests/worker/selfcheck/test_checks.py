"""Each check finds what holds here to be right, and what is broken to be wrong.

What hangs on how busy the machine is (ages, rates, stalls) is only looked at for what it says.
"""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from math import inf
from pathlib import Path
from types import FunctionType
from typing import Any

import mlx.core as mx
import mlx_lm.utils
import pytest

from swapbench.instruments import page_cache
from swapbench.loaders import platform, slab
from swapbench.loaders import stock as stock_loader
from swapbench.loaders.arrays import shards_of
from swapbench.machine import mac
from swapbench.machine.energy import Energy
from swapbench.machine.environment import Limits, Rate, Volume, this_machine
from swapbench.machine.selfcheck import CLAIMS, Found
from swapbench.worker.selfcheck import MINI, UNALIGNED, loading, system
from swapbench.worker.selfcheck.__main__ import CHECKS, OF_DISKS, check
from swapbench.worker.targets.http import reaper


def test_there_is_a_check_for_every_claim() -> None:
    assert CHECKS.keys() == {claim.key for claim in CLAIMS}


def test_one_checkpoint_is_aligned_and_the_other_is_not(scratch: Path) -> None:
    assert all(shard.aligned(shard.data_start) for shard in shards_of(scratch / MINI))
    assert not any(shard.aligned(shard.data_start) for shard in shards_of(scratch / UNALIGNED))


@pytest.mark.parametrize(
    "key",
    [
        *("footprint", "unload", "worker_footprint", "loaders", "views"),
        *("substitution", "other_thread", "children", "listener", "full_disk", "release"),
    ],
)
def test_it_holds_on_this_machine(key: str, scratch: Path) -> None:
    found = CHECKS[key](scratch)
    assert found.result == "right", found.finding


@pytest.mark.parametrize("key", ["eviction", "mincore", "uncached", "map", "disk_bytes"])
def test_it_holds_where_the_file_system_has_it(key: str, scratch: Path) -> None:
    found = check(key, scratch)
    assert found.result in ("right", "not here"), found.finding


@pytest.mark.skipif(mac.HERE, reason="a Mac has all of these")
@pytest.mark.parametrize("key", ["wired", "longest_buffer", "awake", "low_power", "thermal"])
def test_what_linux_does_not_have_is_not_here(key: str, scratch: Path) -> None:
    assert CHECKS[key](scratch).result == "not here"


def test_ages_rates_and_stalls_are_told(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "KINDS", ("stock", "fill"))
    disk = Rate(kind="disk", how="queue depth 1", n=1, low=2.0, median=2.0, high=2.0)
    limits = Limits(
        machine=this_machine(),
        volume=Volume.of(scratch),
        measured_at=datetime(2026, 11, 30, tzinfo=UTC),
        rates=(disk,),
    )
    (scratch / "limits.json").write_text(limits.model_dump_json(), encoding="utf-8")
    assert "the disk by probe 2.00 GB/s" in loading.reads(scratch).finding
    assert "in footprint after" in system.ledgers(scratch).finding
    assert "stock" in loading.heartbeat(scratch).finding
    assert "ns" in system.clocks(scratch).finding


def test_energy_is_judged_by_its_watts(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def drawing(watts: float) -> Energy:
        return Energy("package by RAPL", lambda: [time.perf_counter() * watts], ranges=[0])

    monkeypatch.setattr(system, "_COMPUTING_S", 0.1)
    for watts, result in ((20.0, "right"), (20_000.0, "wrong"), (0.0, "wrong")):
        monkeypatch.setattr(system, "of_this_machine", partial(drawing, watts))
        assert system.energy(scratch).result == result
    monkeypatch.setattr(system, "of_this_machine", Energy)
    assert system.energy(scratch).result == "not here"


def test_what_is_about_disks_is_not_here_on_a_volume_in_memory() -> None:
    memory_disk = Path("/dev/shm")
    if Volume.of(memory_disk).file_system != "tmpfs":
        pytest.skip("no volume in memory here")
    for key in OF_DISKS:
        assert check(key, memory_disk).result == "not here"


def wrong(found: Found) -> str:
    assert found.result == "wrong"
    return found.finding


def test_a_page_cache_that_is_not_emptied_is_seen(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_cache, "evict", lambda _files: None)
    assert "100.0% when evicted" in wrong(system.eviction(scratch))
    assert "resident after another process" in wrong(system.mincore(scratch))
    if (found := system.uncached(scratch)).result != "not here":
        assert "100.0% resident afterwards" in wrong(found)


def test_a_loader_that_changes_a_bit_is_seen(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = slab.fill

    def changed(checkpoint: Path) -> Any:
        arrival = begin(checkpoint)
        arrival.wait()
        name = next(iter(arrival.weights))
        arrival.weights[name] = -arrival.weights[name]
        return arrival

    monkeypatch.setattr(slab, "fill", changed)
    found = wrong(loading.loaders(scratch))
    assert "fill of the mini checkpoint" in found
    assert "slab" not in found.partition(";")[0]


def test_a_map_that_copies_is_seen(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def copied(model: Any) -> list[mx.array]:
        model.update(_copies(model.parameters()))
        return stock_loader.evaluate(model)

    def _copies(tree: Any) -> Any:
        if isinstance(tree, dict):
            return {name: _copies(value) for name, value in tree.items()}
        if isinstance(tree, list):
            return [_copies(value) for value in tree]
        return tree + 0

    monkeypatch.setattr("swapbench.loaders.model_loader.evaluate", copied)
    # What the tests before have freed would hold the copies.
    mx.clear_cache()
    platform.give_back_freed_memory()
    if (found := loading.map_copies_nothing(scratch)).result != "not here":
        assert "after the load" in wrong(found)


def test_an_mlx_lm_that_reads_by_another_way_is_seen(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = mlx_lm.utils.load_model
    own = FunctionType(original.__code__, dict(original.__globals__), "load_model", original.__defaults__)
    own.__kwdefaults__ = original.__kwdefaults__

    def load_model(*arguments: Any, **options: Any) -> Any:
        return own(*arguments, **options)

    monkeypatch.setattr(mlx_lm.utils, "load_model", load_model)
    found = wrong(loading.substitution(scratch))
    assert "load_model reads weights otherwise" in found


def test_arrays_left_on_the_loading_thread_are_seen(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stock_loader, "evaluate", lambda model: mx.eval(model.parameters()))
    assert "Stream" in wrong(loading.other_thread(scratch))


def test_a_server_that_nobody_ends_is_seen(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    careless = tmp_path / "careless.py"
    careless.write_text(
        "import json, subprocess, sys, time\n"
        "command = json.loads(sys.stdin.readline())['command']\n"
        "subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL).wait()\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(reaper, "__file__", str(careless))
    monkeypatch.setattr(system, "_ENDED_WITHIN_S", 0.2)
    assert "2 of 2 processes left" in wrong(system.children(scratch))


def test_a_disk_that_is_faster_through_the_page_cache_is_no_wrong(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = iter([4.2, 4.2, 9.0, 9.0])
    monkeypatch.setattr(loading, "weight_bytes", lambda _: 10**9)
    monkeypatch.setattr(loading, "_weights_s", lambda *_: 1 / next(rates))
    past = Rate(kind="disk", how="queue depth 1", n=1, low=3.2, median=3.2, high=3.2)
    through = past.model_copy(update={"kind": "disk_buffered", "median": 4.2})
    limits = Limits(
        machine=this_machine(),
        volume=Volume.of(scratch),
        measured_at=datetime(2026, 11, 30, tzinfo=UTC),
        rates=(past, through),
    )
    (scratch / "limits.json").write_text(limits.model_dump_json(), encoding="utf-8")
    assert loading.reads(scratch).result == "right"


@pytest.mark.parametrize(("stalls", "result"), [((0.3, 0.4, 0.1), "right"), ((0.3, 0.4, 0.26), "wrong")])
def test_only_a_stall_of_each_time_is_the_loaders(
    stalls: tuple[float, ...], result: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = iter(stalls)
    monkeypatch.setattr(loading, "_stall_s", lambda kind, _: next(left) if kind == "fill" else 0.0)
    assert loading.heartbeat(tmp_path).result == result


def test_only_clocks_that_go_apart_each_time_are_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drifts = iter([0.1, 0.0, 0.1])
    monkeypatch.setattr(system, "_drift", lambda: next(drifts))
    assert system.clocks(tmp_path).result == "right"
    monkeypatch.setattr(system, "_drift", lambda: 0.1)
    assert "1.0e-01 apart" in wrong(system.clocks(tmp_path))


@pytest.mark.parametrize(
    ("told", "result"),
    [
        ([True, False], "right"),
        ([True, True], "wrong"),
        ([False, False], "wrong"),
    ],
)
def test_who_keeps_the_machine_awake_is_looked_for_afterwards_by_the_same_number(
    told: list[bool], result: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = subprocess.Popen(["sleep", "60"])
    ended = False

    @contextmanager
    def kept_awake() -> Iterator[None]:
        nonlocal ended
        yield
        child.kill()
        child.wait()
        ended = True

    def printed_by(*_: str) -> str:
        return f"   pid {child.pid}(caffeinate): [0x1] 00:00:01 PreventUserIdleSystemSleep" * told[ended]

    monkeypatch.setattr(mac, "HERE", True)
    monkeypatch.setattr(mac, "kept_awake", kept_awake)
    monkeypatch.setattr(mac, "printed_by", printed_by)
    monkeypatch.setattr(system, "_until", lambda there, _: 0.0 if there() else inf)
    assert system.awake(tmp_path).result == result


def test_whether_a_volume_leaves_holes_is_seen_by_its_blocks(tmp_path: Path) -> None:
    assert loading.leaves_holes(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_not_full_is_seen(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def nothing() -> Iterator[None]:
        yield

    monkeypatch.setattr(system, "no_room", nothing)
    assert "written all the same" in wrong(system.full_disk(scratch))


@pytest.mark.parametrize(
    ("printed", "size"),
    [
        ("python3.12 [415]: 64-bit    Footprint: 268 MB (16384 bytes per page)\n", 268 << 20),
        ("======\nPython [7]: 64-bit\tFootprint: 1.5 GB (16384 bytes per page)\n======\n", 3 << 29),
        ("Python [7]: 64-bit Footprint: 7936 KB (16384 bytes per page)", 7936 << 10),
        ("footprint: unable to find process 7", None),
        ("", None),
    ],
)
def test_what_footprint_prints(printed: str, size: int | None) -> None:
    assert system.footprint_told(printed) == size
