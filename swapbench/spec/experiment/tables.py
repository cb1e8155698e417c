"""The tables of an experiment file, and the hostfile that one of them may name."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field

from swapbench.base.errors import UsageError
from swapbench.base.phases import Phase
from swapbench.spec.validation import (
    Bytes,
    Flag,
    Name,
    PositiveSeconds,
    Real,
    Seconds,
    Strict,
    Tokens,
    Whole,
    read_json,
)


class Source(StrEnum):
    """Where checkpoints come from."""

    HUB = "hub"
    LOCAL = "local"
    SYNTHETIC = "synthetic"
    MINI = "mini"

    @property
    def is_full_size(self) -> bool:
        """Whether times of such a model say something about a real one."""
        return self is not Source.MINI


class PageCache(StrEnum):
    """What is to be true of the page cache when the new model is loaded."""

    WARM = "warm"
    COLD = "cold"
    AS_IS = "as-is"


class CacheFill(StrEnum):
    """How the agents' KV caches get their contents."""

    PREFILL = "prefill"
    RANDOM = "random"


class CriterionKind(StrEnum):
    """What an experiment can demand of its results."""

    ANY_UNDER_TARGET = "any-under-target"
    ALL_UNDER_TARGET = "all-under-target"
    BOTTLENECK_IDENTIFIED = "bottleneck-identified"
    NO_LEAK = "no-leak"
    MEMORY_RECLAIMED = "memory-reclaimed"
    TIMES_FASTER = "times-faster"


class Scenario(Strict):
    """An ordered pair of models."""

    name: Name = Field(description="how tables call it")
    from_model: str = Field(alias="from", description="the model that is served before the swap")
    to_model: str = Field(alias="to", description="the model that is served after it")
    first_token: Flag | None = Field(None, description="`first_token` for this scenario alone")
    page_cache: PageCache | None = Field(None, description="`page_cache` for this scenario alone")
    requests: Annotated[int, Field(strict=True, ge=0, le=256)] | None = Field(
        None, description="`workload.requests` for this scenario alone"
    )


class Workload(Strict):
    """What the engine is doing when the swap is asked for. The default is nothing: idle."""

    requests: Whole = Field(0, ge=0, le=256, description="requests in flight when the swap is asked for")
    prompt_tokens: Tokens = Field(32, description="prompt tokens of each")
    decode_tokens: Tokens = Field(32, description="tokens that each asks for")
    agents: Whole = Field(0, ge=0, le=4096, description="agents whose KV caches the swap evicts")
    cache_tokens: Tokens = Field(256, description="tokens in each agent's cache")
    cache_fill: CacheFill = Field(
        CacheFill.PREFILL,
        description="`prefill`: computed by the model; `random`: random values of the true shapes, for "
        "machines that compute slowly",
    )
    clients: Whole = Field(
        0,
        ge=0,
        le=256,
        description="clients that go on sending before, during and after the swap, each request as long as "
        "`prompt_tokens` and `decode_tokens` say",
    )
    rate_per_s: Annotated[float, Field(strict=True, allow_inf_nan=False, gt=0, le=1000)] = Field(
        2.0,
        description="requests of all clients together; they come by a Poisson process whether or not earlier "
        "ones are answered (open loop)",
    )
    queue_limit: Whole = Field(
        256, ge=0, le=1 << 20, description="requests that may wait while no engine serves; more are refused"
    )
    drain_deadline_s: Seconds = Field(5.0, description="after this, drain leaves the rest to the new model")


class EngineSettings(Strict):
    """Settings of the reference engine."""

    kv_budget_bytes: Whole = Field(
        2 << 30, ge=1, le=1 << 50, description="memory for KV caches, of any model"
    )
    block_tokens: Tokens = Field(64, description="tokens per block of the pool")
    memory_limit_bytes: Bytes = Field(
        0, description="a model with more bytes of weights is refused; `0`: what this process can get"
    )
    drain_grace_s: PositiveSeconds = Field(
        60.0,
        description="after that deadline, a step of the engine that takes longer is stuck: the swap fails",
    )
    max_batch: Whole = Field(16, ge=1, le=256, description="requests decoded together")
    wired: Literal["server", "load", "off"] = Field(
        "server",
        description="when Metal's memory is wired, up to the recommended working set: `server` from the "
        "worker's start, as mlx_lm.server has it, `load` while an engine runs, as mlx-lm's BatchGenerator "
        "has it, `off` never; on Linux nothing is",
    )


