"""What swaps moved, who waited, what each rank did; and what the machine could have done."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar

from swapbench.base import figures as f
from swapbench.base.figures import NOT_RECORDED
from swapbench.findings import Findings
from swapbench.findings.serving import ClientsFelt, Outside, Proof
from swapbench.findings.strategies import AgainstLimit
from swapbench.findings.summary import ScenarioSummary, Sharing, WorkloadSummary
from swapbench.report.blocks import Cell, Chart, Charts, Line, Lines, Row, Section, Table
from swapbench.report.charts.run import roofline as draw_roofline
from swapbench.report.layout import columns, point, row, section, spelt
from swapbench.report.sections import ARROW, RunView, having, headings
from swapbench.stats.estimate import Estimate


def work(run: RunView) -> Section:
    """Of one strategy; of several, what agents' caches took to come back."""
    found = run.findings
    restored = Lines("Restored caches", restores(found))
    if found.ladders:
        return section("work", "What was moved, and who waited", restored)
    return section(
        "work",
        "What was moved, and who waited",
        _work(having(found)),
        _clients(found.clients) if found.clients else None,
        _sharing(found.sharing) if found.sharing else None,
        restored,
    )


def limits(run: RunView) -> Section:
    """Loads against what the machine could do; nothing where that is not known."""
    found, title = run.findings, "What the machine could do"
    if not found.limits:
        return section("limits", title)
    table = _limits(found.limits, found.facts.claims)
    drawn = {timeline.scenario for timeline in run.pictures.timelines}
    reached = [e for e in found.limits if e.load_gb_per_s is not None and e.scenario in drawn]
    if not reached:
        return section("limits", title, None if found.ladders else table)
    best = max(entry.share or 0.0 for entry in reached)
    named = dict.fromkeys(f"{e.limit}, {f.rate(e.limit_gb_per_s)}" for e in reached)
    caption = (
        f"Grey is what the machine could do: {'; '.join(named)}, measured by swapbench probe. "
        f"Colour is what loads reached: {f.percent(best)} at best."
    )
    chart = Chart("Load rate against the limit", caption, partial(draw_roofline, reached), table=table)
    return section("limits", title, Charts((chart,)))


def _limits(found: Sequence[AgainstLimit], claims: bool) -> Table:
    rows = tuple(
        row(
            entry.scenario,
            point(entry.load_gb_per_s, f.rate),
            spelt(entry.share, f.percent),
            spelt(entry.floor_s, f.seconds),
            f.seconds(entry.target_s) if claims else NOT_RECORDED,
        )
        for entry in found
    )
    return Table(
        title="Against this machine's limits",
        label="",
        columns=columns("load", "of the\nlimit", "floor", "target"),
        groups=(rows,),
        legend=f"limit: {found[0].limit}, {f.rate(found[0].limit_gb_per_s)} (swapbench probe); floor: the "
        "checkpoint's bytes at that rate",
    )


_T = TypeVar("_T")
_Figures = tuple[tuple[str, Callable[[_T], str]], ...]

_OUTSIDE: Final[_Figures[Outside]] = (
    (f"request {ARROW} first byte", lambda o: point(o.first_byte, f.seconds)),
    ("load, as reported", lambda o: point(o.reported_load, f.seconds)),
    ("felt beyond that", lambda o: point(o.unreported, f.seconds)),
    ("memory, as reported", lambda o: point(o.reported_memory, f.memory)),
    ("read from disk", lambda o: point(o.disk_read_bytes, f.size)),
    ("requests in flight", lambda o: point(o.in_flight, f.count)),
    ("requests failed", lambda o: point(o.failed_requests, f.count)),
    ("requests stalled", lambda o: point(o.stalled_requests, f.count)),
)
_LOAD: Final[_Figures[ScenarioSummary]] = (
    ("loaded", lambda s: point(s.loaded_bytes, f.size)),
    ("load rate", lambda s: point(s.load_gb_per_s, f.rate)),
    ("in page cache before", lambda s: point(s.resident_before, f.percent)),
    ("memory after load", lambda s: _memory_after_load(s.proof.resident_bytes, s.loaded_bytes)),
    ("memory settled after", lambda s: point(s.settle_s, f.seconds)),
    ("machine's energy", lambda s: point(s.energy_j, f.joules)),
    ("machine's power, idle", lambda s: point(s.idle_w, f.watts)),
)
_PROOF: Final[_Figures[Proof]] = (
    ("second first token", lambda p: point(p.second_first_token, f.seconds)),
    ("steady rate", lambda p: point(p.steady_tokens_per_s, f.token_rate)),
    ("tokens verified", lambda p: point(p.verified_tokens, f.count)),
    ("longest stall", lambda p: point(p.longest_stall, f.seconds)),
)
_WORKLOAD: Final[_Figures[WorkloadSummary]] = (
    ("requests drained", lambda w: point(w.drained_requests, f.count)),
    ("requests carried over", lambda w: point(w.carried_requests, f.count)),
    ("requests answered", lambda w: point(w.answered_requests, f.count)),
    ("caches evicted", lambda w: point(w.evicted_caches, f.count)),
    ("bytes evicted", lambda w: point(w.evicted_bytes, f.size)),
    ("evict rate", lambda w: point(w.evict_gb_per_s, f.rate)),
    ("write per cache", lambda w: point(w.cache_write_s, f.seconds)),
)
_CLIENTS: Final[_Figures[ClientsFelt]] = (
    ("requests sent", lambda c: str(c.sent)),
    ("answered by the old model", lambda c: str(c.answered_by_old)),
    ("answered by the new model", lambda c: str(c.answered_by_new)),
    ("carried over", lambda c: spelt(c.carried, str)),
    ("refused", lambda c: spelt(c.refused, str)),
    ("lost", lambda c: spelt(c.lost, str)),
    ("failed", lambda c: str(c.failed)),
    ("stalled", lambda c: str(c.stalled)),
    ("longest stall", lambda c: _with_most(c.longest_stall)),
    ("wait, sent before the swap", lambda c: _with_most(c.wait_before)),
    ("wait, sent during it", lambda c: _with_most(c.wait_during)),
    ("wait, sent after it", lambda c: _with_most(c.wait_after)),
)
_BEST_IS_NONE: Final = ("lost", "failed", "stalled")


