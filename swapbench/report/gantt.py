"""Where the time of a swap goes, as a Mermaid diagram: GitHub draws it in comments and files."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from swapbench.analysis import Findings, figures
from swapbench.analysis.cells import cell_name
from swapbench.analysis.estimate import Estimate
from swapbench.analysis.ladder import STOCK
from swapbench.analysis.summary import ScenarioSummary
from swapbench.report.shapes import shortened

# More would be a poster; what is shorter than this share of the swap has no room for its name.
_MOST_SECTIONS: Final = 6
_LEAST_SHARE: Final = 0.01

# Of the words of a diagram: a colon ends a task's name, a semicolon the statement, # begins an entity.
_NO_WORD: Final = re.compile(r"[^A-Za-z0-9 ._()\N{RIGHTWARDS ARROW}-]+")
_LONGEST_NAME: Final = 40

CAPTION: Final = (
    "Each phase's median, one after another, in seconds since the swap request; the bottleneck is red. "
    "Phases under 1 % of the swap are left out."
)


def gantt(findings: Findings) -> str:
    """The diagram, without its fence; empty where no swap was measured that takes a millisecond."""
    sections = [section for scenario in _shown(findings) if (section := _section(scenario))]
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


def _section(scenario: ScenarioSummary) -> list[str]:
    total_s = scenario.total.point if scenario.total else 0.0
    if total_s < 0.001:
        return []
    tasks = list(_tasks(scenario, total_s))
    return [f"    section {_word(scenario.name)}", *tasks] if tasks else []


def _tasks(scenario: ScenarioSummary, total_s: float) -> Iterator[str]:
    at_s = 0.0
    longest = scenario.bottleneck.phase if scenario.bottleneck else ""
    for phase in scenario.phases:
        if phase.seconds is None:
            continue
        if phase.seconds.point >= _LEAST_SHARE * total_s:
            yield _task(phase.phase, "crit, " if phase.phase == longest else "", at_s, phase.seconds)
        at_s += phase.seconds.point
    if scenario.first_token is not None:
        yield _task("first token", "active, ", at_s, scenario.first_token)


def _task(name: str, tag: str, at_s: float, seconds: Estimate) -> str:
    """`load 3.25 s :crit, 53, 3247ms`; at least a millisecond long, for none of no length is drawn."""
    length_ms = max(1, round(seconds.point * 1000))
    return (
        f"    {_word(f'{name} {figures.seconds(seconds.point)}')} :{tag}{round(at_s * 1000)}, {length_ms}ms"
    )


def _word(text: str) -> str:
    return shortened(" ".join(_NO_WORD.sub(" ", text).split()), _LONGEST_NAME)
