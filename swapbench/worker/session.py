"""Carries a plan out on a target: round after round, swap after swap, each ending in an event."""

import gc
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby

from swapbench.base.errors import let_go, sentence
from swapbench.base.phases import FIRST_TOKEN
from swapbench.instruments.page_cache import COLD_SHARE, WARM_SHARE
from swapbench.machine.energy import Used
from swapbench.spec.experiment import PageCache
from swapbench.wire.events import (
    Event,
    GaveUp,
    Note,
    Recovered,
    RoundStarted,
    RunFinished,
    StepStarted,
    SwapStarted,
    WorkerReady,
)
from swapbench.wire.plan import Plan
from swapbench.wire.swap import (
    Audit,
    ClientCounts,
    ClientRequest,
    PlannedSwap,
    Reading,
    Recovery,
    Steady,
    SwapFinished,
    SwapOutcome,
    SwapStatus,
    Timing,
)
from swapbench.worker.meter import Settled
from swapbench.worker.probe import Probe
from swapbench.worker.process import STILLNESS, Heartbeat
from swapbench.worker.reference import MismatchError, compare
from swapbench.worker.targets import NONE_RESTORED, RefusedError, Target

# A file's header is looked at before it is read, and a mini model is hardly more than that.
COLD_BYTES = 512 << 10
# Of what the same question takes once the model is there: no swap is that quick.
_TOO_SOON_SHARE = 0.5


def run_session(plan: Plan, target: Target, emit: Callable[[Event], None], pid: int) -> None:
    """Carry the plan out; every swap, failed or not, ends in a SwapFinished."""
    versions, device = target.identity()
    python = f"{platform.python_implementation()} {platform.python_version()}"
    baseline = target.meter.read()
    emit(
        WorkerReady(
            arm=plan.arm,
            pid=pid,
            python=python,
            versions=versions,
            device=device,
            baseline=baseline,
            clock_origin_ns=target.meter.clock_origin_ns,
        )
    )
    if plan.recover is not None:
        emit(_recover(plan, plan.recover, target))
    try:
        stopped = _carry_out(plan, target, emit)
    except _LostError as error:
        emit(GaveUp(reason=str(error)))
        return
    emit(StepStarted(step="closing"))
    target.close()
    emit(RunFinished(stopped=stopped))


def _carry_out(plan: Plan, target: Target, emit: Callable[[Event], None]) -> str:
    """Every swap of the schedule, in order; returns why it was stopped early, empty if it was not."""
    position = 0
    told = {target.outcome().note}
    for note in told - {""}:
        emit(Note(text=note))
    for round_, planned in groupby(plan.schedule, key=lambda swap: swap.round):
        for number, swap in enumerate(planned):
            if number == 0:
                emit(RoundStarted(swap=swap.between()))
            under_way = _Swap(plan, swap, target, emit, position)
            position += 1
            finished = under_way.carry_out()
            for request in under_way.clients:
                emit(request)
            emit(finished)
            for note in {under_way.unmeasured, target.outcome().note} - {"", *told}:
                told.add(note)
                emit(Note(text=note))
            if plan.fail_fast and finished.status != "ok":
                return f"stopped at the first failure: {swap.scenario} of round {round_}"
            if finished.status == "failed" and finished.timing.start_s is not None:
                raise _LostError(finished.error)
    return ""


class _LostError(RuntimeError):
    """Nobody knows what this process holds any more."""


def _recover(plan: Plan, lost: PlannedSwap, target: Target) -> Recovered:
    """Serve the old model of the swap in which the worker before was lost, and have it answer."""
    old = plan.checkpoints[lost.from_model]
    try:
        target.serve(old)
        target.answer()
        audit = target.audit()
        target.settle()
    except Exception as error:  # noqa: BLE001 - as a swap's border: what can't be recovered is told
        return Recovered(error=f"the old model does not come back in a new worker: {sentence(error)}")
    return Recovered(audit=audit)