def _rows(figures: _Figures[_T], of: Sequence[_T | None]) -> tuple[Row, ...]:
    """A row for each figure that one of them has."""
    told = [(label, [NOT_RECORDED if one is None else show(one) for one in of]) for label, show in figures]
    return tuple(row(label, *texts) for label, texts in told if {*texts} != {NOT_RECORDED})


def _work(scenarios: Sequence[ScenarioSummary]) -> Table | None:
    """What the swaps moved: the checkpoint, and under load requests and caches. None where unrecorded."""
    busy = any(s.workload.busy for s in scenarios)
    groups = (
        _rows(_OUTSIDE, [s.outside for s in scenarios]),
        _rows(_LOAD, scenarios),
        _rows(_PROOF, [s.proof for s in scenarios]),
        _rows(_WORKLOAD, [s.workload for s in scenarios]) if busy else (),
    )
    shown = tuple(filter(None, groups))
    return Table("Work of a swap, median", "", headings(scenarios), shown, lead=0) if shown else None


def _memory_after_load(added: Estimate | None, loaded: Estimate | None) -> str:
    """What load has added to the process, as a share of the checkpoint."""
    if added is None or loaded is None or not loaded.point:
        return NOT_RECORDED
    return f"{f.memory(added.point)} ({f.factor(added.point / loaded.point)} the file)"


def restores(findings: Findings) -> tuple[Line, ...]:
    """Agents' caches brought back, against computing them again."""
    lines = []
    for entry in findings.restores:
        parts = [f.counted(round(entry.caches.point), "cache")]
        if entry.bytes is not None:
            parts.append(f.size(entry.bytes.point))
        if entry.seconds is not None:
            parts[-1] += f" in {f.seconds(entry.seconds.point)}"
        if entry.gb_per_s is not None:
            parts.append(f.rate(entry.gb_per_s.point))
        if entry.factor is not None and entry.prefill_tokens_per_s is not None:
            prefill = f.token_rate(entry.prefill_tokens_per_s.point)
            parts.append(f"{f.factor(entry.factor)} as fast as prefilling again ({prefill})")
        lines.append(Line(entry.model, ", ".join(parts)))
    return tuple(lines)


def _clients(felt: Sequence[ClientsFelt]) -> Table:
    """What clients felt that went on sending."""
    rows = [*_rows(_CLIENTS, felt)]
    for n, (label, *cells) in enumerate(rows):
        if label.text in _BEST_IS_NONE:
            rows[n] = row(label, *(replace(c, tone="good" if c.text == "0" else "bad") for c in cells))
    return Table(
        title="What clients felt",
        label="",
        columns=tuple((c.scenario,) for c in felt),
        groups=(tuple(rows),),
        legend="wait: to the first token, median (most); longest stall: in a swap, without any first token "
        "or answer",
    )


def _with_most(value: Estimate | None) -> str:
    return NOT_RECORDED if value is None else f"{f.seconds(value.point)} ({f.seconds(value.high)})"


def _sharing(found: Sequence[Sharing]) -> Table:
    """What each rank of a sharded target did."""
    groups = []
    for shared in found:
        skew = f"skew {point(shared.skew, f.seconds)}" if shared.skew else ""
        rows = [row(Cell(shared.scenario, tone="strong"), skew, *[""] * 4)]
        for rank in shared.ranks:
            times = (point(value, f.seconds) for value in (rank.load, rank.barrier, rank.first_token))
            memory = (point(rank.weights, f.size), point(rank.footprint, f.memory))
            rows.append(row(f"  rank {rank.rank}", *times, *memory))
        groups.append(tuple(rows))
    return Table(
        title="Ranks, median",
        label="rank",
        columns=columns("load,\nown work", "waited\nfor others", "first\ntoken", "weights", "footprint"),
        groups=tuple(groups),
        legend="own work: without waiting for other ranks; skew: how much longer the slowest worked in load "
        "than the fastest",
    )
