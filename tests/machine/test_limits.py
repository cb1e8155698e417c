"""What a machine could do is kept until it is another machine, another volume, or long ago."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from swapbench.machine.limits import Kind, Limits, Rate, Volume, load, save, stale
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


def test_limits_hold_for_their_machine_and_volume_for_a_month() -> None:
    assert stale(limits(), MACHINE, VOLUME, NOW + timedelta(days=29)) == ""


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"machine": MACHINE.model_copy(update={"memory_bytes": 8 << 30})}, "measured on Apple M4 Pro"),
        (
            {"volume": VOLUME.model_copy(update={"mount": "/"})},
            "on the volume /, and the models lie on /models",
        ),
        ({"measured_at": NOW - timedelta(days=40)}, "measured 40 days ago"),
    ],
)
def test_limits_of_something_else_are_stale(changes: dict[str, Any], says: str) -> None:
    assert says in stale(limits(**changes), MACHINE, VOLUME, NOW)


def test_what_was_kept_is_found_again_by_its_volume(tmp_path: Path) -> None:
    save(limits(), tmp_path)
    assert load(MACHINE, VOLUME, tmp_path, NOW) == limits()
    assert load(MACHINE, VOLUME.model_copy(update={"mount": "/"}), tmp_path, NOW) is None


def test_limits_under_a_memory_limit_leave_those_of_the_whole_machine(tmp_path: Path) -> None:
    limited = MACHINE.model_copy(update={"memory_limit_bytes": 4 << 30, "memory_limited_by": "ulimit -v"})
    save(limits(), tmp_path)
    save(limits(machine=limited, rates=(rate("disk", 2.0),)), tmp_path)
    assert load(MACHINE, VOLUME, tmp_path, NOW) == limits()
    assert load(limited, VOLUME, tmp_path, NOW) == limits(machine=limited, rates=(rate("disk", 2.0),))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema_version": 2}', '{"schema_version": 1}'])
def test_a_file_that_can_not_be_read_counts_as_nothing_measured(text: str, tmp_path: Path) -> None:
    path = save(limits(), tmp_path)
    path.write_text(text)
    assert load(MACHINE, VOLUME, tmp_path, NOW) is None


def test_a_path_that_is_not_there_yet_lies_on_the_volume_of_its_parents(tmp_path: Path) -> None:
    assert Volume.of(tmp_path / "to" / "come") == Volume.of(tmp_path)
    assert Volume.of(tmp_path).mount


@pytest.mark.parametrize(
    ("page_bytes", "says"),
    [(None, "one thread"), (16 << 10, "16 KiB pages"), (2 << 20, "2 MiB pages")],
)
def test_a_rate_says_which_pages_it_wrote_to(page_bytes: int | None, says: str) -> None:
    assert rate("read_fresh", 1.0, page_bytes=page_bytes).describe().endswith(says)
