"""A comparison and a gate in which every figure is there, of scripted runs: the same wherever it is made."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from swapbench.compare.comparison import Comparison, Side, compare_arms, compare_runs
from swapbench.compare.gate import Gate, Soak, judge_pairs
from swapbench.store import Run
from tests.findings.recording import MACHINE
from tests.played import a_run, as_if, loads, pairs
from tests.scripted import raw_experiment, scripted

LABELS = ("base 1a2b3c4d", "working tree at 5e6f7a8b, with uncommitted changes")
NOISE = [3.00, 3.02, 2.98, 3.01, 2.99, 3.03, 2.97, 3.00, 3.02, 2.98, 3.01]
BEGAN = datetime(2026, 3, 1, 10, 15, tzinfo=UTC)


def anywhere(run: Run, run_id: str) -> Run:
    """The run without what only this machine and this minute have."""
    worker = run.info.worker
    assert worker is not None
    told = {"python": "CPython 3.12.1", "versions": {"mlx": "0.32.4"}, "device": "gpu"}
    changes: dict[str, Any] = {
        "run_id": run_id,
        "started_at": BEGAN,
        "machine": MACHINE,
        "swapbench_version": "0.1.0",
        "worker": worker.model_copy(update=told),
        "arms": tuple(
            arm.model_copy(update={"worker": worker.model_copy(update=told)}) for arm in run.info.arms
        ),
    }
    return replace(run, folder=Path("results/scripted") / run_id, info=run.info.model_copy(update=changes))


def pair_run(out: Path, factor: float = 1.0, run_id: str = "run-1", **changes: Any) -> Run:
    """Ten pairs; the change's load of `up` takes that many times as long."""
    both: dict[str, Any] = {"title": "Up and down", "rounds": 10, "warmup": 1} | changes
    slow = loads("up", [factor * load_s for load_s in reversed(NOISE)])
    run = pairs(out, scripted(loads("up", NOISE), **both), scripted(slow, **both), LABELS)
    return anywhere(run, run_id)


def comparison(out: Path, factor: float = 1.3, **changes: Any) -> Comparison:
    """Of two arms."""
    return compare_arms(pair_run(out, factor, **changes))


def apart(out: Path, **changes: Any) -> Comparison:
    """Of two runs; of runs that can't be compared where `changes` make the other's experiment another."""
    one = anywhere(a_run(out, loads("up", NOISE), title="Up and down", rounds=10), "run-1")
    other = anywhere(a_run(out, loads("up", NOISE), title="Up and down", rounds=10, **changes), "run-2")
    return compare_runs(Side("run-1", one), Side("run-2", other if changes else as_if(other, one)))


def soak(out: Path, leak_bytes: int, run_id: str) -> Run:
    """24 rounds in one process."""
    script = raw_experiment()["script"] | {"leak_bytes": leak_bytes}
    return anywhere(a_run(out, title="Up and down", rounds=24, script=script), run_id)


_GATES: dict[tuple[float, float | None, int], Gate] = {}


def gate(out: Path, factor: float = 1.3, again: float | None = 1.3, leak_bytes: int = 50_000_000) -> Gate:
    """Slower, slower again, and leaking, unless told otherwise. Played once: nothing in it is of `out`."""
    asked = (factor, again, leak_bytes)
    if asked not in _GATES:
        second = None if again is None else pair_run(out, again, "run-2")
        soaks = Soak(soak(out, leak_bytes, "run-3"), soak(out, 0, "run-4") if leak_bytes else None)
        _GATES[asked] = judge_pairs(pair_run(out, factor), second, soaks, None)
    return _GATES[asked]
