"""What went wrong in a run: symptoms of known faults, what failures cost, the swaps that are left out."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from swapbench.base import figures
from swapbench.base.figures import NOT_RECORDED
from swapbench.findings import Findings
from swapbench.findings.failures import Failure
from swapbench.findings.findings import Problem
from swapbench.report.blocks import Cell, Line, Lines, Section, Table, Tone, section
from swapbench.report.sections.view import RunView

# More than anyone reads.
_MOST: Final = 200


def failures(run: RunView) -> Section:
    """Nothing where nothing went wrong."""
    found = run.findings
    return section(
        "failures",
        "What went wrong",
        Lines(
            "Symptoms of known faults",
            tuple(Line(symptom.kind, symptom.text, tone="bad") for symptom in found.symptoms),
        ),
        _cost(found),
        Lines("Swaps left out", problems(found)),
    )


# More rounds than these are told by their ends.
_MOST_ROUNDS: Final = 6

_HOW_LEFT_OUT: Final = {
    "failed": "failed",
    "rolled_back": "failed, rolled back",
    "refused": "refused",
    "invalid": "invalid",
}

_RECOVERED: Final = {
    "itself": "by itself",
    "swap": "once another swap was asked for",
    "restart": "once it was restarted",
}


def _cost(findings: Findings) -> Table | None:
    """What failed swaps cost. None where none failed."""
    if not findings.failures:
        return None
    more = len(findings.failures) - _MOST
    return Table(
        title="Cost of failure",
        label="",
        columns=(
            ("outcome",),
            ("old model", "answers"),
            ("after",),
            ("caches", "readable"),
            ("broken",),
            ("MLX active", "grows by"),
            ("footprint", "grows by"),
        ),
        groups=(tuple(_failure_row(failure) for failure in findings.failures[:_MOST]),),
        legend="broken: files that bear a cache's name and can't be read; grows by: settled afterwards, less "
        f"before{f'; {more} more are in swaps.csv' if more > 0 else ''}",
    )


def _failure_row(failure: Failure) -> tuple[Cell, ...]:
    back = "never" if failure.back_s is None else figures.seconds(failure.back_s)
    counts = (failure.readable_caches, failure.broken_caches)
    growth = (failure.mlx_growth_bytes, failure.footprint_growth_bytes)
    return (
        Cell(f"{failure.scenario} (round {failure.round})"),
        Cell(failure.status.replace("_", " ")),
        Cell(_RECOVERED.get(failure.recovery, NOT_RECORDED)),
        Cell(back, tone="bad" if failure.back_s is None else "plain"),
        *(Cell(NOT_RECORDED if value is None else figures.count(value)) for value in counts),
        *(Cell(NOT_RECORDED if value is None else figures.memory(value)) for value in growth),
    )


def problems(findings: Findings) -> tuple[Line, ...]:
    """Failed, rolled back and invalid swaps with their reasons; what several rounds share is said once."""
    alike: dict[tuple[str, Line], list[Problem]] = {}
    for problem in findings.problems:
        alike.setdefault((problem.scenario, _fate(problem)), []).append(problem)
    lines = [replace(line, label=f"{_rounds(of)}, {scenario}") for (scenario, line), of in alike.items()]
    more = len(lines) - _MOST
    return (*lines[:_MOST], *([Line("", f"{more} more are in swaps.csv")] if more > 0 else []))


def _fate(problem: Problem) -> Line:
    took = f" in {figures.seconds(problem.rollback_s)}" if problem.rollback_s is not None else ""
    named = not problem.phase or problem.reason.startswith(problem.phase)
    phase = "" if named else f" in {problem.phase}"
    why = problem.reason or "no reason was recorded"
    tone: Tone = "doubt" if problem.kind == "invalid" else "bad"
    return Line("", f"{_HOW_LEFT_OUT[problem.kind]}{phase}{took}: {why}", tone)


def _rounds(problems: Sequence[Problem]) -> str:
    """`round 3`, `rounds 0 (warm-up), 1, 2`; of many the ends."""
    names = [f"{problem.round}{' (warm-up)' if problem.warmup else ''}" for problem in problems]
    if len(names) > _MOST_ROUNDS:
        names = [*names[: _MOST_ROUNDS - 1], f"… {names[-1]}"]
    return f"round{'s' if len(problems) > 1 else ''} {', '.join(names)}"
