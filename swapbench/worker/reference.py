"""`python -m swapbench.worker.reference`: what a checkpoint answers in a process that never swapped.

Questions come as one line of JSON on stdin, replies go as one line to stdout's descriptor.
"""

import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from swapbench.base.process import stdout_alone
from swapbench.spec.experiment import EngineSettings
from swapbench.wire.plan import Questions, Replies, Reply
from swapbench.worker.process import leave

if TYPE_CHECKING:
    from swapbench.worker.engine.batch import BatchEngine


def main() -> None:
    out = stdout_alone()
    questions = Questions.model_validate_json(sys.stdin.buffer.readline())
    try:
        replies = answer(questions)
    except Exception:  # noqa: BLE001 - the process's border: its last line is the reason, whatever MLX's threads do
        traceback.print_exc()
        leave(1)
    print(replies.model_dump_json(), file=out, flush=True)
    leave()


def answer(questions: Questions) -> Replies:
    """As the target that is swapped would: by a batch engine, or by ranks that share the model."""
    if questions.sharded is not None:
        from swapbench.worker.sharding import crew

        return crew.answer(questions, questions.sharded)
    from swapbench.machine.allowance import memory
    from swapbench.worker.checking import refuse_too_large
    from swapbench.worker.engine.batch import ask

    checkpoint = questions.checkpoint
    refuse_too_large(checkpoint, memory().obtainable)
    with engine_of(checkpoint.path, questions.engine, name=checkpoint.name) as engine:
        return Replies(replies=ask(engine, questions.verify))


@contextmanager
def engine_of(
    path: Path, settings: EngineSettings, *, name: str, strategy: str = "stock"
) -> Iterator["BatchEngine"]:
    """An engine that serves a checkpoint, on a thread of its own; its process has to `leave` at the end."""
    from concurrent.futures import ThreadPoolExecutor

    from swapbench.loaders import load
    from swapbench.worker.engine.batch import BatchEngine
    from swapbench.worker.engine.geometry import BlockPool, KVGeometry, can_batch

    model, tokenizer, _ = load(path, strategy)
    pool = BlockPool(settings.kv_budget_bytes, settings.block_tokens)
    pool.reconfigure(KVGeometry.of(model))
    with ThreadPoolExecutor(max_workers=1) as thread:
        engine = BatchEngine(
            model, tokenizer, pool, thread, max_batch=settings.max_batch, name=name, batches=can_batch(model)
        )
        try:
            yield engine
        finally:
            engine.stop()


class MismatchError(RuntimeError):
    """The new model does not say what it would say had nothing been swapped."""


def compare(
    to_model: str, from_model: str, replies: Sequence[Reply], expected: Mapping[str, Sequence[Reply]]
) -> int:
    """Check replies against those of a fresh process on the same checkpoint; returns the tokens compared.

    MismatchError tells the prompt, the first token that differs, and whether the reply is the old model's.
    """
    compared = 0
    for said, right in zip(replies, expected[to_model], strict=True):
        if said.tokens != right.tokens:
            others = [r for r in expected.get(from_model, ()) if r.prompt_tokens == said.prompt_tokens]
            prompt = f"{to_model} answers a prompt of {said.prompt_tokens} tokens"
            if any(said.tokens == reply.tokens for reply in others):
                raise MismatchError(f"{prompt} as {from_model} does: the old model's weights still answer")
            pairs = zip(said.tokens, right.tokens, strict=False)
            alike = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
            raise MismatchError(f"{prompt} otherwise than in a fresh process, from token {alike + 1} on")
        compared += len(said.tokens)
    return compared


if __name__ == "__main__":
    main()
