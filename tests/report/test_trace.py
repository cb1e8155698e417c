"""The trace that Perfetto opens: held against its importer's rules, and against what the run says."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swapbench.findings.runs import arm_of
from swapbench.findings.timeline import timeline_of
from swapbench.report.trace import to_trace
from swapbench.spec.experiment import Source
from swapbench.store import Run, read
from swapbench.wire.swap import ClientRequest, MemorySample
from tests.findings.recording import LARGE_BYTES, Recording, arm, reading
from tests.measured import planned
from tests.report.importer import Trace, imported
from tests.report.test_any_run import swaps

ROOT = Path(__file__).parents[2]
TITLE = "Up and down"


def trace_of(run: Run) -> Trace:
    return imported(to_trace(run.info, timeline_of(run)))


def names(trace: Trace, track: str, process: str = TITLE) -> list[str]:
    """The slices of a track, indented by their depth."""
    return ["  " * depth + event["name"] for depth, event in trace.slices[process, track]]


def times(trace: Trace, track: str, name: str, process: str = TITLE) -> list[tuple[int, int]]:
    """When slices of this name begin, and how long they take, in milliseconds."""
    return [
        (event["ts"] // 1000, event["dur"] // 1000)
        for _, event in trace.slices[process, track]
        if event["name"] == name
    ]


def test_rounds_hold_swaps_and_phases_hold_spans(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up", {"load": 3.0}, spans={"load/read": 2.0}, first_token_s=0.5, warmup=True)
    recording.swap(1, "up", {"load": 3.0}, spans={"load/read": 2.0}, first_token_s=0.5)
    recording.swap(1, "down", {"unload": 1.0})
    trace = trace_of(recording.run())
    assert names(trace, "rounds and swaps") == [
        "round 0, warm-up",
        "  up, warm-up",
        "round 1",
        "  up",
        "  down",
    ]
    assert times(trace, "rounds and swaps", "up") == [(5000, 3500)]
    assert names(trace, "phases and spans")[:10] == [
        *("drain", "evict", "shutdown", "unload", "load", "  load/read"),
        *("reconfigure", "update_tag", "reinit", "first_token"),
    ]
    assert times(trace, "phases and spans", "load/read") == [(1000, 2000), (5000, 2000)]


def changed(run: Run, span: str | None = None, **figures: float) -> Run:
    """The run with other figures of its phases, or of one span."""
    return replace(
        run,
        phases=tuple(
            {**row, **figures} if span is None or row["span"] == span else row for row in run.phases
        ),
    )


def test_a_phase_bears_faults_disk_bytes_and_ledgers_as_its_row_names_them(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up", active=[100] * 4 + [0] + [7000] * 4)
    run = changed(recording.run(), major_faults=12.0, disk_read_bytes=4096.0)
    load = next(e for _, e in trace_of(run).slices[TITLE, "phases and spans"] if e["name"] == "load")
    assert load["args"] == {
        "round": 0,
        "warmup": False,
        "scenario": "up",
        "strategy": "stock",
        "from_model": "small",
        "to_model": "large",
        "start_s": 0.05,
        "seconds": 3,
        "mlx_active_before_bytes": 0,
        "mlx_active_after_bytes": 7000,
        "mlx_cache_before_bytes": 0,
        "mlx_cache_after_bytes": 0,
        "footprint_before_bytes": 100_000_000,
        "footprint_after_bytes": 100_007_000,
        "system_available_before_bytes": 20_000_000_000,
        "system_available_after_bytes": 19_999_993_000,
        "major_faults": 12,
        "disk_read_bytes": 4096,
    }


def test_spans_that_overlap_have_tracks_of_their_own(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up", {"unload": 1.0, "load": 3.0}, spans={"load/read": 2.0, "load/tokenizer": 1.0})
    # From the middle of reading until after it.
    trace = trace_of(changed(recording.run(), span="tokenizer", start_s=2.5))
    assert "  load/read" in names(trace, "phases and spans")
    assert names(trace, "spans that overlap") == ["load/tokenizer"]
    assert times(trace, "spans that overlap", "load/tokenizer") == [(3500, 1000)]


def test_ranks_have_tracks_of_their_own_and_their_sum_is_counted_alone(tmp_path: Path) -> None:
    recording = Recording(tmp_path, target="sharded")
    recording.ranks(0, "up", (2.0, 0.5), (2.5, 0.0))
    recording.failed_swap(0, "up")
    trace = trace_of(recording.run())
    assert times(trace, "phases and spans", "load") == [(0, 2500)]
    assert times(trace, "rank 1: phases and spans", "load") == [(0, 2500)]
    assert [name.strip() for name in names(trace, "rank 0: phases and spans")] == ["load", "load/barrier"]
    assert {value for _, value in trace.counters["MLX active bytes"]} == {LARGE_BYTES}


def test_a_span_that_begins_before_its_phase_is_not_forced_into_it(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up", {"unload": 1.0, "load": 3.0}, spans={"load/read": 2.0})
    trace = trace_of(changed(recording.run(), span="read", start_s=0.5))
    assert times(trace, "spans that overlap", "load/read") == [(1500, 2000)]
    assert times(trace, "phases and spans", "load") == [(2000, 3000)]


def test_a_new_workers_clock_is_laid_where_the_one_before_ends(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up", {"load": 3.0})
    recording.sample(0, "up", 6.0, 100)
    recording.restart_worker()
    recording.swap(1, "up", {"load": 2.0})
    recording.sample(1, "up", 2.5, 200)
    trace = trace_of(recording.run())
    assert times(trace, "workers", "worker 1") == [(0, 6000)]
    assert times(trace, "workers", "worker 2") == [(6000, 3000)]
    assert times(trace, "rounds and swaps", "up") == [(1000, 3000), (7000, 2000)]
    assert trace.counters["MLX active bytes"] == [(6_000_000, 100), (8_500_000, 200)]


def test_a_ledger_is_a_counter_for_each_that_looked_at_it(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up", {"load": 3.0}, active=[100] * 5 + [300] * 4)
    recording.sample(0, "up", 2.0, 200, swap_used=7)
    seen = MemorySample(
        swap=planned(round=0, scenario="up"), t_s=2.5, ledgers=reading(250), observer="parent"
    )
    recording.writer.add(seen)
    counters = trace_of(recording.run()).counters
    # Around phases and in between; a value that stays is not said again but at the end.
    assert counters["MLX active bytes"] == [
        *((1_000_000, 100), (2_000_000, 200), (4_000_000, 300)),
    ]
    assert counters["process footprint, seen from outside bytes"] == [(2_500_000, 100_000_250)]
    assert counters["machine's swap used bytes"] == [(2_000_000, 7)]


def test_failures_are_instants_where_the_swap_ended(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up", {"load": 3.0})
    recording.swap(0, "down", {"load": 1.0}, valid=False, invalid_reason="40 % was resident")
    recording.failed_swap(1, "up", status="rolled_back", start_s=7.0, rollback_s=2.0)
    trace = trace_of(recording.run())
    told = [(event["name"], event["ts"] // 1000) for event in trace.of("i")]
    assert told == [("down: invalid", 6000), ("up: rolled back", 7000)]
    assert trace.of("i")[1]["args"]["error"] == "load failed: shard 2 is missing"
    assert times(trace, "rounds and swaps", "rolling back") == [(7000, 2000)]


def test_requests_of_clients_run_from_sent_to_answered_with_their_first_token(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up", {"load": 3.0})
    common: dict[str, Any] = {"swap": planned("up", strategy="stock"), "client": 2}
    answered = {"first_token_s": 3.1, "answered_s": 3.4, "model": "large", "outcome": "answered"}
    recording.writer.add(ClientRequest(**common, request="a", sent_s=-0.5, **answered))
    recording.writer.add(ClientRequest(**common, request="b", sent_s=0.5, outcome="lost"))
    trace = trace_of(recording.run())
    told = [(e["ph"], e["name"], e["ts"] // 1000) for e in trace.events if e.get("cat") == "request"]
    assert told == [
        ("b", "client 2", 500),
        ("b", "client 2", 1500),
        ("e", "client 2", 1500),
        ("n", "first token", 4100),
        ("e", "client 2", 4400),
    ]
    assert [event["args"]["outcome"] for event in trace.of("b")] == ["answered", "lost"]


def test_arms_are_processes_on_one_clock(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.writer.update(arms=(arm("A"), arm("B")))
    for turn, name in enumerate("ABBA"):
        recording.begin_turn(turn, name)
        recording.restart_worker()
        recording.swap(turn // 2, "up", {"load": 1.0})
    run = recording.run()
    trace = trace_of(run)
    assert list(trace.processes.values()) == [f"{TITLE} A: the A side", f"{TITLE} B: the B side"]
    a, b = trace.processes.values()
    assert times(trace, "rounds and swaps", "up", a) == [(1000, 1000), (7000, 1000)]
    assert times(trace, "rounds and swaps", "up", b) == [(3000, 1000), (5000, 1000)]
    assert times(trace_of(arm_of(run, "B")), "rounds and swaps", "up") == [(1000, 1000), (3000, 1000)]


def test_strategies_name_their_swaps(tmp_path: Path) -> None:
    recording = Recording(tmp_path, strategy=["stock", "slab"])
    for strategy in ("stock", "slab"):
        recording.restart_worker()
        recording.swap(0, "up", strategy=strategy)
    trace = trace_of(recording.run())
    assert names(trace, "rounds and swaps") == ["round 0", "  up (stock)", "round 0", "  up (slab)"]


def test_a_swap_that_the_run_did_not_finish_is_shown_as_far_as_it_came(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.swap(0, "up", {"load": 3.0})
    recording.swap(0, "down", {"load": 1.0})
    recording.sample(0, "down", 4.5, 100)
    run = recording.run("interrupted")
    trace = trace_of(replace(run, swaps=run.swaps[:1]))
    (down,) = [e for _, e in trace.slices[TITLE, "rounds and swaps"] if e["name"] == "down"]
    assert (down["ts"], down["dur"]) == (4_500_000, 1_000_000)
    assert down["args"]["status"] == "not finished"
    assert down["args"]["start"].startswith("not recorded")


def test_a_swap_in_which_its_worker_was_lost_is_the_last_of_that_worker(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.failed_swap(0, "up")
    recording.swap(0, "down", {"load": 1.0}, position=0)
    trace = trace_of(recording.run())
    assert [e["args"]["worker"] for e in trace.of("X") if e["cat"] == "swap"] == [1, 2]


def test_published_figures_without_times_follow_each_other() -> None:
    run = read(ROOT / "results" / "reference" / "exp012-m4pro-24gb")
    trace = trace_of(run)
    (process,) = trace.processes.values()
    assert times(trace, "rounds and swaps", "large-to-large", process) == [(3300, 5381)]
    assert times(trace, "phases and spans", "load", process) == [(53, 3247), (3368, 5242), (8880, 384)]


def test_a_run_without_a_swap_is_a_trace_without_tracks(tmp_path: Path) -> None:
    trace = trace_of(Recording(tmp_path).run("running"))
    assert list(trace.processes.values()) == [TITLE]
    assert trace.slices == {}


@settings(max_examples=25)
@given(made=st.lists(swaps, max_size=8))
def test_no_run_is_too_odd_for_a_trace(
    tmp_path_factory: pytest.TempPathFactory, made: list[dict[str, Any]]
) -> None:
    recording = Recording(tmp_path_factory.mktemp("run"), source=Source.MINI)
    for swap in made:
        recording.swap(**swap)
    trace_of(recording.run("interrupted"))
