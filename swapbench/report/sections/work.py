"""What swaps moved, who waited, what each rank did; and what the machine could have done."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from swapbench.base import figures
from swapbench.base.figures import NOT_RECORDED
from swapbench.findings import Findings
from swapbench.findings.serving import ClientsFelt, Outside, Restores
from swapbench.findings.summary import RankSummary, ScenarioSummary, Sharing
from swapbench.report.blocks import Cell, Chart, Charts, Line, Lines, Section, Table, Tone, point, section
from swapbench.report.charts.swaps import roofline as draw_roofline
from swapbench.report.sections.view import ARROW, RunView, having, headings
from swapbench.stats.estimate import Estimate


def work(run: RunView) -> Section:
    """Of one strategy; of several, what agents' caches took to come back."""
    found = run.findings
    alone = not found.ladders
    return section(
        "work",
        "What was moved, and who waited",
        _work(having(found)) if alone else None,
        _clients(found) if alone else None,
        _sharing(found) if alone else None,
        Lines("Restored caches", restores(found)),
    )


def limits(run: RunView) -> Section:
    """Loads against what the machine could do; nothing where that is not known."""
    found, table = run.findings, _limits(run.findings)
    drawn = {timeline.scenario for timeline in run.pictures.timelines}
    reached = [e for e in found.limits if e.load_gb_per_s is not None and e.scenario in drawn]
    if table is None or not reached:
        return section("limits", "What the machine could do", None if found.ladders else table)
    best = max(entry.share or 0.0 for entry in reached)
    named = dict.fromkeys(f"{e.limit}, {figures.rate(e.limit_gb_per_s)}" for e in reached)
    chart = Chart(
        title="Load rate against the limit",
        caption=(
            f"Grey is what the machine could do: {'; '.join(named)}, measured by swapbench probe. "
            f"Colour is what loads reached: {figures.percent(best)} at best."
        ),
        spec=partial(draw_roofline, reached),
        table=table,
    )
    return section("limits", "What the machine could do", Charts((chart,)))


_Show = Callable[[ScenarioSummary], str]


def _work(scenarios: Sequence[ScenarioSummary]) -> Table | None:
    """What the swaps moved: the checkpoint, and under load requests and caches. None where unrecorded."""
    outside: list[tuple[str, _Show]] = [(label, _of_outside(show)) for label, show in _OUTSIDE]
    load: list[tuple[str, _Show]] = [
        ("loaded", lambda s: point(s.loaded_bytes, figures.size)),
        ("load rate", lambda s: point(s.load_gb_per_s, figures.rate)),
        ("in page cache before", lambda s: point(s.resident_before, figures.percent)),
        ("memory after load", lambda s: _memory_after_load(s)),
        ("memory settled after", lambda s: point(s.settle_s, figures.seconds)),
        ("machine's energy", lambda s: point(s.energy_j, figures.joules)),
        ("machine's power, idle", lambda s: point(s.idle_w, figures.watts)),
    ]
    proof: list[tuple[str, _Show]] = [
        ("second first token", lambda s: point(s.proof.second_first_token, figures.seconds)),
        ("steady rate", lambda s: point(s.proof.steady_tokens_per_s, figures.token_rate)),
        ("tokens verified", lambda s: point(s.proof.verified_tokens, figures.count)),
        ("longest stall", lambda s: point(s.proof.longest_stall, figures.seconds)),
    ]
    workload: list[tuple[str, _Show]] = [
        ("requests drained", lambda s: point(s.workload.drained_requests, figures.count)),
        ("requests carried over", lambda s: point(s.workload.carried_requests, figures.count)),
        ("requests answered", lambda s: point(s.workload.answered_requests, figures.count)),
        ("caches evicted", lambda s: point(s.workload.evicted_caches, figures.count)),
        ("bytes evicted", lambda s: point(s.workload.evicted_bytes, figures.size)),
        ("evict rate", lambda s: point(s.workload.evict_gb_per_s, figures.rate)),
        ("write per cache", lambda s: point(s.workload.cache_write_s, figures.seconds)),
    ]
    busy = any(s.workload.busy for s in scenarios)
    parts = [outside, load, proof, workload] if busy else [outside, load, proof]
    groups = [_work_rows(rows, scenarios) for rows in parts]
    shown = tuple(group for group in groups if group)
    return Table("Work of a swap, median", "", headings(scenarios), shown, lead=0) if shown else None


_OUTSIDE: Final[tuple[tuple[str, Callable[[Outside], str]], ...]] = (
    (f"request {ARROW} first byte", lambda o: point(o.first_byte, figures.seconds)),
    ("load, as reported", lambda o: point(o.reported_load, figures.seconds)),
    ("felt beyond that", lambda o: point(o.unreported, figures.seconds)),
    ("memory, as reported", lambda o: point(o.reported_memory, figures.memory)),
    ("read from disk", lambda o: point(o.disk_read_bytes, figures.size)),
    ("requests in flight", lambda o: point(o.in_flight, figures.count)),
    ("requests failed", lambda o: point(o.failed_requests, figures.count)),
    ("requests stalled", lambda o: point(o.stalled_requests, figures.count)),
)


def _of_outside(show: Callable[[Outside], str]) -> _Show:
    return lambda scenario: NOT_RECORDED if scenario.outside is None else show(scenario.outside)


def _memory_after_load(scenario: ScenarioSummary) -> str:
    """What load has added to the process, as a share of the checkpoint."""
    added, loaded = scenario.proof.resident_bytes, scenario.loaded_bytes
    if added is None or loaded is None or not loaded.point:
        return NOT_RECORDED
    return f"{figures.memory(added.point)} ({figures.factor(added.point / loaded.point)} the file)"


def _work_rows(
    rows: Sequence[tuple[str, _Show]], scenarios: Sequence[ScenarioSummary]
) -> tuple[tuple[Cell, ...], ...]:
    cells = [(Cell(label), *(Cell(show(s)) for s in scenarios)) for label, show in rows]
    return tuple(row for row in cells if any(cell.text != NOT_RECORDED for cell in row[1:]))


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


def _clients(findings: Findings) -> Table | None:
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


def _sharing(findings: Findings) -> Table | None:
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


def _limits(findings: Findings) -> Table | None:
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