class _Swap:
    """One swap from its preparation to its row."""

    def __init__(
        self, plan: Plan, planned: PlannedSwap, target: Target, emit: Callable[[Event], None], position: int
    ) -> None:
        self._plan = plan
        self._planned = planned
        self._position = position
        self._target = target
        self._emit = emit
        self._asks = plan.asks(plan.scenario(planned.scenario))
        self._from = plan.checkpoints[planned.from_model]
        self._to = plan.checkpoints[planned.to_model]
        self._probe = Probe(target.meter, emit, planned)
        self._step = ""
        self._serves = False
        self._error = ""
        self._status: SwapStatus = "ok"
        self._answered = 0
        self._steady = Steady()
        self.clients: tuple[ClientRequest, ...] = ()
        self._restored = NONE_RESTORED
        self._verified_tokens: int | None = None
        self._longest_stall_s: float | None = None
        self._used: Used | None = None
        self._still_s = 0.0
        self.unmeasured = ""
        self._rollback_s: float | None = None
        self._recovery: Recovery | None = None
        self._audit = Audit()
        fault = plan.experiment.fault_in(planned.scenario, planned.round)
        self._fault = fault.kind if fault is not None else ""

    def carry_out(self) -> SwapFinished:
        """Prepare, swap, ask for a token, wait for the workload, verify, settle."""
        self._emit(SwapStarted(swap=self._planned))
        try:
            self._attempt()
        except BaseException as error:  # noqa: BLE001 - the border of a swap: sys.exit is a failure, too
            self._fail(error)
        settled = None
        if self._status != "failed":
            self._begin("settling")
            settled = self._target.settle()
        if self._probe.begun:
            self.clients = self._target.clients(self._planned, self._probe.begun_s)
        return self._row(settled)

    def _attempt(self) -> None:
        target = self._target
        self._begin(f"serving {self._from.name}")
        target.serve(self._from)
        self._serves = True
        self._begin("checking")
        target.check(self._to, self._planned)
        self._begin("preparing")
        target.prepare(self._to, self._planned)
        before = target.meter.energy.look()
        with self._heartbeat():
            self._step = "the swap"
            target.swap(self._to, self._probe)
            if self._asks:
                self._step = FIRST_TOKEN
                target.first_token(self._probe)
            self._used = target.meter.energy.since(before)
        self._begin("answering")
        self._answered = target.finish()
        if self._asks:
            self._prove()

    def _prove(self) -> None:
        """What the new model is worth, outside the timed phases."""
        target = self._target
        self._begin("decoding")
        self._steady = target.steady()
        self._begin("restoring")
        self._restored = target.restore()
        self._begin("verifying")
        if self._restored.changed:
            agents = ", ".join(self._restored.changed)
            raise MismatchError(
                f"{self._to.name}: the restored caches of {agents} go on otherwise than before"
            )
        if self._to.name in self._plan.expected:
            self._verified_tokens = compare(
                self._to.name, self._from.name, target.replies(), self._plan.expected
            )
        else:
            self._verified_tokens = target.verify(self._to)

    def _begin(self, step: str) -> None:
        self._step = step
        self._emit(StepStarted(swap=self._planned, step=step))

    @contextmanager
    def _heartbeat(self) -> Iterator[None]:
        if self._target.meter.clock_origin_ns is None:  # a script's clock, on which no thread can tick
            yield
            return
        STILLNESS.forget()
        with Heartbeat(self._target.health) as heartbeat:
            yield
        self._still_s = STILLNESS.seconds()
        self._longest_stall_s = heartbeat.longest_stall_s
        if heartbeat.error is not None:
            self.unmeasured = f"no stall is told: the health check went wrong: {sentence(heartbeat.error)}"

    def _fail(self, error: BaseException) -> None:
        self._status = "failed"
        if isinstance(error, RefusedError) and not self._probe.begun:
            if self._serves:
                self._refuse(error)
            else:
                self._error = sentence(error)
            return
        self._error = self._probe.told(error, self._step)
        # Its frames hold the half-loaded model, which would outlive its failure.
        let_go(error)
        if self._probe.begun:
            gc.collect()
            self._roll_back()

    def _refuse(self, error: RefusedError) -> None:
        """Nothing was touched: the old model goes on, and shows it by answering."""
        self._error = sentence(error)
        self._begin("answering")
        try:
            self._answered = self._target.finish()
            self._target.answer()
            self._status = "refused"
        except Exception as unanswered:  # noqa: BLE001 - as above: the row says what is lost
            self._error += f"; and the old model does not answer: {sentence(unanswered)}"
            let_go(unanswered)

    def _roll_back(self) -> None:
        self._begin("rolling back")
        begun_s = self._target.meter.now_s()
        try:
            self._recovery = self._target.roll_back(self._from)
            self._target.answer()
            self._audit = self._target.audit()
            self._status = "rolled_back"
            self._rollback_s = self._target.meter.now_s() - begun_s
            self._answered = self._target.finish()
        except BaseException as error:  # noqa: BLE001 - as above: the row says what is lost
            what = "the workload" if self._status == "rolled_back" else "rolling back"
            self._error += f"; {what} failed too: {sentence(error)}"
            let_go(error)

    def _row(self, settled: Settled | None) -> SwapFinished:
        outcome, failure = self._target.outcome(), self._probe.failure
        complete = self._status == "ok"
        invalid = self._why_invalid(outcome) if complete else ""
        return SwapFinished(
            swap=self._planned,
            position=self._position,
            status=self._status,
            error=self._error,
            failed_phase=failure.phase if failure is not None and not complete else None,
            fault=self._fault,
            rollback_s=self._rollback_s,
            recovery=self._recovery,
            valid=complete and not invalid,
            invalid_reason=invalid,
            timing=self._timing(outcome),
            outcome=outcome if complete else replace(outcome, fresh_footprint_bytes=None),
            answered_requests=self._answered,
            steady=self._steady,
            restored=self._restored,
            verified_tokens=self._verified_tokens,
            audit=self._audit,
            clients=_told(self.clients, inside=outcome.seen == "phases"),
            # From outside it is looked at when all is over.
            settle_s=settled.seconds if settled and outcome.seen == "phases" else None,
            settled=settled.ledgers if settled else Reading(),
            energy_j=self._used.joules if self._used else None,
            idle_w=settled.watts if settled and complete else None,
        )

    def _timing(self, outcome: SwapOutcome) -> Timing:
        probe, complete = self._probe, self._status == "ok"
        load_s, rate = probe.phase_s.get("load"), None
        if complete and outcome.loaded_bytes and load_s:
            rate = outcome.loaded_bytes / load_s / 1e9
        return Timing(
            total_s=self._total_s(outcome) if complete else None,
            unattributed_s=probe.unattributed_s if complete and outcome.seen == "phases" else None,
            first_token_s=probe.first_token_s,
            to_first_token_s=probe.to_first_token_s if complete else None,
            start_s=probe.begun_s if probe.begun else None,
            probe_s=probe.probe_s if complete else None,
            load_gb_per_s=rate,
            longest_stall_s=self._longest_stall_s,
        )

    def _total_s(self, outcome: SwapOutcome) -> float | None:
        """Of a swap by asking, what it costs: its first token less the first token of the same request, hot.

        None where that is not above nothing: the swap is lost in the noise of answering.
        """
        if outcome.seen != "token":
            return self._probe.total_s
        swapped_s, hot_s = self._probe.to_first_token_s, self._steady.first_token_s
        if swapped_s is None or hot_s is None or hot_s >= swapped_s:
            return None
        return swapped_s - hot_s

    def _why_invalid(self, outcome: SwapOutcome) -> str:
        if self._still_s:
            return f"the machine slept, or this process was stopped, for {self._still_s:.1f} s of it"
        swapped_s, hot_s = self._probe.to_first_token_s, self._steady.first_token_s
        if outcome.seen == "token" and swapped_s and hot_s and swapped_s < hot_s * _TOO_SOON_SHARE:
            return (
                f"the first token came after {swapped_s:.3f} s, sooner than from the model once it is loaded "
                f"({hot_s:.3f} s): somebody else may have spoken"
            )
        return self._contradiction(outcome)

    def _contradiction(self, outcome: SwapOutcome) -> str:
        """Why mincore contradicts the page cache's label; empty when it does not."""
        label, share = self._plan.page_cache_of(self._planned.scenario), outcome.resident_before
        if label is PageCache.AS_IS:
            return ""
        if share is None:
            return f"labelled {label}, but how much of the checkpoint was resident is unknown"
        if label is PageCache.WARM and share < WARM_SHARE:
            return f"labelled warm, but only {share:.1%} of the checkpoint was resident"
        known_bytes = share * self._to.weight_bytes
        if label is PageCache.COLD and share > COLD_SHARE and not 0 < known_bytes <= COLD_BYTES:
            return f"labelled cold, but {share:.1%} of the checkpoint was resident"
        return ""


def _told(requests: Sequence[ClientRequest], *, inside: bool) -> ClientCounts:
    """Of requests in flight on a server nobody says that they were refused, or lost."""
    outcomes = [request.outcome for request in requests]
    waits = [r.first_token_s - r.sent_s for r in requests if r.first_token_s is not None]
    return ClientCounts(
        sent=len(requests),
        refused=outcomes.count("refused") if inside else None,
        lost=outcomes.count("lost") if inside else None,
        longest_wait_s=max(waits, default=None),
    )
