"""Every use of inner parts of mlx-lm and transformers, and whether what takes their place is asked.

Where a function of mlx-lm's is to read through something of ours, a copy of it runs that sees other globals:
patching the module would reach other threads' loads. A version that no longer asks there would load as ever,
and nobody would notice; so each load looks whether it was asked, and `unasked` tries it without a checkpoint.
"""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FunctionType, SimpleNamespace
from typing import Any, Final, Literal

import mlx.core as mx
import mlx_lm.models.cache
import mlx_lm.tokenizer_utils
import mlx_lm.utils
from mlx.nn.layers.activations import PReLU
from mlx.utils import tree_map
from mlx_lm.generate import BatchGenerator, generation_stream, wired_limit
from transformers import AddedToken, AutoTokenizer

Mode = Literal["tensor", "pipeline"]
_Span = Callable[[str], AbstractContextManager[None]]
Part = Literal["weights", "tokenizer", "shares"]

PARTS: Final[tuple[Part, ...]] = ("weights", "tokenizer", "shares")

# Said outright, in a fresh dictionary each time: where nothing is said transformers asks on standard input.
NO_CODE: Final = {"trust_remote_code": False}

# Where these are, transformers merges them with what tokenizer.json says; that is left to it.
_LEGACY: Final = ("special_tokens_map.json", "added_tokens.json")
_WHAT: Final[dict[Part, str]] = {
    "weights": "load_model reads weights",
    "tokenizer": "tokenizer_utils.load reads tokenizers",
    "shares": "sharded_load loads and meets",
}


class UnaskedError(Exception):
    """This mlx-lm doesn't ask what was put in the place of its own."""

    def __init__(self, part: Part, detail: str = "") -> None:
        told = f" ({' '.join(detail.split())[:160]})" if detail else ""
        super().__init__(f"mlx-lm {version('mlx-lm')} is unknown to swapbench: {_WHAT[part]} otherwise{told}")


def unasked(part: Part) -> str:
    """Why this mlx-lm can't be made to load that part through something of ours; empty where it can.

    Tried on nothing, once for each function that there is.
    """
    function, attempt = {
        "weights": (mlx_lm.utils.load_model, _try_weights),
        "tokenizer": (mlx_lm.tokenizer_utils.load, _try_tokenizer),
        "shares": (mlx_lm.utils.sharded_load, _try_shares),
    }[part]
    return _tried(part, function, attempt)


@cache
def _tried(part: Part, _function: Any, attempt: Callable[[Path], None]) -> str:
    try:
        with TemporaryDirectory() as folder:
            attempt(Path(folder))
    except UnaskedError as error:
        return str(error)
    except OSError:
        return ""  # nowhere to try it; the load itself will tell
    except Exception as error:  # noqa: BLE001 - whatever another version makes of it is the answer
        return str(UnaskedError(part, f"{type(error).__name__}: {error}"))
    return ""


