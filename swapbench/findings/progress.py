"""How far a run is: what its events have said so far, and how long the rest will take."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from swapbench.base.phases import Phase
from swapbench.spec.experiment import Source
from swapbench.wire.events import Event, RoundStarted, StepStarted, SwapStarted, TurnStarted
from swapbench.wire.swap import MemorySample, PlannedSwap, SwapFinished, SwapKey

# Arm, strategy and scenario; and the seconds that swaps of a kind took.
_Kind = tuple[str, str, str]
_Lasted = dict[_Kind, list[float]]


@dataclass(frozen=True)
class Course:
    """What a run is going to do: its swaps in order; of its rounds the first `warmup` do not count.
    `arm_labels` are what its arms are called: base and change in a gate, their own names where left out."""

    name: str
    swaps: tuple[SwapKey, ...]
    rounds: int
    target_s: float
    memory_bytes: int
    sources: tuple[Source, ...] = (Source.HUB,)
    several_strategies: bool = False
    arm_labels: Mapping[str, str] | None = None
    warmup: int = 0

    @property
    def claims(self) -> bool:
        """Whether times of these models say something about real ones."""
        return all(source.is_full_size for source in self.sources)

    def label_of(self, arm: str) -> str:
        """What an arm is called."""
        return (self.arm_labels or {}).get(arm, arm)

    def round_title(self, swap: PlannedSwap) -> str:
        """`warm-up 1/1, slab`; then, of two arms, `round 1/6, B`: what counts is counted by itself."""
        if swap.warmup:
            title = f"warm-up {swap.round + 1}/{self.warmup}"
        else:
            title = f"round {swap.round - self.warmup + 1}/{self.rounds - self.warmup}"
        strategy = swap.strategy if self.several_strategies else ""
        return ", ".join(filter(None, (title, self.label_of(swap.arm), strategy)))


@dataclass(frozen=True)
class ProgressRow:
    """The swaps of one kind so far: seconds of those that succeeded, and the last one in any case."""

    label: str
    totals_s: tuple[float, ...]
    last: SwapFinished
    changed: int


@dataclass(frozen=True)
class Standing:
    """Where a run is at one moment. Seconds; None where nothing is known yet."""

    course: Course
    round: str
    rounds_left: int
    swaps_done: int
    elapsed_s: float
    left_s: float | None
    scenario: str
    step: str
    step_s: float
    mlx_bytes: int | None
    process_bytes: int | None
    rows: tuple[ProgressRow, ...]

    @property
    def in_phase(self) -> bool:
        """Whether the step is one of a swap's phases."""
        return self.step in set(Phase)


class RunProgress:
    """Follows events; `now_s` is any clock that only goes forward."""

    def __init__(self, course: Course, now_s: float) -> None:
        self.course = course
        self._left = list(course.swaps)
        self._begun_s = self._mark_s = self._step_since_s = now_s
        self._round = self._scenario = ""
        self._step = "starting"
        self._memory: MemorySample | None = None
        self._done = 0
        self._lasted_s: _Lasted = defaultdict(list)
        self._failed_after_s: _Lasted = defaultdict(list)
        self._rows: dict[str, ProgressRow] = {}

    def on(self, event: Event, now_s: float) -> None:
        """Take note of an event that came at `now_s`."""
        match event:
            case TurnStarted() if not self._done:  # before its first worker, a run asks fresh processes
                self._mark_s = now_s
            case RoundStarted():
                self._round = self.course.round_title(event.swap)
            case SwapStarted():
                self._scenario = event.swap.scenario
            case StepStarted():
                self._step, self._step_since_s = event.step, now_s
            case MemorySample(observer="worker"):
                self._memory = event
            case SwapFinished():
                self._finish(event, now_s)

    def _finish(self, event: SwapFinished, now_s: float) -> None:
        swap, total_s = event.swap, event.timing.total_s
        if swap.key in self._left:
            self._left.remove(swap.key)
        lasted = self._lasted_s if event.status == "ok" else self._failed_after_s
        lasted[_kind(swap.key)].append(now_s - self._mark_s)
        self._mark_s = now_s
        self._done += 1
        strategy = swap.strategy if self.course.several_strategies else ""
        label = ", ".join(filter(None, (swap.scenario, self.course.label_of(swap.arm), strategy)))
        totals_s = self._rows[label].totals_s if label in self._rows else ()
        if event.status == "ok" and total_s is not None:
            totals_s = (*totals_s, total_s)
        self._rows[label] = ProgressRow(label, totals_s, event, self._done)

    def standing(self, now_s: float) -> Standing:
        """Where the run is."""
        ledgers = self._memory.ledgers if self._memory is not None else None
        return Standing(
            course=self.course,
            round=self._round,
            rounds_left=len({key[1] for key in self._left}),
            swaps_done=len(self.course.swaps) - len(self._left),
            elapsed_s=now_s - self._begun_s,
            left_s=self._left_s(now_s),
            scenario=self._scenario,
            step=self._step,
            step_s=now_s - self._step_since_s,
            mlx_bytes=ledgers.mlx_active_bytes if ledgers else None,
            process_bytes=ledgers.footprint_bytes if ledgers else None,
            rows=tuple(self._rows.values()),
        )

    def _left_s(self, now_s: float) -> float | None:
        # How long it takes to fail or to hang says nothing of those that go well; until one did, it is all
        # there is. Of a kind yet unseen, what any took.
        lasted_s = self._lasted_s or self._failed_after_s
        if not lasted_s:
            return None
        if not self._left:
            return 0.0
        kinds = Counter(map(_kind, self._left))
        any_s = median(s for those in lasted_s.values() for s in those)
        typical_s = {kind: median(lasted_s.get(kind, (any_s,))) for kind in kinds}
        next_s = typical_s[_kind(self._left[0])]
        rest_s = sum(n * typical_s[kind] for kind, n in kinds.items()) - next_s
        return max(0.0, next_s - (now_s - self._mark_s)) + rest_s


def _kind(key: SwapKey) -> _Kind:
    return key[0], key[2], key[3]
