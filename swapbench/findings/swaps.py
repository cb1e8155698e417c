"""Swaps of a run: one record each from the tables, with phases, spans and memory, and the headline figure."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from swapbench.base import phases
from swapbench.base.phases import ALL_LEDGERS, WHOLE, HeadlineFigure, Phase
from swapbench.stats.estimate import Estimate, estimate
from swapbench.store import Run
from swapbench.store.tables import Row, number
from swapbench.wire.swap import SWAPS

# Arm, round, strategy, scenario: each of them is carried out once.
Key = tuple[str, int, str, str]


def key_of(row: Row) -> Key:
    """Which swap a row of any table is of."""
    return str(row["arm"]), int(row["round"]), str(row["strategy"]), str(row["scenario"])


# The bytes of each ledger that was recorded; one that this machine lacks is left out.
Ledgers = Mapping[str, float]

# Less memory available is more in use: the extreme of this ledger is its lowest value.
COUNTS_DOWN: Final = "system_available"


@dataclass(frozen=True)
class Measured:
    """A phase, a span or the first token, as it was measured in one swap."""

    seconds: float | None
    before: Ledgers
    after: Ledgers
    mlx_peak_bytes: float | None
    major_faults: float | None
    disk_read_bytes: float | None
    weight_bytes: float | None = None


@dataclass(frozen=True)
class RankRows:
    """What one rank of a sharded target measured of a swap, by its own clock."""

    phases: Mapping[str, Measured]
    spans: Mapping[str, Measured]


@dataclass(frozen=True)
class Swap:
    """One row of swaps.csv with what the other tables hold about it."""

    index: int
    worker: int
    round: int
    warmup: bool
    scenario: str
    strategy: str
    from_model: str
    to_model: str
    status: str
    valid: bool
    invalid_reason: str
    error: str
    failed_phase: str
    fault: str
    recovery: str
    loader: str
    loader_why: str
    figures: Mapping[str, float]
    settled: Ledgers
    released: Ledgers
    phases: Mapping[str, Measured]
    spans: Mapping[str, Measured]
    ranks: Mapping[int, RankRows]
    extremes: Ledgers
    swap_used_growth_bytes: float | None

    @property
    def counted(self) -> bool:
        """Whether statistics rest on it: it went well, is no warm-up, and is what its label says."""
        measured = self.total_s is not None or "to_first_token_s" in self.figures
        return self.status == "ok" and self.valid and not self.warmup and measured

    @property
    def from_outside(self) -> bool:
        """Whether it was seen from outside a server, as a whole: no phase of it is known."""
        return WHOLE in self.phases

    @property
    def total_s(self) -> float | None:
        """From the request to the end of the last phase."""
        return self.figures.get("total_s")

    def phase_s(self, phase: str) -> float | None:
        """The seconds of a phase; None where it was not measured."""
        measured = self.phases.get(phase)
        return measured.seconds if measured else None

    @property
    def attributed_s(self) -> float:
        """The sum of the eight phases."""
        return math.fsum(self.phase_s(phase) or 0.0 for phase in Phase)


def estimated(swaps: Iterable[Swap], figure: str) -> Estimate | None:
    """The estimate of one of the swaps' figures; None where none was recorded."""
    return estimate(swap.figures.get(figure) for swap in swaps)


_FIGURES: Final = tuple(column.name for column in SWAPS.columns if column.kind == "number")

# Rows by phase and span, of one rank or of all together.
_Rows = dict[tuple[str, str], Measured]


def swaps_of(run: Run) -> tuple[Swap, ...]:
    """Every swap of a run, in the order in which they were carried out."""
    rows = run.swaps
    measured = _measured_by_swap(run.phases)
    samples: dict[tuple[int, str], list[Row]] = {}
    for sample in samples_of(run):
        samples.setdefault((int(sample["round"]), sample["scenario"]), []).append(sample)
    workers = _workers(rows)
    swaps = []
    for index, (row, worker) in enumerate(zip(rows, workers, strict=True)):
        its = _during(samples.get((int(row["round"]), row["scenario"])), row)
        swaps.append(_swap(index, worker, row, measured.get(key_of(row), {}), its))
    return tuple(swaps)


