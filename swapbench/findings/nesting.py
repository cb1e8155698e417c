"""Slices of time on tracks, where each lies wholly within another, or after it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

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
