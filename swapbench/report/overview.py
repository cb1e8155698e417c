"""A run at first sight: the verdict in one line, and one table of what decides it."""

from collections.abc import Iterator
from typing import Final

from swapbench.base import figures
from swapbench.base.errors import Exit
from swapbench.findings import Findings
from swapbench.findings.overall import outcome, overall
from swapbench.findings.strategies import STOCK, Ladder, Rung
from swapbench.findings.summary import Counts, ScenarioSummary
from swapbench.report.ladder import against_stock
from swapbench.report.shapes import Cell, Line, Table, short
from swapbench.report.tables import REQUEST_TO_FIRST_TOKEN, estimate_cell

# More scenarios than these are too many to name in a line, and to take in at a glance.
_MOST_NAMED: Final = 6
_MOST_ROWS: Final = 40
_MOST_RUNGS: Final = 15
_LONGEST_NAME: Final = 60

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
    missed = found.because if found.grade == "bad" else ()
    told = [found.text, *(f"{reason[:1].upper()}{reason[1:]}" for reason in missed)]
    told += [_named(findings)] if headlines else []
    return Line(_WORDS[outcome(findings)], ". ".join(told), found.grade)


def _named(findings: Findings) -> str:
    """The headlines of the first scenarios, each under its own figure."""
    measured = list(_figures(findings))
    if not measured:
        return "Nothing was measured"
    kinds = dict.fromkeys(kind for kind, _ in measured[:_MOST_NAMED])
    told = (
        f"{kind}: {', '.join(text for of, text in measured[:_MOST_NAMED] if of == kind)}" for kind in kinds
    )
    more = len(measured) - _MOST_NAMED
    line = "; ".join(told) + (f" and {more} more" if more > 0 else "")
    return line[:1].upper() + line[1:]


def _figures(findings: Findings) -> Iterator[tuple[str, str]]:
    """What was measured, and of what."""
    for ladder in findings.ladders:
        if fastest := _fastest(ladder):
            yield _KINDS["total"], fastest
    for scenario in () if findings.ladders else findings.scenarios:
        if scenario.headline and scenario.headline_is:
            name = short(scenario.name, _LONGEST_NAME)
            yield _KINDS[scenario.headline_is], f"{name} {figures.seconds(scenario.headline.point)}"


def _fastest(ladder: Ladder) -> str:
    """Of each scenario, the fastest strategy."""
    best = ladder.rungs[0] if ladder.rungs else None
    if best is None or best.total is None:
        return ""
    told = f"{short(ladder.scenario, _LONGEST_NAME)} {figures.seconds(best.total.point)} by {best.strategy}"
    against = against_stock(best)
    return f"{told}, {against}" if against else told


def overview(findings: Findings) -> Table:
    """A row for each scenario; where strategies are compared, for each of them in each scenario."""
    return _strategies(findings) if findings.ladders else _scenarios(findings)


def _scenarios(findings: Findings) -> Table:
    claims = findings.facts.claims
    by_token = any(s.headline_is == "to_first_token" for s in findings.scenarios)
    shown = findings.scenarios[:_MOST_ROWS]
    return Table(
        title="",
        label="scenario",
        columns=(
            *(((REQUEST_TO_FIRST_TOKEN,),) if by_token else ()),
            ("swap",),
            *(((f"against {findings.target_s:g} s",),) if claims else ()),
            ("bottleneck",),
        ),
        groups=(tuple(_row(scenario, by_token, claims) for scenario in shown),),
        legend="; ".join(_legend(findings, len(findings.scenarios) - len(shown))),
    )


def _row(scenario: ScenarioSummary, by_token: bool, claims: bool) -> tuple[Cell, ...]:
    found = scenario.bottleneck
    return (
        Cell(f"{scenario.name}: {scenario.from_model} \N{RIGHTWARDS ARROW} {scenario.to_model}"),
        *([estimate_cell(scenario.to_first_token, tone="strong")] if by_token else []),
        estimate_cell(scenario.total, tone="plain" if by_token else "strong"),
        *([_against(scenario)] if claims else []),
        Cell(f"{found.phase} {figures.percent(found.share)}" if found else _why_none(scenario)),
    )


def _why_none(scenario: ScenarioSummary) -> str:
    """Why no phase is the bottleneck."""
    measured = scenario.outside is not None and scenario.headline is not None
    return "not to be seen from outside" if measured else _why_not(scenario.counts)


def _against(scenario: ScenarioSummary) -> Cell:
    against = scenario.against_target
    if against is None:
        return Cell(figures.NOT_RECORDED)
    return Cell(
        f"{figures.factor(against.factor)} {against.side}", tone="bad" if against.side == "over" else "good"
    )


def _why_not(counts: Counts) -> str:
    """Why a scenario has no figures."""
    reasons = {
        "failed": counts.failed,
        "rolled back": counts.rolled_back,
        "refused": counts.refused,
        "invalid": counts.invalid,
    }
    told = [how for how, n in reasons.items() if n]
    return f"not measured: {', '.join(told)}" if told else "not measured"


def _legend(findings: Findings, more: int) -> Iterator[str]:
    ns = sorted({scenario.headline.n for scenario in findings.scenarios if scenario.headline})
    if ns:
        of = f"{ns[0]}" if len(ns) == 1 else f"{ns[0]} to {ns[-1]}"
        what = f"seconds, median (range) of {of} swaps" if ns[-1] > 1 else "seconds, of one swap"
        yield f"{what}; bottleneck: the phase that takes most, as a share of {_share_of(findings)}"
    if more:
        yield f"{more} more scenarios are not shown"


def _share_of(findings: Findings) -> str:
    kinds = {scenario.headline_is for scenario in findings.scenarios if scenario.headline}
    if len(kinds) > 1:
        return "the first figure in its row"
    return REQUEST_TO_FIRST_TOKEN if "to_first_token" in kinds else "the swap"


def _strategies(findings: Findings) -> Table:
    every = [(ladder, rung) for ladder in findings.ladders for rung in ladder.rungs]
    shown = (
        every
        if len(every) <= _MOST_RUNGS
        else [(ladder, rung) for ladder in findings.ladders for rung in _telling(ladder)]
    )
    kept = shown[:_MOST_ROWS]
    legend = [
        "seconds, median (range); as fast: times as fast as stock, the median of the rounds' own ratios"
    ]
    if len(kept) < len(every):
        legend.append("of each scenario the fastest three and stock: the rest is below")
    return Table(
        title="",
        label="scenario",
        columns=(("strategy",), ("swap",), ("as fast",), ("request \N{RIGHTWARDS ARROW} first token",)),
        groups=(tuple(_rung(ladder, rung) for ladder, rung in kept),),
        legend="; ".join(legend),
    )


def _telling(ladder: Ladder) -> Iterator[Rung]:
    """The fastest three, and what they are compared with."""
    for place, rung in enumerate(ladder.rungs):
        if place < 3 or rung.strategy == STOCK:
            yield rung


def _rung(ladder: Ladder, rung: Rung) -> tuple[Cell, ...]:
    times = rung.total_times
    return (
        Cell(ladder.scenario),
        Cell(rung.strategy, figure=True),
        estimate_cell(rung.total, tone="strong"),
        Cell(figures.NOT_RECORDED if times is None else figures.factor(times.point), figure=True),
        estimate_cell(rung.to_first_token),
    )
