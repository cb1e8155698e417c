"""A run's report: how it opens, and its sections in the order in which they are read."""

from collections.abc import Callable
from typing import Final

from swapbench.base import figures
from swapbench.findings import Findings, overall
from swapbench.findings.strategies import Ladder
from swapbench.findings.summary import ScenarioSummary
from swapbench.findings.verdict import CriterionOutcome
from swapbench.report.blocks import (
    NOT_AT_A_TERMINAL,
    Cell,
    Commands,
    Downloads,
    Line,
    Lines,
    Opening,
    Section,
    Table,
    Tile,
    Tone,
)
from swapbench.report.layout import columns, made, row, section, sentence
from swapbench.report.sections import ARROW, RunView, against_target, having, of_headline, served_by, source
from swapbench.report.sections.memory import leaks, memory
from swapbench.report.sections.overview import overview
from swapbench.report.sections.rounds import failures, rounds
from swapbench.report.sections.strategies import against_stock, strategies
from swapbench.report.sections.swap import swap
from swapbench.report.sections.work import limits, work
from swapbench.stats.estimate import Estimate

_TONES: Final[dict[CriterionOutcome, Tone]] = {
    CriterionOutcome.PASS: "good",
    CriterionOutcome.FAIL: "bad",
    CriterionOutcome.INCONCLUSIVE: "doubt",
    CriterionOutcome.NOT_JUDGED: "quiet",
}


def run_sections(run: RunView) -> tuple[Section, ...]:
    """Every section that has something to say."""
    return made(SECTIONS, run)


def run_opening(findings: Findings) -> Opening:
    """The verdict, then a tile for every scenario."""
    facts, found = findings.facts, overall(findings)
    warnings = []
    if facts.transcribed_from:
        warnings.append(f"Transcribed from {facts.transcribed_from}, not measured by swapbench.")
    if not facts.claims:
        warnings.append("Mini models: these times say nothing about the real ones.")
    if facts.incomplete:
        go_on = f" Resume with: {facts.resume_command}" if facts.resume_command else ""
        warnings.append(f"This run is not complete: {facts.incomplete}.{go_on}")
    kicker = (f"{facts.started_at:%d %B %Y}".lstrip("0"), facts.machine, source(facts))
    ladders = map(_ladder_tile, findings.ladders)
    return Opening(
        title=facts.title,
        kicker=" · ".join(filter(None, kicker)),
        grade=found.grade,
        verdict=found.text,
        because=tuple(map(sentence, found.because)),
        warnings=tuple(warnings),
        tiles=tuple(ladders if findings.ladders else map(_tile, having(findings))),
    )


def _tile(scenario: ScenarioSummary) -> Tile:
    assert scenario.headline is not None
    which = "the whole swap"
    if scenario.headline_is == "to_first_token":
        swap = f", swap {figures.seconds(scenario.total.point)}" if scenario.total else ""
        which = f"to the first token{swap}"
    below = [f"{scenario.from_model} {ARROW} {scenario.to_model}", which, _spread(scenario.headline)]
    if scenario.against_target:
        below.append(against_target(scenario))
    if found := scenario.bottleneck:
        below.append(f"{found.phase} takes {figures.percent(found.share)}{of_headline(scenario)}")
    value, _, unit = figures.seconds(scenario.headline.point).partition(" ")
    return Tile(scenario.name, value, unit, tuple(below))


def _spread(value: Estimate) -> str:
    if value.n == 1:
        return "one swap"
    low, high = (figures.seconds(end) for end in (value.low, value.high))
    return f"{figures.counted(value.n, 'swap')}, {low} to {high}"


def _ladder_tile(ladder: Ladder) -> Tile:
    fastest, stock = ladder.rungs[0], ladder.rung("stock")
    below = [f"{ladder.from_model} {ARROW} {ladder.to_model}, {ladder.page_cache}"]
    if fastest.total is None:
        return Tile(ladder.scenario, figures.NOT_RECORDED, "", (*below, "not measured"))
    below.append(f"fastest: {fastest.strategy}, {_spread(fastest.total)}")
    if stock and stock.total and (against := against_stock(fastest)):
        below.append(f"{against} ({figures.seconds(stock.total.point)})")
    value, _, unit = figures.seconds(fastest.total.point).partition(" ")
    return Tile(ladder.scenario, value, unit, tuple(below))


def run_facts(findings: Findings) -> tuple[Line, ...]:
    """What the run is, before any figure. The source of the models is apart: it is never one of many."""
    run, counts = findings.facts, findings.counts
    rounds = figures.counted(run.rounds, "round")
    warmup = f" after {figures.counted(run.warmup_rounds, 'warm-up round')}" if run.warmup_rounds else ""
    excluded = {
        "warm-up": counts.warmup,
        "invalid": counts.invalid,
        "failed": counts.failed,
        "rolled back": counts.rolled_back,
        "refused": counts.refused,
    }
    swaps = "".join(f", {n} {why}" for why, n in excluded.items() if n)
    residency = ", residency not recorded"
    if shares := [s.resident_before for s in findings.scenarios if s.resident_before is not None]:
        low, high = min(share.low for share in shares), max(share.high for share in shares)
        upto = "" if low == high else f" to {figures.percent(high)}"
        residency = f": {figures.percent(low)}{upto} of each checkpoint resident before load"
    lines = (
        Line("run", f"{run.run_id}, {run.started_at:%Y-%m-%d}"),
        Line("machine", f"{run.machine}" + served_by(run)),
        Line("versions", ", ".join(f"{name} {version}" for name, version in run.versions.items())),
        Line("page cache", run.page_cache + residency),
        Line("swaps", f"{rounds}{warmup}, {figures.counted(counts.counted, 'swap')} counted{swaps}"),
    )
    return tuple(line for line in lines if line.text)


def _environment(run: RunView) -> Section:
    # A terminal has the facts at the top.
    facts = [*run_facts(run.findings)]
    for model in run.findings.facts.models:
        weight = f", {figures.size(model.weight_bytes)}" if model.weight_bytes else ""
        facts.append(Line(model.name, f"{model.reference}, {model.source}{weight}"))
    notes = tuple(Line("", note) for note in run.findings.notes)
    told = Lines("", tuple(facts), on=NOT_AT_A_TERMINAL)
    return section("environment", "Environment and warnings", told, Lines("Notes", notes))


def _criteria(run: RunView) -> Section:
    """What was demanded and what became of it."""
    rows = tuple(
        row(
            Cell(str(verdict.outcome), tone=_TONES[verdict.outcome]),
            verdict.title + ("" if verdict.declared else " (default)"),
            Cell(verdict.reason, tone="quiet"),
        )
        for verdict in run.findings.verdicts
    )
    table = Table("Criteria", "outcome", columns("criterion", "because"), (rows,), prose=True)
    return section("criteria", "Criteria", table)


def _repeat(run: RunView) -> Section:
    measured = ("The command that made this run:", run.pictures.command)
    if not run.pictures.command:
        experiment = run.findings.facts.experiment
        measured = ("The same experiment, on your machine:", f"swapbench run {experiment}")
    again = (("This report again:", run.again),) if run.again else ()
    return section("repeat", "How to repeat it", Commands((measured, *again)))


def _data(run: RunView) -> Section:
    files = Downloads(run.files, run.findings.facts.folder) if run.files else None
    return section("data", "Data", files)


SECTIONS: Final[tuple[Callable[[RunView], Section], ...]] = (
    *(overview, failures, strategies, swap, rounds, work, limits, memory, leaks),
    *(_environment, _criteria, _repeat, _data),
)