def samples_of(run: Run) -> Sequence[Row]:
    """The samples of what swaps.

    The parent sees the worker and its children: what the worker sees of itself, also when it can't look. But
    where servers or ranks are swapped, the worker is one process more, which only watches them.
    """
    watches = run.info.server is not None or run.info.experiment.get("target") == "sharded"
    return [row for row in run.memory if row["observer"] != "parent"] if watches else run.memory


def rows_of_all(rows: Sequence[Row]) -> Sequence[Row]:
    """Of one swap's rows of phases.csv, those of the whole target: of several ranks, those that name none.

    Where a swap broke off, only single ranks may have got as far as rows: the first of them.
    """
    together = [row for row in rows if math.isnan(row["rank"])]
    least = min((row["rank"] for row in rows), default=0)
    return together or [row for row in rows if row["rank"] == least]


def _swap(
    index: int,
    worker: int,
    row: Mapping[str, Any],
    by_rank: Mapping[int | None, _Rows],
    samples: Sequence[Row] | None,
) -> Swap:
    # A target of one process has its own rows for the whole; of several ranks, those without a rank are.
    several = None in by_rank
    measured = by_rank.get(None if several else 0, {})
    return Swap(
        index=index,
        worker=worker,
        round=int(row["round"]),
        warmup=bool(row["warmup"]),
        scenario=row["scenario"],
        strategy=row["strategy"],
        from_model=row["from_model"],
        to_model=row["to_model"],
        status=row["status"],
        valid=bool(row["valid"]),
        invalid_reason=row["invalid_reason"],
        error=row["error"],
        failed_phase=row["failed_phase"],
        fault=row["fault"],
        recovery=row["recovery"],
        loader=row["loader"],
        loader_why=row["loader_why"],
        figures=_recorded(row, {name: name for name in _FIGURES}),
        settled=_recorded(row, {ledger: f"settled_{ledger}_bytes" for ledger in ALL_LEDGERS}),
        released=_recorded(row, {ledger: f"released_{ledger}_bytes" for ledger in ALL_LEDGERS}),
        phases=_phases(measured),
        spans=_spans(measured),
        ranks={
            rank: RankRows(_phases(rows), _spans(rows))
            for rank, rows in by_rank.items()
            if several and rank is not None
        },
        extremes=_extremes(samples),
        swap_used_growth_bytes=_swap_used_growth(samples),
    )


def _phases(rows: _Rows) -> dict[str, Measured]:
    return {phase: value for (phase, span), value in rows.items() if not span}


def _spans(rows: _Rows) -> dict[str, Measured]:
    return {f"{phase}/{span}": value for (phase, span), value in rows.items() if span}


def _measured_by_swap(measured: Iterable[Row]) -> dict[Key, dict[int | None, _Rows]]:
    """Rows of phases.csv by swap and rank, those of one phase, or of one span, taken together."""
    swaps: dict[Key, dict[int | None, dict[tuple[str, str], list[Row]]]] = {}
    for row in measured:
        swap = swaps.setdefault(key_of(row), {})
        rank = number(row["rank"])
        rows = swap.setdefault(None if rank is None else int(rank), {})
        rows.setdefault((row["phase"], row["span"]), []).append(row)
    return {
        key: {
            rank: {name: _together(entered) for name, entered in rows.items()} for rank, rows in swap.items()
        }
        for key, swap in swaps.items()
    }


def _together(entered: Sequence[Row]) -> Measured:
    """All the times that a phase, or a span, was entered: they add up."""
    peaks = [peak for row in entered if (peak := number(row["mlx_peak_bytes"])) is not None]
    return Measured(
        seconds=_lasted_s(entered),
        before=_recorded(entered[0], {ledger: f"{ledger}_before_bytes" for ledger in ALL_LEDGERS}),
        after=_recorded(entered[-1], {ledger: f"{ledger}_after_bytes" for ledger in ALL_LEDGERS}),
        mlx_peak_bytes=max(peaks, default=None),
        major_faults=_sum(entered, "major_faults"),
        disk_read_bytes=_sum(entered, "disk_read_bytes"),
        weight_bytes=number(entered[-1]["weight_bytes"]),
    )


