"""Presets: what swapbench has to know of a server to swap its models, as one TOML file; docs/targets.md."""

import re
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, JsonValue, ValidationError, model_validator

from swapbench.base.errors import UsageError
from swapbench.spec.validation import Flag, LocatedError, PositiveSeconds, Strict, Whole, complain, read_toml

# 1: first published form.
PRESET_VERSION: Final = 1

Path_ = Annotated[str, Field(pattern=r"^/\S*$")]
Status = Annotated[int, Field(strict=True, ge=100, le=599)]
Method = Literal["GET", "POST", "PUT", "DELETE"]
# Where in a JSON document: keys and places in lists with dots between, `choices.0.text`.
# `[name={model}]` is the entry of a list that has that name.
Where = Annotated[str, Field(pattern=r"^(\[[^\]\s]+\]|[^.\s\[\]]+)(\.(\[[^\]\s]+\]|[^.\s\[\]]+))*$")]
SECONDS: Final[Mapping[str, float]] = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
BYTES: Final[Mapping[str, int]] = {
    "bytes": 1,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "kB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
}
Unit = Literal["s", "ms", "us", "ns", "bytes", "KiB", "MiB", "GiB", "kB", "MB", "GB", "count"]
_UNITS_OF: Final[Mapping[str, Container[str]]] = {
    "load": SECONDS,
    **dict.fromkeys(("memory", "kv_capacity", "evicted_bytes"), BYTES),
    **dict.fromkeys(("evicted_caches", "restored_caches", "restored_tokens"), ("count",)),
}
Told = Literal[
    "load",
    "memory",
    "kv_capacity",
    "evicted_caches",
    "evicted_bytes",
    "restored_caches",
    "restored_tokens",
]

# Placeholders that stand in text. {env:NAME} is taken from the environment, {env:NAME?} may be missing.
_OF_PATH: Final = re.compile(r"\{path[}|]")
_ASKED: Final = frozenset(("model", "prompt", "max_tokens", "session"))
# A name, and how its value is to be quoted.
PLACEHOLDER: Final = re.compile(r"\{([a-z_]+)((?:\|[a-z]+)*)\}")
_SECRET: Final = re.compile(r"\{env:([A-Za-z_][A-Za-z0-9_]*)(\??)\}")


class Start(Strict):
    """How the server is started; where there is none, it has to be running already."""

    command: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        min_length=1,
        description="program and arguments; {python} {host} {port} {config} {folder}, and {model} {path} of "
        "the model that it is started on, for servers that want one",
    )
    environment: dict[str, str] = Field({}, description="added to the server's environment")
    per_model: Flag = Field(False, description="one server for each model, each on a port of its own")
    config: str = Field("", description="name of a file that is written for the server, {config}")
    config_text: str = Field("", description="what is in it: {host} {port}, {models} where the models stand")
    config_model: str = Field(
        "", description="what is in it for each model: {model} {name} {path} {reference} {python}"
    )
    config_between: str = Field("", description="what is between two models")


class Readiness(Strict):
    """When the server is up."""

    method: Method = Field("GET", description="how it is asked")
    path: Path_ = Field("/v1/models", description="where it is asked")
    status: Status = Field(200, description="what it answers once it is up")
    timeout_s: PositiveSeconds = Field(60.0, description="a server that is not up by then has failed")


class Health(Strict):
    """What a load balancer would ask while models are swapped; any answer counts."""

    path: Path_ = Field("/v1/models", description="where it is asked, by GET")


class ServerProcess(Strict):
    """Whose memory is the server's, where it runs already and is not what listens at its address."""

    name: str = Field("", description="the name of its processes, as `ps -o comm` shows it")
    pid: Whole | None = Field(None, ge=1, description="or the number of one")


class Models(Strict):
    """What the server calls the experiment's models."""

    name: str = Field("{reference}", description="{path}, {name} or {reference} of the experiment's model")
    names: dict[str, str] = Field(
        {}, description="what else it is called, by the experiment's name or reference"
    )
    urls: dict[str, str] = Field({}, description="by the experiment's name: a running server of its own")


