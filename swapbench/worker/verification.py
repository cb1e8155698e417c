"""Whether a swapped model answers rightly, whatever its figures."""

from collections.abc import Mapping, Sequence

from swapbench.wire.events import Reply


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
