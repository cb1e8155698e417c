"""What reports say. Here a run as its sections take it, and what several of them say alike."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from swapbench.base import figures
from swapbench.base.figures import EN_DASH, NOT_RECORDED
from swapbench.findings import Findings
from swapbench.findings.chart_data import Pictures
from swapbench.findings.runs import RunFacts
from swapbench.findings.summary import ScenarioSummary
from swapbench.report.blocks import Cell, Headings, Tone
from swapbench.report.layout import figure
from swapbench.stats.estimate import Estimate

ARROW: Final = "\N{RIGHTWARDS ARROW}"
REQUEST_TO_FIRST_TOKEN: Final = f"request {ARROW} first token"
NO_PICTURES: Final = Pictures("", (), (), (), ())


@dataclass(frozen=True)
class RunView:
    """A run: what was found; for a page what its charts show, its files, and the command that makes it."""

    findings: Findings
    pictures: Pictures = NO_PICTURES
    files: Mapping[str, bytes] = field(default_factory=dict)
    again: str = ""


def having(findings: Findings) -> tuple[ScenarioSummary, ...]:
    """Scenarios with a headline."""
    return tuple(scenario for scenario in findings.scenarios if scenario.headline is not None)


def of_headline(scenario: ScenarioSummary) -> str:
    """What a bottleneck's share is of, where the total is not all that is told."""
    return f" of {REQUEST_TO_FIRST_TOKEN}" if scenario.headline_is == "to_first_token" else ""


def against_target(scenario: ScenarioSummary, *, named: bool = True) -> str:
    """How many times under or over it; a dash where nothing is held against it."""
    against = scenario.against_target
    if against is None:
        return NOT_RECORDED
    return f"{figures.factor(against.factor)} {against.side}" + (f" {against.target_s:g} s" if named else "")


def against_cell(scenario: ScenarioSummary) -> Cell:
    tones: dict[str, Tone] = {"under": "good", "over": "bad"}
    tone = tones[scenario.against_target.side] if scenario.against_target else "quiet"
    return Cell(against_target(scenario, named=False), tone=tone)


def served_by(facts: RunFacts) -> str:
    """`, MLX on cpu (x86_64)`, or `, served by mlx_lm`."""
    if not facts.device:
        return ""
    inside = facts.target in ("inprocess", "scripted")
    return f", MLX on {facts.device}" if inside else f", served by {facts.device}"


def headings(scenarios: Sequence[ScenarioSummary]) -> Headings:
    """A column for each scenario: its name and its two models."""
    return tuple((s.name, s.from_model, f"{ARROW} {s.to_model}") for s in scenarios)


def source(facts: RunFacts) -> str:
    """`mini models`, or `scripted`: what the figures were measured on."""
    return ", ".join(facts.sources) + ("" if facts.sources == ("scripted",) else " models")


def estimate_cell(
    value: Estimate | None,
    spell: Callable[[float], str] = figures.table_seconds,
    *,
    share: float | None = None,
    tone: Tone = "plain",
    mark: str = "",
) -> Cell:
    """A median with its spread, where it has one."""
    if value is None:
        return figure(NOT_RECORDED, "quiet")
    low, high = spell(value.low), spell(value.high)
    spread = f"({low}{EN_DASH}{high})" if low != high else ""
    percent = "" if share is None else figures.percent(share)
    return Cell(spell(value.point), spread, percent, mark, tone, figure=True)


def drawn(number: int, left_out: int, too: str = "") -> str:
    """Which of many swaps are drawn; nothing where all are."""
    if not left_out:
        return ""
    return (
        f" Of {number + left_out} swaps {number} are drawn: the first, the last, the least and the greatest "
        f"of every stretch{too}."
    )


def listed(number: int, left_out: int) -> str:
    """The same of a table beside the chart."""
    if not left_out:
        return ""
    return f"the {number} of {number + left_out} swaps that are drawn; the rest is in swaps.csv"