class Ask(Strict):
    """How a model is asked for text, token by token."""

    path: Path_ = Field("/v1/completions", description="where, by POST")
    body: dict[str, JsonValue] = Field(
        description="{model} {prompt} {max_tokens} {session}; one placeholder alone keeps its type"
    )
    stream: Literal["sse", "ndjson"] = Field("sse", description="a text/event-stream, or JSON lines")
    text: tuple[Where, ...] = Field(
        ("choices.0.text", "choices.0.delta.content"), description="where the text is; the first that has"
    )
    end: str = Field("[DONE]", description="the event (sse) that ends an answer; empty where there is none")
    done: Where | None = Field(None, description="where in an event it is said that it was the last")
    error: tuple[Where, ...] = Field(
        ("error.message", "error", "choices.0.error"), description="where in an event an error is"
    )
    again: tuple[Status, ...] = Field(
        (202,), description="after these a client asks again, and after 429 and 503 with a Retry-After"
    )
    model: Where | None = Field(
        None, description="where in an event the model that answers is named, if that is more than an echo"
    )


class Until(Strict):
    """Where it is asked, again and again, whether a call has done its work."""

    path: Path_ = Field(description="where, by GET")
    where: Where = Field(description="where in the answer; {model} {old} within [id={model}]")
    equals: JsonValue = Field(description="what is there when it has; {model} {old}")
    every_s: PositiveSeconds = Field(0.02, description="pause between two questions")
    of: Literal["new", "old"] = Field("new", description="of which model's server")


class Call(Strict):
    """A request that swaps, or unloads."""

    method: Method = Field("POST", description="how")
    path: Path_ = Field(description="where; {model} the new model, {old} the old one")
    headers: dict[str, str] = Field({}, description="secrets as {env:NAME}")
    body: JsonValue = Field(None, description="JSON; placeholders as in path")
    status: tuple[Status, ...] = Field((200, 201, 202, 204), description="answers that mean success")
    where: Where | None = Field(None, description="where success is told, if not by the status alone")
    equals: JsonValue = Field(None, description="what is there then")
    until: Until | None = Field(None, description="how its end is seen, where the answer comes before it")
    of: Literal["new", "old"] = Field("new", description="which model's server is called")
    instance: Where | None = Field(
        None, description="where in the answer the loaded instance is named: what {old} is from then on"
    )


class SwapTrigger(Strict):
    """How a swap is triggered."""

    by: Literal["request", "call"] = Field(
        "request", description="request: by asking for the other model; call: by [[swap.call]], in order"
    )
    call: tuple[Call, ...] = Field((), description="the calls, in order")


class Reported(Strict):
    """A figure that the server tells of itself."""

    what: Told = Field(
        description="what it is about: load, a duration; memory of the model; kv_capacity, room for KV "
        "caches; evicted_caches, evicted_bytes, restored_caches and restored_tokens, of the last swap"
    )
    source: Literal["answer", "call", "get"] = Field(
        "answer",
        alias="from",
        description="an event of the answer, the last call's answer, or a GET of `path`",
    )
    path: Path_ | None = Field(None, description="of the GET")
    where: Where = Field(description="where in the document; {model} within [name={model}]")
    unit: Unit = Field(description="of the figure there")
    means: str = Field(min_length=1, description="what it really is, for reports")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.source == "get") != (self.path is not None):
            raise LocatedError(("reported",), 'from = "get" and a path belong together')
        if self.unit not in _UNITS_OF[self.what]:
            raise LocatedError(("reported",), f'"{self.unit}" is no unit of {self.what}')
        return self


class Version(Strict):
    """Where a server tells its version."""

    path: Path_ = Field(description="where, by GET")
    where: Where = Field("version", description="where in the answer")