class Verify(Strict):
    """What the new model must prove after each swap, outside the timed phases."""

    tokens: Whole = Field(8, ge=0, le=1024, description="tokens of each answer; `0` verifies nothing")
    prompt_tokens: tuple[Tokens, ...] = Field(
        (8, 64),
        min_length=1,
        max_length=16,
        description="lengths of the prompts: some faults show only in long ones, so raise the second where "
        "computing is fast",
    )


class Sharded(Strict):
    """How a model is shared among processes by MLX's distributed engine, for target = "sharded"."""

    mode: Literal["tensor", "pipeline"] = Field(
        "tensor", description="what each rank holds: `tensor` a part of every layer, `pipeline` some layers"
    )
    ranks: Whole = Field(
        2, ge=1, le=256, description="processes on this machine, as `--hosts N`; a hostfile has its own"
    )
    backend: Literal["ring", "jaccl", "jaccl-ring", "mpi"] = Field(
        "ring", description="how ranks speak with each other: `ring`, `jaccl`, `jaccl-ring`, `mpi`"
    )
    hostfile: str = Field(
        "", description="mlx.launch's list of machines, rank 0 first, as `--hostfile FILE`; empty: this one"
    )
    python: str = Field(
        "", description="the ranks' interpreter, a path that holds on every machine; the worker's when empty"
    )
    listen: str = Field(
        "",
        description="this machine's address for ranks' reports; empty: the one on the way to the first other",
    )
    port: Whole = Field(
        0,
        ge=0,
        le=65_000,
        description="first port between ranks; `0`: free ones here, mlx.launch's own elsewhere",
    )
    stall_s: PositiveSeconds = Field(
        30.0, description="a rank without a sign of life for longer has stalled, and the swap fails"
    )
    deadline_s: PositiveSeconds = Field(
        600.0, description="a phase that any rank has not ended after this fails the swap"
    )


# mlx.launch starts a rank without ssh for this very spelling, and no other.
HERE: Final = "127.0.0.1"


@dataclass(frozen=True)
class Host:
    """Where a rank runs: the name that ssh knows, and its addresses for the ring."""

    ssh: str
    ips: tuple[str, ...] = ()


def read_hostfile(path: Path) -> tuple[Host, ...]:
    """The machines of mlx.launch's list, rank 0 first; UsageError for what it would not take."""
    raw = read_json(path, hint="; mlx.distributed_config writes hostfiles")
    machines = raw.get("hosts") if isinstance(raw, dict) else raw
    if not isinstance(machines, list) or not machines:
        raise UsageError(f'{path}: no hosts; a hostfile is a list of {{"ssh": NAME, "ips": [ADDRESS]}}')
    hosts = []
    for number, machine in enumerate(machines):
        match machine:
            case {"ssh": str(ssh), **more} if ssh and isinstance(ips := more.get("ips", []), list):
                hosts.append(Host(ssh, tuple(map(str, ips))))
            case _:
                raise UsageError(f'{path}: hosts.{number}: must be {{"ssh": NAME, "ips": [ADDRESS]}}')
    return tuple(hosts)


class Criterion(Strict):
    """One demand on the results."""

    kind: CriterionKind = Field(description="one of those below")
    title: str = Field("", description="how the report names it")
    at_least: Real = Field(
        0.95,
        ge=0,
        le=1,
        description="for `memory-reclaimed`: share of the old model's bytes that must return",
    )
    scenario: str = Field("", description="for `times-faster`: the scenario that is compared")
    strategy: str = Field(
        "", description="for `times-faster`: the strategy that is compared with stock; empty: the best of all"
    )
    of: Literal["total", "weights"] = Field(
        "total", description="for `times-faster`: `total`, the swap, or `weights`, loading less the tokenizer"
    )
    times: Real = Field(
        1.0, gt=0, le=1_000_000, description="for `times-faster`: how many times stock's speed"
    )


