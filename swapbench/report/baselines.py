"""Baselines as tables."""

from collections.abc import Mapping, Sequence

from rich.console import Console

from swapbench.base import figures as f
from swapbench.compare.baselines import KeptRun
from swapbench.report.shapes import Cell, Line, Part, Table
from swapbench.report.terminal import print_parts, print_table
from swapbench.stats.estimate import estimate
from swapbench.stats.prediction import FEWEST_RUNS


def print_baselines(found: Mapping[str, Sequence[KeptRun]], console: Console) -> None:
    """A row for each baseline."""
    rows = tuple(
        (
            Cell(name),
            Cell(", ".join(sorted({run.experiment for run in runs}))),
            Cell(str(len(runs)), figure=True),
            Cell(str(len({run.fingerprint for run in runs})), figure=True),
            Cell(f"{runs[-1].started_at:%Y-%m-%d %H:%M}" if runs else ""),
        )
        for name, runs in found.items()
    )
    columns = (("experiment",), ("runs",), ("fingerprints",), ("latest (UTC)",))
    print_table(Table("Baselines", "baseline", columns, (rows,)), console)


def print_baseline(
    runs: Sequence[KeptRun], aspects: Mapping[str, Mapping[str, str]], console: Console
) -> None:
    """The runs of each fingerprint: what it is, and the spread of their medians."""
    for fingerprint in dict.fromkeys(run.fingerprint for run in runs):
        alike = [run for run in runs if run.fingerprint == fingerprint]
        common = aspects.get(fingerprint, {})
        told = [
            Line(what, common[what])
            for what in ("machine", "device", "models", "page cache")
            if what in common
        ]
        enough = (
            "enough to judge by" if len(alike) >= FEWEST_RUNS else f"{FEWEST_RUNS} are wanted to judge by"
        )
        lines = (Line("runs", f"{len(alike)}: {enough}"), *told)
        title = f"{alike[0].experiment}, fingerprint {fingerprint}"
        print_parts(title, (Part("", lines=lines), Part("", table=_medians(alike))), console)


def _medians(runs: Sequence[KeptRun]) -> Table:
    names = dict.fromkeys(name for run in runs for name in run.scenarios)
    rows = []
    for name in names:
        kept = [run.scenarios[name] for run in runs if name in run.scenarios]
        spread = estimate(scenario.seconds for scenario in kept)
        assert spread is not None
        between = f"({f.table_seconds(spread.low)}{f.EN_DASH}{f.table_seconds(spread.high)})"
        rows.append(
            (
                Cell(name),
                Cell(f.table_seconds(spread.point), spread=between, figure=True),
                Cell(f.table_seconds(kept[-1].seconds), figure=True),
                Cell(str(spread.n), figure=True),
            )
        )
    columns = (("median s",), ("latest",), ("n",))
    return Table("Medians of the runs", "scenario", columns, (tuple(rows),))