class Preset(Strict):
    """One server."""

    schema_version: Literal[1] = Field(PRESET_VERSION, description="the version of this file's format")
    name: str = Field("", description="what it is called; the file's name when empty")
    title: str = Field(min_length=1, description="one line")
    documentation: str = Field("", description="where its makers document what is used here")
    tested: Literal["real", "stand-in", "untested"] = Field(
        "untested", description="against the real server, or a stand-in that speaks its protocol"
    )
    tested_on: str = Field("", description="with which versions, on what")
    packages: tuple[str, ...] = Field((), description="packages of {python} whose versions are noted")
    notes: tuple[str, ...] = Field((), description="what a reader of its figures has to know")
    url: str = Field("", description="where a running one is, as a rule")
    headers: dict[str, str] = Field({}, description="of every request; secrets as {env:NAME}, or {env:NAME?}")
    start: Start | None = None
    ready: Readiness = Readiness()
    health: Health = Health()
    process: ServerProcess = ServerProcess()
    version: Version | None = None
    models: Models = Models()
    ask: Ask
    swap: SwapTrigger = SwapTrigger()
    unload: tuple[Call, ...] = Field((), description="calls that unload {old}, before it is swapped to")
    reported: tuple[Reported, ...] = ()

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        for mistake in _mistakes(self):
            raise mistake
        return self

    @property
    def reads_paths(self) -> bool:
        """Whether the server loads the experiment's own checkpoints, by their folders."""
        started = (self.start.config_model, *self.start.command) if self.start is not None else ()
        return any(map(_OF_PATH.search, (self.models.name, *started)))

    def secrets(self) -> dict[str, bool]:
        """Variables of the environment that it takes: name -> whether it can do without."""
        found: dict[str, bool] = {}
        for text in _texts(self.model_dump(mode="json")):
            for name, optional in _SECRET.findall(text):
                found[name] = found.get(name, True) and bool(optional)
        return found


def _mistakes(preset: Preset) -> Iterator[LocatedError]:
    if (preset.swap.by == "call") != bool(preset.swap.call):
        yield LocatedError(("swap", "by"), 'by = "call" and at least one [[swap.call]] belong together')
    for call in preset.unload:
        if "{old}" not in call.model_dump_json():
            yield LocatedError(
                ("unload",), "{old} must be in each call: one model is unloaded, not all of them"
            )
    for part in ("url", "ready", "health", "models", "ask", "swap", "unload"):
        if any(map(_SECRET.search, _texts(_without_headers(preset.model_dump(mode="json")[part])))):
            yield LocatedError((part,), "{env:NAME} is filled in headers and in [start.environment] alone")
    asked = {found[1] for text in _texts(preset.ask.body) for found in PLACEHOLDER.finditer(text)}
    for name in sorted(asked - _ASKED):
        known = ", ".join(f"{{{name}}}" for name in sorted(_ASKED))
        yield LocatedError(("ask", "body"), f"{{{name}}} stands for nothing; there are {known}")
    if "prompt" not in asked:
        yield LocatedError(("ask", "body"), "{prompt} must be in it")
    if preset.start is not None:
        yield from _mistakes_of_starting(preset.start)


def _mistakes_of_starting(start: Start) -> Iterator[LocatedError]:
    if any(map(_SECRET.search, (start.config_text, start.config_model))):
        yield LocatedError(("start",), "no secrets in a file of the run's folder: use [start.environment]")
    for argument in start.command:
        if _SECRET.search(argument):
            # Whoever lists processes sees it.
            yield LocatedError(("start", "command"), "no secrets on a command line: use [start.environment]")
    if not any("{port}" in text for text in (*start.command, *start.environment.values(), start.config_text)):
        yield LocatedError(("start", "command"), "{port} must be in it: the port is chosen by swapbench")
    if bool(start.config) != bool(start.config_text):
        yield LocatedError(("start", "config"), "config and config_text belong together")


def _without_headers(value: Any) -> Any:
    """What is left of a preset's part without headers of calls, where secrets may be."""
    if isinstance(value, Mapping):
        return {key: _without_headers(item) for key, item in value.items() if key != "headers"}
    if isinstance(value, list):
        return [_without_headers(item) for item in value]
    return value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(item)


def shipped() -> dict[str, Path]:
    """The presets that come with swapbench, by name."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "presets").glob("*.toml"))}


def read_preset(path: Path) -> Preset:
    """A preset from its file; UsageError with file, key, what is wrong and the nearest valid word."""
    raw = read_toml(path)
    try:
        preset = Preset.model_validate(raw)
    except ValidationError as error:
        raise UsageError(f"{path}: {complain(error, raw, Preset)}") from None
    return preset if preset.name else preset.model_copy(update={"name": path.stem})


class MissingSecretError(UsageError):
    """A variable of the environment that a preset takes is not set."""


def fill_secrets(text: str, environment: Mapping[str, str]) -> str | None:
    """The text with its secrets; None where one is missing that may be, else MissingSecretError."""
    for name, optional in _SECRET.findall(text):
        if not environment.get(name):
            if optional:
                return None
            raise MissingSecretError(f"the environment variable {name} is not set: it holds the server's key")
    return _SECRET.sub(lambda found: environment[found[1]], text)
