"""Swaps of a run: one record each from the tables, with phases, spans and memory, and the headline figure."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final

from swapbench.base import phases
from swapbench.base.phases import ALL_LEDGERS, WHOLE, HeadlineFigure, Phase
from swapbench.stats.estimate import Estimate, estimate
from swapbench.store import Run
from swapbench.store.tables import Row, number
from swapbench.wire.swap import SWAPS, SwapKey

# The bytes of each ledger that was recorded; one that this machine lacks is left out.
Ledgers = Mapping[str, float]

# Less memory available is more in use: the extreme of this ledger is its lowest value.
COUNTS_DOWN: Final = "system_available"

_FIGURES: Final = tuple(column.name for column in SWAPS.columns if column.kind == "number")


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
    """What one rank of a sharded target measured of a swap, by its own clock; spans as `load/read`."""

    phases: Mapping[str, Measured]
    spans: Mapping[str, Measured]


@dataclass(frozen=True)
class Swap:
    """One row of swaps.csv with what the other tables hold about it; `figures` are the recorded ones."""

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
        """Whether statistics rest on it."""
        return phases.counts(self.status, self.valid, self.warmup, self.figures)

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


_PLAIN: Final = {field.name for field in fields(Swap)} & {
    column.name for column in SWAPS.columns if column.kind != "number"
}


def key_of(row: Row) -> SwapKey:
    """Which swap a row of any table is of."""
    return str(row["arm"]), int(row["round"]), str(row["strategy"]), str(row["scenario"])


def estimated(swaps: Iterable[Swap], figure: str) -> Estimate | None:
    """The estimate of one of the swaps' figures; None where none was recorded."""
    return estimate(swap.figures.get(figure) for swap in swaps)


def estimates(swaps: Sequence[Swap], *names: str) -> dict[str, Estimate | None]:
    """Estimates of the swaps' figures, by name; of seconds, the `_s` may be left out."""
    return {name: estimated(swaps, name if name in _FIGURES else f"{name}_s") for name in names}


def swaps_of(run: Run) -> tuple[Swap, ...]:
    """Every swap of a run, in the order in which they were carried out."""
    measured = _measured_by_swap(run.phases)
    samples: dict[tuple[int, str], list[Row]] = defaultdict(list)
    for sample in samples_of(run):
        samples[int(sample["round"]), sample["scenario"]].append(sample)
    nothing = RankRows({}, {})
    swaps = []
    for index, (row, worker) in enumerate(zip(run.swaps, _workers(run.swaps), strict=True)):
        # A target of one process has its own rows for the whole; of several ranks, those without a rank are.
        by_rank = dict(measured.get(key_of(row), {}))
        several = None in by_rank
        whole = by_rank.pop(None, None) or by_rank.get(0, nothing)
        extremes, growth = _seen_during(row, samples.get((int(row["round"]), row["scenario"])))
        swap = Swap(
            **{name: row[name] for name in _PLAIN},
            index=index,
            worker=worker,
            round=int(row["round"]),
            figures=_recorded(row, {name: name for name in _FIGURES}),
            settled=_ledgers(row, "settled_{}_bytes"),
            released=_ledgers(row, "released_{}_bytes"),
            phases=whole.phases,
            spans=whole.spans,
            ranks={rank: rows for rank, rows in by_rank.items() if rank is not None} if several else {},
            extremes=extremes,
            swap_used_growth_bytes=growth,
        )
        swaps.append(swap)
    return tuple(swaps)


def samples_of(run: Run) -> Sequence[Row]:
    """The samples of what swaps. The parent sees the worker and its children: what the worker sees of itself,
    also when it can't look. But where servers or ranks are swapped, the worker is one process more, which
    only watches them."""
    watches = run.info.server is not None or run.info.experiment.get("target") == "sharded"
    return [row for row in run.memory if row["observer"] != "parent"] if watches else run.memory


def rank_of_all(rows: Iterable[Row]) -> float | None:
    """Whose rows of phases.csv stand for a swap's whole target: of several ranks, those that name none. Where
    a swap broke off, only single ranks may have got as far as rows: the first of them."""
    ranks = {number(row["rank"]) for row in rows}
    return None if None in ranks else min((rank for rank in ranks if rank is not None), default=None)


