"""What a process may have of its machine, where control groups, ulimit and CPU affinity leave it less."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from swapbench.machine import allowance
from swapbench.machine.allowance import ByteLimit, Memory, Processors, memory, processors, want_of_files

MIB = 1 << 20
GROUP = "a control group"
# What the kernel tells of a group of version 1 that nobody limits.
NO_LIMIT_1 = 9223372036854771712


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the kernel's files are to be laid out, on a machine with 24 GiB, 2 GiB of swap, and 8 cores."""
    monkeypatch.setattr(allowance, "ROOT", tmp_path)
    monkeypatch.setattr(
        allowance, "_of_machine", lambda *_: Memory(*map(ByteLimit, (24 << 30, 16 << 30, 18 << 30)))
    )
    monkeypatch.setattr(allowance, "_of_process", lambda: ())
    monkeypatch.setattr(allowance, "machine_memory", lambda: (24 << 30, 16 << 30, 2 << 30))
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    return tmp_path


def lay(tree: Path, membership: str, files: dict[str, object]) -> None:
    """Files below /sys/fs/cgroup, and what /proc says of this process."""
    (tree / "proc/self").mkdir(parents=True)
    (tree / "proc/self/cgroup").write_text(membership)
    for name, text in files.items():
        path = tree / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


VERSION_2 = {
    "cgroup.controllers": "cpu memory",
    "job/memory.max": 600 * MIB,
    "job/memory.current": 500 * MIB,
    "job/memory.stat": f"anon {300 * MIB}\ninactive_file {150 * MIB}\nactive_file {30 * MIB}\n"
    f"slab_reclaimable {20 * MIB}\nshmem {7 * MIB}",
    "job/memory.swap.max": 0,
    "job/memory.swap.current": 0,
}
VERSION_1 = {
    "memory/job/memory.limit_in_bytes": 600 * MIB,
    "memory/job/memory.usage_in_bytes": 500 * MIB,
    "memory/job/memory.stat": f"inactive_file 1\ntotal_inactive_file {180 * MIB}\n"
    f"total_active_file {20 * MIB}\nhierarchical_memory_limit {600 * MIB}",
    "memory/memory.limit_in_bytes": NO_LIMIT_1,
    "memory/memory.usage_in_bytes": 9 << 30,
}


def test_without_control_groups_it_is_the_machines(tree: Path) -> None:
    assert memory().total == ByteLimit(24 << 30)
    assert memory().total.limited == ""
    assert processors() == Processors(8)


@pytest.mark.parametrize(
    ("membership", "files"),
    [
        ("0::/job\n", VERSION_2),
        ("9:name=systemd:/\n4:memory:/job\n0::/\n", VERSION_1),
        ("0::/job/part/of/it\n", VERSION_2 | {"job/part/memory.max": "max"}),
        # A container's own group, mounted where the outermost would be.
        ("0::/\n", {name.removeprefix("job/"): text for name, text in VERSION_2.items()}),
        (
            "4:memory:/docker/1f\n",
            {name.replace("/job/", "/"): text for name, text in VERSION_1.items() if "/job/" in name},
        ),
        # Version 2 beside version 1, as systemd's hybrid layout has it.
        (
            "4:pids:/\n0::/job\n",
            {f"unified/{name}": text for name, text in VERSION_2.items() if name != "cgroup.controllers"},
        ),
    ],
    ids=["2", "1", "2 of an ancestor", "2 in a container", "1 in a container", "2 beside 1"],
)
def test_a_groups_limit_counts_and_what_it_caches_can_be_had(
    tree: Path, membership: str, files: dict[str, object]
) -> None:
    lay(tree, membership, files)
    found = memory()
    assert found.total == ByteLimit(600 * MIB, GROUP)
    assert found.available == ByteLimit(300 * MIB, GROUP)
    assert found.total.limited == ", limited by a control group"


def test_swap_can_be_obtained_as_far_as_the_group_may_have_any(tree: Path) -> None:
    lay(tree, "0::/job\n", VERSION_2)
    assert memory().obtainable == ByteLimit(300 * MIB, GROUP)
    (tree / "sys/fs/cgroup/job/memory.swap.max").write_text(str(50 * MIB))
    (tree / "sys/fs/cgroup/job/memory.swap.current").write_text(str(10 * MIB))
    assert memory().obtainable == ByteLimit(340 * MIB, GROUP)
    (tree / "sys/fs/cgroup/job/memory.swap.max").write_text("max\n")
    assert memory().obtainable == ByteLimit(300 * MIB + (2 << 30), GROUP)


