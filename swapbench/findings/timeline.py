"""A run on one clock: rounds, swaps, phases and spans, ledgers, clients' requests and failures."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, groupby
from typing import Any, Final

from swapbench.base.phases import ALL_LEDGERS, LEDGER_LABELS
from swapbench.findings.swaps import key_of, rank_of_all
from swapbench.store import Run
from swapbench.store.tables import Row, number
from swapbench.wire.swap import SwapKey

Fact = str | int | float | bool

# A row, and when it was, in seconds.
_Timed = tuple[float, Row]

# Begin and end are rounded each on its own.
_ROUNDING_US: Final = 1

# What says where a row belongs, not what was measured.
_WHOSE: Final = frozenset(("run_id", "rank", "arm", "phase", "span"))

_NO_START: Final = "not recorded: laid where its first sample or the swap before lets it"


@dataclass(frozen=True)
class Slice:
    """Something that takes time, or none, in microseconds on the run's clock."""

    name: str
    kind: str
    start_us: int
    end_us: int
    facts: Mapping[str, Fact] = field(default_factory=dict)


@dataclass(frozen=True)
class ArmTimeline:
    """One arm of a run, or the whole run where it compares nothing (`arm` is empty then). Slices of a track
    are in order, and none overlaps another in part. Counters are bytes over time: each time once. Requests
    end with their last known time, and have one for their first token, or None."""

    arm: str
    label: str
    tracks: Mapping[str, Sequence[Slice]]
    counters: Mapping[str, Sequence[tuple[int, int]]]
    failures: Sequence[Slice]
    requests: Sequence[tuple[Slice, int | None]]


@dataclass
class _Placed:
    """A swap on its worker's clock, then on the run's; `row` is empty for one that the run did not finish."""

    key: SwapKey
    row: Row
    worker: int
    phases: list[Row] = field(default_factory=list)
    samples_s: list[float] = field(default_factory=list)
    epoch: int | None = None
    start_s: float = 0.0
    end_s: float = 0.0

    def number(self, column: str) -> float | None:
        return number(self.row.get(column))

    def parts(self) -> Iterator[_Timed]:
        """Phases and spans since its start; published ones have no times, and follow each other."""
        end_s = begun_s = 0.0
        for row in self.phases:
            at_s = number(row["start_s"])
            if at_s is None:
                at_s = begun_s if row["span"] else end_s
            yield at_s, row
            if not row["span"]:
                begun_s, end_s = at_s, max(end_s, at_s + (number(row["seconds"]) or 0.0))

    def of_rank(self, rank: float | None) -> list[_Timed]:
        return [(self.start_s + at_s, row) for at_s, row in self.parts() if number(row["rank"]) == rank]

    def of_all(self) -> list[_Timed]:
        return self.of_rank(rank_of_all(self.phases))


def timeline_of(run: Run) -> tuple[ArmTimeline, ...]:
    """The timelines of a run's arms, all on one clock; one arm taken out of a run is a run by itself. The
    run's clock begins with the first worker's; each worker follows the one before at once, for nobody has
    measured what lies between them. Samples of a worker that carried out no swap are left out."""
    swaps = _begun(run)
    of_epoch = {swap.epoch: swap.worker for swap in reversed(swaps) if swap.epoch is not None}
    samples = [
        (of_epoch[epoch], number(row["t_s"]) or 0.0, row)
        for row, epoch in _epochs(run.memory)
        if epoch in of_epoch
    ]
    # How far each worker's clock is known to have come, and where its next swap can begin.
    ends_s: dict[int, float] = defaultdict(float)
    free_s: dict[int, float] = defaultdict(float)
    for swap in swaps:
        start_s, free = swap.number("start_s"), free_s[swap.worker]
        swap.start_s = max(free, min(swap.samples_s, default=free)) if start_s is None else start_s
        lasted_s = [swap.number(name) or 0.0 for name in ("to_first_token_s", "total_s")]
        lasted_s += [at_s + (number(row["seconds"]) or 0.0) for at_s, row in swap.parts()]
        swap.end_s = swap.start_s + max(lasted_s)
        free_s[swap.worker] = swap.end_s + (swap.number("rollback_s") or 0.0)
        ends_s[swap.worker] = max(ends_s[swap.worker], swap.end_s)
    for worker, at_s, _ in samples:
        ends_s[worker] = max(ends_s[worker], at_s)
    zeros = list(accumulate((ends_s[worker] for worker in sorted(ends_s)), initial=0.0))
    for swap in swaps:
        swap.start_s, swap.end_s = zeros[swap.worker] + swap.start_s, zeros[swap.worker] + swap.end_s
    placed = [(zeros[worker] + at_s, row) for worker, at_s, row in samples]
    if not run.info.arms:
        return (_arm(run, "", "", swaps, placed, zeros),)
    return tuple(
        _arm(
            run,
            arm.name,
            arm.label,
            [swap for swap in swaps if swap.key[0] == arm.name],
            [(at_s, row) for at_s, row in placed if row["arm"] == arm.name],
            zeros,
        )
        for arm in run.info.arms
    )


