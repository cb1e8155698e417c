"""Whole runs of the HTTP target, in this process, against a stand-in server in another."""

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from swapbench.spec.experiment import validate
from swapbench.spec.preset import Preset, read_preset, shipped
from swapbench.wire.events import Event
from swapbench.wire.plan import Arm, Checkpoint, Server, make_plan, scripted_checkpoints, turns
from swapbench.wire.swap import ClientRequest, SwapFinished
from swapbench.worker.__main__ import make_target
from swapbench.worker.session import run_session
from swapbench.worker.targets.http.references import Reference, References, prompts
from tests.worker.targets.http.stand_in import made, said_by

STAND_IN = str(Path(__file__).parent / "stand_in.py")

THERE = {"name": "there", "from": "ham", "to": "egg"}


def stand_in(*options: str) -> list[str]:
    """The command that starts it."""
    return [sys.executable, "-I", "-S", STAND_IN, "--port", "{port}", *options]


@contextmanager
def standing(*options: str) -> Iterator[str]:
    """The URL of a stand-in within this process, of which nothing has to be started."""
    server = made("--port", "0", *options)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def play_here(folder: Path, name: str, *options: str, ask: object = None, **changes: Any) -> list[Event]:
    """As `play`, of a stand-in in this process."""
    own: dict[str, Any] = {"start": None, "process": {"pid": os.getpid()}}
    server = preset(name, **own if ask is None else own | {"ask": ask})
    with standing(*options) as url:
        return play(folder, server, **{"url": url} | changes)


def preset(name: str, *options: str, **changes: Any) -> Preset:
    """A preset that comes with swapbench, with the stand-in in the place of its server."""
    start: dict[str, Any] = {"command": stand_in(*options)}
    known = read_preset(shipped()[name])
    if known.start is not None and known.start.per_model:
        start |= {"per_model": True}
    raw = known.model_dump(mode="json", by_alias=True)
    raw |= {"start": start, "models": {"name": "{name}"}, "packages": []}
    return Preset.model_validate(raw | changes)


def experiment(**changes: Any) -> dict[str, Any]:
    """Two models, there and back."""
    return {
        "target": "openai@http://127.0.0.1:1",
        "source": "mini",
        "rounds": 1,
        "page_cache": "as-is",
        "steady_tokens": 4,
        "swap_timeout_s": 20.0,
        "models": {"ham": "ham", "egg": "egg"},
        "scenario": [
            THERE,
            {"name": "back", "from": "egg", "to": "ham"},
        ],
    } | changes


def play(
    folder: Path,
    server: Preset,
    url: str = "",
    checkpoints: dict[str, Checkpoint] | None = None,
    known: bool = True,
    **changes: Any,
) -> list[Event]:
    """Every event of a run, which leaves nothing behind.

    Args:
        known: what the models say is known already, so that no fresh server has to be started for each first.
    """
    asked = validate(experiment(**changes), "test")
    where = Server(preset=server, url=url)
    arm = Arm("", asked, checkpoints or scripted_checkpoints(asked), sys.executable, where)
    plan = make_plan(arm, turns(asked)[0], folder / "scratch", log=folder / "server.log")
    if known and server.models.name == "{name}":
        scratch = References(plan.scratch_dir)
        for name in asked.models:
            answers = {
                key: "".join(said_by(name, prompt, plan.experiment.verify.tokens))
                for key, prompt in prompts(plan.experiment.verify.prompt_tokens).items()
            }
            scratch.keep(name, Reference(answers, fresh=True))
    events: list[Event] = []
    target = make_target(plan)
    try:
        run_session(plan, target, events.append, pid=1)
    finally:
        target.close()
    return events


def swaps_of(events: Sequence[Event]) -> list[SwapFinished]:
    """The swaps among events."""
    return [event for event in events if isinstance(event, SwapFinished)]


def flights_of(events: Sequence[Event]) -> list[ClientRequest]:
    """The requests in flight among events."""
    return [event for event in events if isinstance(event, ClientRequest)]
