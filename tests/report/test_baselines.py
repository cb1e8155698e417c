"""Baselines as tables."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from swapbench.base.figures import EN_DASH
from swapbench.report.baselines import print_baseline, print_baselines
from tests.compare.test_baselines import ASPECTS, kept


def console(width: int = 120) -> Console:
    return Console(file=io.StringIO(), width=width, highlight=False)


def text(of: Console) -> str:
    assert isinstance(of.file, io.StringIO)
    return of.file.getvalue()


@pytest.mark.parametrize("width", [80, 120, 200])
def test_a_row_for_each_baseline(width: int) -> None:
    shown = console(width)
    print_baselines({"nightly": [kept(1), kept(2)], "release": [kept(3)]}, shown)
    rows = [line.split() for line in text(shown).splitlines() if "exp012" in line]
    assert rows == [
        ["nightly", "exp012", "2", "1", "2026-01-03", "10:15"],
        ["release", "exp012", "1", "1", "2026-01-04", "10:15"],
    ]


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_runs_of_a_fingerprint_with_what_they_have_in_common(width: int) -> None:
    slower = kept(2).scenarios["large-to-small"].model_copy(update={"seconds": 4.0})
    other = kept(2).model_copy(update={"scenarios": {"large-to-small": slower}})
    shown = console(width)
    print_baseline([kept(1), other], ASPECTS, shown)
    said = text(shown)
    assert max(map(len, said.splitlines())) <= width
    assert "exp012, fingerprint 0123456789ab" in said
    assert "2: 10 are wanted to judge by" in said
    assert "Apple M4 Pro, 12 cores, 24 GiB, macOS" in said
    assert f"3.728 (3.457{EN_DASH}4.000)" in said
    (row,) = [line.split() for line in said.splitlines() if line.strip().startswith("small-to-large")]
    assert row[1:] == ["3.457", f"(3.457{EN_DASH}3.457)", "3.457", "1"]


def test_ten_runs_are_enough_to_judge_by() -> None:
    shown = console()
    print_baseline([kept(day) for day in range(10)], {}, shown)
    assert "10: enough to judge by" in text(shown)


def test_each_fingerprint_is_shown_apart(tmp_path: Path) -> None:
    shown = console()
    print_baseline([kept(1), kept(2).model_copy(update={"fingerprint": "f" * 12})], ASPECTS, shown)
    assert "fingerprint 0123456789ab" in text(shown)
    assert f"fingerprint {'f' * 12}" in text(shown)
