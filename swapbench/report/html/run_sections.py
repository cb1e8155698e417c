"""One run, section by section, in the order in which it is read."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from swapbench.base import figures
from swapbench.findings import Findings
from swapbench.findings.chart_data import Pictures
from swapbench.findings.overall import overall
from swapbench.findings.strategies import Ladder
from swapbench.findings.summary import ScenarioSummary
from swapbench.report import evidence, tables, within
from swapbench.report import ladder as strategies
from swapbench.report.html import run_figures
from swapbench.report.html.downloads import downloads
from swapbench.report.html.page import (
    Block,
    Command,
    Opening,
    Section,
    Tile,
    filled,
    first_lines,
    first_rows,
    lines_block,
    sentence,
    table_block,
)
from swapbench.report.shapes import Line
from swapbench.stats.estimate import Estimate

# More than anyone reads on a page.
_MOST_PROBLEMS: Final = 200


def opening(findings: Findings) -> Opening:
    """The verdict, then a tile for every scenario."""
    facts, found = findings.facts, overall(findings)
    warnings = []
    if facts.transcribed_from:
        warnings.append(f"Transcribed from {facts.transcribed_from}, not measured by swapbench.")
    if not facts.claims:
        warnings.append("Mini models: these times say nothing about the real ones.")
    if facts.incomplete:
        go_on = f" Go on with: {facts.resume_command}" if facts.resume_command else ""
        warnings.append(f"This run is not complete: {facts.incomplete}.{go_on}")
    return Opening(
        title=facts.title,
        kicker=" · ".join(
            filter(None, (f"{facts.started_at:%d %B %Y}".lstrip("0"), facts.machine, _source(findings)))
        ),
        grade=found.grade,
        verdict=found.text,
        because=tuple(map(sentence, found.because)),
        warnings=tuple(warnings),
        tiles=tuple(
            map(_ladder_tile, findings.ladders) if findings.ladders else map(_tile, tables.having(findings))
        ),
    )


def _source(findings: Findings) -> str:
    kind = "" if findings.facts.sources == ("scripted",) else " models"
    return f"{', '.join(findings.facts.sources)}{kind}"


def _tile(scenario: ScenarioSummary) -> Tile:
    assert scenario.headline is not None
    below = [f"{scenario.from_model} {tables.ARROW} {scenario.to_model}"]
    if scenario.headline_is == "to_first_token":
        swap = f", swap {figures.seconds(scenario.total.point)}" if scenario.total else ""
        below.append(f"to the first token{swap}")
    else:
        below.append("the whole swap")
    below.append(_spread(scenario.headline))
    if scenario.against_target:
        against = scenario.against_target
        below.append(f"{figures.factor(against.factor)} {against.side} {against.target_s:g} s")
    if scenario.bottleneck:
        share = figures.percent(scenario.bottleneck.share)
        below.append(f"{scenario.bottleneck.phase} takes {share}{tables.of_headline(scenario)}")
    value, _, unit = figures.seconds(scenario.headline.point).partition(" ")
    return Tile(scenario.name, value, unit, tuple(below))


def _spread(value: Estimate) -> str:
    if value.n == 1:
        return "one swap"
    low, high = (figures.seconds(end) for end in (value.low, value.high))
    return f"{figures.counted(value.n, 'swap')}, {low} to {high}"


def _ladder_tile(ladder: Ladder) -> Tile:
    fastest, stock = ladder.rungs[0], ladder.rung("stock")
    below = [f"{ladder.from_model} {tables.ARROW} {ladder.to_model}, {ladder.page_cache}"]
    if fastest.total is None:
        return Tile(ladder.scenario, figures.NOT_RECORDED, "", (*below, "not measured"))
    below.append(f"fastest: {fastest.strategy}, {_spread(fastest.total)}")
    if stock and stock.total and (against := strategies.against_stock(fastest)):
        below.append(f"{against} ({figures.seconds(stock.total.point)})")
    value, _, unit = figures.seconds(fastest.total.point).partition(" ")
    return Tile(ladder.scenario, value, unit, tuple(below))


def sections(
    findings: Findings, pictures: Pictures, again: str = "", prefix: str = ""
) -> tuple[Section, ...]:
    """Every section that has something to say, but the data.

    Args:
        again: the command that makes the page.
        prefix: of every id, where several runs stand on one page.
    """
    made = (
        Section(f"{prefix}failures", "What went wrong", tuple(_failures(findings))),
        Section(f"{prefix}strategies", "Strategies", tuple(_strategies(findings, pictures, prefix))),
        Section(f"{prefix}swap", "The swap", tuple(_swap(findings, pictures, prefix))),
        Section(f"{prefix}rounds", "Over the rounds", tuple(_rounds(findings, pictures, prefix))),
        Section(f"{prefix}memory", "Memory", tuple(_memory(findings, pictures, prefix))),
        Section(f"{prefix}leaks", "Leaks", tuple(_leaks(findings, pictures, prefix))),
        Section(f"{prefix}limits", "What the machine could do", tuple(_limits(findings, pictures, prefix))),
        Section(f"{prefix}work", "What was moved, and who waited", tuple(_work(findings))),
        Section(f"{prefix}criteria", "Criteria", table_block(tables.criteria(findings), titled=False)),
        Section(f"{prefix}environment", "Environment and warnings", tuple(_environment(findings))),
        Section(f"{prefix}repeat", "How to repeat it", tuple(_repeat(findings, pictures, again))),
    )
    return filled(made)


def _strategies(findings: Findings, pictures: Pictures, prefix: str) -> Iterator[Block]:
    drawn = {found.scenario: figure for figure, found in run_figures.ladders(findings, pictures, prefix)}
    told = ""
    for found, table in zip(findings.ladders, strategies.ladders(findings), strict=True):
        if found.scenario in drawn:
            yield Block("figure", figures=(drawn[found.scenario],))
        # What the columns mean is said once.
        once = replace(table, legend="" if table.legend == told else table.legend)
        yield from table_block(once, titled=found.scenario not in drawn)
        told = table.legend
    yield from lines_block(
        "What each does and costs", strategies.manual(findings) if findings.ladders else ()
    )


def _swap(findings: Findings, pictures: Pictures, prefix: str) -> Iterator[Block]:
    if pictures.timelines:
        yield Block("legend")
    for figure in run_figures.waterfalls(pictures, prefix):
        yield Block("figure", figures=(figure,))
    shown = tables.measured(findings)
    if tables.having(shown) and not findings.ladders:
        yield from table_block(tables.phases(shown, shown.scenarios))
        yield from lines_block("Bottleneck", tables.bottlenecks(shown))


def _rounds(findings: Findings, pictures: Pictures, prefix: str) -> Iterator[Block]:
    panels = tuple(run_figures.distributions(pictures, prefix))
    if panels:
        yield Block("panels", figures=panels)
    if panels or pictures.ladders:
        yield from lines_block("Within the run", within.within(findings))
        yield from lines_block("Outliers, kept in every figure", within.outliers(findings))


def _memory(findings: Findings, pictures: Pictures, prefix: str) -> Iterator[Block]:
    timelines = tuple(run_figures.memory_timelines(pictures, prefix))
    if timelines:
        yield Block("legend")
    for figure in timelines:
        yield Block("figure", figures=(figure,))
    if not findings.ladders:
        yield from table_block(tables.memory(findings))
        yield from lines_block("Release", evidence.releases(findings))


def _leaks(findings: Findings, pictures: Pictures, prefix: str) -> Iterator[Block]:
    panels = tuple(run_figures.growths(pictures, prefix))
    if panels:
        yield Block("panels", figures=panels)
    elif findings.counts.counted:
        yield from lines_block("", tables.leaks(findings))


def _limits(findings: Findings, pictures: Pictures, prefix: str) -> Iterator[Block]:
    for figure in run_figures.roofline(findings, pictures, prefix):
        yield Block("figure", figures=(figure,))


def _work(findings: Findings) -> Iterator[Block]:
    if findings.ladders:
        return
    yield from table_block(tables.work(tables.having(findings)))
    yield from table_block(evidence.clients(findings))
    yield from table_block(evidence.sharing(findings))
    yield from lines_block("Restored caches", evidence.restores(findings))


def _failures(findings: Findings) -> Iterator[Block]:
    yield from lines_block("Symptoms of known faults", evidence.symptoms(findings))
    yield from table_block(first_rows(evidence.failures(findings), _MOST_PROBLEMS))
    yield from lines_block("Swaps left out", first_lines(evidence.problems(findings), _MOST_PROBLEMS))


def _environment(findings: Findings) -> Iterator[Block]:
    yield from lines_block("", (*tables.facts(findings), *_models(findings)))
    yield from lines_block("Notes and warnings", tuple(Line("", note) for note in findings.notes))


def _models(findings: Findings) -> Iterator[Line]:
    for model in findings.facts.models:
        weight = f", {figures.size(model.weight_bytes)}" if model.weight_bytes else ""
        yield Line(model.name, f"{model.reference}, {model.source}{weight}")


def _repeat(findings: Findings, pictures: Pictures, again: str) -> Iterator[Block]:
    commands = []
    if pictures.command:
        commands.append(Command("The command that made this run:", pictures.command))
    else:
        commands.append(
            Command("The same experiment, on your machine:", f"swapbench run {findings.facts.experiment}")
        )
    if again:
        commands.append(Command("This report again:", again))
    yield Block("commands", commands=tuple(commands))


def data(findings: Findings, files: Mapping[str, bytes], room: int) -> Section:
    """The run's own files, by name, to be downloaded from the page.

    Args:
        room: bytes of the page that are left for them.
    """
    block = Block("downloads", downloads=downloads(files, findings.facts.folder, room))
    return Section("data", "Data", (block,))
