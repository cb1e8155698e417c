"""The report at a terminal: everything said, nothing cut."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from swapbench.base.figures import EN_DASH, factor
from swapbench.findings import Findings, analyse
from swapbench.report.forms import print_report
from swapbench.spec.experiment import Source
from tests.findings.recording import LARGE_BYTES, SMALL_BYTES, Recording, reading


def terminal(findings: Findings, width: int = 120, **options: Any) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False, **options)
    print_report(findings, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def findings(folder: Path, rounds: int = 3, **changes: Any) -> Findings:
    recording = Recording(folder, rounds=rounds, expected_s={"load": [1, 2]}, **changes)
    for number in range(rounds):
        recording.swap(
            number,
            "up",
            {"drain": 0.5, "load": 3.0 + number / 10, "unload": 0.2},
            spans={"load/read": 2.5, "load/tokenizer": 0.4},
            first_token_s=0.25,
            active=[SMALL_BYTES] * 4 + [0] + [LARGE_BYTES] * 4,
            settled=reading(LARGE_BYTES),
            loaded_bytes=LARGE_BYTES,
            load_gb_per_s=2.3,
            resident_before=1.0,
            drained_requests=3,
            evicted_caches=2,
            evicted_bytes=1_000_000_000,
        )
        recording.swap(number, "down", {"load": 0.4}, first_token_s=0.05, settled=reading(SMALL_BYTES))
    return analyse(recording.run())


def test_it_opens_with_experiment_run_source_machine_and_versions(tmp_path: Path) -> None:
    lines = terminal(findings(tmp_path)).strip().splitlines()
    assert lines[0] == "Up and down"
    assert lines[1].strip() == "hub models   the published checkpoints"
    opening = "\n".join(lines[2:8])
    assert "run-1" in opening
    assert "Apple M4 Pro, 12 cores, 24 GiB, macOS 15.2" in opening
    assert "swapbench 0.1.0, mlx 0.32.4, python CPython 3.12.1" in opening
    assert "warm: 100 % of each checkpoint resident before load" in opening
    assert "3 rounds, 6 swaps counted" in opening


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (Source.HUB, "the published checkpoints"),
        (Source.LOCAL, "checkpoints in folders given by path; nothing is known of where they are from"),
        (Source.SYNTHETIC, "full size and real shapes, random weights"),
        (Source.MINI, "scaled down; their times say nothing about the real models"),
    ],
)
def test_the_source_of_the_models_is_always_said(tmp_path: Path, source: Source, says: str) -> None:
    assert f" {source} models   {says}" in terminal(findings(tmp_path, source=source))


def test_the_headline_is_from_request_to_first_token(tmp_path: Path) -> None:
    text = terminal(findings(tmp_path))
    assert f"4.05 s request → first token, swap 3.80 s, {factor(7.9)} under 30 s, " in text
    assert "load 77 % of request → first token" in text


def test_a_phase_has_median_spread_share_and_mark(tmp_path: Path) -> None:
    (load,) = [line for line in terminal(findings(tmp_path)).splitlines() if line.startswith("  load  ")]
    assert load.split() == [
        *("load", f"1{EN_DASH}2"),
        *("3.100", f"(3.000{EN_DASH}3.200)", "82", "%", "▲"),
        *("0.400", "100", "%", "▼"),
    ]


def test_the_bottleneck_has_its_spans(tmp_path: Path) -> None:
    text = terminal(findings(tmp_path))
    assert "load takes 77 % of request → first token, and is the longest phase in 3 of 3 swaps" in text
    assert "load/read 2.50 s (81 %), load/tokenizer 0.400 s (13 %)" in text


def test_memory_goes_from_before_over_the_peak_to_after(tmp_path: Path) -> None:
    text = terminal(findings(tmp_path))
    (row,) = [line for line in text.splitlines() if line.startswith("    MLX active")]
    assert " ".join(row.split()) == "MLX active 257.5 MiB 6.52 GiB 0 B 6.52 GiB 0 B"


def test_criteria_come_last_with_outcome_and_reason(tmp_path: Path) -> None:
    text = terminal(findings(tmp_path, criterion=[{"kind": "all-under-target", "title": "all are quick"}]))
    last = text[text.index("Criteria") :]
    assert "pass" in last
    assert "all are quick" in last
    assert "3 of 3 swaps under supports 37 % reliability" in " ".join(last.split())


def test_a_mini_run_claims_nothing_about_the_target(tmp_path: Path) -> None:
    text = terminal(findings(tmp_path, source=Source.MINI, criterion=[{"kind": "any-under-target"}]))
    assert "not judged" in text
    assert "not judged (mini models)" in text
    assert "\N{MULTIPLICATION SIGN} under" not in text


@pytest.mark.parametrize(
    "names",
    [["up", "down"], ["s-to-l", "l-to-l", "l-to-s"], [f"from-one-to-the-other-{i}" for i in range(5)]],
)
def test_no_figure_is_cut_at_any_width(tmp_path: Path, names: list[str]) -> None:
    scenarios = [{"name": name, "from": "small", "to": "large"} for name in names]
    recording = Recording(tmp_path, scenario=scenarios)
    for number in range(3):
        for name in names:
            recording.swap(number, name, {"load": 123.456 + number, "drain": 0.001})
    made = analyse(recording.run())
    for width in range(80, 201, 3):
        text = terminal(made, width)
        assert max(map(len, text.splitlines())) <= width
        assert "…" not in text
        for load_or_total in ("124.456", "124.457"):
            assert text.count(load_or_total) == len(names)
        for spread in (f"(123.456{EN_DASH}125.456)", f"(123.457{EN_DASH}125.457)"):
            assert text.count(spread) == len(names)
        assert text.count("100 %") >= len(names)


def test_columns_are_measured_in_proportion_to_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int] = []
    measure = Console.measure

    def counted(self: Console, table: Any, **options: Any) -> Any:
        measured.append(len(table.columns))
        return measure(self, table, **options)

    monkeypatch.setattr(Console, "measure", counted)
    columns = []
    for n in (20, 40):
        names = [f"from-one-to-the-other-{i}" for i in range(n)]
        scenarios = [{"name": name, "from": "small", "to": "large"} for name in names]
        recording = Recording(tmp_path, run_id=f"run-{n}", scenario=scenarios)
        for name in names:
            recording.swap(0, name, {"load": 1.0})
        measured.clear()
        terminal(analyse(recording.run()))
        columns.append(sum(measured))
    assert columns[1] <= 2 * columns[0]


@pytest.mark.parametrize(("width", "inline"), [(200, True), (160, False), (80, False), (50, False)])
def test_spreads_stand_beside_their_figures_where_that_takes_no_more_lines(
    tmp_path: Path, width: int, inline: bool
) -> None:
    names = [f"from-one-to-the-other-{i}" for i in range(5)]
    recording = Recording(
        tmp_path, scenario=[{"name": name, "from": "small", "to": "large"} for name in names]
    )
    for number in range(3):
        for name in names:
            recording.swap(number, name, {"load": 123.456 + number})
    text = terminal(analyse(recording.run()), width)
    (load, *_) = [line for line in text.splitlines() if line.startswith("  load  ")]
    assert (f"124.456 (123.456{EN_DASH}125.456)" in load) is inline
    assert max(map(len, text.splitlines())) <= width


def test_no_color_is_respected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = findings(tmp_path)
    assert "\x1b[" in terminal(made, force_terminal=True)
    monkeypatch.setenv("NO_COLOR", "1")
    coloured = [f"\x1b[{code}" for code in (30, 31, 32, 33, 36, 42, 43, 46)]
    plain = terminal(made, force_terminal=True)
    assert not any(code in plain for code in coloured)


def test_the_verdict_stands_at_the_top_in_the_words_of_the_other_forms(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up", {"load": 31.0})
    shown = " ".join(terminal(analyse(recording.run())).split())
    assert "Missed: 1 criterion not met. Every scenario under 30 s: up takes 31.0 s" in shown
    assert shown.index("Missed: ") < shown.index("Headline")


def test_what_went_wrong_comes_first_and_scenarios_without_a_figure_are_no_columns(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up", {"load": 3.0})
    recording.failed_swap(0, "down", error="load failed: shard 2 is missing")
    shown = terminal(analyse(recording.run()))
    assert shown.index("shard 2 is missing") < shown.index("Headline")
    assert "not measured" not in shown[: shown.index("Within the run")]
    assert "→ large" in shown
    assert "→ small" not in shown


def test_a_run_in_which_nothing_was_measured_says_so(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.failed_swap(0, "up")
    assert "not measured" in terminal(analyse(recording.run()))


def test_what_is_said_below_a_table_stays_below_it_however_narrow(tmp_path: Path) -> None:
    lines = terminal(findings(tmp_path), width=40).splitlines()
    below = next(n for n, line in enumerate(lines) if line.startswith("  peak: "))
    assert lines[below + 1].startswith("  ")