def _copy(part: Part, function: Any, **seen: object) -> Any:
    """A copy of a function that sees other globals."""
    if not isinstance(function, FunctionType):
        raise UnaskedError(part, f"{function!r} is no plain function")
    copy = FunctionType(
        function.__code__,
        function.__globals__ | seen,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


class _Overlaid:
    """A namespace, with something else in the place of some of its names."""

    def __init__(self, under: Any, **names: Any) -> None:
        vars(self).update(names)
        self._under = under

    def __getattr__(self, name: str) -> Any:
        return getattr(self._under, name)


# Weights


def build(checkpoint: Path, weights: dict[str, mx.array], **options: Any) -> tuple[Any, dict[str, Any]]:
    """The model that mlx_lm.load_model makes, lazily, where mx.load would give `weights`; and its config.

    Raises:
        UnaskedError: it read files itself.
        FileNotFoundError, ValueError, RuntimeError: as mlx_lm.load_model.
    """
    asked: set[str] = set()

    def load(file: str, *rest: Any, **more: Any) -> dict[str, mx.array]:
        """The first gives all weights, and the others none."""
        if rest or more:
            raise UnaskedError("weights", "mx.load has arguments")
        first = not asked
        asked.add(Path(file).name)
        return weights if first else {}

    load_model = _copy("weights", mlx_lm.utils.load_model, mx=_Overlaid(mx, load=load))
    model, config = load_model(checkpoint, lazy=True, **options)
    files = {path.name for path in checkpoint.glob("model*.safetensors")}
    if asked != files:
        raise UnaskedError("weights", f"of {len(files)} files it asked for {len(asked & files)}")
    return model, config


def _try_weights(folder: Path) -> None:
    """By a model of one parameter, whose value tells where it came from."""
    (folder / "config.json").write_text('{"model_type": "one"}', encoding="utf-8")
    mx.save_safetensors(str(folder / "model.safetensors"), {"weight": mx.zeros(1)})
    ours = mx.ones(1)
    classes = (PReLU, SimpleNamespace(from_dict=lambda config: 1))
    model, _ = build(folder, {"weight": ours}, get_model_classes=lambda config: classes)
    if not bool(mx.array_equal(model.weight, ours)):
        raise UnaskedError("weights", "the model has others than it was given")


def classes_of(config: dict[str, Any]) -> tuple[Any, Any]:
    """mlx-lm's class of a config's architecture, and that of its arguments.

    Raises:
        ValueError, AttributeError: it has none.
    """
    found: tuple[Any, Any] = mlx_lm.utils._get_classes(config)
    return found


def is_bit_linear(module: Any) -> bool:
    """Whether a layer holds ternary weights, as BitNet's do."""
    # Before 0.31 it can't be imported where there is no Metal.
    from mlx_lm.models.bitlinear_layers import BitLinear

    return isinstance(module, BitLinear)


# Tokenizers


def tokenizer_of(
    path: Path, eos_token_ids: int | list[int] | None, decoder: Any, added_tokens: list[dict[str, Any]]
) -> Any:
    """What mlx_lm.utils.load_tokenizer makes of a folder, with nothing parsed or fetched twice.

    Args:
        decoder, added_tokens: as the folder's tokenizer.json has them.

    Raises:
        UnaskedError: it read files otherwise.
        Exception: what mlx-lm and transformers raise, where the files are at fault.
    """
    asked: set[str] = set()

    def decoder_alone(_file: Any) -> dict[str, Any]:
        asked.add("json")
        return {"decoder": decoder}

    def from_pretrained(path: Path, **settings: Any) -> Any:
        asked.add("AutoTokenizer")
        return _pretrained(path, added_tokens, settings)

    wrapper = _wrapped(path, eos_token_ids, decoder_alone, from_pretrained)
    if len(asked) < 2:
        raise UnaskedError("tokenizer")
    # Laid over the methods while the wrapper was made; from here on tokens may be added.
    for name in ("get_vocab", "convert_ids_to_tokens"):
        vars(wrapper._tokenizer).pop(name, None)
    return wrapper


def _wrapped(path: Path, eos_token_ids: int | list[int] | None, content: Any, from_pretrained: Any) -> Any:
    json_alone, auto = _Only("json", load=content), _Only("AutoTokenizer", from_pretrained=from_pretrained)
    load = _copy("tokenizer", mlx_lm.tokenizer_utils.load, json=json_alone, AutoTokenizer=auto)
    # A model's settings for checkpoints without them, where this mlx-lm has them (0.32.1 and newer).
    look_up = getattr(mlx_lm.utils, "_tokenizer_defaults", None)
    defaults = [look_up(path)] if look_up is not None else []
    return load(path, dict(NO_CODE), eos_token_ids, *defaults)


class _Only:
    """What a tokenizer's loading is known to ask of a module or a class, and nothing else."""

    def __init__(self, called: str, **names: Any) -> None:
        vars(self).update(names)
        self._called = called

    def __getattr__(self, name: str) -> Any:
        raise UnaskedError("tokenizer", f"by {self._called}.{name}")


def _pretrained(path: Path, added_tokens: list[dict[str, Any]], settings: dict[str, Any]) -> Any:
    """AutoTokenizer's, told of the added tokens, and handing out the vocabulary that it fetched once."""
    if not _says_added_tokens(path) and not any((path / name).exists() for name in _LEGACY):
        settings["added_tokens_decoder"] = {
            entry["id"]: AddedToken(**{name: value for name, value in entry.items() if name != "id"})
            for entry in added_tokens
        }
    tokenizer = AutoTokenizer.from_pretrained(path, **settings)
    vocabulary = tokenizer.get_vocab()
    tokens: list[str | None] = [None] * len(tokenizer)
    for token, number in vocabulary.items():
        if number < len(tokens):
            tokens[number] = token
    own = tokenizer.convert_ids_to_tokens

    def convert(ids: Any, *args: Any, **kwargs: Any) -> Any:
        whole = isinstance(ids, list) and not args and not kwargs and ids == list(range(len(tokens)))
        return list(tokens) if whole and len(vocabulary) == len(tokens) else own(ids, *args, **kwargs)

    vars(tokenizer)["get_vocab"] = lambda: vocabulary
    vars(tokenizer)["convert_ids_to_tokens"] = convert
    return tokenizer


def _says_added_tokens(path: Path) -> bool:
    try:
        config = json.loads((path / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and "added_tokens_decoder" in config


class _ReachedError(Exception):
    """Everything was asked that is tried."""


def _try_tokenizer(folder: Path) -> None:
    """As far as transformers would be asked."""
    asked: set[str] = set()

    def content(_file: Any) -> dict[str, Any]:
        asked.add("json")
        return {}

    def reached(*_: Any, **__: Any) -> None:
        raise _ReachedError

    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    with suppress(_ReachedError):
        _wrapped(folder, None, content, reached)
        asked.clear()
    if not asked:
        raise UnaskedError("tokenizer")


# Shares of a model


def load_share(path: Path, mode: Mode, group: mx.distributed.Group, span: _Span) -> tuple[Any, Any]:
    """This rank's share of a checkpoint's weights, evaluated, and the tokenizer, by mlx-lm's `sharded_load`.

    Every rank calls it. Spans, but where `unasked("shares")`: `look` builds the model to see how it can be
    shared, `tokenizer`, `build` builds the one that stays, `read` shares it out and brings this rank's
    weights into memory, `barrier` waits for the others.

    Raises:
        FileNotFoundError, ValueError, RuntimeError: the checkpoint is incomplete, corrupt, or not shareable.
    """
    with _Parts(span, mlx_lm.utils.load_model, mlx_lm.utils.load_tokenizer, mx) as parts:
        load = mlx_lm.utils.sharded_load if unasked("shares") else _sharded(parts)
        model, tokenizer = load(
            str(path),
            pipeline_group=group if mode == "pipeline" else None,
            tensor_group=group if mode == "tensor" else None,
            # An empty dictionary would count as none, and none lets tokenizers run code of their own.
            tokenizer_config=dict(NO_CODE),
        )
    return model, tokenizer


def _sharded(parts: "_Parts", **seen: object) -> Any:
    return _copy(
        "shares",
        mlx_lm.utils.sharded_load,
        load_model=parts.load_model,
        load_tokenizer=parts.load_tokenizer,
        mx=parts,
        **seen,
    )


class _Parts:
    """What sharded_load calls, mlx.core among it, each with its span; it is one function, and tells nothing.

    Its order: a lazy model to look at, the tokenizer, the lazy model that stays, sharding and evaluating, and
    a sum over all ranks, at whose end every rank has its weights.
    """

    def __init__(self, span: _Span, load_model: Any, load_tokenizer: Any, core: Any) -> None:
        self._span, self._core = span, core
        self._load_model, self._load_tokenizer = load_model, load_tokenizer
        self._open = ExitStack()
        self.asked: list[str] = []
        self.distributed = _Overlaid(core.distributed, all_sum=self._meet)

    def __enter__(self) -> "_Parts":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)

    def load_model(self, *arguments: Any, **options: Any) -> Any:
        name = "build" if "look" in self.asked else "look"
        self.asked.append(name)
        with self._span(name):
            model = self._load_model(*arguments, **options)
        if name == "build":
            self._open.enter_context(self._span("read"))
        return model

    def load_tokenizer(self, *arguments: Any, **options: Any) -> Any:
        self.asked.append("tokenizer")
        with self._span("tokenizer"):
            return self._load_tokenizer(*arguments, **options)

    def _meet(self, *arguments: Any, **options: Any) -> Any:
        self.asked.append("barrier")
        self._open.close()
        self._open.enter_context(self._span("barrier"))
        return self._core.distributed.all_sum(*arguments, **options)


def _try_shares(folder: Path) -> None:
    """With nothing loaded, and nobody to meet."""

    def nothing(*_: Any, **__: Any) -> Any:
        return None

    model = SimpleNamespace(shard=nothing, parameters=dict, model=None)
    distributed = _Overlaid(mx.distributed, all_sum=nothing)
    core = _Overlaid(mx, distributed=distributed, eval=nothing)
    with _Parts(lambda _: ExitStack(), lambda *_, **__: (model, {}), nothing, core) as parts:  # type: ignore[arg-type, return-value]
        load = _sharded(parts, _download=lambda *_, **__: folder)
        load(str(folder), tensor_group=object(), tokenizer_config=dict(NO_CODE))
    if parts.asked != ["look", "tokenizer", "build", "barrier"]:
        raise UnaskedError("shares", f"it asked for {', '.join(parts.asked) or 'nothing'}")


# Generation


def batch_generator(model: Any, max_batch: int, prefill_step: int) -> Any:
    """mlx-lm's generator for several sequences at once: `insert`, `next`, `remove`, `close`."""
    return BatchGenerator(
        model,
        completion_batch_size=max_batch,
        prefill_batch_size=max_batch,
        prefill_step_size=prefill_step,
    )


def responses_of(told: Any) -> list[Any]:
    """The new tokens, of what a generator's `next` tells: before mlx-lm 0.31 nothing was told of prompts."""
    responses: list[Any] = told[1] if isinstance(told, tuple) else told
    return responses


def await_generation() -> None:
    """Until a step that a generator has begun ahead is over."""
    mx.synchronize(generation_stream)


def wired(model: Any) -> AbstractContextManager[None]:
    """As much of a model wired as fits, while its tokens are computed."""
    limited: AbstractContextManager[None] = wired_limit(model, [generation_stream])  # type: ignore[list-item]
    return limited


# Caches


def parts_of(cache: Any) -> tuple[Any, ...] | None:
    """The caches of which one is made; None for one that is made of none."""
    parts = getattr(cache, "caches", None)
    return None if parts is None else tuple(parts)


def holds_tokens(cache: Any) -> bool:
    """Whether it holds keys and values, token by token."""
    return all(isinstance(getattr(cache, name, None), mx.array) for name in ("keys", "values"))


def step_of(cache: Any) -> int:
    """Tokens for which a cache takes memory at once."""
    return int(getattr(cache, "step", 1))


def window_of(cache: Any) -> int | None:
    """Tokens beyond which a cache forgets; None where it keeps all."""
    window: int | None = getattr(cache, "max_size", getattr(cache, "chunk_size", None))
    return window


def trim_front(cache: Any) -> None:
    """What a model does to a chunked cache before each step."""
    if hasattr(cache, "maybe_trim_front"):
        cache.maybe_trim_front()


def copied(cache: Any) -> Any:
    """A cache of the same contents, which can be written to."""
    # Caches write into their arrays in place: another Python object, though not yet other bytes.
    state = tree_map(lambda leaf: mx.array(leaf) if isinstance(leaf, mx.array) else leaf, cache.state)
    # Before mlx-lm 0.32, what a cache counts was not part of its state.
    counted = (cache.meta_state,) if hasattr(cache, "meta_state") else ()
    return type(cache).from_state(state, *counted)


def can_merge(cache: Any) -> bool:
    """Whether several such caches can be put together for a batch."""
    return hasattr(cache, "merge") and all(map(can_merge, parts_of(cache) or ()))


def merged(one: Any, other: Any) -> Any:
    """Two caches of a kind as one for a batch of two."""
    return one.merge([one, other])


def is_savable(cache: Any) -> bool:
    """Whether mlx-lm can bring a cache back from a file: by its class's name, in its own module."""
    return hasattr(mlx_lm.models.cache, type(cache).__name__)
