"""The batch engine on real, tiny models: every request is answered once, by somebody."""

import gc
import threading
import weakref
from collections.abc import Iterable
from concurrent.futures import Executor
from typing import Any

import mlx.core as mx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlx_lm.generate import generation_stream
from mlx_lm.models.cache import make_prompt_cache

from swapbench.worker.engine.batch import BatchEngine, FrontDoor
from swapbench.worker.engine.geometry import BlockPool, KVGeometry, can_batch
from swapbench.worker.engine.requests import Request, Ticket, requests
from tests.worker.engine.conftest import UNLIKE, make_model, next_token

PATIENCE_S = 60.0


def _pool(model: Any, budget_bytes: int = 1 << 24) -> BlockPool:
    pool = BlockPool(budget_bytes, 16)
    pool.reconfigure(KVGeometry.of(model))
    return pool


def _engine(
    model: Any, tokenizer: Any, thread: Executor, pool: BlockPool | None = None, name: str = "one"
) -> BatchEngine:
    batches = not hasattr(model, "modules") or can_batch(model)
    return BatchEngine(
        model, tokenizer, pool or _pool(model), thread, max_batch=4, name=name, batches=batches
    )


def _greedy(model: Any, ids: list[int], count: int) -> list[int]:
    cache = make_prompt_cache(model)
    said: list[int] = []
    while len(said) < count:
        ids = [next_token(model, ids, cache)]
        said += ids
    return said


@pytest.mark.parametrize("kind", ["llama", "gemma3", "qwen2", *UNLIKE])
def test_a_request_is_answered_as_the_model_would(kind: str, tokenizer: Any, thread: Executor) -> None:
    model = make_model(kind)
    engine = _engine(model, tokenizer, thread)
    (request,) = requests(1, 24, 12, seed=5)
    answer = engine.submit(request).result(PATIENCE_S)
    engine.stop()
    ids = tokenizer.encode(request.text)[:24]
    assert list(answer.tokens) == _greedy(model, ids, 12)
    assert answer.model == "one"


