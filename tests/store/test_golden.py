"""Golden files: the tables and run.json that one scripted run of two arms leaves, to the byte.

`python -m tests.store.test_golden` writes them anew, where a change of them is meant.
"""

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import pytest

from swapbench.base.phases import Phase
from swapbench.machine.energy import Energy, Used
from swapbench.spec.experiment import Experiment
from swapbench.wire.events import Event, SwapStarted
from swapbench.wire.plan import Checkpoint
from swapbench.wire.swap import (
    Audit,
    ClientRequest,
    MemorySample,
    PlannedSwap,
    Reading,
    Restored,
    Steady,
    SwapOutcome,
)
from swapbench.worker.meter import Settled
from swapbench.worker.targets import RefusedError
from swapbench.worker.targets.scripted import ScriptedTarget
from tests import played
from tests.scripted import scripted

GOLDEN = Path(__file__).parent / "golden"
TABLES = ("swaps.csv", "phases.csv", "memory.csv", "requests.csv")
# Of run.json: when, where, by whom and with what.
VOLATILE = {
    *("run_id", "started_at", "finished_at", "swapbench_version", "machine", "process", "variables"),
    *("limits", "checks", "sizes", "worker", "experiment"),
}


class _Energy(Energy):
    def since(self, before: object) -> Used:
        return Used(joules=6.25, seconds=0.5)


class FullTarget(ScriptedTarget):
    """A script of which every figure of a swap is told, each another number."""

    def __init__(self, plan: Any) -> None:
        super().__init__(plan)
        self.meter.energy = _Energy()

    def check(self, to: Checkpoint, planned: PlannedSwap) -> None:
        self._planned = planned
        if planned.scenario == "down" and planned.round == 1:
            raise RefusedError("small is broken, it says; try another")

    def outcome(self) -> SwapOutcome:
        done = super().outcome()
        if done.loaded_bytes is None:
            return done
        return replace(
            done,
            resident_before=0.99 if self._planned.round else 0.5,
            drained_requests=2,
            carried_requests=3,
            evicted_caches=4,
            evicted_bytes=5,
            kv_capacity_bytes=6,
            prefilled_tokens=7,
            prefill_s=0.875,
            release_settle_s=0.03,
            released=_everything(100),
            loader="slab",
            loader_why='auto: "slab", since nothing mapped',
            ahead_bytes=9,
            kept_bytes=10,
            to_first_byte_s=0.25,
            failed_requests=11,
            stalled_requests=12,
            restarts=13,
            fresh_footprint_bytes=14,
            note="a note of the target's",
            reported_load_s=1.5,
            reported_memory_bytes=15,
        )

    def steady(self) -> Steady:
        return Steady(first_token_s=0.0625, tokens_per_s=16.5)

    def restore(self) -> Restored:
        return Restored(caches=17, tokens=18, bytes=19, seconds=0.0375)

    def verify(self, to: Checkpoint) -> int | None:
        return 20

    def audit(self) -> Audit:
        return Audit(readable=21, broken=22)

    def settle(self) -> Settled:
        return Settled(0.04, _everything(200), 2.5)

    def clients(self, planned: PlannedSwap, begun_s: float) -> tuple[ClientRequest, ...]:
        common: dict[str, Any] = {"swap": self._planned}
        return (
            ClientRequest(**common, client=1, request="client-1/0", sent_s=-0.5, outcome="lost"),
            ClientRequest(
                **common,
                client=2,
                request="client-2/1",
                sent_s=0.25,
                first_token_s=4.0,
                answered_s=4.5,
                model="large",
                carried=True,
                outcome="answered",
                longest_gap_s=0.125,
                error="",
            ),
        )


def _everything(first: int) -> Reading:
    return Reading.model_validate({name: first + at for at, name in enumerate(Reading.model_fields)})


def _arm(load_s: float) -> Experiment:
    fails: dict[str, Any] = {"scenario": "up", "round": 2, "fails_in": Phase.RECONFIGURE}
    slow: dict[str, Any] = {"scenario": "up", "round": 1, "seconds": {"load": load_s}, "first_token_s": 0.2}
    return scripted([fails, slow], rounds=2, warmup=1, settle_after_unload=True)


def _sampled(events: Iterable[Event]) -> Iterator[Event]:
    """With a sample of the worker's, and one of the parent's, in every swap."""
    for event in events:
        yield event
        if isinstance(event, SwapStarted):
            yield MemorySample(
                swap=event.swap, t_s=1.5, ledgers=_everything(300), swap_used_bytes=23, swap_out_bytes=24
            )
            yield MemorySample(
                swap=event.swap, t_s=1.75, ledgers=Reading(footprint_bytes=25), observer="parent"
            )


def written(out: Path) -> dict[str, str]:
    """What the run leaves on disk, by file, without what differs from one day, or machine, to another."""
    events = played.turns_played
    with (
        patch.object(played, "ScriptedTarget", FullTarget),
        patch.object(played, "turns_played", lambda job: _sampled(events(job))),
    ):
        run = played.pairs(out, _arm(4.0), _arm(5.0))
    files = {
        name: (run.folder / name).read_text(encoding="utf-8").replace(run.info.run_id, "RUN")
        for name in TABLES
    }
    info = json.loads((run.folder / "run.json").read_text(encoding="utf-8"))
    kept = {key: value for key, value in info.items() if key not in VOLATILE}
    for arm in kept["arms"]:
        arm["worker"] = {key: arm["worker"][key] for key in ("event", "device", "baseline")}
        del arm["experiment"]
    return files | {"run.json": json.dumps(kept, indent=1, sort_keys=True) + "\n"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return written(tmp_path_factory.mktemp("golden"))


@pytest.mark.parametrize("name", [*TABLES, "run.json"])
def test_a_run_leaves_the_same_files_to_the_byte(name: str, made: dict[str, str]) -> None:
    assert made[name] == (GOLDEN / name).read_text(encoding="utf-8")


def test_the_golden_run_has_a_figure_in_every_column_of_swaps(made: dict[str, str]) -> None:
    rows = list(csv.DictReader(made["swaps.csv"].splitlines()))
    # A script's clock can't stall, and asks for no fault.
    assert {name for name in rows[0] if not any(row[name] for row in rows)} == {"longest_stall_s", "fault"}


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    with TemporaryDirectory() as folder:
        for file, text in written(Path(folder)).items():
            (GOLDEN / file).write_text(text, encoding="utf-8")
