"""A run at first sight: the verdict in one line, one table of what decides it, and where the time goes."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from swapbench.base import figures
from swapbench.base.errors import Exit
from swapbench.findings import Findings, outcome, overall
from swapbench.findings.runs import cell_name
from swapbench.findings.strategies import STOCK, Ladder
from swapbench.findings.summary import ScenarioSummary
from swapbench.report.blocks import IN_MARKDOWN, Diagram, Line, Row, Section, Table
from swapbench.report.layout import capital, columns, figure, point, row, section, short, shortened
from swapbench.report.sections import ARROW, REQUEST_TO_FIRST_TOKEN, RunView, against_cell, estimate_cell
from swapbench.report.sections.strategies import against_stock
from swapbench.stats.estimate import Estimate

if TYPE_CHECKING:
    from swapbench.compare.comparison import Comparison, ScenarioComparison

# More scenarios than these are too many to name in a line, and to take in at a glance.
_MOST_NAMED: Final = 6
_MOST_ROWS: Final = 40
_MOST_RUNGS: Final = 15
_LONGEST_IN_A_LINE: Final = 60
_LONGEST_LABEL: Final = 300
_KINDS: Final = {"to_first_token": "to the first token", "total": "whole swap"}

_WORDS: Final = {
    Exit.FAILED: "Failed",
    Exit.LEAK: "Leak",
    Exit.TARGET_MISSED: "Missed",
    Exit.INCONCLUSIVE: "Inconclusive",
    Exit.OK: "Pass",
}


def verdict_line(findings: Findings, *, headlines: bool = True) -> Line:
    """What came of it, why, and the `headlines` that it is about."""
    found = overall(findings)
    told = [found.text, *(map(capital, found.because) if found.grade == "bad" else ())]
    if headlines:
        told.append(_named([*_headlines(findings)]))
    return Line(_WORDS[outcome(findings)], ". ".join(told), found.grade)


def _named(measured: Sequence[tuple[str, str]]) -> str:
    """The headlines of the first scenarios, each under its own figure."""
    if not measured:
        return "Nothing was measured"
    first, more = measured[:_MOST_NAMED], len(measured) - _MOST_NAMED
    kinds = dict.fromkeys(kind for kind, _ in first)
    told = (f"{kind}: {', '.join(text for of, text in first if of == kind)}" for kind in kinds)
    return capital("; ".join(told) + (f" and {more} more" if more > 0 else ""))


def _headlines(findings: Findings) -> Iterator[tuple[str, str]]:
    """What was measured, and of what; of several strategies the fastest."""
    for ladder in findings.ladders:
        best = ladder.rungs[0] if ladder.rungs else None
        if best is not None and best.total is not None:
            name, took = short(ladder.scenario, _LONGEST_IN_A_LINE), figures.seconds(best.total.point)
            against = against_stock(best)
            yield _KINDS["total"], f"{name} {took} by {best.strategy}" + (f", {against}" if against else "")
    for scenario in () if findings.ladders else findings.scenarios:
        if scenario.headline and scenario.headline_is:
            name = short(scenario.name, _LONGEST_IN_A_LINE)
            yield _KINDS[scenario.headline_is], f"{name} {figures.seconds(scenario.headline.point)}"


def overview(run: RunView) -> Section:
    """The run at first sight: one table, a row for each scenario or for each strategy in it; one picture."""
    findings = run.findings
    table = _strategies(findings.ladders) if findings.ladders else _scenarios(findings)
    drawn = findings.scenarios
    if findings.ladders:  # each by stock and by the fastest
        by_name = {scenario.name: scenario for scenario in drawn}
        ends = ((of.scenario, name) for of in findings.ladders for name in (STOCK, of.rungs[0].strategy))
        names = dict.fromkeys(cell_name(*end) for end in ends)
        drawn = tuple(by_name[name] for name in names if name in by_name)
    diagram = _diagram(_of_scenario(scenario) for scenario in drawn)
    return section("overview", "", table, Diagram(diagram, CAPTION), decides=True)


def _scenarios(findings: Findings) -> Table:
    claims = findings.facts.claims
    by_token = any(s.headline_is == "to_first_token" for s in findings.scenarios)
    shown = findings.scenarios[:_MOST_ROWS]
    legend = [*_legend([s for s in findings.scenarios if s.headline])]
    if len(shown) < len(findings.scenarios):
        legend.append(f"{len(findings.scenarios) - len(shown)} more scenarios are not shown")
    return Table(
        title="",
        label="scenario",
        on=IN_MARKDOWN,
        columns=columns(
            *([REQUEST_TO_FIRST_TOKEN] if by_token else []),
            "swap",
            *([f"against {findings.target_s:g} s"] if claims else []),
            "bottleneck",
        ),
        groups=(tuple(_row(scenario, by_token, claims) for scenario in shown),),
        legend="; ".join(legend),
    )


def _row(scenario: ScenarioSummary, by_token: bool, claims: bool) -> Row:
    found = scenario.bottleneck
    return row(
        f"{short(scenario.name, _LONGEST_LABEL)}: {scenario.from_model} {ARROW} {scenario.to_model}",
        *([estimate_cell(scenario.to_first_token, tone="strong")] if by_token else []),
        estimate_cell(scenario.total, tone="plain" if by_token else "strong"),
        *([against_cell(scenario)] if claims else []),
        f"{found.phase} {figures.percent(found.share)}" if found else _why_none(scenario),
    )


def _why_none(scenario: ScenarioSummary) -> str:
    """Why no phase is the bottleneck."""
    if scenario.outside is not None and scenario.headline is not None:
        return "not to be seen from outside"
    counts = scenario.counts
    reasons = {
        "failed": counts.failed,
        "rolled back": counts.rolled_back,
        "refused": counts.refused,
        "invalid": counts.invalid,
    }
    told = [how for how, n in reasons.items() if n]
    return f"not measured: {', '.join(told)}" if told else "not measured"


def _legend(measured: Sequence[ScenarioSummary]) -> Iterator[str]:
    ns = sorted({scenario.headline.n for scenario in measured if scenario.headline})
    if ns:
        kinds = {scenario.headline_is for scenario in measured}
        share_of = REQUEST_TO_FIRST_TOKEN if "to_first_token" in kinds else "the swap"
        share_of = "the first figure in its row" if len(kinds) > 1 else share_of
        of = f"{ns[0]}" if len(ns) == 1 else f"{ns[0]} to {ns[-1]}"
        what = f"seconds, median (range) of {of} swaps" if ns[-1] > 1 else "seconds, of one swap"
        yield f"{what}; bottleneck: the phase that takes most, as a share of {share_of}"


def _strategies(ladders: Sequence[Ladder]) -> Table:
    every = [(of, place, rung) for of in ladders for place, rung in enumerate(of.rungs)]
    few = len(every) <= _MOST_RUNGS
    telling = [(of, rung) for of, place, rung in every if few or place < 3 or rung.strategy == STOCK]
    shown = telling[:_MOST_ROWS]
    rows = tuple(
        row(
            short(ladder.scenario, _LONGEST_LABEL),
            figure(rung.strategy),
            estimate_cell(rung.total, tone="strong"),
            figure(point(rung.total_times, figures.factor)),
            estimate_cell(rung.to_first_token),
        )
        for ladder, rung in shown
    )
    legend = "seconds, median (range); as fast: times as fast as stock, the median of the rounds' own ratios"
    if len(shown) < len(every):
        legend += "; of each scenario the fastest three and stock: the rest is below"
    return Table(
        title="",
        label="scenario",
        on=IN_MARKDOWN,
        columns=columns("strategy", "swap", "as fast", REQUEST_TO_FIRST_TOKEN),
        groups=(rows,),
        legend=legend,
    )


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


def gantt_of_sides(comparison: "Comparison") -> str:
    """A Mermaid diagram of each scenario's A above its B; empty where nothing was measured."""

    def of_side(scenario: "ScenarioComparison", side: str) -> list[str]:
        figures = [(change.figure, change.a if side == "A" else change.b) for change in scenario.phases]
        return _section(f"{scenario.scenario} {side}", [(name, s) for name, s in figures if s is not None])

    return _diagram(of_side(scenario, side) for scenario in comparison.scenarios for side in "AB")


