"""A run's workers on one clock: each measures on its own, whose zero is when it began."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from swapbench.findings.swaps import Key, key_of
from swapbench.store import Run
from swapbench.store.tables import Row, number

_NOTHING: Final[Row] = {}


@dataclass(frozen=True)
class PlacedSwap:
    """A swap with its place on the run's clock; `row` is empty for one that the run did not finish.

    `start_known` is whether the worker wrote down when it was asked for. `phases` are its rows of phases.csv
    with `at_s`, when each began on the run's clock.
    """

    key: Key
    worker: int
    start_s: float
    end_s: float
    start_known: bool
    row: Row
    phases: tuple[tuple[float, Row], ...]


@dataclass(frozen=True)
class PlacedWorker:
    """A worker process: its arm, and from when to when anything is known of it."""

    number: int
    arm: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Placed:
    """The whole run on one clock, which begins with the first worker's; each worker follows the one before
    at once, for nobody has measured what lies between them."""

    swaps: tuple[PlacedSwap, ...]
    workers: tuple[PlacedWorker, ...]
    samples: tuple[tuple[float, Row], ...]

    def only(self, arm: str) -> "Placed":
        """What is of one arm, where it lies."""
        return Placed(
            swaps=tuple(swap for swap in self.swaps if swap.key[0] == arm),
            workers=tuple(worker for worker in self.workers if worker.arm == arm),
            samples=tuple((at_s, row) for at_s, row in self.samples if row["arm"] == arm),
        )


@dataclass
class _ClockedSwap:
    """A swap on its worker's own clock."""

    key: Key
    row: Row
    phases: list[Row] = field(default_factory=list)
    samples_s: list[float] = field(default_factory=list)
    epoch: int | None = None
    worker: int = 0


def place(run: Run) -> Placed:
    """Lay the clocks of a run's workers one after another.

    Samples of a worker that carried out no swap are left out.
    """
    epochs = _epochs(run.memory)
    swaps = _swaps(run, epochs)
    _tell_workers(swaps)
    # How far each worker's clock is known to have come, and where its next swap can begin.
    ends_s: dict[int, float] = {}
    free_s: dict[int, float] = {}
    own: list[tuple[float, float]] = []
    for swap in swaps:
        start_s = number(swap.row.get("start_s"))
        if start_s is None:
            free = free_s.get(swap.worker, 0.0)
            start_s = max(free, min(swap.samples_s, default=free))
        end_s = start_s + _length_s(swap)
        free_s[swap.worker] = end_s + (number(swap.row.get("rollback_s")) or 0.0)
        ends_s[swap.worker] = max(end_s, ends_s.get(swap.worker, 0.0))
        own.append((start_s, end_s))
    # A sample is of the worker that carried out the first swap on the same clock.
    of_epoch = {swap.epoch: swap.worker for swap in reversed(swaps) if swap.epoch is not None}
    samples = [
        (of_epoch[epoch], seconds, row)
        for row, epoch in zip(run.memory, epochs, strict=True)
        if epoch in of_epoch and (seconds := number(row["t_s"])) is not None
    ]
    for worker, seconds, _ in samples:
        ends_s[worker] = max(seconds, ends_s[worker])
    order = sorted(ends_s)
    zeros = dict(zip(order, accumulate((ends_s[worker] for worker in order), initial=0.0), strict=False))
    arms = {swap.worker: swap.key[0] for swap in reversed(swaps)}
    return Placed(
        swaps=tuple(_placed(swap, zeros[swap.worker], *at) for swap, at in zip(swaps, own, strict=True)),
        workers=tuple(
            PlacedWorker(worker, arms[worker], zero, zero + ends_s[worker]) for worker, zero in zeros.items()
        ),
        samples=tuple((zeros[worker] + seconds, row) for worker, seconds, row in samples),
    )


def _length_s(swap: _ClockedSwap) -> float:
    """From the request to the last that is known of it: first token, total, or the end of a phase."""
    ends = [number(swap.row.get(name)) for name in ("to_first_token_s", "total_s")]
    ends += [at_s + (number(row["seconds"]) or 0.0) for at_s, row in _own_phases(swap)]
    return max((end for end in ends if end is not None), default=0.0)


def _own_phases(swap: _ClockedSwap) -> Iterator[tuple[float, Row]]:
    """Phases and spans since the swap's start; published ones have no times, and follow each other."""
    end_s = begun_s = 0.0
    for row in swap.phases:
        start_s = number(row["start_s"])
        if start_s is None:
            start_s = begun_s if row["span"] else end_s
        yield start_s, row
        if not row["span"]:
            begun_s, end_s = start_s, max(end_s, start_s + (number(row["seconds"]) or 0.0))


def _placed(swap: _ClockedSwap, zero_s: float, start_s: float, end_s: float) -> PlacedSwap:
    return PlacedSwap(
        key=swap.key,
        worker=swap.worker,
        start_s=zero_s + start_s,
        end_s=zero_s + end_s,
        start_known=number(swap.row.get("start_s")) is not None,
        row=swap.row,
        phases=tuple((zero_s + start_s + at_s, row) for at_s, row in _own_phases(swap)),
    )


def _swaps(run: Run, epochs: Sequence[int]) -> list[_ClockedSwap]:
    """Every swap of swaps.csv, then what was begun and has no row there."""
    swaps = {key_of(row): _ClockedSwap(key_of(row), row) for row in run.swaps}
    for row in run.phases:
        swaps.setdefault(key_of(row), _ClockedSwap(key_of(row), _NOTHING)).phases.append(row)
    for row, epoch in zip(run.memory, epochs, strict=True):
        seconds = number(row["t_s"])
        if row["scenario"] and seconds is not None:
            swap = swaps.setdefault(key_of(row), _ClockedSwap(key_of(row), _NOTHING))
            swap.epoch = epoch if swap.epoch is None else swap.epoch
            if swap.epoch == epoch:
                swap.samples_s.append(seconds)
    return list(swaps.values())


def _epochs(samples: Iterable[Row]) -> list[int]:
    """For each sample which clock it was taken on: one observer's time never runs backwards."""
    epochs = []
    epoch, latest = 0, dict[str, float]()
    for row in samples:
        seconds, observer = number(row["t_s"]) or 0.0, str(row["observer"])
        if seconds < latest.get(observer, 0.0):
            epoch, latest = epoch + 1, {}
        latest[observer] = seconds
        epochs.append(epoch)
    return epochs


def _tell_workers(swaps: Sequence[_ClockedSwap]) -> None:
    """Number the workers: another one has begun where turn, count of swaps or samples say so."""
    worker, latest = 0, dict[str, float]()
    counts = any(number(swap.row.get("position")) is not None for swap in swaps)
    lost = False
    for swap in swaps:
        recorded = {name: number(swap.row.get(name)) for name in ("position", "turn")}
        recorded["epoch"] = swap.epoch
        told = {name: value for name, value in recorded.items() if value is not None}
        # A count goes up within one worker; its turn, and the clock of its samples, are the same.
        begun_again = any(
            told[name] <= latest[name] if name == "position" else told[name] != latest[name]
            for name in told.keys() & latest.keys()
        )
        if lost or begun_again:
            worker, latest = worker + 1, {}
        latest |= told
        swap.worker = worker
        # The parent writes the row of a swap in which the worker ended, and counts nothing.
        lost = counts and bool(swap.row) and "position" not in told