def _begun(run: Run) -> list[_Placed]:
    """Every swap of swaps.csv, then what was begun and has no row there, each with its worker."""
    swaps: dict[SwapKey, _Placed] = {}
    worker, latest, lost = 0, -1.0, False
    rows = {key_of(row): row for row in run.swaps}
    counts = any(number(row["position"]) is not None for row in rows.values())
    turn = next((number(row["turn"]) for row in run.swaps), None)
    for key, row in rows.items():
        position = number(row["position"])
        if lost or number(row["turn"]) != turn or (position is not None and position <= latest):
            worker, latest, turn = worker + 1, -1.0, number(row["turn"])
        latest = latest if position is None else position
        # The parent writes the row of a swap in which the worker ended, and counts nothing.
        lost = counts and position is None
        swaps[key] = _Placed(key, row, worker)
    for row in run.phases:
        swaps.setdefault(key_of(row), _Placed(key_of(row), {}, worker + lost)).phases.append(row)
    for row, epoch in _epochs(run.memory):
        if row["scenario"] and (seconds := number(row["t_s"])) is not None:
            swap = swaps.setdefault(key_of(row), _Placed(key_of(row), {}, worker + lost))
            swap.epoch = epoch if swap.epoch is None else swap.epoch
            if swap.epoch == epoch:
                swap.samples_s.append(seconds)
    # Where its samples' clock has begun again, what has no row is of another worker than the row before it.
    epochs = [swap.epoch for swap in swaps.values() if swap.row and swap.worker == worker and not lost]
    last = next((epoch for epoch in reversed(epochs) if epoch is not None), None)
    for swap in swaps.values():
        if not swap.row and last is not None and swap.epoch not in (None, last):
            swap.worker = worker + 1
    return list(swaps.values())


def _epochs(samples: Iterable[Row]) -> Iterator[tuple[Row, int]]:
    """Each sample, and which clock it was taken on: one observer's time never runs backwards."""
    epoch, latest = 0, dict[str, float]()
    for row in samples:
        seconds, observer = number(row["t_s"]) or 0.0, str(row["observer"])
        if seconds < latest.get(observer, 0.0):
            epoch, latest = epoch + 1, {}
        latest[observer] = seconds
        yield row, epoch


def _arm(
    run: Run,
    arm: str,
    label: str,
    swaps: Sequence[_Placed],
    samples: Sequence[_Timed],
    zeros: Sequence[float],
) -> ArmTimeline:
    workers = sorted({swap.worker for swap in swaps})
    clocks: Mapping[str, Fact] = {"clock": "its zero is where this begins"}
    lasting = [Slice(f"worker {i + 1}", "worker", _us(zeros[i]), _us(zeros[i + 1]), clocks) for i in workers]
    tracks = {
        **_tracks("rounds and swaps", nested(_rounds(swaps))),
        **_phases_and_spans("", [swap.of_all() for swap in swaps]),
        **_tracks("workers", nested(lasting)),
    }
    # A target of one process has no ranks to tell apart.
    ranks = {number(row["rank"]) for swap in swaps for row in swap.phases}
    for rank in sorted(rank for rank in ranks if rank is not None and None in ranks):
        tracks |= _phases_and_spans(f"rank {int(rank)}: ", [swap.of_rank(rank) for swap in swaps])
    return ArmTimeline(
        arm=arm,
        label=label,
        tracks=tracks,
        counters={name: points for name, points in _counters(swaps, samples) if points},
        failures=list(_failures(swaps)),
        requests=list(_requests(run, swaps)),
    )


