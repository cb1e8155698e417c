"""A run's workers on one clock: each measures on its own, whose zero is when it began."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
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
    rows, epochs = run.memory, _epochs(run.memory)
    swaps = _swaps(run, rows, epochs)
    _tell_workers(swaps)
    clocks = _Clocks()
    own = [clocks.add(swap) for swap in swaps]
    samples = list(_of_workers(swaps, rows, epochs))
    for worker, seconds, _ in samples:
        clocks.reach(worker, seconds)
    zeros = clocks.zeros()
    return Placed(
        swaps=tuple(_placed(swap, zeros[swap.worker], *at) for swap, at in zip(swaps, own, strict=True)),
        workers=tuple(
            PlacedWorker(worker, _arm(swaps, worker), zero, zero + clocks.end_s[worker])
            for worker, zero in zeros.items()
        ),
        samples=tuple((zeros[worker] + seconds, row) for worker, seconds, row in samples),
    )


def _of_workers(
    swaps: Sequence[_ClockedSwap], samples: Sequence[Row], epochs: Sequence[int]
) -> Iterator[tuple[int, float, Row]]:
    """Each sample with its worker, which is that of the first swap on the same clock."""
    of_epoch = {swap.epoch: swap.worker for swap in reversed(swaps) if swap.epoch is not None}
    for row, epoch in zip(samples, epochs, strict=True):
        seconds = number(row["t_s"])
        if epoch in of_epoch and seconds is not None:
            yield of_epoch[epoch], seconds, row


class _Clocks:
    """How far each worker's clock is known to have come, and where the next swap of it can begin."""

    def __init__(self) -> None:
        self.end_s: dict[int, float] = {}
        self._free_s: dict[int, float] = {}

    def add(self, swap: _ClockedSwap) -> tuple[float, float]:
        """When a swap began and ended on its worker's clock."""
        free_s = self._free_s.get(swap.worker, 0.0)
        start_s = number(swap.row.get("start_s"))
        if start_s is None:
            start_s = max(free_s, min(swap.samples_s, default=free_s))
        end_s = start_s + _length_s(swap)
        self._free_s[swap.worker] = end_s + (number(swap.row.get("rollback_s")) or 0.0)
        self.reach(swap.worker, end_s)
        return start_s, end_s

    def reach(self, worker: int, seconds: float) -> None:
        """Something of this worker's is known at this time."""
        self.end_s[worker] = max(seconds, self.end_s.get(worker, 0.0))

    def zeros(self) -> dict[int, float]:
        """Where each worker's zero comes to lie."""
        zeros, end_s = {}, 0.0
        for worker in sorted(self.end_s):
            zeros[worker] = end_s
            end_s += self.end_s[worker]
        return zeros


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


def _arm(swaps: Sequence[_ClockedSwap], worker: int) -> str:
    return next(swap.key[0] for swap in swaps if swap.worker == worker)


def _swaps(run: Run, samples: Sequence[Row], epochs: Sequence[int]) -> list[_ClockedSwap]:
    """Every swap of swaps.csv, then what was begun and has no row there."""
    swaps = {key_of(row): _ClockedSwap(key_of(row), row) for row in run.swaps}
    for row in run.phases:
        swaps.setdefault(key_of(row), _ClockedSwap(key_of(row), _NOTHING)).phases.append(row)
    # Samples from before there were strategies name none.
    unnamed = {(*key[:2], "", key[3]): key for key in swaps}
    for row, epoch in zip(samples, epochs, strict=True):
        key = unnamed.get(key_of(row), key_of(row))
        seconds = number(row["t_s"])
        if row["scenario"] and seconds is not None:
            swap = swaps.setdefault(key, _ClockedSwap(key, _NOTHING))
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
    """Number the workers: another one has begun where turn, count of swaps, clock or samples say so."""
    worker, latest = 0, dict[str, float]()
    counts = any(number(swap.row.get("position")) is not None for swap in swaps)
    lost = False
    for swap in swaps:
        told = _told(swap)
        if lost or any(_begins_again(name, latest[name], told[name]) for name in told if name in latest):
            worker, latest = worker + 1, {}
        latest |= told
        swap.worker = worker
        # The parent writes the row of a swap in which the worker ended, and counts nothing.
        lost = counts and bool(swap.row) and "position" not in told


def _told(swap: _ClockedSwap) -> dict[str, float]:
    """By what workers can be told apart, as far as it was recorded."""
    told = {name: number(swap.row.get(name)) for name in ("position", "start_s", "turn")}
    told["epoch"] = swap.epoch
    return {name: value for name, value in told.items() if value is not None}


def _begins_again(name: str, was: float, now: float) -> bool:
    """A count and a clock go up within one worker; its turn, and the clock of its samples, are the same."""
    return now <= was if name in ("position", "start_s") else now != was
