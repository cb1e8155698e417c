"""Whatever state a run is in, every form of report can be made of it."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from swapbench.base.errors import Exit
from swapbench.findings import Findings, analyse, exit_code
from swapbench.report.forms import print_report, show, to_json, to_markdown
from swapbench.store import Run, read
from tests.findings.recording import Recording, reading


def terminal(findings: Findings, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    print_report(findings, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def reports(run: Run) -> dict[str, str]:
    """Every form; JSON is parsed to see that it can be."""
    findings = analyse(run)
    json.loads(to_json(findings))
    return {
        "rich": terminal(findings),
        "narrow": terminal(findings, 80),
        "md": to_markdown(findings),
        "json": to_json(findings),
    }


def test_a_run_without_a_swap(tmp_path: Path) -> None:
    run = Recording(tmp_path).run("running")
    made = reports(run)
    assert "0 of 6 swaps done; it is still running, or was killed" in made["rich"]
    assert "not measured" in made["md"]
    assert exit_code(analyse(run)) == Exit.OK


def test_a_run_that_was_killed_before_it_had_tables(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.run("running")
    for table in recording.folder.glob("*.csv"):
        table.unlink()
    assert "not complete" in reports(read(recording.folder))["rich"]


def test_only_failed_swaps(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.failed_swap(0, "up")
    recording.failed_swap(0, "down", failed_phase=None, error="the worker was killed by SIGKILL")
    run = recording.run("incomplete", failure="the worker was killed by SIGKILL in load")
    made = reports(run)
    for form in ("rich", "md"):
        assert "load failed: shard 2 is missing" in made[form]
        assert "killed by SIGKILL" in made[form]
        assert f"swapbench run --resume {recording.folder}" in made[form].replace("\n", "")
    assert exit_code(analyse(run)) == Exit.FAILED


def test_only_warm_up(tmp_path: Path) -> None:
    recording = Recording(tmp_path, warmup=1)
    recording.swap(0, "up", warmup=True)
    assert "0 swaps counted, 1 warm-up" in reports(recording.run("interrupted"))["rich"]


def test_only_invalid_swaps(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up", valid=False, invalid_reason="labelled cold, but 40 % was resident")
    assert "labelled cold, but 40 % was resident" in reports(recording.run())["md"]


def test_a_swap_that_was_rolled_back_says_how_long_that_took(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up")
    recording.failed_swap(0, "down", status="rolled_back", rollback_s=2.5)
    assert (
        "failed, rolled back in 2.50 s: load failed: shard 2 is missing" in reports(recording.run())["rich"]
    )


def test_torn_last_lines_are_left_out(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up", {"load": 3.0})
    recording.swap(1, "up", {"load": 5.0})
    recording.run("running")
    for name in ("phases.csv", "swaps.csv", "memory.csv"):
        path = recording.folder / name
        path.write_bytes(path.read_bytes()[:-9])
    run = read(recording.folder)
    assert "3.00 s total" in reports(run)["rich"]


def test_one_round_has_no_spread_and_says_so(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up", {"load": 3.0}, settled=reading(100))
    made = reports(recording.run())["rich"]
    assert "one round: nothing is known about the spread" in made
    assert "not measurable from one round" in made


def test_figures_that_are_not_numbers_are_not_recorded(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    nan = float("nan")
    recording.swap(0, "up", {"load": 3.0}, first_token_s=nan, probe_s=nan, unattributed_s=nan)
    made = reports(recording.run())
    assert "NaN" not in made["json"]
    assert "nan" not in made["rich"] + made["md"]


def test_a_swap_of_no_duration(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up", {})
    reports(recording.run())


def test_marks_in_messages_are_text_in_every_form(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up")
    error = "load failed: [bold]pipe | and <b>tag</b>, [/nothing]"
    recording.failed_swap(1, "up", error=error)
    made = reports(recording.run())
    assert error in made["rich"]
    assert r"\[bold\]pipe \| and \<b\>tag\</b\>, \[/nothing\]" in made["md"]


swaps = st.fixed_dictionaries(
    {
        "round_": st.integers(0, 3),
        "scenario": st.sampled_from(["up", "down"]),
        "seconds": st.dictionaries(st.sampled_from(["drain", "load", "reinit"]), st.floats(0, 50)),
        "first_token_s": st.none() | st.floats(0, 5),
        "warmup": st.booleans(),
        "valid": st.booleans(),
        "status": st.sampled_from(["ok", "ok", "ok", "failed", "rolled_back"]),
        "settled": st.integers(0, 10**10).map(reading) | st.none(),
        "start_s": st.none() | st.floats(0, 100),
        "total_s": st.none() | st.floats(0, 100),
        "evicted_bytes": st.integers(0, 10**12),
    }
)


@settings(max_examples=25)
@given(
    made=st.lists(swaps, max_size=8),
    status=st.sampled_from(["running", "complete", "incomplete", "interrupted"]),
)
def test_no_run_is_too_odd_for_a_report(
    tmp_path_factory: pytest.TempPathFactory, made: list[dict[str, Any]], status: str
) -> None:
    recording = Recording(tmp_path_factory.mktemp("run"))
    for swap in made:
        recording.swap(**swap)
    run = recording.run(status)
    reports(run)
    assert exit_code(analyse(run)) in set(Exit)


def test_show_writes_the_report_and_nothing_else(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up")
    findings = analyse(recording.run())
    for form, text in (("json", to_json(findings)), ("md", to_markdown(findings))):
        console = Console(file=io.StringIO(), width=40)
        show(findings, form, console)
        assert isinstance(console.file, io.StringIO)
        assert console.file.getvalue() == text


def test_a_run_of_several_strategies(tmp_path: Path) -> None:
    recording = Recording(tmp_path, strategy=["stock", "slab"])
    for strategy in ("stock", "slab"):
        recording.swap(0, "up", strategy=strategy, spans={"load/weights": 1.0}, loader=strategy)
    made = reports(recording.run())
    for form in ("rich", "narrow", "md"):
        assert "Strategies, up: small to large, warm" in made[form]
        assert "memory of the largest model, always" in " ".join(made[form].split())
        assert "--strategy" in made[form]
    assert json.loads(made["json"])["ladders"][0]["rungs"][1]["total_times"]["n"] == 1
