"""What is told of the machine; what it could do is kept until it is another, another volume, or long ago."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from swapbench.machine.environment import (
    Kind,
    Limits,
    Machine,
    Rate,
    Volume,
    load_limits,
    save_limits,
    this_machine,
)
from tests.findings.recording import MACHINE

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
VOLUME = Volume(mount="/models", device="/dev/disk3s1", file_system="apfs")


def rate(kind: Kind, median: float, **fields: Any) -> Rate:
    return Rate(
        **{"kind": kind, "how": "one thread", "n": 3, "low": median, "median": median, "high": median}
        | fields
    )


def limits(**changes: Any) -> Limits:
    rates = (rate("disk", 1.0), rate("disk", 5.0), rate("copy", 60.0))
    return Limits(
        **{"machine": MACHINE, "volume": VOLUME, "measured_at": NOW, "rates": rates} | changes,
    )


def test_the_best_of_a_kind_is_the_limit() -> None:
    assert limits().best("disk") == rate("disk", 5.0)
    assert limits().best("disk", "copy") == rate("copy", 60.0)
    assert limits().best("read_fresh") is None


@pytest.mark.parametrize(("days", "held"), [(29, True), (40, False)])
def test_limits_hold_for_a_month(days: int, held: bool, tmp_path: Path) -> None:
    save_limits(limits(), tmp_path)
    assert (load_limits(MACHINE, VOLUME, tmp_path, NOW + timedelta(days=days)) is not None) is held


def test_what_was_kept_is_found_again_by_its_volume(tmp_path: Path) -> None:
    save_limits(limits(), tmp_path)
    assert load_limits(MACHINE, VOLUME, tmp_path, NOW) == limits()
    other = MACHINE.model_copy(update={"memory_bytes": 8 << 30})
    assert load_limits(other, VOLUME, tmp_path, NOW) is None
    assert load_limits(MACHINE, VOLUME.model_copy(update={"mount": "/"}), tmp_path, NOW) is None


def test_limits_under_a_memory_limit_leave_those_of_the_whole_machine(tmp_path: Path) -> None:
    limited = MACHINE.model_copy(update={"memory_limit_bytes": 4 << 30, "memory_limited_by": "ulimit -v"})
    save_limits(limits(), tmp_path)
    save_limits(limits(machine=limited, rates=(rate("disk", 2.0),)), tmp_path)
    assert load_limits(MACHINE, VOLUME, tmp_path, NOW) == limits()
    assert load_limits(limited, VOLUME, tmp_path, NOW) == limits(machine=limited, rates=(rate("disk", 2.0),))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema_version": 2}', '{"schema_version": 1}'])
def test_a_file_that_can_not_be_read_counts_as_nothing_measured(text: str, tmp_path: Path) -> None:
    path = save_limits(limits(), tmp_path)
    path.write_text(text)
    assert load_limits(MACHINE, VOLUME, tmp_path, NOW) is None


def test_a_path_that_is_not_there_yet_lies_on_the_volume_of_its_parents(tmp_path: Path) -> None:
    assert Volume.of(tmp_path / "to" / "come") == Volume.of(tmp_path)
    assert Volume.of(tmp_path).mount


@pytest.mark.parametrize(
    ("page_bytes", "says"),
    [(None, "one thread"), (16 << 10, "16 KiB pages"), (2 << 20, "2 MiB pages")],
)
def test_a_rate_says_which_pages_it_wrote_to(page_bytes: int | None, says: str) -> None:
    assert rate("read_fresh", 1.0, page_bytes=page_bytes).describe().endswith(says)


def test_this_machine_is_told_as_the_os_tells_it() -> None:
    machine = this_machine()
    assert machine.cores == os.cpu_count()
    assert machine.memory_bytes == psutil.virtual_memory().total
    assert machine == this_machine()


def test_what_is_unknown_is_left_out_of_the_description() -> None:
    known = Machine(
        system="macOS",
        release="15.3",
        architecture="arm64",
        processor="Apple M4 Pro",
        cores=12,
        memory_bytes=24 << 30,
    )
    assert known.describe() == "Apple M4 Pro, 12 cores, 24 GiB, macOS 15.3"
    unknown = known.model_copy(update={"cores": 0, "release": "", "memory_bytes": 0})
    assert unknown.describe() == "Apple M4 Pro, macOS"
