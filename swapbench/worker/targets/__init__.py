"""Targets: the systems under test, each of which serves one model and can swap it for another."""

from dataclasses import replace
from typing import Any, Final

from swapbench.instruments import page_cache
from swapbench.wire.plan import Checkpoint, Plan, Reply
from swapbench.wire.swap import Audit, ClientRequest, PlannedSwap, Recovery, Restored, Steady, SwapOutcome
from swapbench.worker.meter import Meter, Settled, settle
from swapbench.worker.probe import SwapProbe

# Where requests and caches are seen, and there were none; of others nothing is known.
NONE_SEEN: Final = SwapOutcome(
    drained_requests=0,
    carried_requests=0,
    evicted_caches=0,
    evicted_bytes=0,
    prefilled_tokens=0,
    ahead_bytes=0,
    kept_bytes=0,
)
NONE_RESTORED: Final = Restored(caches=0, tokens=0, bytes=0)


class RefusedError(RuntimeError):
    """A swap was refused before anything was touched."""


class Target:
    """What the session asks of a system under test; only `swap` and `first_token` are measured."""

    meter: Meter
    # What is told before anything has happened: NONE_SEEN where requests and caches are seen.
    _nothing = SwapOutcome()

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._served: Checkpoint | None = None
        self._outcome = self._nothing

    @property
    def served(self) -> Checkpoint:
        """The model that is served; a RuntimeError if none is."""
        if self._served is None:
            raise RuntimeError("no model is served")
        return self._served

    def identity(self) -> tuple[dict[str, str], str]:
        """Versions of what serves (name -> version), and the device it serves on."""
        raise NotImplementedError

    def serve(self, checkpoint: Checkpoint) -> None:
        """Have `checkpoint` served, by whatever way; nothing is measured."""
        raise NotImplementedError

    def check(self, to: Checkpoint, planned: PlannedSwap) -> None:
        """Raise a RefusedError (what is wrong, where, what to do) if the swap is known to fail: nothing is
        touched yet."""

    def prepare(self, to: Checkpoint, planned: PlannedSwap) -> None:
        """Put the page cache into its state for `to`, then the workload in place; may refuse as `check`."""
        raise NotImplementedError

    def swap(self, to: Checkpoint, probe: SwapProbe) -> None:
        """Replace the served model by `to`, each of the eight phases inside `probe.phase`."""
        raise NotImplementedError

    def outcome(self) -> SwapOutcome:
        """What the last swap did, as far as it came."""
        return self._outcome

    def first_token(self, probe: SwapProbe) -> None:
        """Ask the new model for a token, inside `probe.first_token`."""
        raise NotImplementedError

    def steady(self) -> Steady:
        """Ask the new model once more, for `steady_tokens` tokens; called when it has nothing else to do."""
        return Steady()

    def restore(self) -> Restored:
        """Bring back the caches that were evicted when the new model last went, then free them."""
        return NONE_RESTORED

    def replies(self) -> tuple[Reply, ...]:
        """What the new model says to the verification prompts, where tokens can be seen."""
        return ()

    def verify(self, to: Checkpoint) -> int | None:
        """How many pieces of text were as they have to be, where a target knows that by itself; None where
        nothing is compared. A MismatchError if another model answers, or this one otherwise than before."""
        return None

    def health(self) -> None:
        """Answer as the server's health check does, from any thread, in the middle of a swap too; in this
        process by being called: its server would wait for the same lock."""

    def roll_back(self, old: Checkpoint) -> Recovery:
        """After a failed swap: have the old model serve again, by as little as does; says what did."""
        raise NotImplementedError

    def answer(self) -> None:
        """Answer a real request, to prove that it serves; raises a RuntimeError if nobody does."""

    def audit(self) -> Audit:
        """After a failed swap: what became of the agents' caches of the model that serves now."""
        return Audit(0, 0) if self._nothing is NONE_SEEN else Audit()

    def finish(self) -> int:
        """Wait until every request is answered; how many. A RuntimeError if one was lost or failed."""
        return 0

    def clients(self, planned: PlannedSwap, begun_s: float) -> tuple[ClientRequest, ...]:
        """What became of every request of the clients that went on sending, once they have ended.
        `begun_s` is when the swap was asked for, on the meter's clock."""
        return ()

    def settle(self) -> Settled:
        """Collect, and wait until the ledgers stand still."""
        return settle(self.meter)

    def close(self) -> None:
        """Serve nothing any more."""

    def _tell(self, **figures: Any) -> None:
        self._outcome = replace(self._outcome, **figures)

    def _look_at_page_cache(self, to: Checkpoint) -> None:
        self._tell(resident_before=page_cache.residency(page_cache.weight_files(to.path)).share)
