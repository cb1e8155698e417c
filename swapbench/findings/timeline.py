"""A run as a timeline: rounds, swaps, phases and spans, ledgers, clients' requests and failures."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Final

from swapbench.base.phases import ALL_LEDGERS, LEDGER_LABELS
from swapbench.findings.clocks import Placed, PlacedSwap, place
from swapbench.findings.swaps import key_of
from swapbench.store import Run
from swapbench.store.tables import Row, number

Fact = str | int | float | bool

# Begin and end are rounded each on its own.
_ROUNDING_US = 1


@dataclass(frozen=True)
class Slice:
    """Something that takes time, in microseconds on the run's clock."""

    name: str
    kind: str
    start_us: int
    end_us: int
    facts: Mapping[str, Fact] = field(default_factory=dict)


def nested(slices: Iterable[Slice]) -> list[list[Slice]]:
    """The slices on as few tracks as the first fit gives, so that none overlaps another in part.

    They are taken as they come where they begin together: what encloses others has to come first.
    """
    tracks: list[list[Slice]] = []
    open_ends: list[list[int]] = []
    for piece in sorted(slices, key=lambda piece: piece.start_us):
        for track, ends in zip(tracks, open_ends, strict=True):
            fitted = _fit(piece, ends)
            if fitted is not None:
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
        piece = replace(piece, start_us=ends.pop())
        return _fit(piece, ends)
    if ends and piece.end_us > ends[-1]:
        if piece.end_us - ends[-1] > _ROUNDING_US:
            return None
        piece = replace(piece, end_us=ends[-1])
    ends.append(piece.end_us)
    return piece


# What says where a row belongs, not what was measured.
_WHOSE: Final = frozenset(("run_id", "rank", "arm", "phase", "span"))

_NO_START: Final = "not recorded: laid where its first sample or the swap before lets it"


@dataclass(frozen=True)
class Track:
    """Slices under one name, in order of time; none overlaps another in part."""

    name: str
    slices: tuple[Slice, ...]


@dataclass(frozen=True)
class CounterTrack:
    """A ledger over time, in bytes: (microseconds, value), each time once and later than the one before."""

    name: str
    points: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Moment:
    """Something that happened at one time."""

    name: str
    kind: str
    at_us: int
    facts: dict[str, Fact]


@dataclass(frozen=True)
class RequestSlice:
    """A client's request; it ends with its last known time."""

    client: int
    sent_us: int
    first_token_us: int | None
    end_us: int
    facts: dict[str, Fact]


@dataclass(frozen=True)
class ArmTimeline:
    """One arm of a run, or the whole run where it compares nothing (`arm` is empty then)."""

    arm: str
    label: str
    tracks: tuple[Track, ...]
    counters: tuple[CounterTrack, ...]
    failures: tuple[Moment, ...]
    requests: tuple[RequestSlice, ...]


def timeline_of(run: Run) -> tuple[ArmTimeline, ...]:
    """The timelines of a run's arms, all on one clock; one arm taken out of a run is a run by itself."""
    placed = place(run)
    if not run.info.arms:
        return (_arm(run, placed),)
    return tuple(_arm(run, placed.only(arm.name), arm.name, arm.label) for arm in run.info.arms)


def _arm(run: Run, placed: Placed, arm: str = "", label: str = "") -> ArmTimeline:
    several = len({swap.key[2] for swap in placed.swaps}) > 1
    tracks = [
        *_tracks("rounds and swaps", nested(_rounds(placed.swaps, several))),
        *_measured("", [_of_all(swap) for swap in placed.swaps]),
        *_tracks("workers", nested(_workers(placed))),
    ]
    for rank in _ranks(placed.swaps):
        tracks += _measured(f"rank {rank}: ", [_of_rank(swap, rank) for swap in placed.swaps])
    return ArmTimeline(
        arm=arm,
        label=label,
        tracks=tuple(tracks),
        counters=tuple(_counters(placed)),
        failures=tuple(_failures(placed.swaps)),
        requests=tuple(_requests(run, placed.swaps)),
    )


