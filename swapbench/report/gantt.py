"""Where the time of a swap goes, as a Mermaid diagram: GitHub draws it in comments and files."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from swapbench.base import figures
from swapbench.compare.change import Change
from swapbench.compare.comparison import Comparison, ScenarioComparison
from swapbench.findings import Findings
from swapbench.findings.runs import cell_name
from swapbench.findings.strategies import STOCK
from swapbench.findings.summary import ScenarioSummary
from swapbench.report.shapes import shortened
from swapbench.stats.estimate import Estimate

# More would be a poster; what is shorter than this share of the swap has no room for its name.
_MOST_SECTIONS: Final = 6
_LEAST_SHARE: Final = 0.01

# Of the words of a diagram: a colon ends a task's name, a semicolon the statement, # begins an entity.
_NO_WORD: Final = re.compile(r"[^A-Za-z0-9 ._()\N{RIGHTWARDS ARROW}-]+")
_LONGEST_NAME: Final = 40

CAPTION: Final = (
    "Each phase's median, one after another, in seconds since the swap request; the longest is red. "
    "Phases under 1 % of the swap are left out."
)


def gantt(findings: Findings) -> str:
    """The diagram, without its fence; empty where no swap was measured that takes a millisecond."""
    return _diagram(_of_scenario(scenario) for scenario in _shown(findings))


def gantt_of_sides(comparison: Comparison) -> str:
    """As `gantt`, each scenario's A above its B."""
    return _diagram(
        _section(f"{s.scenario} {name}", [(c.figure, side) for c, side in _side(s, name)])
        for s in comparison.scenarios
        for name in "AB"
    )


def _side(scenario: ScenarioComparison, name: str) -> Iterator[tuple[Change, Estimate]]:
    for change in scenario.phases:
        side = change.a if name == "A" else change.b
        if side is not None:
            yield change, side


def _diagram(found: Iterable[list[str]]) -> str:
    sections = [section for section in found if section]
    if not sections:
        return ""
    shown = sections[:_MOST_SECTIONS]
    lines = [line for section in shown for line in section]
    return "\n".join((_room(shown), "gantt", "    dateFormat x", "    axisFormat %s.%L", *lines))


def _room(sections: Sequence[Sequence[str]]) -> str:
    """Room for the sections' names on the left: as drawn, the bars would cover long ones."""
    longest = max(len(section[0].strip()) - len("section ") for section in sections)
    return f'%%{{init: {{"gantt": {{"leftPadding": {20 + 7 * longest}}}}}}}%%'


def _shown(findings: Findings) -> Sequence[ScenarioSummary]:
    """Every scenario; where strategies are compared, each by stock and by the fastest."""
    if not findings.ladders:
        return findings.scenarios
    by_name = {scenario.name: scenario for scenario in findings.scenarios}
    names = [
        cell_name(ladder.scenario, strategy)
        for ladder in findings.ladders
        for strategy in dict.fromkeys((STOCK, *(rung.strategy for rung in ladder.rungs[:1])))
    ]
    return [by_name[name] for name in names if name in by_name]


def _of_scenario(scenario: ScenarioSummary) -> list[str]:
    phases = [(phase.phase, phase.seconds) for phase in scenario.phases if phase.seconds is not None]
    return _section(scenario.name, phases, scenario.first_token)


def _section(
    name: str, phases: Sequence[tuple[str, Estimate]], first_token: Estimate | None = None
) -> list[str]:
    """One swap's phases, one after another; the longest stands out."""
    total_s = sum(seconds.point for _, seconds in phases)
    if total_s < 0.001:
        return []
    longest = max(phases, key=lambda phase: phase[1].point)[0]
    at_s, lines = 0.0, [f"    section {_word(name)}"]
    for phase, seconds in phases:
        if seconds.point >= _LEAST_SHARE * total_s:
            lines.append(_task(phase, "crit, " if phase == longest else "", at_s, seconds))
        at_s += seconds.point
    if first_token is not None:
        lines.append(_task("first token", "active, ", at_s, first_token))
    return lines


def _task(name: str, tag: str, at_s: float, seconds: Estimate) -> str:
    """`load 3.25 s :crit, 53, 3247ms`; at least a millisecond long, for none of no length is drawn."""
    length_ms = max(1, round(seconds.point * 1000))
    return (
        f"    {_word(f'{name} {figures.seconds(seconds.point)}')} :{tag}{round(at_s * 1000)}, {length_ms}ms"
    )


def _word(text: str) -> str:
    return shortened(" ".join(_NO_WORD.sub(" ", text).split()), _LONGEST_NAME)
