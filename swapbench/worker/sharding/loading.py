"""mlx-lm's `sharded_load`, with its parts told apart."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import mlx.core as mx
from mlx_lm import utils

from swapbench.loaders.span import Span

Mode = Literal["tensor", "pipeline"]


def load_share(path: Path, mode: Mode, group: mx.distributed.Group, span: Span) -> tuple[Any, Any]:
    """This rank's share of a checkpoint's weights, evaluated, and the tokenizer; every rank calls it.

    Spans: `look` builds the model to see how it can be shared, `tokenizer`, `build` builds the one that
    stays, `read` shares it out and brings this rank's weights into memory, `barrier` waits for the others.

    Raises:
        FileNotFoundError, ValueError, RuntimeError: the checkpoint is incomplete, corrupt, or not shareable.
    """
    with _parts_of_sharded_load(span):
        model, tokenizer = utils.sharded_load(
            str(path),
            pipeline_group=group if mode == "pipeline" else None,
            tensor_group=group if mode == "tensor" else None,
            # An empty dictionary would count as none, and none lets tokenizers run code of their own.
            tokenizer_config={"trust_remote_code": False},
        )
    return model, tokenizer


@contextmanager
def _parts_of_sharded_load(span: Span) -> Iterator[None]:
    """Have the functions that sharded_load calls begin and end spans; it is one function, and tells nothing.

    Its order: a lazy model to look at, the tokenizer, the lazy model that stays, sharding and evaluating, and
    a sum over all ranks, at whose end every rank has its weights.
    """
    built = 0
    with ExitStack() as reading, ExitStack() as patches:
        load_model: Callable[..., Any] = utils.load_model
        load_tokenizer: Callable[..., Any] = utils.load_tokenizer
        all_sum: Callable[..., Any] = mx.distributed.all_sum

        def building(*arguments: Any, **options: Any) -> Any:
            nonlocal built
            built += 1
            with span("look" if built == 1 else "build"):
                model = load_model(*arguments, **options)
            if built == 2:
                reading.enter_context(span("read"))
            return model

        def parsing(*arguments: Any, **options: Any) -> Any:
            with span("tokenizer"):
                return load_tokenizer(*arguments, **options)

        def meeting(*arguments: Any, **options: Any) -> Any:
            reading.close()
            reading.enter_context(span("barrier"))
            return all_sum(*arguments, **options)

        patches.enter_context(patch.object(utils, "load_model", building))
        patches.enter_context(patch.object(utils, "load_tokenizer", parsing))
        patches.enter_context(patch.object(mx.distributed, "all_sum", meeting))
        yield