class GateSettings(Strict):
    """How two sides are compared by `swapbench ab` and `swapbench gate`, and when the gate fails."""

    margin: Real = Field(
        0.05,
        gt=0,
        le=10,
        description="slower by more is a regression: 0.05 suits a quiet machine, 0.25 a hosted one",
    )
    pairs: Whole = Field(
        10,
        ge=6,
        le=1000,
        description="rounds in which either side has a turn, at least 6; fixed beforehand",
    )
    confirm: Flag = Field(True, description="whether a regression is measured again before the gate fails")
    soak_swaps: Whole = Field(
        24, ge=0, le=10_000, description="swaps in one process, after the pairs, to show leaks; `0` for none"
    )
    tolerance_bytes: Bytes | None = Field(
        None, description="`leak_tolerance_bytes`, in bytes per swap, for the gate alone"
    )


class FaultKind(StrEnum):
    """What can be made to go wrong in a swap: faults are injected, not simulated."""

    DRAIN_NEVER_ENDS = "drain-never-ends"
    DISK_FULL = "disk-full"
    MISSING_SHARD = "missing-shard"
    TRUNCATED_SHARD = "truncated-shard"
    CORRUPT_HEADER = "corrupt-header"
    OTHER_SHAPES = "other-shapes"
    MEMORY_LIMIT = "memory-limit"
    KILL = "kill"
    MISSING_MODEL = "missing-model"
    CLIENT_GONE = "client-gone"


class InjectedFault(Strict):
    """A fault in the swaps of one scenario (in one round, or in all)."""

    kind: FaultKind = Field(
        description="`drain-never-ends`, `disk-full`, `missing-shard`, `truncated-shard`, `corrupt-header`, "
        "`other-shapes`, `memory-limit`, `kill`; of servers also `missing-model`, `client-gone`"
    )
    scenario: str = Field(description="in whose swaps")
    round: Whole | None = Field(
        None, ge=0, description="only in this round, counted from 0, warm-up included; in all when left out"
    )
    when: Literal["before", "during"] = Field(
        "during",
        description="`before` damages a checkpoint before the swap is asked for, `during` once the old model "
        "is gone",
    )


class ScriptedSwap(Strict):
    """How one scenario (in one round, or in all) goes on the scripted target."""

    scenario: str = Field(description="which scenario")
    round: Whole | None = Field(
        None, ge=0, description="only in this round, counted from 0, warm-up included; in all when left out"
    )
    seconds: dict[Phase, Seconds] = Field({}, description="durations that differ")
    first_token_s: Seconds | None = Field(None, description="a time to the first token that differs")
    fails_in: Phase | None = Field(None, description="the phase in which it fails")
    failure: Literal["error", "exit", "kill", "hang"] = Field(
        "error", description="how: `error`, `exit`, `kill` or `hang`"
    )
    rollback: Flag = Field(True, description="whether the old model can be put back")
    answers_as: str | None = Field(
        None, description="the model that answers in the new one's place, for verification to find out"
    )


class Script(Strict):
    """What the scripted target plays: durations, memory and failures, on a clock of its own."""

    seconds: dict[Phase, Seconds] = Field({}, description="of each phase, as in `seconds = { load = 3.2 }`")
    spans: dict[str, Seconds] = Field({}, description='of spans, as in `spans = { "load/read" = 2.0 }`')
    first_token_s: Seconds = Field(0.1, description="time to the first token after the swap")
    model_bytes: dict[str, Bytes] = Field({}, description="resident bytes of each model")
    leak_bytes: Whole = Field(
        0, ge=-(1 << 50), le=1 << 50, description="bytes that each swap doesn't give back"
    )
    resident: Real = Field(1.0, ge=0, le=1, description="share of the checkpoint that the page cache has")
    swap: tuple[ScriptedSwap, ...] = Field((), description="exceptions, each under `[[script.swap]]`")