def nested(slices: Iterable[Slice]) -> list[list[Slice]]:
    """The slices on as few tracks as the first fit gives, so that none overlaps another in part. They are
    taken as they come where they begin together: what encloses others has to come first."""
    tracks: list[list[Slice]] = []
    open_ends: list[list[int]] = []
    for piece in sorted(slices, key=lambda piece: piece.start_us):
        for track, ends in zip(tracks, open_ends, strict=True):
            if (fitted := _fit(piece, ends)) is not None:
                track.append(fitted)
                break
        else:
            tracks.append([piece])
            open_ends.append([piece.end_us])
    return tracks


def _fit(piece: Slice, ends: list[int]) -> Slice | None:
    """The slice, opened on a track behind or within what is open there; None where it doesn't fit."""
    while ends and ends[-1] <= piece.start_us:
        ends.pop()
    if ends and ends[-1] - piece.start_us <= _ROUNDING_US < piece.end_us - piece.start_us:
        return _fit(replace(piece, start_us=ends.pop()), ends)
    if ends and piece.end_us > ends[-1]:
        if piece.end_us - ends[-1] > _ROUNDING_US:
            return None
        piece = replace(piece, end_us=ends[-1])
    ends.append(piece.end_us)
    return piece


def _tracks(name: str, nests: Iterable[list[Slice]]) -> dict[str, list[Slice]]:
    return {name if i == 1 else f"{name} ({i})": slices for i, slices in enumerate(nests, start=1)}


def _phases_and_spans(whose: str, swaps: Iterable[list[_Timed]]) -> dict[str, list[Slice]]:
    """Phases with the spans that lie within them; then tracks of spans that overlap others, or a phase."""

    def by_start(piece: Slice) -> tuple[int, int]:
        return piece.start_us, -piece.end_us  # what encloses others comes first

    inside: list[Slice] = []
    outside: list[Slice] = []
    for rows in swaps:
        # A part of a span is written before the span itself, which ends after it.
        spans = [_part(at_s, row) for at_s, row in rows if row["span"]]
        for phase in (_part(at_s, row) for at_s, row in rows if not row["span"]):
            of_phase = [
                span
                for span in spans
                if span.name.startswith(f"{phase.name}/")
                and phase.start_us <= span.start_us
                and span.end_us <= phase.end_us
            ]
            inside += [phase, *sorted(of_phase, key=by_start)]
            spans = [span for span in spans if span not in of_phase]
        outside += spans
    tracks = nested(inside)
    overlapping = sorted((*(piece for track in tracks[1:] for piece in track), *outside), key=by_start)
    return {
        **_tracks(f"{whose}phases and spans", tracks[:1]),
        **_tracks(f"{whose}spans that overlap", nested(overlapping)),
    }


def _part(at_s: float, row: Row) -> Slice:
    name = f"{row['phase']}/{row['span']}" if row["span"] else str(row["phase"])
    end_us = _us(at_s + (number(row["seconds"]) or 0.0))
    return Slice(name, "span" if row["span"] else "phase", _us(at_s), end_us, _facts(row))


def _us(seconds: float) -> int:
    return max(0, round(seconds * 1e6))


def _rounds(swaps: Sequence[_Placed]) -> Iterator[Slice]:
    """Each round of each worker, then what is in it."""
    several = len({swap.key[2] for swap in swaps}) > 1
    for (worker, number_), group in groupby(swaps, key=lambda swap: (swap.worker, swap.key[1])):
        within = [piece for swap in group for piece in _swap_slices(swap, several)]
        mark = ", warm-up" if within[0].facts.get("warmup") is True else ""
        start_us, end_us = min(p.start_us for p in within), max(p.end_us for p in within)
        facts: dict[str, Fact] = {"round": number_, "worker": worker + 1}
        yield Slice(f"round {number_}{mark}", "round", start_us, end_us, facts)
        yield from within


