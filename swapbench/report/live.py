"""What a run shows while it goes on: the live view, a line for each swap, and what --verbose says."""

from collections.abc import Iterator, Mapping
from typing import Final

from rich.text import Text

from swapbench.base.figures import NOT_RECORDED, counted, memory, size
from swapbench.findings.progress import Course, ProgressRow, Standing
from swapbench.report.layout import plain, shortened, sparkline
from swapbench.spec.experiment import Experiment, PageCache, Source
from swapbench.wire.events import Event, StepStarted, SwapStarted, TurnStarted, WorkerReady
from swapbench.wire.plan import Arm
from swapbench.wire.swap import PhaseMeasured, SwapFinished

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
    latest = sorted(standing.rows, key=lambda row: row.changed)[-_ROWS:]
    rows = [row for row in standing.rows if row in latest]
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
    named = {"MLX": standing.mlx_bytes, "process": standing.process_bytes}
    known = {name: value for name, value in named.items() if value is not None}
    line = _labelled(_MEMORY, labels)
    if not known:
        return line.append("  not read yet", style="dim")
    held, whole = max(known.values()), standing.course.memory_bytes
    line.append(f"  {memory(held):>{_FIGURE_WIDTH}}  ", style="bold")
    line.append_text(_bar(held / whole, width // _BAR_SHARE, "magenta")).append(f"  of {memory(whole)}")
    parts = ", ".join(f"{name} {memory(value)}" for name, value in known.items())
    return line.append(f"  ({parts})", style="dim")


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
        back = "" if event.rollback_s is None else f"; the old model is back after {event.rollback_s:.2f} s"
        return f"{event.swap.scenario}: {event.status.replace('_', ' ')}: {event.error}{back}"
    timing = event.timing
    total = "" if timing.total_s is None else f" {timing.total_s:.3f} s"
    token = "" if timing.to_first_token_s is None else f", first token at {timing.to_first_token_s:.3f} s"
    invalid = "" if event.valid else f"  [invalid: {event.invalid_reason}]"
    return f"{event.swap.scenario}:{total}{token if total else token.removeprefix(',')}{invalid}"


_PAGE_CACHE: Final[Mapping[PageCache, str]] = {
    PageCache.WARM: "read into the page cache, so that the disk is out of it",
    PageCache.COLD: "dropped from the page cache, so that they come from disk",
    PageCache.AS_IS: "left in the page cache as they are, and only looked at",
}
_STEPS: Final[Mapping[str, str]] = {
    "checking": "what can be known of the new checkpoint, while the old model is untouched",
    "preparing": "agents' caches and requests in flight; {page_cache}",
    "answering": "requests that were carried over, and those that wait",
    "decoding": "a second request, for the steady rate",
    "restoring": "agents' caches that come back have to go on as before",
    "verifying": "the new model has to say what a process says that loaded it afresh",
    "settling": "until the ledgers stand still, so that memory is read when it is back",
}


def opening(arm: Arm, side: str) -> Iterator[str]:
    """What is known of a run's arm before it begins."""
    who = f"{side}: " if side else ""
    yield f"{who}the worker runs {arm.python}, since the process that measures others holds no MLX"
    for model in arm.checkpoints.values():
        where = f", {model.path}" if model.path.parts else ""
        yield f"{who}{model.name}: {model.source}, {size(model.weight_bytes)}{where}"
    for name, how in arm.experiment.strategy.items():
        yield f"{who}strategy {name}: {how.describe()}"


def explanations(event: Event, experiment: Experiment, side: str, *, claims: bool = True) -> Iterator[str]:
    """What an event means. Without `claims` the models are stand-ins, and held against no target."""
    match event:
        case TurnStarted() if side:
            yield f"the turn of {side}, in a process of its own"
        case WorkerReady():
            held = event.baseline.footprint_bytes
            yield f"worker {event.pid} holds no model yet" + (f": {memory(held)}" if held else "")
        case SwapStarted():
            swap = event.swap
            yield f"{swap.scenario}: {swap.from_model} → {swap.to_model}, strategy {swap.strategy}"
        case StepStarted() if event.step.startswith("serving "):
            yield f"  {event.step}: the model that the swap begins with has to be served"
        case StepStarted() if event.step in _STEPS:
            name = event.swap.scenario
            label = experiment.page_cache_of(next(s for s in experiment.scenario if s.name == name))
            files = f"page cache {label}: the new model's files are {_PAGE_CACHE[label]}"
            yield f"  {event.step}: {_STEPS[event.step].format(page_cache=files)}"
        case PhaseMeasured(span=""):
            before, after = event.before.mlx_active_bytes, event.after.mlx_active_bytes
            ends = None if before is None or after is None else (memory(before), memory(after))
            grown = f", MLX {ends[0]} → {ends[1]}" if ends and ends[0] != ends[1] else ""
            yield f"  {event.phase} {event.seconds:.3f} s{grown}"
        case SwapFinished():
            yield from (f"  {text}" for text in _proofs(event, experiment.target_s if claims else None))


def _proofs(event: SwapFinished, target_s: float | None) -> Iterator[str]:
    told, total_s = event.outcome, event.timing.total_s
    if told.resident_before is not None:
        yield f"{told.resident_before:.0%} of the new model's files were in the page cache before load"
    if not event.valid and event.invalid_reason:
        yield f"invalid, and left out of statistics: {event.invalid_reason}"
    if told.loader is not None:
        yield f"loaded by {told.loader}" + (f": {told.loader_why}" if told.loader_why else "")
    if event.verified_tokens:
        yield f"{event.verified_tokens} tokens are those of a fresh process"
    if total_s and target_s is not None:
        under = f"{target_s / total_s:.1f} times under" if total_s <= target_s else "over"
        yield f"{under} the target of {target_s:g} s"
    if event.settle_s is not None:
        yield f"memory stood still after {event.settle_s:.2f} s"
