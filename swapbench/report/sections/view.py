"""A run as its sections take it, and what several of them say alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from swapbench.base import figures
from swapbench.base.figures import EN_DASH, NOT_RECORDED
from swapbench.findings import Findings
from swapbench.findings.chart_data import Pictures
from swapbench.findings.runs import RunFacts
from swapbench.findings.summary import ScenarioSummary
from swapbench.report.blocks import Cell, Tone
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


def measured(findings: Findings) -> Findings:
    """Without scenarios of which no swap counts, unless none does: dashes in every row would tell nothing."""
    found = having(findings)
    return replace(findings, scenarios=found) if found else findings


def of_headline(scenario: ScenarioSummary) -> str:
    """What a bottleneck's share is of, where the total is not all that is told."""
    return f" of {REQUEST_TO_FIRST_TOKEN}" if scenario.headline_is == "to_first_token" else ""


def served_by(facts: RunFacts) -> str:
    """`, MLX on cpu (x86_64)`, or `, served by mlx_lm`."""
    if not facts.device:
        return ""
    inside = facts.target in ("inprocess", "scripted")
    return f", MLX on {facts.device}" if inside else f", served by {facts.device}"


def headings(scenarios: Sequence[ScenarioSummary]) -> tuple[tuple[str, ...], ...]:
    """A column for each scenario: its name and its two models."""
    return tuple((s.name, s.from_model, f"{ARROW} {s.to_model}") for s in scenarios)


def source(facts: RunFacts) -> str:
    """`mini models`, or `scripted`: what the figures were measured on."""
    return ", ".join(facts.sources) + ("" if facts.sources == ("scripted",) else " models")


def estimate_cell(
    value: Estimate | None, share: float | None = None, tone: Tone = "plain", mark: str = ""
) -> Cell:
    if value is None:
        return Cell(NOT_RECORDED, tone="quiet", figure=True)
    low, high = figures.table_seconds(value.low), figures.table_seconds(value.high)
    return Cell(
        text=figures.table_seconds(value.point),
        spread=f"({low}{EN_DASH}{high})" if low != high else "",
        share="" if share is None else figures.percent(share),
        mark=mark,
        tone=tone,
        figure=True,
    )


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