def _ranks(swaps: Iterable[PlacedSwap]) -> list[int]:
    """The ranks of a target of several; a target of one has none to tell apart."""
    ranks = {number(row["rank"]) for swap in swaps for _, row in swap.phases}
    return sorted(int(rank) for rank in ranks if rank is not None) if None in ranks else []


_Rows = list[tuple[float, Row]]


def _of_all(swap: PlacedSwap) -> _Rows:
    """Phases and spans of the whole target: of several ranks, those that name none, or else the first's."""
    ranks = {number(row["rank"]) for _, row in swap.phases}
    named = [rank for rank in ranks if rank is not None]
    return _of_rank(swap, None if None in ranks else min(named, default=None))


def _of_rank(swap: PlacedSwap, rank: float | None) -> _Rows:
    return [(at_s, row) for at_s, row in swap.phases if number(row["rank"]) == rank]


def _measured(whose: str, swaps: Sequence[_Rows]) -> Iterator[Track]:
    """Phases with the spans that lie within them; then tracks of spans that overlap others, or a phase."""
    inside: list[Slice] = []
    outside: list[Slice] = []
    for rows in swaps:
        phases = [_slice(at_s, row) for at_s, row in rows if not row["span"]]
        # A part of a span is written before the span itself, which ends after it.
        spans = [_slice(at_s, row) for at_s, row in rows if row["span"]]
        for phase in phases:
            of_phase = [
                span
                for span in spans
                if span.name.startswith(f"{phase.name}/")
                and phase.start_us <= span.start_us
                and span.end_us <= phase.end_us
            ]
            inside += [phase, *sorted(of_phase, key=_by_start)]
            spans = [span for span in spans if span not in of_phase]
        outside += spans
    first, *others = nested(inside) or [[]]
    overlapping = [*(piece for track in others for piece in track), *outside]
    yield from _tracks(f"{whose}phases and spans", [first] if first else [])
    yield from _tracks(f"{whose}spans that overlap", nested(sorted(overlapping, key=_by_start)))


def _by_start(piece: Slice) -> tuple[int, int]:
    """What encloses others comes first."""
    return piece.start_us, -piece.end_us


def _tracks(name: str, nests: list[list[Slice]]) -> Iterator[Track]:
    for i, slices in enumerate(nests, start=1):
        yield Track(name if i == 1 else f"{name} ({i})", tuple(slices))


def _us(seconds: float) -> int:
    return max(0, round(seconds * 1e6))


def _rounds(swaps: Sequence[PlacedSwap], several: bool) -> Iterator[Slice]:
    """Each round of each worker, then what is in it."""
    for (worker, number_), group in groupby(swaps, key=lambda swap: (swap.worker, swap.key[1])):
        within = [piece for swap in group for piece in _swap_slices(swap, several)]
        mark = _mark(within[0].facts.get("warmup") is True)
        start_us, end_us = min(p.start_us for p in within), max(p.end_us for p in within)
        facts: dict[str, Fact] = {"round": number_, "worker": worker + 1}
        yield Slice(f"round {number_}{mark}", "round", start_us, end_us, facts)
        yield from within


def _swap_slices(swap: PlacedSwap, several: bool) -> Iterator[Slice]:
    """The swap, and going back to the old model after it."""
    facts = _facts(swap.row) | {"worker": swap.worker + 1}
    if not swap.row:
        facts |= {"status": "not finished", "warmup": any(bool(row["warmup"]) for _, row in swap.phases)}
    if not swap.start_known:
        facts |= {"start": _NO_START}
    name = f"{swap.key[3]} ({swap.key[2]})" if several else swap.key[3]
    start_us, end_us = _us(swap.start_s), _us(swap.end_s)
    yield Slice(f"{name}{_mark(facts['warmup'] is True)}", "swap", start_us, end_us, facts)
    rollback_s = number(swap.row.get("rollback_s"))
    if rollback_s is not None and swap.start_known:
        facts = {"rollback_s": rollback_s}
        yield Slice("rolling back", "rollback", end_us, _us(swap.end_s + rollback_s), facts)


