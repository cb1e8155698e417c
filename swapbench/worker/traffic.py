"""What clients of the engine send while a model is swapped, and what became of it."""

from typing import Literal

from swapbench.spec.experiment import Workload
from swapbench.wire.events import ClientRequest, PlannedSwap
from swapbench.worker.engine.batch import Request, Ticket
from swapbench.worker.engine.workload import text
from swapbench.worker.open_loop import Sent

# No ticket: it was refused.
Asked = Sent[Request, Ticket | None]


def client_request(number: int, work: Workload, round_: int) -> Request:
    """The request of that number, another one in every round."""
    return Request(
        id=f"client-{number % work.clients + 1}/{number}",
        text=text(work.prompt_tokens, seed=(round_ + 1) * 1_000_003 + number),
        prompt_tokens=work.prompt_tokens,
        max_tokens=work.decode_tokens,
    )


def seen_by_client(sent: Asked, planned: PlannedSwap, zero_s: float, strategy: str) -> ClientRequest:
    """What became of a request; times count from `zero_s` (perf_counter), the swap request."""
    first_token_s = answered_s = None
    model, carried = "", False
    outcome: Literal["answered", "refused", "lost", "failed"] = "refused"
    if sent.ticket is not None:
        answer = sent.ticket.answer
        carried = sent.ticket.carried
        outcome = "answered" if answer is not None else "failed" if sent.ticket.done else "lost"
        if answer is not None:
            model = answer.model
            _, first_s, end_s = sent.ticket.times_s
            first_token_s, answered_s = first_s - zero_s, end_s - zero_s
    return ClientRequest(
        strategy=strategy,
        round=planned.round,
        scenario=planned.scenario,
        client=sent.client + 1,
        request=sent.request.id,
        sent_s=sent.at_s - zero_s,
        first_token_s=first_token_s,
        answered_s=answered_s,
        model=model,
        carried=carried,
        outcome=outcome,
    )