@pytest.mark.parametrize("kind", ["llama", "llama4", "gpt_bigcode"])
def test_requests_of_many_threads_are_each_answered_once(kind: str, tokenizer: Any, thread: Executor) -> None:
    model = make_model(kind)
    pool = _pool(model)
    engine = _engine(model, tokenizer, thread, pool)
    wanted = requests(24, 12, 6, seed=1)
    tickets: list[Ticket] = []
    clients = [
        threading.Thread(target=lambda part: tickets.extend(map(engine.submit, part)), args=(wanted[i::4],))
        for i in range(4)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    answers = [ticket.result(PATIENCE_S) for ticket in tickets]
    engine.stop()
    assert sorted(answer.id for answer in answers) == sorted(request.id for request in wanted)
    assert all(len(answer.tokens) == 6 for answer in answers)
    assert pool.free_blocks == pool.capacity_blocks


def test_an_engine_that_cannot_be_made_says_so_when_it_is_waited_for(
    tokenizer: Any, thread: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("no stream to be had")

    monkeypatch.setattr("swapbench.worker.engine.batch.batch_generator", refuse)
    engine = _engine(make_model("llama"), tokenizer, thread)
    with pytest.raises(RuntimeError, match="engine one broke: no stream to be had"):
        engine.await_ready(PATIENCE_S)
    assert not engine.serves
    engine.stop()


def test_an_engine_serves_until_it_is_drained(tokenizer: Any, thread: Executor) -> None:
    engine = _engine(make_model("llama"), tokenizer, thread)
    engine.await_ready(PATIENCE_S)
    assert engine.serves
    engine.drain(0)
    assert not engine.serves
    engine.stop()


def test_a_step_that_never_ends_is_told_when_draining_and_when_stopping(
    tokenizer: Any, thread: Executor
) -> None:
    model = make_model("llama")
    entered, let_go = threading.Event(), threading.Event()

    class Stuck(type(model)):  # type: ignore[misc]
        def __call__(self, *arguments: Any, **options: Any) -> Any:
            entered.set()
            let_go.wait(PATIENCE_S)
            return super().__call__(*arguments, **options)

    engine = _engine(model, tokenizer, thread)
    model.__class__ = Stuck
    engine.submit(requests(1, 12, 6, seed=2)[0])
    assert entered.wait(PATIENCE_S)
    with pytest.raises(TimeoutError, match="engine one is stuck"):
        engine.drain(0, 0.05)
    with pytest.raises(TimeoutError, match="engine one is stuck"):
        engine.stop(0.05)
    let_go.set()
    engine.stop()


@pytest.mark.parametrize("kind", ["llama", "falcon_h1", "llama4"])
def test_a_patient_drain_lets_everything_finish(kind: str, tokenizer: Any, thread: Executor) -> None:
    engine = _engine(make_model(kind), tokenizer, thread)
    tickets = [engine.submit(request) for request in requests(3, 12, 20, seed=2)]
    for ticket in tickets:
        ticket.first_token(PATIENCE_S)
    drained = engine.drain(PATIENCE_S)
    assert (drained.finished, drained.carried) == (3, ())
    assert all(len(ticket.result(0).tokens) == 20 for ticket in tickets)
    engine.stop()


@pytest.mark.parametrize("kind", ["llama", "lfm2", "llama4"])
def test_what_an_impatient_drain_cuts_off_another_model_answers(
    kind: str, tokenizer: Any, thread: Executor
) -> None:
    old, new = make_model(kind), make_model("gemma3")
    pool = _pool(old)
    engine = _engine(old, tokenizer, thread, pool)
    # Six requests, a batch of four: two are still waiting, and must be carried too.
    tickets = [engine.submit(request) for request in requests(6, 12, 100, seed=3)]
    for ticket in tickets[:4]:
        ticket.first_token(PATIENCE_S)
    drained = engine.drain(0)
    engine.stop()
    assert drained.finished == 0
    assert set(drained.carried) == set(tickets)
    pool.reconfigure(KVGeometry.of(new))
    successor = _engine(new, tokenizer, thread, pool, name="two")
    for ticket in drained.carried:
        successor.resubmit(ticket)
    answers = [ticket.result(PATIENCE_S) for ticket in tickets]
    successor.stop()
    assert {answer.model for answer in answers} == {"two"}
    assert all(len(answer.tokens) == 100 for answer in answers)


@pytest.mark.parametrize("deadline_s", [0.0, PATIENCE_S], ids=["cut off", "finished"])
def test_nothing_is_computed_any_more_when_a_drain_has_ended(
    deadline_s: float, tokenizer: Any, thread: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as MLX can be asked: its stream is waited for, on the engine's thread, before drain returns."""
    waited: list[Any] = []

    def synchronize(stream: Any) -> None:
        waited.append((stream, threading.current_thread().name))
        real(stream)

    real = mx.synchronize
    monkeypatch.setattr(mx, "synchronize", synchronize)
    engine = _engine(make_model("llama"), tokenizer, thread)
    ticket = engine.submit(requests(1, 24, 200, seed=5)[0])
    ticket.first_token(PATIENCE_S)
    engine.drain(deadline_s)
    before = list(waited)
    engine.stop()
    stream, name = before[0]
    assert stream is generation_stream
    assert name != threading.current_thread().name


def test_a_drained_engine_takes_no_more(tokenizer: Any, thread: Executor) -> None:
    engine = _engine(make_model("llama"), tokenizer, thread)
    engine.drain(0)
    with pytest.raises(RuntimeError, match="takes no more requests"):
        engine.submit(requests(1, 4, 4, seed=0)[0])
    engine.stop()


def test_a_request_that_can_never_fit_is_refused_at_once(tokenizer: Any, thread: Executor) -> None:
    model = make_model("llama")
    engine = _engine(model, tokenizer, thread, _pool(model, budget_bytes=100_000))
    with pytest.raises(ValueError, match="kv_budget_bytes"):
        engine.submit(Request("big", "text", prompt_tokens=10_000, max_tokens=1))
    engine.stop()


def test_what_does_not_fit_now_waits_its_turn(tokenizer: Any, thread: Executor) -> None:
    model = make_model("llama")
    geometry = KVGeometry.of(model)
    engine = _engine(model, tokenizer, thread, _pool(model, budget_bytes=2 * geometry.bytes_for(16)))
    tickets = [engine.submit(request) for request in requests(5, 8, 8, seed=4)]
    assert all(len(ticket.result(PATIENCE_S).tokens) == 8 for ticket in tickets)
    engine.stop()


def test_stopping_tells_whoever_still_waits(tokenizer: Any, thread: Executor) -> None:
    engine = _engine(make_model("llama"), tokenizer, thread)
    ticket = engine.submit(requests(1, 8, 5000, seed=6)[0])
    ticket.first_token(PATIENCE_S)
    engine.stop()
    engine.stop()
    with pytest.raises(RuntimeError, match="was stopped"):
        ticket.result(PATIENCE_S)


def test_a_model_that_breaks_fails_its_requests_and_hangs_nobody(tokenizer: Any, thread: Executor) -> None:
    model = make_model("llama")
    pool = _pool(model)

    class _Broken:
        def make_cache(self) -> Any:
            return model.make_cache()

        def __call__(self, *_: Any, **__: Any) -> mx.array:
            raise RuntimeError("no such kernel")

    engine = _engine(_Broken(), tokenizer, thread, pool)
    ticket = engine.submit(requests(1, 8, 8, seed=7)[0])
    with pytest.raises(RuntimeError, match="no such kernel"):
        ticket.result(PATIENCE_S)
    with pytest.raises(RuntimeError, match="broke"):
        engine.drain(PATIENCE_S)
    engine.stop()
    assert pool.free_blocks == pool.capacity_blocks


def test_a_request_without_a_token_fails_alone(tokenizer: Any, thread: Executor) -> None:
    model = make_model("llama")
    pool = _pool(model)
    engine = _engine(model, tokenizer, thread, pool)
    fine, empty, also_fine = (
        engine.submit(Request(f"r{n}", text, prompt_tokens=4, max_tokens=4))
        for n, text in enumerate(("a model", "", "a page"))
    )
    with pytest.raises(RuntimeError, match="no tokens"):
        empty.result(PATIENCE_S)
    assert len(fine.result(PATIENCE_S).tokens) == len(also_fine.result(PATIENCE_S).tokens) == 4
    engine.stop()
    assert pool.free_blocks == pool.capacity_blocks


def test_a_broken_engine_keeps_no_hold_of_its_model(tokenizer: Any, thread: Executor) -> None:
    class _Breaks:
        def make_cache(self) -> Any:
            return []

        def __call__(self, *_: Any, **__: Any) -> mx.array:
            weights = self
            try:
                raise KeyError("layer 7")
            except KeyError:
                raise RuntimeError(f"no such kernel in {type(weights).__name__}") from None

    broken, shapes = _Breaks(), make_model("llama")
    engine = _engine(broken, tokenizer, thread, _pool(shapes))
    ticket = engine.submit(requests(1, 8, 8, seed=9)[0])
    with pytest.raises(RuntimeError, match="no such kernel"):
        ticket.result(PATIENCE_S)
    engine.stop()
    gone = weakref.ref(broken)
    del broken
    gc.collect()
    assert gone() is None


def test_a_stopped_engine_keeps_no_hold_of_its_model(tokenizer: Any, thread: Executor) -> None:
    model = make_model("llama")
    engine = _engine(model, tokenizer, thread)
    engine.submit(requests(1, 8, 8, seed=8)[0]).result(PATIENCE_S)
    engine.drain(PATIENCE_S)
    engine.stop()
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_a_short_text_is_repeated_to_its_length(tokenizer: Any, thread: Executor) -> None:
    model = make_model("llama")
    engine = _engine(model, tokenizer, thread)
    answer = engine.submit(Request("r", "a model", prompt_tokens=9, max_tokens=3)).result(PATIENCE_S)
    engine.stop()
    ids = (tokenizer.encode("a model") * 9)[:9]
    assert list(answer.tokens) == _greedy(model, ids, 3)


class Engine:
    """Takes requests and keeps them in the order in which they came."""

    def __init__(self, takes: bool = True) -> None:
        self.takes = takes
        self.taken: list[Ticket] = []

    def resubmit(self, ticket: Ticket) -> None:
        if not self.takes:
            raise RuntimeError("this engine takes no more requests")
        self.taken.append(ticket)


def request(name: object) -> Request:
    return Request(id=str(name), text="hello", prompt_tokens=1, max_tokens=1)


def ids(tickets: Iterable[Ticket]) -> list[str]:
    return [ticket.request.id for ticket in tickets]


def test_while_an_engine_serves_requests_go_straight_on() -> None:
    door, engine = FrontDoor(4), Engine()
    door.open(engine)  # type: ignore[arg-type]
    door.submit(request(1))
    assert (ids(engine.taken), door.waiting) == (["1"], 0)


def test_during_a_swap_they_wait_and_the_new_engine_takes_them_in_order() -> None:
    door, old, new = FrontDoor(4), Engine(), Engine()
    door.open(old)  # type: ignore[arg-type]
    door.close()
    for number in (1, 2, 3):
        door.submit(request(number))
    assert (old.taken, door.waiting) == ([], 3)
    door.open(new)  # type: ignore[arg-type]
    assert (ids(new.taken), door.waiting) == (["1", "2", "3"], 0)


def test_who_comes_when_the_queue_is_full_is_refused() -> None:
    door = FrontDoor(1)
    assert door.submit(request(1)) is not None
    assert door.submit(request(2)) is None
    assert door.waiting == 1


def test_an_engine_that_takes_nobody_fails_the_request_and_says_so() -> None:
    door, engine = FrontDoor(4), Engine(takes=False)
    door.open(engine)  # type: ignore[arg-type]
    ticket = door.submit(request(1))
    assert ticket is not None
    with pytest.raises(RuntimeError, match="takes no more requests"):
        ticket.result(0)


@given(steps=st.lists(st.sampled_from(["submit", "open", "close"]), max_size=60), limit=st.integers(0, 5))
def test_whatever_happens_everybody_is_taken_once_in_order_refused_or_still_waiting(
    steps: list[str], limit: int
) -> None:
    door, engines = FrontDoor(limit), [Engine()]
    accepted: list[str] = []
    for number, step in enumerate(steps):
        if step == "open":
            engines.append(Engine())
            door.open(engines[-1])  # type: ignore[arg-type]
        elif step == "close":
            door.close()
        elif door.submit(request(number)) is not None:
            accepted.append(str(number))
    taken = [name for engine in engines for name in ids(engine.taken)]
    assert taken == accepted[: len(taken)]
    assert door.waiting == len(accepted) - len(taken) <= limit