def _measured_by_swap(rows: Iterable[Row]) -> Mapping[SwapKey, Mapping[int | None, RankRows]]:
    entered: dict[SwapKey, dict[float | None, dict[str, list[Row]]]] = {}
    for row in rows:
        name = f"{row['phase']}/{row['span']}" if row["span"] else row["phase"]
        by_rank = entered.setdefault(key_of(row), {})
        by_rank.setdefault(number(row["rank"]), {}).setdefault(name, []).append(row)
    found: dict[SwapKey, dict[int | None, RankRows]] = {}
    for key, by_rank in entered.items():
        for rank, parts in by_rank.items():
            together = {name: _together(times) for name, times in parts.items()}
            found.setdefault(key, {})[None if rank is None else int(rank)] = RankRows(
                phases={name: part for name, part in together.items() if "/" not in name},
                spans={name: part for name, part in together.items() if "/" in name},
            )
    return found


def _together(entered: Sequence[Row]) -> Measured:
    """All the times that a phase, or a span, was entered: they add up."""

    def total(column: str) -> float | None:
        values = [number(row[column]) for row in entered]
        known = [value for value in values if value is not None]
        return math.fsum(known) if len(known) == len(values) else None

    peaks = [peak for row in entered if (peak := number(row["mlx_peak_bytes"])) is not None]
    return Measured(
        seconds=_lasted_s(entered),
        before=_ledgers(entered[0], "{}_before_bytes"),
        after=_ledgers(entered[-1], "{}_after_bytes"),
        mlx_peak_bytes=max(peaks, default=None),
        major_faults=total("major_faults"),
        disk_read_bytes=total("disk_read_bytes"),
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


def _seen_during(row: Row, samples: Sequence[Row] | None) -> tuple[Ledgers, float | None]:
    """By the samples taken during a swap, first token included: the most of each ledger, and by how much the
    machine's swap in use grew."""
    start_s = number(row["start_s"])
    lasted_s = number(row["to_first_token_s"]) or number(row["total_s"])
    if samples is None or start_s is None or lasted_s is None:
        return {}, None
    during = [sample for sample in samples if start_s <= sample["t_s"] <= start_s + lasted_s]
    most: dict[str, float] = {}
    for ledger in ALL_LEDGERS:
        values = [value for one in during if (value := number(one[f"{ledger}_bytes"])) is not None]
        if values:
            most[ledger] = min(values) if ledger == COUNTS_DOWN else max(values)
    # The parent's samples have none.
    used = [value for one in during if (value := number(one["swap_used_bytes"])) is not None]
    return most, max(used) - used[0] if used else None


def _workers(rows: Iterable[Row]) -> list[int]:
    """Which worker process carried out each swap: memory is compared only within one. A new worker begins to
    count its swaps again. And after a swap that failed without being rolled back, what the process holds is
    anyone's guess: what follows counts as another worker."""
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


def _ledgers(row: Row, column: str) -> dict[str, float]:
    return _recorded(row, {ledger: column.format(ledger) for ledger in ALL_LEDGERS})


def _recorded(row: Row, columns: Mapping[str, str]) -> dict[str, float]:
    return {name: value for name, column in columns.items() if (value := number(row[column])) is not None}


@dataclass(frozen=True)
class Headlined:
    """A counted swap with its headline figure in seconds, which is never 0: logarithms are taken of it.
    `first` is whether it is the first of its scenario in its worker process, which pays for what later ones
    find done: kernels compiled, allocators grown, libraries read."""

    swap: Swap
    seconds: float
    first: bool


def headline_figure(counted: Sequence[Swap]) -> HeadlineFigure:
    """The figure that the counted swaps of one scenario stand for."""
    return phases.headline_figure(len(counted), sum("to_first_token_s" in swap.figures for swap in counted))


def headlines_by_scenario(swaps: Sequence[Swap]) -> Mapping[str, Sequence[Headlined]]:
    """The counted swaps of each scenario in the order in which they were carried out."""
    first_of: dict[tuple[int, str], int] = {}
    by_scenario: dict[str, list[Swap]] = {}
    for swap in swaps:
        its = by_scenario.setdefault(swap.scenario, [])
        if swap.status == "ok":
            first_of.setdefault((swap.worker, swap.scenario), swap.index)
        if swap.counted:
            its.append(swap)
    firsts = set(first_of.values())
    found: dict[str, list[Headlined]] = {}
    for scenario, counted in by_scenario.items():
        figure = f"{headline_figure(counted)}_s"
        having = [(swap, swap.figures[figure]) for swap in counted if swap.figures.get(figure, 0.0) > 0]
        found[scenario] = [Headlined(swap, seconds, swap.index in firsts) for swap, seconds in having]
    return found