def _lasted_s(entered: Sequence[Row]) -> float | None:
    """What spans of one name have in common counts once, or they would outlast their phase."""
    lasted_s, end_s = 0.0, -math.inf
    for row in sorted(entered, key=lambda row: number(row["start_s"]) or 0.0):
        start_s, seconds = number(row["start_s"]), number(row["seconds"])
        if seconds is None:
            return None
        if start_s is None:
            lasted_s += seconds
            continue
        lasted_s += seconds - min(seconds, max(0.0, end_s - start_s))
        end_s = max(end_s, start_s + seconds)
    return lasted_s


def _sum(rows: Sequence[Row], column: str) -> float | None:
    values = [number(row[column]) for row in rows]
    known = [value for value in values if value is not None]
    return math.fsum(known) if len(known) == len(values) else None


def _during(samples: Sequence[Row] | None, row: Row) -> Sequence[Row] | None:
    """The samples taken during the swap itself, first token included; None where there is no telling."""
    start_s, total_s = number(row["start_s"]), number(row["total_s"])
    lasted_s = number(row["to_first_token_s"]) or total_s
    if samples is None or start_s is None or lasted_s is None:
        return None
    end_s = start_s + lasted_s
    return [sample for sample in samples if start_s <= sample["t_s"] <= end_s]


def _extremes(during: Sequence[Row] | None) -> Ledgers:
    """The most of each ledger among the samples."""
    if during is None:
        return {}
    most: dict[str, float] = {}
    for ledger in ALL_LEDGERS:
        values = [value for row in during if (value := number(row[f"{ledger}_bytes"])) is not None]
        if values:
            most[ledger] = min(values) if ledger == COUNTS_DOWN else max(values)
    return most


def _swap_used_growth(during: Sequence[Row] | None) -> float | None:
    if during is None:
        return None
    # The parent's samples have none.
    used = [value for row in during if (value := number(row["swap_used_bytes"])) is not None]
    return max(used) - used[0] if used else None


def _workers(rows: Iterable[Mapping[str, Any]]) -> list[int]:
    """Which worker process carried out each swap: memory is compared only within one.

    A new worker begins to count its swaps again. And after a swap that failed without being rolled back, what
    the process holds is anyone's guess: what follows counts as another worker.
    """
    worker, latest = 0, -1.0
    workers = []
    for row in rows:
        position = number(row["position"])
        if position is not None:
            worker += position <= latest
            latest = position
        workers.append(worker)
        worker += row["status"] == "failed"
    return workers


def _recorded(row: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, float]:
    found = {name: number(row[column]) for name, column in columns.items()}
    return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class Headlined:
    """A counted swap with its headline figure in seconds, which is never 0: logarithms are taken of it.

    `first` is whether it is the first of its scenario in its worker process, which pays for what later
    ones find done: kernels compiled, allocators grown, libraries read.
    """

    swap: Swap
    seconds: float
    first: bool


def headline_figure(counted: Sequence[Swap]) -> HeadlineFigure:
    """The figure that the counted swaps of one scenario stand for."""
    return phases.headline_figure(len(counted), sum("to_first_token_s" in swap.figures for swap in counted))


def headlines_by_scenario(swaps: Sequence[Swap]) -> Mapping[str, Sequence[Headlined]]:
    """The counted swaps of each scenario in the order in which they were carried out."""
    firsts = _firsts(swaps)
    return {
        scenario: _headlined([swap for swap in swaps if swap.counted and swap.scenario == scenario], firsts)
        for scenario in dict.fromkeys(swap.scenario for swap in swaps)
    }


def _headlined(counted: Sequence[Swap], firsts: frozenset[int]) -> list[Headlined]:
    figure = f"{headline_figure(counted)}_s"
    return [
        Headlined(swap, seconds, swap.index in firsts)
        for swap in counted
        if (seconds := swap.figures.get(figure, 0.0)) > 0
    ]


def _firsts(swaps: Sequence[Swap]) -> frozenset[int]:
    """The first swap of each scenario in each worker process, whether it is counted or a warm-up."""
    first_of: dict[tuple[int, str], int] = {}
    for swap in swaps:
        if swap.status == "ok":
            first_of.setdefault((swap.worker, swap.scenario), swap.index)
    return frozenset(first_of.values())
