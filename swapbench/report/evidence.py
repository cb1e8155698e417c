"""What stands beside the figures: limits, releases, restored caches, clients, ranks, failures, symptoms."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from swapbench.base import figures
from swapbench.base.figures import NOT_RECORDED
from swapbench.base.phases import LEDGER_LABELS
from swapbench.findings import Findings
from swapbench.findings.failures import Failure
from swapbench.findings.findings import Problem
from swapbench.findings.memory import ScenarioMemory
from swapbench.findings.serving import ClientsFelt, Restores
from swapbench.findings.summary import RankSummary, Sharing
from swapbench.report.shapes import Cell, Line, Table, Tone, point
from swapbench.stats.estimate import Estimate

# More rounds than these are told by their ends.
_MOST_ROUNDS: Final = 6


def restores(findings: Findings) -> tuple[Line, ...]:
    """Agents' caches brought back, against computing them again."""
    return tuple(Line(entry.model, _restore(entry)) for entry in findings.restores)


def _restore(entry: Restores) -> str:
    parts = [figures.counted(round(entry.caches.point), "cache")]
    if entry.bytes is not None:
        parts.append(figures.size(entry.bytes.point))
    if entry.seconds is not None:
        parts[-1] += f" in {figures.seconds(entry.seconds.point)}"
    if entry.gb_per_s is not None:
        parts.append(figures.rate(entry.gb_per_s.point))
    if entry.factor is not None and entry.prefill_tokens_per_s is not None:
        prefill = figures.token_rate(entry.prefill_tokens_per_s.point)
        parts.append(f"{figures.factor(entry.factor)} as fast as prefilling again ({prefill})")
    return ", ".join(parts)


def symptoms(findings: Findings) -> tuple[Line, ...]:
    """Known faults that show in the figures."""
    return tuple(Line(symptom.kind, symptom.text, tone="bad") for symptom in findings.symptoms)


def releases(findings: Findings) -> tuple[Line, ...]:
    """How soon unloaded memory was back, and how much of both models was held at once."""
    return tuple(
        Line(scenario.scenario, text) for scenario in findings.memory if (text := _release(scenario))
    )


def _release(scenario: ScenarioMemory) -> str:
    parts = []
    if scenario.release_settle is not None:
        parts.append(f"settled {figures.seconds(scenario.release_settle.point)} after unload")
    overlaps = [
        f"{LEDGER_LABELS[ledger.ledger]} {figures.memory(max(0.0, ledger.overlap.high))}"
        for ledger in scenario.ledgers
        if ledger.overlap is not None and ledger.ledger in ("mlx_active", "footprint")
    ]
    if overlaps:
        parts.append(f"at most above the larger of both models: {', '.join(overlaps)}")
    return "; ".join(parts)


def limits(findings: Findings) -> Table | None:
    """Loads against what the machine could do. None where that is not known."""
    if not findings.limits:
        return None
    rows = tuple(
        (
            Cell(entry.scenario),
            Cell(point(entry.load_gb_per_s, figures.rate)),
            Cell(NOT_RECORDED if entry.share is None else figures.percent(entry.share)),
            Cell(NOT_RECORDED if entry.floor_s is None else figures.seconds(entry.floor_s)),
            Cell(figures.seconds(entry.target_s) if findings.facts.claims else NOT_RECORDED),
        )
        for entry in findings.limits
    )
    first = findings.limits[0]
    return Table(
        title="Against this machine's limits",
        label="",
        columns=(("load",), ("of the", "limit"), ("floor",), ("target",)),
        groups=(rows,),
        legend=f"limit: {first.limit}, {figures.rate(first.limit_gb_per_s)} (swapbench probe); floor: the "
        "checkpoint's bytes at that rate",
    )


_HOW_LEFT_OUT: Final = {
    "failed": "failed",
    "rolled_back": "failed, rolled back",
    "refused": "refused",
    "invalid": "invalid",
}


