"""What is found, and what is advised: on machines made up for it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from swapbench.machine.allowance import Processors
from swapbench.machine.doctor import (
    Check,
    complaint_about_device,
    judge_examination,
    judge_room,
    judge_surroundings,
)
from swapbench.machine.environment import Volume
from swapbench.machine.surroundings import Examination, Storage, Surroundings
from tests.allowed import memory

GIB = 1 << 30
QUIET_MAC = Surroundings(
    cores=12,
    load=0.8,
    processors=Processors(12),
    memory=memory(16 * GIB, total=24 * GIB),
    memory_pressure="",
    swap_used_bytes=0,
    on_battery=False,
    low_power_mode=False,
    thermal_pressure=0,
    thermal_warning=False,
    virtual_machine=None,
    reclaims_idle_pages=False,
    huge_pages=None,
    wired_limit_bytes=0,
    want_of_files="",
    energy="CPU, GPU, DRAM, ANE by IOReport",
    held_back="",
    storages=(Storage(Volume(mount="/", device="/dev/disk3s1s1", file_system="apfs"), "Apple Fabric"),),
)
GOOD = Examination(
    mlx_version="0.32.4",
    mlx_lm_version="0.32.2",
    device="gpu",
    device_name="Apple M4 Pro",
    working_set_bytes=17 * GIB,
    probe_phases=40,
    probe_phase_s=0.0001,
    probe_phase_most_s=0.0004,
    sample_every_s=0.05,
    sampler_share=0.004,
    first_touch_gb_per_s=9.0,
    second_touch_gb_per_s=10.0,
    resident_after_evict=0.0,
    cold_share=0.01,
)


def storage(file_system: str, **drive: Any) -> Storage:
    return Storage(Volume(mount="/models", device="d", file_system=file_system), **drive)


def advised(checks: tuple[Check, ...]) -> list[str]:
    return [f"{check.finding}: {check.advice}" for check in checks if check.status == "advice"]


def test_on_a_quiet_mac_on_mains_there_is_nothing_to_do() -> None:
    assert advised(judge_surroundings(QUIET_MAC, {})) == []
    assert advised(judge_examination(GOOD)) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"load": 9.0}, "load average 9.0 on 12 cores: other processes are busy; wait"),
        (
            {"memory": memory(3 * GIB, total=24 * GIB)},
            "3.0 of 24.0 GiB of memory available: close what you don't need",
        ),
        (
            {"memory": memory(GIB // 10, total=GIB // 2, by="a control group")},
            "0.1 of 0.5 GiB of memory available, limited by a control group: raise that limit, or close",
        ),
        (
            {"want_of_files": "no more than 1024 are allowed here; raise it"},
            "1024 are allowed here: raise it",
        ),
        (
            {"memory_pressure": "the kernel calls memory pressure critical"},
            "the kernel calls memory pressure critical: close what you don't need",
        ),
        (
            {"held_back": "of background QoS, as a launchd job may be"},
            "this process is of background QoS, as a launchd job may be: it waits for other",
        ),
        ({"storages": (storage("nfs4"),)}, "/models (nfs4): loads wait for another machine, or a host; keep"),
        ({"storages": (storage("smbfs"),)}, "/models (smbfs): loads wait for another machine"),
        (
            {"storages": (storage("apfs", bus="USB", external=True),)},
            "/models (apfs, USB), removable or external: cold loads are as fast as its cable; keep models on",
        ),
        ({"swap_used_bytes": 4 * GIB}, "4.0 GiB of swap in use"),
        ({"on_battery": True}, "not on mains: the machine may throttle; plug it in"),
        ({"low_power_mode": True}, "low power mode is on: turn it off"),
        ({"governor": "powersave"}, "governor is powersave"),
        ({"thermal_pressure": 2}, "heavy: let the machine cool"),
        ({"thermal_warning": True}, "nominal, and a thermal warning is recorded: let the machine cool"),
        ({"reclaims_idle_pages": True}, "DAMON"),
        ({"huge_pages": "never"}, "several times slower"),
    ],
)
def test_what_disturbs_is_named_with_what_to_do(changes: dict[str, Any], says: str) -> None:
    (advice,) = advised(judge_surroundings(replace(QUIET_MAC, **changes), {}))
    assert says in advice


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"working_set_bytes": None}, "MLX's CPU build: models compute slowly here"),
        ({"probe_phase_s": 0.02}, "20.00 ms a phase"),
        ({"sampler_share": 0.2}, "--set sample_every_s"),
        ({"first_touch_gb_per_s": 1.0, "second_touch_gb_per_s": 5.0}, "warm-up rounds"),
        ({"resident_after_evict": 1.0}, "cold swaps will be marked invalid"),
    ],
)
def test_instruments_and_memory_that_are_not_as_they_should_be(changes: dict[str, Any], says: str) -> None:
    (advice,) = advised(judge_examination(GOOD.model_copy(update=changes)))
    assert says in advice


def test_what_a_machine_does_not_tell_is_neither_fine_nor_to_be_done() -> None:
    untold = replace(QUIET_MAC, on_battery=None, thermal_pressure=None, energy="")
    unknown = [check.name for check in judge_surroundings(untold, {}) if check.status == "unknown"]
    assert unknown == ["power", "thermal pressure", "energy"]
    (page_cache,) = (
        check
        for check in judge_examination(GOOD.model_copy(update={"resident_after_evict": None}))
        if check.name == "page cache"
    )
    assert page_cache.status == "unknown"


def test_the_wrong_device_is_said_with_the_likely_reason() -> None:
    on_cpu = GOOD.model_copy(update={"device": "cpu", "device_name": "AMD EPYC"})
    assert complaint_about_device(GOOD, "gpu") == complaint_about_device(on_cpu, "cpu") == ""
    assert complaint_about_device(on_cpu, "gpu").startswith(
        "MLX computes on the cpu (AMD EPYC), not on the gpu"
    )
    assert complaint_about_device(GOOD, "cpu").startswith(
        "MLX computes on the gpu (Apple M4 Pro), not on the"
    )


def test_a_full_disk_is_told_by_what_it_is_full_for() -> None:
    checks = (judge_room("models", Path("/m"), 3 * 10**9), judge_room("results", Path("/r"), 30 * 10**9))
    assert advised(checks) == ["3.0 GB free for models (/m): delete what is not needed"]


def test_whose_cores_these_are_is_said_where_not_all_may_be_used() -> None:
    limited = replace(QUIET_MAC, processors=Processors(1.5, "a control group"))
    load = next(check for check in judge_surroundings(limited, {}) if check.name == "load")
    assert load.status == "fine"
    assert load.finding == (
        "load average 0.8 on 12 cores, of which 1.5 may be used here, limited by a control group"
    )


def found_of(name: str, checks: tuple[Check, ...]) -> Check:
    return next(check for check in checks if check.name == name)


@pytest.mark.parametrize("file_system", ["ext4", "xfs", "btrfs", "overlay", "apfs", "tmpfs", "fuseblk"])
def test_a_disk_of_the_machine_is_fine_whatever_its_file_system(file_system: str) -> None:
    around = replace(QUIET_MAC, storages=(storage(file_system),))
    assert advised(judge_surroundings(around, {})) == []


def test_filevault_is_told_and_nothing_to_be_done_about() -> None:
    around = replace(QUIET_MAC, storages=(storage("apfs", bus="Apple Fabric", encrypted=True),))
    check = found_of("models' volume", judge_surroundings(around, {}))
    assert (check.status, check.finding) == (
        "fine",
        "/models (apfs, Apple Fabric), FileVault on, at no cost here",
    )


@pytest.mark.parametrize(
    ("set_bytes", "working_set_bytes", "says"),
    [
        # On a Mac of 24 GiB Metal recommends 16.
        (0, 16 * GIB, "16.0 GiB, the system's own, and large wants 17.6 GiB with its caches"),
        (8 * GIB, 8 * GIB, "8.0 GiB, set by iogpu.wired_limit_mb, and large wants 17.6 GiB with its caches"),
        # As in a run, which doesn't ask Metal.
        (8 * GIB, None, "8.0 GiB, set by iogpu.wired_limit_mb, and large wants 17.6 GiB with its caches"),
    ],
)
def test_a_model_that_the_gpu_may_not_hold_is_told_with_the_limit_it_wants(
    set_bytes: int, working_set_bytes: int | None, says: str
) -> None:
    around = replace(QUIET_MAC, wired_limit_bytes=set_bytes)
    # The third has no room in memory, whatever the limit.
    models = {"small": 4 * GIB, "large": 16 * GIB, "no Mac's": 60 * GIB}
    assert advised(judge_surroundings(around, models, working_set_bytes)) == [
        f"{says}: sudo sysctl iogpu.wired_limit_mb=18023"
    ]


@pytest.mark.parametrize(
    ("set_bytes", "working_set_bytes", "says"),
    [
        (0, None, "the system's own"),
        (0, 18 * GIB, "18.0 GiB, the system's own"),
        (20 * GIB, 20 * GIB, "20.0 GiB, set by iogpu.wired_limit_mb"),
    ],
)
def test_a_limit_that_holds_every_model_or_that_nobody_knows_is_fine(
    set_bytes: int, working_set_bytes: int | None, says: str
) -> None:
    around = replace(QUIET_MAC, wired_limit_bytes=set_bytes)
    check = found_of("wired limit", judge_surroundings(around, {"large": 16 * GIB}, working_set_bytes))
    assert (check.status, check.finding) == ("fine", says)


def test_where_there_is_no_such_limit_nothing_is_said_of_it() -> None:
    around = replace(QUIET_MAC, wired_limit_bytes=None)
    checks = judge_surroundings(around, {"large": 16 * GIB}, 1)
    assert not [check for check in checks if check.name == "wired limit"]
