"""A figure's median in each scenario of a run, straight from its tables: a history asks it of thousands."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Final

from swapbench.base.errors import ResultsError
from swapbench.base.phases import FIRST_TOKEN, PHASES, headline_figure
from swapbench.store.tables import read_rows
from swapbench.wire.swap import PHASES as PHASES_TABLE
from swapbench.wire.swap import SWAPS as SWAPS_TABLE

HEADLINE: Final = "headline"
_OF_SWAPS: Final = {"to_first_token": "to_first_token_s", "total": "total_s", FIRST_TOKEN: "first_token_s"}
FIGURES: Final = (*_OF_SWAPS, *map(str, PHASES))

_SWAP_COLUMNS: Final = ("round", "scenario", "strategy", "status", "valid", "warmup", *_OF_SWAPS.values())
_PHASE_COLUMNS: Final = ("round", "scenario", "strategy", "rank", "phase", "span", "seconds")

# A scenario under a strategy; and one swap of it, by its round.
_Cell = tuple[str, str]
_Swap = tuple[str, str, str]


@dataclass(frozen=True)
class Median:
    """The median over `swaps` counted swaps, in seconds."""

    scenario: str
    strategy: str
    figure: str
    seconds: float
    swaps: int


def medians(folder: Path, figure: str) -> list[Median]:
    """A figure's median in each scenario and strategy of a run, over the swaps that count.

    Of swaps that have a figure, where others have none, the median would be of unlike ones: there is none.

    Raises:
        ResultsError: a table can't be read.
    """
    cells: dict[_Cell, list[tuple[_Swap, dict[str, float]]]] = {}
    for swap, seconds in _counted(folder / SWAPS_TABLE.file).items():
        cells.setdefault(swap[1:], []).append((swap, seconds))
    phases = {} if figure in (HEADLINE, *_OF_SWAPS) else _phase(folder / PHASES_TABLE.file, figure)
    found = []
    for (scenario, strategy), swaps in sorted(cells.items()):
        chosen = figure
        if figure == HEADLINE:
            chosen = headline_figure(len(swaps), sum("to_first_token_s" in had for _, had in swaps))
        if chosen in _OF_SWAPS:
            column = _OF_SWAPS[chosen]
            values = [had[column] for _, had in swaps if column in had]
            if figure != HEADLINE and len(values) < len(swaps):
                continue
        else:
            values = [phases[swap] for swap, _ in swaps if swap in phases]
        if values:
            found.append(Median(scenario, strategy, chosen, median(values), len(values)))
    return found


def _counted(path: Path) -> dict[_Swap, dict[str, float]]:
    """The figures of each swap that counts. Those of A/B comparisons don't: their arms differ on purpose."""
    at, rows = _rows(path, _SWAP_COLUMNS)
    counted = {}
    for row in rows:
        alone = "arm" not in at or not row[at["arm"]]
        if (row[at["status"]], row[at["valid"]]) == ("ok", "true") and row[at["warmup"]] != "true" and alone:
            had = {
                column: seconds
                for column in _OF_SWAPS.values()
                if (seconds := _seconds(row[at[column]], path, column)) is not None
            }
            if "total_s" in had or "to_first_token_s" in had:
                counted[row[at["round"]], row[at["scenario"]], row[at["strategy"]]] = had
    return counted


def _phase(path: Path, phase: str) -> dict[_Swap, float]:
    """A phase of each swap: it has a row each time it was entered. Of several ranks, those that name none are
    all together; where there are none such, the first rank stands for them."""
    at, rows = _rows(path, _PHASE_COLUMNS, phase)
    of_rank: dict[str, dict[_Swap, float]] = {"": {}, "0": {}}
    for row in rows:
        rank = row[at["rank"]]
        if row[at["phase"]] != phase or row[at["span"]] or rank not in of_rank:
            continue
        seconds = _seconds(row[at["seconds"]], path, "seconds")
        if seconds is not None:
            swap = row[at["round"]], row[at["scenario"]], row[at["strategy"]]
            of_rank[rank][swap] = of_rank[rank].get(swap, 0.0) + seconds
    return of_rank["0"] | of_rank[""]


def _seconds(text: str, path: Path, column: str) -> float | None:
    try:
        seconds = float(text) if text else math.nan
    except ValueError as error:
        raise ResultsError(f"{path}: column {column}: {error}") from None
    if math.isinf(seconds):
        raise ResultsError(f"{path}: column {column}: no finite number")
    return None if math.isnan(seconds) else seconds


def _rows(path: Path, needed: Sequence[str], field: str = "") -> tuple[Mapping[str, int], list[list[str]]]:
    """Where each column stands, and the rows, without a torn last line; with `field`, those that have it.

    A plain table, without quotes, is split at its commas: of a million rows, most go no further.
    """
    try:
        data = path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if b'"' in whole or b"\r" in whole:
            names, rows = read_rows(path, (), may_lack=False)
            return _places(path, ",".join(names), tuple(needed)), rows
        header, *lines = whole.decode().split("\n")
    except OSError as error:
        raise ResultsError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ResultsError(f"{path}: can't be read as CSV: {error}") from None
    if not header:  # killed before it was written
        return {}, []
    places = _places(path, header, tuple(needed))
    wanted = f",{field}," if field else ""
    rows = [line.split(",") for line in lines[:-1] if wanted in line]
    if any(len(row) != len(places) for row in rows):
        read_rows(path, (), may_lack=False)  # says which line
    return places, rows


@cache
def _header(line: str) -> dict[str, int]:
    return {name: place for place, name in enumerate(line.split(","))}


def _places(path: Path, header: str, needed: tuple[str, ...]) -> Mapping[str, int]:
    places = _header(header)
    for column in needed:
        if column not in places:
            raise ResultsError(f"{path}: column {column} is missing")
    if len(places) <= header.count(","):
        raise ResultsError(f"{path}: a column is there twice")
    return places