def failures(findings: Findings) -> Table | None:
    """What failed swaps cost. None where none failed."""
    if not findings.failures:
        return None
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
        groups=(tuple(_failure_row(failure) for failure in findings.failures),),
        legend="broken: files that bear a cache's name and can't be read; grows by: settled afterwards, less "
        "before",
    )


def clients(findings: Findings) -> Table | None:
    """What clients felt that went on sending. None where none did."""
    if not findings.clients:
        return None
    felt = findings.clients
    rows: list[tuple[str, Callable[[ClientsFelt], str], Callable[[str], Tone]]] = [
        ("requests sent", lambda c: str(c.sent), _plain),
        ("answered by the old model", lambda c: str(c.answered_by_old), _plain),
        ("answered by the new model", lambda c: str(c.answered_by_new), _plain),
        ("carried over", lambda c: _seen(c.carried), _plain),
        ("refused", lambda c: _seen(c.refused), _plain),
        ("lost", lambda c: _seen(c.lost), _none_is_good),
        ("failed", lambda c: str(c.failed), _none_is_good),
        ("stalled", lambda c: str(c.stalled), _none_is_good),
        ("longest stall", lambda c: _range(c.longest_stall), _plain),
        ("wait, sent before the swap", lambda c: _range(c.wait_before), _plain),
        ("wait, sent during it", lambda c: _range(c.wait_during), _plain),
        ("wait, sent after it", lambda c: _range(c.wait_after), _plain),
    ]
    cells = tuple(
        (Cell(label), *(Cell(show(c), tone=tone(show(c))) for c in felt))
        for label, show, tone in rows
        if any(show(c) != NOT_RECORDED for c in felt)
    )
    return Table(
        title="What clients felt",
        label="",
        columns=tuple((c.scenario,) for c in felt),
        groups=(cells,),
        legend="wait: to the first token, median (most); longest stall: in a swap, without any first token "
        "or answer",
    )


def _seen(number: int | None) -> str:
    return NOT_RECORDED if number is None else str(number)


def _none_is_good(text: str) -> Tone:
    return "good" if text == "0" else "bad"


def sharing(findings: Findings) -> Table | None:
    """What each rank of a sharded target did. None where there is none."""
    if not findings.sharing:
        return None
    groups = tuple((_skew_row(shared), *map(_rank_row, shared.ranks)) for shared in findings.sharing)
    return Table(
        title="Ranks, median",
        label="rank",
        columns=(
            ("load,", "own work"),
            ("waited", "for others"),
            ("first", "token"),
            ("weights",),
            ("footprint",),
        ),
        groups=groups,
        legend="own work: without waiting for other ranks; skew: how much longer the slowest worked in load "
        "than the fastest",
    )


def _skew_row(shared: Sharing) -> tuple[Cell, ...]:
    skew = f"skew {point(shared.skew, figures.seconds)}" if shared.skew else ""
    return (Cell(shared.scenario, tone="strong"), Cell(skew), *(Cell("") for _ in range(4)))


def _rank_row(rank: RankSummary) -> tuple[Cell, ...]:
    return (
        Cell(f"  rank {rank.rank}"),
        *(Cell(point(value, figures.seconds)) for value in (rank.load, rank.barrier, rank.first_token)),
        Cell(point(rank.weights, figures.size)),
        Cell(point(rank.footprint, figures.memory)),
    )


def _plain(_text: str) -> Tone:
    return "plain"


def _range(value: Estimate | None) -> str:
    if value is None:
        return NOT_RECORDED
    return f"{figures.seconds(value.point)} ({figures.seconds(value.high)})"


_RECOVERED: Final = {
    "itself": "by itself",
    "swap": "once another swap was asked for",
    "restart": "once it was restarted",
}


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
    return tuple(replace(line, label=f"{_rounds(of)}, {scenario}") for (scenario, line), of in alike.items())


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
