"""What a run shows while it goes on: text of a given width, from where the run is."""

from collections.abc import Sequence
from typing import Final

from rich.text import Text

from swapbench.base.figures import NOT_RECORDED, counted, memory
from swapbench.findings.progress import Course, ProgressRow, Standing
from swapbench.report.text import plain, shortened, sparkline
from swapbench.spec.experiment import Source
from swapbench.wire.swap import SwapFinished

_ROWS: Final = 8
_LEAST_WIDTH: Final = 40
_BAR_SHARE: Final = 5
_SPARK_WIDTH: Final = 24
_FIGURE_WIDTH: Final = 9
_MEMORY: Final = "memory"
# Apart even where there is no colour.
_FULL, _EMPTY = "█", "░"
_DONE, _TO_COME = "━", "─"


def live_lines(standing: Standing, width: int) -> Text:
    """The whole view, no line wider than `width`."""
    width = max(_LEAST_WIDTH, width)
    rows = _latest(standing.rows)
    labels = min(max(len(label) for label in (_MEMORY, *(row.label for row in rows))), width // 3)
    lines = [
        _heading(standing, width),
        _course(standing, width),
        _now(standing, width),
        _gauge(standing, labels, width),
        *(_row(row, labels, standing.course, width) for row in rows),
    ]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n").join(lines)


def _heading(standing: Standing, width: int) -> Text:
    course = standing.course
    stand_in = "" if course.sources == (Source.HUB,) else f" on {', '.join(course.sources)} models"
    swaps = f"{standing.swaps_done} of {len(course.swaps)} swaps"
    round_ = standing.round or counted(course.rounds, "round")
    rest = f"  {plain(round_)}  {swaps}, {counted(standing.rounds_left, 'round')} left"
    line = Text(_name(course.name, width - len(stand_in) - len(rest)), style="bold")
    return line.append(stand_in, style="not bold yellow").append(rest, style="not bold")


def _name(text: str, width: int) -> str:
    return shortened(plain(text), width)


def _course(standing: Standing, width: int) -> Text:
    left = "" if standing.left_s is None else f", about {clock(standing.left_s)} left"
    times = f"  {clock(standing.elapsed_s)}{left}"
    room = width - len(times)
    filled = int(standing.swaps_done / max(1, len(standing.course.swaps)) * room)
    line = Text(_DONE * filled, style="green").append(_TO_COME * (room - filled), style="bright_black")
    return line.append(times, style="cyan")


def _now(standing: Standing, width: int) -> Text:
    """What goes on and for how long; then in which scenario, whose name may be of any length."""
    seconds = f" {standing.step_s:.1f} s"
    if standing.in_phase:
        line = Text("phase ").append(standing.step, style="bold yellow").append(seconds)
    else:
        line = Text(f"{_name(standing.step, width - len(seconds))}{seconds}", style="dim")
    scenario = _name(standing.scenario, width - line.cell_len - 2)
    return line.append(f"  {scenario}" if scenario else "")


def _gauge(standing: Standing, labels: int, width: int) -> Text:
    held = max((n for n in (standing.mlx_bytes, standing.process_bytes) if n is not None), default=None)
    line = _labelled(_MEMORY, labels)
    if held is None:
        return line.append("  not read yet", style="dim")
    whole = standing.course.memory_bytes
    line.append(f"  {memory(held):>{_FIGURE_WIDTH}}  ", style="bold")
    line.append_text(_bar(held / whole, width // _BAR_SHARE, "magenta")).append(f"  of {memory(whole)}")
    named = {"MLX": standing.mlx_bytes, "process": standing.process_bytes}
    parts = [f"{name} {memory(value)}" for name, value in named.items() if value is not None]
    return line.append(f"  ({', '.join(parts)})", style="dim")


def _latest(rows: Sequence[ProgressRow]) -> list[ProgressRow]:
    """Those that changed last, in the order in which they always stand."""
    shown = sorted(rows, key=lambda row: row.changed)[-_ROWS:]
    return [row for row in rows if row in shown]


def _labelled(text: str, width: int) -> Text:
    label = Text(_name(text, width))
    label.truncate(width, overflow="ellipsis", pad=True)
    return label


def _row(row: ProgressRow, labels: int, course: Course, width: int) -> Text:
    label, last = _labelled(row.label, labels), row.last
    if last.status != "ok":
        why = " ".join(plain(last.error).split())
        return label.append(f"  {last.status.replace('_', ' ')}: {why}", style="bold red")
    seconds = last.timing.to_first_token_s if last.timing.total_s is None else last.timing.total_s
    figure = NOT_RECORDED if seconds is None else f"{seconds:.3f} s"
    line = label.append(f"  {figure:>{_FIGURE_WIDTH}}", style="bold")
    if last.timing.total_s is None:  # of a server: the same request took as long hot
        line.append("  to the first token", style="dim")
    elif course.claims:
        share = last.timing.total_s / course.target_s
        tone = "green" if share <= 1 else "bold red"
        line.append("  ").append_text(_bar(share, width // _BAR_SHARE, tone))
        line.append(f"  {100 * share:3.0f} % of {course.target_s:g} s", style=tone)
    if not last.valid:
        line.append("  invalid", style="yellow")
    room = min(_SPARK_WIDTH, width - line.cell_len - 2)
    shown = room > 1 and row.totals_s
    return line.append(f"  {sparkline(row.totals_s, room)}", style="cyan") if shown else line


def _bar(share: float, width: int, style: str) -> Text:
    filled = min(width, max(int(share * width), 1 if share > 0 else 0))
    return Text(_FULL * filled, style=style).append(_EMPTY * (width - filled), style="bright_black")


def clock(seconds: float) -> str:
    """`0:07`, `12:30`, `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def swap_line(event: SwapFinished) -> str:
    """What became of a swap, for a log."""
    if event.status != "ok":
        returned = event.rollback_s is not None
        back = f"; the old model is back after {event.rollback_s:.2f} s" if returned else ""
        return f"{event.swap.scenario}: {event.status.replace('_', ' ')}: {event.error}{back}"
    measured = event.timing.to_first_token_s is not None
    token = f", first token at {event.timing.to_first_token_s:.3f} s" if measured else ""
    invalid = "" if event.valid else f"  [invalid: {event.invalid_reason}]"
    total = "" if event.timing.total_s is None else f" {event.timing.total_s:.3f} s"
    return f"{event.swap.scenario}:{total}{token if total else token.removeprefix(',')}{invalid}"
