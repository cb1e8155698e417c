"""Carries a plan out on a target: round after round, swap after swap, each ending in an event."""

import gc
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from swapbench.base.errors import let_go, sentence
from swapbench.base.phases import FIRST_TOKEN
from swapbench.instruments.page_cache import COLD_SHARE, WARM_SHARE
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
    ClientCounts,
    ClientRequest,
    PlannedSwap,
    Reading,
    Steady,
    SwapFinished,
    SwapOutcome,
    SwapStatus,
    Timing,
)
from swapbench.worker.meter import Settled
from swapbench.worker.probe import SwapProbe
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
    ready = WorkerReady(
        arm=plan.arm,
        pid=pid,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        versions=versions,
        device=device,
        baseline=target.meter.read(),
        clock_origin_ns=target.meter.clock_origin_ns,
    )
    emit(ready)
    if plan.recover is not None:
        emit(_recover(plan, plan.recover, target))
    ended = _carry_out(plan, target, emit)
    if isinstance(ended, RunFinished):
        emit(StepStarted(step="closing"))
        target.close()
    emit(ended)


def _carry_out(plan: Plan, target: Target, emit: Callable[[Event], None]) -> RunFinished | GaveUp:
    """Every swap of the schedule, in order; gives up where nobody knows what this process holds any more."""
    told = {target.outcome().note}
    for note in told - {""}:
        emit(Note(text=note))
    round_ = None
    for position, swap in enumerate(plan.schedule):
        if swap.round != round_:
            emit(RoundStarted(swap=swap.between()))
            round_ = swap.round
        under_way = _Swap(plan, swap, target, emit, position)
        finished = under_way.carry_out()
        for request in under_way.clients:
            emit(request)
        emit(finished)
        for note in {under_way.unmeasured, target.outcome().note} - {"", *told}:
            told.add(note)
            emit(Note(text=note))
        if plan.fail_fast and finished.status != "ok":
            return RunFinished(stopped=f"stopped at the first failure: {swap.scenario} of round {round_}")
        if finished.status == "failed" and finished.timing.start_s is not None:
            return GaveUp(reason=finished.error)
    return RunFinished(stopped="")


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
        self._target = target
        self._emit = emit
        self._asks = plan.asks(plan.scenario(planned.scenario))
        self._from = plan.checkpoints[planned.from_model]
        self._to = plan.checkpoints[planned.to_model]
        self._probe = SwapProbe(target.meter, emit, planned)
        self._step = ""
        self._serves = False
        self._status: SwapStatus = "ok"
        self._error = ""
        self._steady = Steady()
        self._longest_stall_s: float | None = None
        self._still_s = 0.0
        self.clients: tuple[ClientRequest, ...] = ()
        self.unmeasured = ""
        fault = plan.experiment.fault_in(planned.scenario, planned.round)
        # Fields of the row, as soon as they are known.
        self._known: dict[str, Any] = {
            "position": position,
            "fault": fault.kind if fault is not None else "",
            "answered_requests": 0,
            "restored": NONE_RESTORED,
        }

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
            used = target.meter.energy.since(before)
            self._known["energy_j"] = used.joules if used else None
        self._begin("answering")
        self._known["answered_requests"] = target.finish()
        if self._asks:
            self._prove()

    def _prove(self) -> None:
        """What the new model is worth, outside the timed phases."""
        target = self._target
        self._begin("decoding")
        self._steady = target.steady()
        self._begin("restoring")
        self._known["restored"] = restored = target.restore()
        self._begin("verifying")
        to, expected = self._to.name, self._plan.expected
        if restored.changed:
            agents = ", ".join(restored.changed)
            raise MismatchError(f"{to}: the restored caches of {agents} go on otherwise than before")
        self._known["verified_tokens"] = (
            compare(to, self._from.name, target.replies(), expected)
            if to in expected
            else target.verify(self._to)
        )

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
            self._error = sentence(error)
            if self._serves:
                self._refuse()
            return
        self._error = self._probe.told(error, self._step)
        # Its frames hold the half-loaded model, which would outlive its failure.
        let_go(error)
        if self._probe.begun:
            gc.collect()
            self._roll_back()

    def _refuse(self) -> None:
        """Nothing was touched: the old model goes on, and shows it by answering."""
        self._begin("answering")
        try:
            self._known["answered_requests"] = self._target.finish()
            self._target.answer()
            self._status = "refused"
        except Exception as unanswered:  # noqa: BLE001 - as above: the row says what is lost
            self._error += f"; and the old model does not answer: {sentence(unanswered)}"
            let_go(unanswered)

    def _roll_back(self) -> None:
        self._begin("rolling back")
        begun_s = self._target.meter.now_s()
        try:
            self._known["recovery"] = self._target.roll_back(self._from)
            self._target.answer()
            self._known["audit"] = self._target.audit()
            self._status = "rolled_back"
            self._known["rollback_s"] = self._target.meter.now_s() - begun_s
            self._known["answered_requests"] = self._target.finish()
        except BaseException as error:  # noqa: BLE001 - as above: the row says what is lost
            what = "the workload" if self._status == "rolled_back" else "rolling back"
            self._error += f"; {what} failed too: {sentence(error)}"
            let_go(error)

    def _row(self, settled: Settled | None) -> SwapFinished:
        outcome, probe = self._target.outcome(), self._probe
        complete = self._status == "ok"
        inside = outcome.seen == "phases"
        invalid = self._why_invalid(outcome) if complete else ""
        load_s = probe.phase_s.get("load")
        rate = outcome.loaded_bytes / load_s / 1e9 if complete and outcome.loaded_bytes and load_s else None
        timing = Timing(
            total_s=self._total_s(outcome) if complete else None,
            unattributed_s=probe.unattributed_s if complete and inside else None,
            first_token_s=probe.first_token_s,
            to_first_token_s=probe.to_first_token_s if complete else None,
            start_s=probe.begun_s if probe.begun else None,
            probe_s=probe.probe_s if complete else None,
            load_gb_per_s=rate,
            longest_stall_s=self._longest_stall_s,
        )
        return SwapFinished(
            swap=self._planned,
            status=self._status,
            error=self._error,
            failed_phase=probe.failure.phase if probe.failure is not None and not complete else None,
            valid=complete and not invalid,
            invalid_reason=invalid,
            timing=timing,
            outcome=outcome if complete else replace(outcome, fresh_footprint_bytes=None),
            steady=self._steady,
            clients=_told(self.clients, inside=inside),
            # From outside it is looked at when all is over.
            settle_s=settled.seconds if settled and inside else None,
            settled=settled.ledgers if settled else Reading(),
            idle_w=settled.watts if settled and complete else None,
            **self._known,
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
        """Why the swap does not count; empty where it does. mincore may contradict the page cache's label."""
        if self._still_s:
            return f"the machine slept, or this process was stopped, for {self._still_s:.1f} s of it"
        swapped_s, hot_s = self._probe.to_first_token_s, self._steady.first_token_s
        if outcome.seen == "token" and swapped_s and hot_s and swapped_s < hot_s * _TOO_SOON_SHARE:
            return (
                f"the first token came after {swapped_s:.3f} s, sooner than from the model once it is loaded "
                f"({hot_s:.3f} s): somebody else may have spoken"
            )
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
