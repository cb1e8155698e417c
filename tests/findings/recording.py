"""Runs made by hand: wire events through the real writer, read back by the real reader."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from swapbench.base.phases import FIRST_TOKEN, PHASES
from swapbench.machine.environment import Machine
from swapbench.spec.experiment import Experiment, Source
from swapbench.store import ArmInfo, Run, RunInfo, RunWriter, read
from swapbench.wire.events import WorkerReady
from swapbench.wire.plan import Checkpoint
from swapbench.wire.swap import MemorySample, PhaseMeasured, PlannedSwap, Reading, SwapFinished
from tests.measured import finished

SMALL_BYTES = 270_000_000
LARGE_BYTES = 7_000_000_000
BASELINE = Reading(
    mlx_active_bytes=0,
    mlx_cache_bytes=0,
    footprint_bytes=100_000_000,
    system_available_bytes=20_000_000_000,
)
MACHINE = Machine(
    system="macOS",
    release="15.2",
    architecture="arm64",
    processor="Apple M4 Pro",
    cores=12,
    memory_bytes=24 << 30,
)
LOAD = {"unload": 0.05, "load": 3.0, "reinit": 0.15}


def reading(active: int | None, cache: int | None = 0, over_baseline: int = 0) -> Reading:
    """The four ledgers of a worker that holds `active` bytes; all unknown for None."""
    if active is None:
        return Reading()
    used = active + (cache or 0) + over_baseline
    return Reading(
        mlx_active_bytes=active,
        mlx_cache_bytes=cache,
        footprint_bytes=100_000_000 + used,
        system_available_bytes=20_000_000_000 - used,
    )


def experiment(**changes: Any) -> dict[str, Any]:
    """Two models, up and down."""
    return {
        "title": "Up and down",
        "models": {"small": "org/small", "large": "org/large"},
        "scenario": [
            {"name": "up", "from": "small", "to": "large"},
            {"name": "down", "from": "large", "to": "small"},
        ],
        "rounds": 3,
    } | changes


def worker(**changes: Any) -> WorkerReady:
    """What measures."""
    said: dict[str, Any] = {
        "pid": 1,
        "python": "CPython 3.12.1",
        "versions": {"mlx": "0.32.4"},
        "device": "gpu",
        "baseline": BASELINE,
    }
    return WorkerReady(**said | changes)


def checkpoints(source: Source = Source.HUB, large: Source | None = None) -> tuple[Checkpoint, ...]:
    """The two models; `large` is what the large one is, where it is something else."""
    return tuple(
        Checkpoint(name=name, reference=f"org/{name}", source=of, path=Path(), weight_bytes=size)
        for name, of, size in (("small", source, SMALL_BYTES), ("large", large or source, LARGE_BYTES))
    )


def arm(name: str, **changes: Any) -> ArmInfo:
    """One of two things that a run compares; `changes` are to its experiment."""
    raw = Experiment.model_validate(experiment(**changes)).model_dump(mode="json", by_alias=True)
    return ArmInfo(name=name, label=f"the {name} side", python="python", experiment=raw, models=checkpoints())


NO_READING = Reading()


class Recording:
    """A run under way: swaps are added one after another, and the run is read back.

    Args:
        source: what the experiment says of its models.
        found: what they are, where it is something else.
    """

    def __init__(
        self,
        folder: Path,
        *,
        source: Source = Source.HUB,
        found: tuple[Checkpoint, ...] = (),
        run_id: str = "run-1",
        started_at: datetime = datetime(2026, 3, 1, 10, 15, tzinfo=UTC),
        **changes: Any,
    ) -> None:
        self.folder = folder / "up-and-down" / run_id
        raw = experiment(source=str(source), **changes)
        self._experiment = Experiment.model_validate(raw)
        self._scenarios = {scenario.name: scenario for scenario in self._experiment.scenario}
        self.restart_worker()
        self._turn: dict[str, Any] = {}
        info = RunInfo(
            run_id=run_id,
            experiment_name="up-and-down",
            experiment_file="up-and-down.toml",
            experiment=self._experiment.model_dump(mode="json", by_alias=True),
            status="running",
            started_at=started_at,
            swapbench_version="0.1.0",
            machine=MACHINE,
            worker=worker(),
            models=found or checkpoints(source),
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        self.writer = RunWriter(self.folder, info)

    def restart_worker(self) -> None:
        """As a resumed run does: clock and count of swaps begin again."""
        self._clock_s, self._position = 1.0, 0

    def swap(
        self,
        round_: int,
        scenario: str,
        seconds: Mapping[str, float] = LOAD,
        *,
        spans: Mapping[str, float] = {},
        first_token_s: float | None = None,
        active: Sequence[int | None] | None = None,
        settled: Reading | None = None,
        warmup: bool = False,
        strategy: str = "stock",
        **fields: Any,
    ) -> None:
        """A swap of eight phases (0 s where not named); `active` is MLX active before and after each."""
        durations = {str(phase): seconds.get(phase, 0.0) for phase in PHASES}
        total_s = sum(durations.values())
        readings = [reading(value) for value in active or [None] * 9]
        swap = self._planned(round_, scenario, strategy, warmup)
        at_s = 0.0
        for i, (phase, duration_s) in enumerate(durations.items()):
            self._phase(swap, phase, "", at_s, duration_s, readings[i], readings[i + 1])
            for span, span_s in spans.items():
                if span.startswith(f"{phase}/"):
                    self._phase(swap, phase, span.partition("/")[2], at_s, span_s)
            at_s += duration_s
        if first_token_s is not None:
            self._phase(swap, FIRST_TOKEN, "", total_s, first_token_s)
        figures = {
            "start_s": self._clock_s,
            "position": self._position,
            "total_s": total_s,
            "unattributed_s": 0.0,
            "probe_s": 0.0,
            "first_token_s": first_token_s,
            "to_first_token_s": None if first_token_s is None else total_s + first_token_s,
            "settled": settled or Reading(),
        }
        self.add(finished(**({"swap": swap} | figures | fields)))
        self._clock_s += total_s + 1.0
        self._position += 1

    def failed_swap(self, round_: int, scenario: str, **fields: Any) -> None:
        """A swap that reached no figure."""
        key = {name: fields.pop(name) for name in {*fields} & {*PlannedSwap.model_fields}}
        facts = {
            "swap": self._planned(round_, scenario).model_copy(update=key),
            "valid": False,
            "status": "failed",
            "failed_phase": "load",
            "error": "load failed: shard 2 is missing",
        }
        self.add(finished(**(facts | fields)))

    def begin_turn(self, turn: int, arm: str) -> None:
        """Swaps are of this turn, and of this arm, from now on."""
        self._turn = {"turn": turn, "arm": arm}

    def _planned(
        self, round_: int, scenario: str, strategy: str = "stock", warmup: bool = False
    ) -> PlannedSwap:
        ends = self._scenarios[scenario]
        return PlannedSwap(
            round=round_,
            warmup=warmup,
            scenario=scenario,
            strategy=strategy,
            from_model=ends.from_model,
            to_model=ends.to_model,
            **self._turn,
        )

    def ranks(self, round_: int, scenario: str, *ranks: tuple[float, float]) -> None:
        """Rows of a sharded target's load, to be added before the swap that they belong to: for each rank its
        own work and what it waited for the others."""
        work_s, waited_s = max(ranks)
        fastest_s = min(times[0] for times in ranks)
        swap = self._planned(round_, scenario)
        rows = [
            *(_row(swap, rank, "", sum(times)) for rank, times in enumerate(ranks)),
            *(_row(swap, rank, "barrier", waits) for rank, (_, waits) in enumerate(ranks)),
            _row(swap, None, "", work_s + waited_s),
            _row(swap, None, "barrier", waited_s),
            _row(swap, None, "skew", work_s - fastest_s),
        ]
        for row in rows:
            self.writer.add(row)

    def add(self, event: SwapFinished) -> None:
        """Append a row of swaps.csv."""
        self.writer.add(event)

    def sample(self, round_: int, scenario: str, t_s: float, active: int, swap_used: int | None = 0) -> None:
        """A row of memory.csv."""
        self.writer.add(
            MemorySample(
                swap=self._planned(round_, scenario),
                t_s=t_s,
                ledgers=reading(active),
                swap_used_bytes=swap_used,
            )
        )

    def run(self, status: str = "complete", **changes: Any) -> Run:
        """The run as a report reads it."""
        self.writer.sync()
        self.writer.update(status=status, **changes)
        return read(self.folder)

    def _phase(
        self,
        swap: PlannedSwap,
        phase: str,
        span: str,
        start_s: float,
        seconds: float,
        before: Reading = NO_READING,
        after: Reading = NO_READING,
    ) -> None:
        self.writer.add(
            PhaseMeasured(
                swap=swap,
                phase=phase,
                span=span,
                start_s=start_s,
                seconds=seconds,
                before=before,
                after=after,
            )
        )


def _row(swap: PlannedSwap, rank: int | None, span: str, seconds: float) -> PhaseMeasured:
    held = LARGE_BYTES if rank is None else LARGE_BYTES // 2
    return PhaseMeasured(
        swap=swap,
        phase="load",
        span=span,
        rank=rank,
        start_s=0.0,
        seconds=seconds,
        after=Reading() if span else reading(held),
        disk_read_bytes=None if span else 0,
        weight_bytes=None if span else held,
    )