def _mark(warmup: bool) -> str:
    return ", warm-up" if warmup else ""


def _slice(at_s: float, row: Row) -> Slice:
    span = str(row["span"])
    name = f"{row['phase']}/{span}" if span else str(row["phase"])
    end_s = at_s + (number(row["seconds"]) or 0.0)
    return Slice(name, "span" if span else "phase", _us(at_s), _us(end_s), _facts(row))


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


def _workers(placed: Placed) -> Iterator[Slice]:
    for worker in placed.workers:
        name = f"worker {worker.number + 1}"
        facts: dict[str, Fact] = {"clock": "its zero is where this begins"}
        yield Slice(name, "worker", _us(worker.start_s), _us(worker.end_s), facts)


def _counters(placed: Placed) -> Iterator[CounterTrack]:
    """Every ledger: as the worker sees it, in samples and around phases, and as the parent does."""
    outside = [(at_s, row) for at_s, row in placed.samples if row["observer"] == "parent"]
    inside = [(at_s, row) for at_s, row in placed.samples if row["observer"] != "parent"]
    around = [(at_s, row) for swap in placed.swaps for at_s, row in _of_all(swap) if not row["span"]]
    for ledger in ALL_LEDGERS:
        label = LEDGER_LABELS[ledger]
        column = f"{ledger}_bytes"
        yield from _counter(label, [*_column(inside, column), *_around(around, ledger)])
        yield from _counter(f"{label}, seen from outside", _column(outside, column))
    yield from _counter("machine's swap used", _column(inside, "swap_used_bytes"))


_Points = Iterable[tuple[float, float]]


def _column(samples: Iterable[tuple[float, Row]], column: str) -> _Points:
    return ((at_s, value) for at_s, row in samples if (value := number(row[column])) is not None)


def _around(phases: Iterable[tuple[float, Row]], ledger: str) -> _Points:
    """What was read right before and right after each phase."""
    for at_s, row in phases:
        seconds = number(row["seconds"]) or 0.0
        for side, when_s in (("before", at_s), ("after", at_s + seconds)):
            value = number(row[f"{ledger}_{side}_bytes"])
            if value is not None:
                yield when_s, value


def _counter(name: str, points: _Points) -> Iterator[CounterTrack]:
    """One value a microsecond, the latest; a value that stays is said once, and again at the very end."""
    latest = {_us(at_s): int(value) for at_s, value in sorted(points, key=lambda point: point[0])}
    if not latest:
        return
    end = list(latest)[-1]
    kept: list[tuple[int, int]] = []
    for at_us, value in latest.items():
        if not kept or kept[-1][1] != value or at_us == end:
            kept.append((at_us, value))
    yield CounterTrack(name, tuple(kept))


def _failures(swaps: Sequence[PlacedSwap]) -> Iterator[Moment]:
    """Failed, rolled back, refused and invalid swaps, where they ended."""
    for swap in swaps:
        if not swap.row or (swap.row["status"] == "ok" and swap.row["valid"]):
            continue
        status = "invalid" if swap.row["status"] == "ok" else str(swap.row["status"]).replace("_", " ")
        yield Moment(f"{swap.key[3]}: {status}", "failure", _us(swap.end_s), _facts(swap.row))


def _requests(run: Run, swaps: Sequence[PlacedSwap]) -> Iterator[RequestSlice]:
    starts = {swap.key: swap.start_s for swap in swaps}
    for row in run.requests:
        sent_s = number(row["sent_s"])
        start_s = starts.get(key_of(row))
        if start_s is None or sent_s is None:
            continue
        first_s, answered_s = number(row["first_token_s"]), number(row["answered_s"])
        end_s = next(s for s in (answered_s, first_s, sent_s) if s is not None)
        yield RequestSlice(
            client=int(number(row["client"]) or 0),
            sent_us=_us(start_s + sent_s),
            first_token_us=None if first_s is None else _us(start_s + first_s),
            end_us=_us(start_s + max(end_s, sent_s)),
            facts=_facts(row),
        )
