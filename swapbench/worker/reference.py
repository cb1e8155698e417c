"""`python -m swapbench.worker.reference`: what a checkpoint answers in a process that never swapped.

Questions come as one line of JSON on stdin, replies go as one line to stdout's descriptor.
"""

import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from swapbench.spec.experiment import EngineSettings
from swapbench.wire.plan import Questions, Replies, Reply
from swapbench.worker.process import leave

if TYPE_CHECKING:
    from swapbench.worker.engine.batch import BatchEngine


def main() -> None:
    """Answer the questions."""
    # Libraries print to stdout; the replies must be alone on it.
    replies_to = os.dup(1)
    os.dup2(2, 1)
    questions = Questions.model_validate_json(sys.stdin.buffer.readline())
    try:
        replies = answer(questions)
    except Exception:  # noqa: BLE001 - the process's border: its last line is the reason, whatever MLX's threads do
        traceback.print_exc()
        leave(1)
    with os.fdopen(replies_to, "wb") as out:
        out.write(replies.model_dump_json().encode() + b"\n")
    leave()


def answer(questions: Questions) -> Replies:
    """As the target that is swapped would: by a batch engine, or by ranks that share the model."""
    if questions.sharded is not None:
        from swapbench.worker.sharding import crew

        return crew.answer(questions, questions.sharded)
    return _of_one_process(questions)


def _of_one_process(questions: Questions) -> Replies:
    """Load the checkpoint and have a batch engine, as the one that is swapped, answer one after another."""
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
            model,
            tokenizer,
            pool,
            thread,
            max_batch=settings.max_batch,
            name=name,
            batches=can_batch(model),
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

    Raises:
        MismatchError: with the length of the prompt, the first token that differs, and whether the reply
            is the old model's.
    """
    compared = 0
    for said, right in zip(replies, expected[to_model], strict=True):
        if said.tokens != right.tokens:
            others = [r for r in expected.get(from_model, ()) if r.prompt_tokens == said.prompt_tokens]
            raise MismatchError(_difference(to_model, from_model, said, right, others))
        compared += len(said.tokens)
    return compared


def _difference(to: str, old: str, said: Reply, right: Reply, olds: Sequence[Reply]) -> str:
    prompt = f"a prompt of {said.prompt_tokens} tokens"
    if any(said.tokens == reply.tokens for reply in olds):
        return f"{to} answers {prompt} as {old} does: the old model's weights still answer"
    at = next(
        (
            i
            for i, (ours, theirs) in enumerate(zip(said.tokens, right.tokens, strict=False))
            if ours != theirs
        ),
        min(len(said.tokens), len(right.tokens)),
    )
    return f"{to} answers {prompt} otherwise than in a fresh process, from token {at + 1} on"


if __name__ == "__main__":
    main()