def test_version_1_limits_memory_and_swap_together(tree: Path) -> None:
    lay(
        tree,
        "4:memory:/job\n",
        VERSION_1
        | {
            "memory/job/memory.memsw.limit_in_bytes": 700 * MIB,
            "memory/job/memory.memsw.usage_in_bytes": 500 * MIB,
        },
    )
    assert memory().obtainable == ByteLimit(400 * MIB, GROUP)


def test_version_1_tells_of_groups_above_that_a_container_cannot_see(tree: Path) -> None:
    told = f"hierarchical_memory_limit {550 * MIB}\ntotal_inactive_file 0\ntotal_active_file 0"
    lay(tree, "4:memory:/job\n", VERSION_1 | {"memory/job/memory.stat": told})
    assert memory().total == ByteLimit(550 * MIB, GROUP)
    assert memory().available == ByteLimit(50 * MIB, GROUP)


def test_a_group_that_holds_more_than_it_may_has_nothing_left(tree: Path) -> None:
    lay(tree, "0::/job\n", VERSION_2 | {"job/memory.current": 900 * MIB, "job/memory.stat": ""})
    assert memory().available == ByteLimit(0, GROUP)


def test_what_the_machine_lacks_no_group_gives(tree: Path) -> None:
    lay(tree, "0::/job\n", VERSION_2 | {"job/memory.max": 20 << 30, "job/memory.current": 0})
    assert memory().total == ByteLimit(20 << 30, GROUP)
    assert memory().available == ByteLimit(16 << 30)


@pytest.mark.parametrize(
    ("membership", "files", "count", "threads"),
    [
        ("0::/job\n", {"cgroup.controllers": "", "job/cpu.max": "150000 100000"}, 1.5, 2),
        (
            "0::/job\n",
            {"cgroup.controllers": "", "job/cpu.max": "max 100000", "cpu.max": "2000 100000"},
            0.02,
            1,
        ),
        (
            "3:cpu,cpuacct:/job\n",
            {"cpu/job/cpu.cfs_quota_us": 300000, "cpu/job/cpu.cfs_period_us": 100000},
            3,
            3,
        ),
    ],
)
def test_a_groups_share_of_processor_time_counts_as_processors(
    tree: Path, membership: str, files: dict[str, object], count: float, threads: int
) -> None:
    lay(tree, membership, files)
    assert processors() == Processors(count, GROUP)
    assert processors().threads == threads


def test_a_quota_of_minus_one_is_none(tree: Path) -> None:
    lay(tree, "3:cpu:/job\n", {"cpu/job/cpu.cfs_quota_us": -1, "cpu/job/cpu.cfs_period_us": 100000})
    assert processors() == Processors(8)


@pytest.mark.skipif(sys.platform != "linux", reason="macOS has no CPU affinity")
def test_affinity_counts(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
    assert processors() == Processors(2, "CPU affinity")


def _in_a_child(code: str, limit: int, value: int) -> str:
    """What a child prints under a limit of its own."""
    done = subprocess.run(
        [sys.executable, "-c", f"from swapbench.machine.allowance import *\n{code}"],
        preexec_fn=lambda: resource.setrlimit(limit, (value, value)),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="macOS holds nobody to these limits")
@pytest.mark.parametrize(
    ("limit", "by"), [(resource.RLIMIT_AS, "ulimit -v"), (resource.RLIMIT_DATA, "ulimit -d")]
)
def test_ulimits_of_memory_count_and_what_is_in_use_is_not_available(limit: int, by: str) -> None:
    code = (
        "m = memory(); print(m.total.bytes, m.total.by, m.available.bytes < m.total.bytes, m.obtainable.by)"
    )
    assert _in_a_child(code, limit, 1 << 30) == f"{1 << 30} {by} True {by}"


def test_files_enough_are_no_want() -> None:
    assert want_of_files() == ""


def test_looking_whether_files_are_enough_changes_no_limit() -> None:
    code = (
        "import resource; before = resource.getrlimit(resource.RLIMIT_NOFILE); want_of_files(); "
        "print(before == resource.getrlimit(resource.RLIMIT_NOFILE) == (1024, 1024))"
    )
    assert _in_a_child(code, resource.RLIMIT_NOFILE, 1024) == "True"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may raise its limits, so that nothing is wanting")
def test_too_few_files_are_said_with_what_to_do() -> None:
    said = _in_a_child("print(want_of_files())", resource.RLIMIT_NOFILE, 1024)
    assert "sets the limit of open files to 4096, and no more than 1024 are allowed here" in said
