"""Measures one swap: phases that never overlap, spans inside them, and what the observer itself costs.

Of a swap that is seen from outside there is one row alone, the whole.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from swapbench.base.errors import sentence
from swapbench.base.phases import FIRST_TOKEN, WHOLE, Phase
from swapbench.wire.events import Event, StepStarted
from swapbench.wire.swap import PhaseMeasured, PlannedSwap, Reading
from swapbench.worker.meter import Counters, Meter
from swapbench.worker.sharding import gather

Emit = Callable[[Event], None]


class OverlapError(RuntimeError):
    """A phase was entered while another one goes on."""


class PhaseFailure(NamedTuple):
    """A phase that was left by an exception, and what that said."""

    phase: Phase
    why: str


class SwapProbe:
    """The stopwatch of one swap. `begin` is the swap request; phases follow one another until its end.

    One that is entered again once it was over goes on: it has a row each time, and its times add up.

    The reading after a phase is also the one before the next, so that the observer looks nine times and not
    sixteen. What it costs falls between phases, and is summed in `probe_s`.
    """

    def __init__(self, meter: Meter, emit: Emit, swap: PlannedSwap) -> None:
        self._meter = meter
        self._emit = emit
        self._swap = swap
        self.begun_s = self._ended_s = 0.0  # on the worker's clock
        self.begun = False
        self._before = Reading()
        self._counted: Counters | None = None
        self._spans: list[PhaseMeasured] = []
        self._phase = self._going_on = ""
        self._leaving_s = 0.0
        self._overlap = ""
        self.phase_s: dict[str, float] = {}
        self.probe_s = 0.0
        self.first_token_s: float | None = None
        self.to_first_token_s: float | None = None
        self._failures: list[PhaseFailure] = []

    def begin(self) -> None:
        self.begun = True
        self._before = self._meter.read()
        self._counted = self._meter.counters()
        self.begun_s = self._ended_s = self._meter.now_s()

    @property
    def total_s(self) -> float:
        """From the request to the end of the last phase so far."""
        return self._ended_s - self.begun_s

    @property
    def unattributed_s(self) -> float:
        """What of the total no phase accounts for: the observer, and the target between phases."""
        return self.total_s - sum(self.phase_s.values())

    @property
    def failure(self) -> PhaseFailure | None:
        """The first phase that failed, but for those that went well when they were entered again."""
        return next(iter(self._failures), None)

    def told(self, error: BaseException, step: str) -> str:
        """What ended the swap: the first failure, then what came of it. Outside of phases `step` is named."""
        first, why = self.failure, sentence(error)
        if first is None:
            return f"{step} failed: {why}"
        text = f"{first.phase} failed: {first.why}"
        if first.why == why:
            return text
        last = next((failure.phase for failure in self._failures if failure.why == why), step)
        return f"{text}; {last} failed too: {why}"

    @contextmanager
    def phase(self, phase: Phase) -> Iterator[None]:
        """Measure one phase, to the end of what the device was asked; OverlapError in another one."""
        with self._failing(phase), self._measured(phase):
            yield

    @contextmanager
    def _failing(self, phase: str) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            if phase != FIRST_TOKEN:
                # Its sentence alone: its frames would hold what the target tries to be rid of.
                self._failures.append(PhaseFailure(Phase(phase), sentence(error)))
            raise
        self._failures = [failure for failure in self._failures if failure.phase != phase]

    @contextmanager
    def whole(self, answers: bool = False) -> Iterator[None]:
        """Measure a swap of which no phase can be seen; `answers` where its end is its first token."""
        with self._measured(WHOLE):
            yield
        if answers:
            self.to_first_token_s = self.total_s

    def over(self) -> None:
        """The swap ends now, after its last phase too; where it showed none, it is measured as a whole."""
        self._ended_s = self._meter.now_s()
        self.refuse_overlap()
        if self.phase_s or self._counted is None:
            return
        delta = self._meter.counters().since(self._counted)
        self._phase = WHOLE
        before, self._before = self._before, self._meter.read()
        self._emit(self._row("", (self.begun_s, self._ended_s), (before, self._before), delta))

    def refuse_overlap(self) -> None:
        """Raise OverlapError, whatever the target made of it, if a phase was entered inside another."""
        if self._overlap:
            raise OverlapError(self._overlap)

    @contextmanager
    def first_token(self) -> Iterator[None]:
        """Measure the time to the first token, after the eight phases."""
        with self._measured(FIRST_TOKEN):
            yield

    @contextmanager
    def ranked(self, phase: str) -> Iterator[Callable[[Sequence[Sequence[PhaseMeasured]]], None]]:
        """A phase, or the first token, that every rank measures by itself.

        What is yielded takes the ranks' rows, by rank. The slowest rank is the phase; what it took beyond, to
        tell the ranks and to hear from them, is in no phase.
        """
        self._emit(StepStarted(swap=self._swap, step=phase))
        start_s = self._meter.now_s()

        def measured(ranks: Sequence[Sequence[PhaseMeasured]]) -> None:
            end_s = self._meter.now_s()
            for row in gather(ranks):
                at_s = start_s - self.begun_s + row.start_s
                self._emit(row.model_copy(update={"swap": self._swap, "phase": phase, "start_s": at_s}))
                if row.rank is None and not row.span:
                    self._note(phase, row.seconds, end_s)

        with self._failing(phase):
            yield measured

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Measure a named part of the phase that is going on. Spans may overlap."""
        meter = self._meter
        counters = meter.counters()
        before = meter.read_inside()
        start_s = meter.now_s()
        try:
            yield
        finally:
            end_s = meter.now_s()
            delta = meter.counters().since(counters)
            # Kept until the phase is over: sending it now would be measured with the phase.
            readings = (before, meter.read_inside())
            self._spans.append(self._row(name, (start_s, end_s), readings, delta))

    @contextmanager
    def observing(self) -> Iterator[None]:
        """Look at something between two phases, at the observer's expense."""
        start_s = self._meter.now_s()
        try:
            yield
        finally:
            self.probe_s += self._meter.now_s() - start_s

    @contextmanager
    def _measured(self, phase: str) -> Iterator[None]:
        if self._going_on:
            self._overlap = (
                f"{phase} was entered while {self._going_on} goes on: phases never overlap; leave one before "
                "the next is entered, or measure a part of it by probe.span()"
            )
            self.refuse_overlap()
        meter = self._meter
        entered_s = meter.now_s()
        self._phase = phase
        self._emit(StepStarted(swap=self._swap, step=phase))
        before = self._before
        meter.start_peak()
        counters = meter.counters()
        start_s = meter.now_s()
        if phase != FIRST_TOKEN:
            self.probe_s += self._leaving_s + start_s - entered_s
        self._going_on = phase
        try:
            yield
            meter.synchronize()
        finally:
            self._going_on = ""
            end_s = meter.now_s()
            delta = meter.counters().since(counters)
            peak = meter.peak_bytes()
            self._before = meter.read()
            whole = self._row("", (start_s, end_s), (before, self._before), delta, peak)
            for event in (whole, *self._spans):
                self._emit(event)
            self._spans.clear()
            self._note(phase, end_s - start_s, end_s)
            self._leaving_s = meter.now_s() - end_s

    def _note(self, phase: str, seconds: float, end_s: float) -> None:
        if phase == FIRST_TOKEN:
            self.first_token_s = (self.first_token_s or 0.0) + seconds
            self.to_first_token_s = end_s - self.begun_s
        else:
            self._ended_s = end_s
            if phase != WHOLE:
                self.phase_s[phase] = self.phase_s.get(phase, 0.0) + seconds

    def _row(
        self,
        span: str,
        times_s: tuple[float, float],
        readings: tuple[Reading, Reading],
        counted: Counters,
        peak: int | None = None,
    ) -> PhaseMeasured:
        return PhaseMeasured(
            swap=self._swap,
            phase=self._phase,
            span=span,
            start_s=times_s[0] - self.begun_s,
            seconds=times_s[1] - times_s[0],
            before=readings[0],
            after=readings[1],
            mlx_peak_bytes=peak,
            **counted._asdict(),
        )
