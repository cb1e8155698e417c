"""What those who ask felt of a swap: who waited, how long, whom which model answered, who got nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from swapbench.findings.rows import records
from swapbench.findings.swaps import Swap
from swapbench.stats.estimate import Estimate, estimate

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ClientsFelt:
    """The requests of one scenario's swaps but warm-up, failed ones too. Numbers are sums over swaps; waits
    are to first token, of those that count. From outside nobody sees what was carried over, refused or lost.

    `longest_stall` is, by swap, the longest time between the swap request and the first answer by the new
    model in which no client got a first token or an answer.
    """

    scenario: str
    sent: int
    answered_by_old: int
    answered_by_new: int
    carried: int | None
    refused: int | None
    lost: int | None
    failed: int
    stalled: int
    wait_before: Estimate | None
    wait_during: Estimate | None
    wait_after: Estimate | None
    longest_stall: Estimate | None

    @property
    def unanswered(self) -> int:
        """Requests that nobody answered, for whatever reason but that they were refused."""
        return (self.lost or 0) + self.failed + self.stalled


def clients_felt(scenario: str, swaps: Sequence[Swap], requests: "pd.DataFrame") -> ClientsFelt | None:
    """The clients' view of a scenario; None where none sent."""
    mine = requests[requests["scenario"] == scenario]
    by_round = dict(iter(mine.groupby("round")))
    parts = [(swap, by_round[swap.round]) for swap in swaps if swap.round in by_round and not swap.warmup]
    rows = [(swap, row) for swap, part in parts for row in records(part)]
    if not rows:
        return None
    waits: dict[str, list[float]] = {"before": [], "during": [], "after": []}
    for swap, row in rows:
        if row["outcome"] == "answered" and swap.counted:
            waits[_when(row["sent_s"], swap)].append(row["first_token_s"] - row["sent_s"])
    outcomes = [row["outcome"] for _, row in rows]
    inside = not any(swap.from_outside for swap, _ in parts)
    return ClientsFelt(
        scenario=scenario,
        sent=len(rows),
        answered_by_old=sum(row["model"] == swap.from_model for swap, row in rows),
        answered_by_new=sum(row["model"] == swap.to_model for swap, row in rows),
        carried=sum(bool(row["carried"]) for _, row in rows) if inside else None,
        refused=outcomes.count("refused") if inside else None,
        lost=outcomes.count("lost") if inside else None,
        failed=outcomes.count("failed"),
        stalled=outcomes.count("stalled"),
        wait_before=estimate(waits["before"]),
        wait_during=estimate(waits["during"]),
        wait_after=estimate(waits["after"]),
        longest_stall=estimate(_longest_stall(swap, part) for swap, part in parts if swap.counted),
    )


def _when(sent_s: float, swap: Swap) -> str:
    if sent_s < 0:
        return "before"
    lasts_s = swap.total_s if swap.total_s is not None else swap.figures.get("to_first_token_s")
    return "during" if lasts_s is not None and sent_s < lasts_s else "after"


def _longest_stall(swap: Swap, requests: "pd.DataFrame") -> float | None:
    answered = requests[requests["outcome"] == "answered"]
    new = answered[answered["model"] == swap.to_model]
    if new.empty:
        return None
    end_s = float(new["first_token_s"].min())
    heard = sorted({*answered["first_token_s"], *answered["answered_s"]})
    moments = [0.0, *(float(at_s) for at_s in heard if 0 < at_s < end_s), end_s]
    return max(later - earlier for earlier, later in pairwise(moments))