def _diagram(found: Iterable[list[str]]) -> str:
    """The diagram, without its fence; empty where no swap was measured that takes a millisecond."""
    shown = [section for section in found if section][:_MOST_SECTIONS]
    if not shown:
        return ""
    # Room for the sections' names on the left: as drawn, the bars would cover long ones.
    longest = max(len(section[0].strip()) - len("section ") for section in shown)
    room = f'%%{{init: {{"gantt": {{"leftPadding": {20 + 7 * longest}}}}}}}%%'
    lines = [line for section in shown for line in section]
    return "\n".join((room, "gantt", "    dateFormat x", "    axisFormat %s.%L", *lines))


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
            lines.append(_task(phase, "crit, " if phase == longest else "", at_s, seconds.point))
        at_s += seconds.point
    if first_token is not None:
        lines.append(_task("first token", "active, ", at_s, first_token.point))
    return lines


def _task(name: str, tag: str, at_s: float, took_s: float) -> str:
    """`load 3.25 s :crit, 53, 3247ms`; at least a millisecond long, for none of no length is drawn."""
    length_ms = max(1, round(took_s * 1000))
    return f"    {_word(f'{name} {figures.seconds(took_s)}')} :{tag}{round(at_s * 1000)}, {length_ms}ms"


def _word(text: str) -> str:
    return shortened(" ".join(_NO_WORD.sub(" ", text).split()), _LONGEST_NAME)