def _swap_slices(swap: _Placed, several: bool) -> Iterator[Slice]:
    """The swap, and going back to the old model after it."""
    start_known = swap.number("start_s") is not None
    facts = _facts(swap.row) | {"worker": swap.worker + 1}
    if not swap.row:
        facts |= {"status": "not finished", "warmup": any(bool(row["warmup"]) for row in swap.phases)}
    if not start_known:
        facts |= {"start": _NO_START}
    name = f"{swap.key[3]} ({swap.key[2]})" if several else swap.key[3]
    mark = ", warm-up" if facts["warmup"] is True else ""
    yield Slice(f"{name}{mark}", "swap", _us(swap.start_s), _us(swap.end_s), facts)
    rollback_s = swap.number("rollback_s")
    if rollback_s is not None and start_known:
        end_us = _us(swap.end_s + rollback_s)
        yield Slice("rolling back", "rollback", _us(swap.end_s), end_us, {"rollback_s": rollback_s})


def _facts(row: Row) -> dict[str, Fact]:
    """What a row says, under its columns' names; what was not recorded is left out."""
    facts: dict[str, Fact] = {}
    for name, value in row.items():
        if name in _WHOSE or value == "":
            continue
        if isinstance(value, str) or value is True or value is False:
            facts[name] = value
        elif (figure := number(value)) is not None:
            facts[name] = int(figure) if figure.is_integer() else figure
    return facts


def _counters(
    swaps: Sequence[_Placed], samples: Sequence[_Timed]
) -> Iterator[tuple[str, list[tuple[int, int]]]]:
    """Every ledger: as the worker sees it, in samples and around phases, and as the parent does."""
    outside = [(at_s, row) for at_s, row in samples if row["observer"] == "parent"]
    inside = [(at_s, row) for at_s, row in samples if row["observer"] != "parent"]
    phases = [(at_s, row) for swap in swaps for at_s, row in swap.of_all() if not row["span"]]
    for ledger in ALL_LEDGERS:
        label, column = LEDGER_LABELS[ledger], f"{ledger}_bytes"
        around = [
            when
            for at_s, row in phases
            for when in (
                (at_s, row[f"{ledger}_before_bytes"]),
                (at_s + (number(row["seconds"]) or 0.0), row[f"{ledger}_after_bytes"]),
            )
        ]
        yield label, _points([*((at_s, row[column]) for at_s, row in inside), *around])
        yield f"{label}, seen from outside", _points((at_s, row[column]) for at_s, row in outside)
    yield "machine's swap used", _points((at_s, row["swap_used_bytes"]) for at_s, row in inside)


def _points(cells: Iterable[tuple[float, Any]]) -> list[tuple[int, int]]:
    """One value a microsecond, the latest; a value that stays is said once, and again at the very end."""
    recorded = [(at_s, value) for at_s, cell in cells if (value := number(cell)) is not None]
    latest = {_us(at_s): int(value) for at_s, value in sorted(recorded, key=lambda point: point[0])}
    end = max(latest, default=0)
    kept: list[tuple[int, int]] = []
    for at_us, value in latest.items():
        if not kept or kept[-1][1] != value or at_us == end:
            kept.append((at_us, value))
    return kept


def _failures(swaps: Iterable[_Placed]) -> Iterator[Slice]:
    """Failed, rolled back, refused and invalid swaps, where they ended."""
    for swap in swaps:
        if swap.row and not (swap.row["status"] == "ok" and swap.row["valid"]):
            status = "invalid" if swap.row["status"] == "ok" else str(swap.row["status"]).replace("_", " ")
            at_us = _us(swap.end_s)
            yield Slice(f"{swap.key[3]}: {status}", "failure", at_us, at_us, _facts(swap.row))


def _requests(run: Run, swaps: Sequence[_Placed]) -> Iterator[tuple[Slice, int | None]]:
    starts = {swap.key: swap.start_s for swap in swaps}
    for row in run.requests:
        sent_s, start_s = number(row["sent_s"]), starts.get(key_of(row))
        if start_s is None or sent_s is None:
            continue
        first_s, answered_s = number(row["first_token_s"]), number(row["answered_s"])
        end_s = next(s for s in (answered_s, first_s, sent_s) if s is not None)
        name = f"client {int(number(row['client']) or 0)}"
        end_us = _us(start_s + max(end_s, sent_s))
        first_us = None if first_s is None else _us(start_s + first_s)
        yield Slice(name, "request", _us(start_s + sent_s), end_us, _facts(row)), first_us
