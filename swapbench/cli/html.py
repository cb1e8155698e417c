"""`--html`: the page of a run, or of runs side by side, written to a file."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from swapbench.base.errors import UsageError
from swapbench.base.process import quoted

if TYPE_CHECKING:
    from swapbench.base.phases import HeadlineFigure
    from swapbench.compare.comparison import Comparison
    from swapbench.findings import Findings
    from swapbench.machine.limits import Limits
    from swapbench.report.html import RunView
    from swapbench.store import Run


def write_run(run: "Run", findings: "Findings", path: Path, options: Sequence[str]) -> None:
    """Write a run's page.

    Args:
        options: of `swapbench report`, by which it shows what it shows.

    Raises:
        UsageError: it can't be written there.
    """
    from swapbench.report.html import run_to_html

    again = f"swapbench report {quoted(run.folder)} {shlex.join([*options, '--html', path.name])}"
    _write(path, run_to_html(_view(run, findings), again))


def write_comparisons(
    comparisons: "Sequence[Comparison]", runs: "Sequence[Run]", path: Path, options: Sequence[str]
) -> None:
    """Write the page of comparisons of every other run with the first; or of the two arms of one.

    Args:
        options: of `swapbench compare`, by which it judges as it judges.

    Raises:
        UsageError: as `write_run`.
    """
    from swapbench.findings import analyse
    from swapbench.findings.runs import arms_of
    from swapbench.report.html import comparison_to_html

    sides = arms_of(runs[0]) if len(runs) == 1 else runs
    by = {s.scenario: s.figure for comparison in comparisons for s in comparison.scenarios}
    views = [_view(side, analyse(side, _limits(side)), by) for side in sides]
    folders = " ".join(quoted(run.folder) for run in runs)
    again = f"swapbench compare {folders} {shlex.join([*options, '--html', path.name])}"
    _write(path, comparison_to_html(comparisons, views, again))


def _view(
    run: "Run", findings: "Findings", compared_by: "Mapping[str, HeadlineFigure] | None" = None
) -> "RunView":
    from swapbench.findings.chart_data import pictures_of
    from swapbench.report.html import RunView
    from swapbench.store import raw_files

    return RunView(findings, pictures_of(run, findings, compared_by), raw_files(run.folder))


def _limits(run: "Run") -> "Limits | None":
    from swapbench.run.capacity import limits_of

    return limits_of(run.info.models, run.info.machine)


def _write(path: Path, text: str) -> None:
    from swapbench.base.figures import size
    from swapbench.base.files import write_atomically

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)
    except OSError as error:
        raise UsageError(f"--html {path}: can't be written: {error.strerror}") from None
    print(f"report: {path} ({size(path.stat().st_size)})")
