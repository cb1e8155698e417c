"""A timeline as a trace that Perfetto opens: JSON in Chrome's trace event format.

What Perfetto's importer makes of it has shaped this: slices of a thread must nest, threads are told apart by
their id alone, whatever their process, and each argument of a counter event is a track of its own.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from swapbench.findings.timeline import ArmTimeline, Slice
from swapbench.store import RunInfo

# 1: first published form.
TRACE_VERSION: Final = 1

CLOCK: Final = (
    "microseconds since the clock of the first worker began; the clock of each later worker is laid where "
    "the one before ends, for what lies between them is not measured"
)

# Threads of the first process have ids from 101 on, of the second from 201 on.
_THREADS: Final = 100
_FAILURES: Final = 1
_FIRST_TRACK: Final = 2
_Event = dict[str, Any]


def to_trace(info: RunInfo, arms: Sequence[ArmTimeline]) -> str:
    """One JSON document, an event a line: a process for each arm, a thread for each track."""
    lines = ",\n".join(_line(event) for event in _events(info, arms))
    about = {
        "trace_version": TRACE_VERSION,
        "run_id": info.run_id,
        "experiment": info.experiment_name,
        "status": info.status,
        "started_at": info.started_at.isoformat(),
        "models": ", ".join(dict.fromkeys(f"{model.name} ({model.source})" for model in info.all_models())),
        "machine": info.machine.describe(),
        "clock": CLOCK,
    }
    return f'{{"displayTimeUnit":"ms","otherData":{_line(about)},"traceEvents":[\n{lines}\n]}}\n'


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _events(info: RunInfo, arms: Sequence[ArmTimeline]) -> Iterator[_Event]:
    """Names first, then everything in order of time, and what begins together as it was given."""
    timed: list[_Event] = []
    for pid, arm in enumerate(arms, start=1):
        yield from _names(info, arm, pid)
        timed += _of(arm, pid)
    yield from sorted(timed, key=lambda event: int(event["ts"]))


def _names(info: RunInfo, arm: ArmTimeline, pid: int) -> Iterator[_Event]:
    title = str(info.experiment.get("title") or info.experiment_name)
    side = ": ".join(dict.fromkeys(filter(None, (arm.arm, arm.label))))
    yield _meta("process_name", pid, 0, name=f"{title} {side}".rstrip())
    yield _meta("process_labels", pid, 0, labels=info.run_id)
    yield _meta("process_sort_index", pid, 0, sort_index=pid)
    names = list(arm.tracks)
    tids = [_tid(pid, i) for i in range(len(names))]
    if arm.failures:
        names, tids = [*names, "failures"], [*tids, pid * _THREADS + _FAILURES]
    for tid, name in zip(tids, names, strict=True):
        yield _meta("thread_name", pid, tid, name=name)
        yield _meta("thread_sort_index", pid, tid, sort_index=tid)


def _tid(pid: int, track: int) -> int:
    return pid * _THREADS + _FIRST_TRACK + track


def _meta(what: str, pid: int, tid: int, **args: Any) -> _Event:
    return {"ph": "M", "name": what, "pid": pid, "tid": tid or pid * _THREADS, "ts": 0, "args": args}


def _of(arm: ArmTimeline, pid: int) -> Iterator[_Event]:
    for i, slices in enumerate(arm.tracks.values()):
        yield from _slices(slices, pid, _tid(pid, i))
    for failure in arm.failures:
        at = {"pid": pid, "tid": pid * _THREADS + _FAILURES, "ts": failure.start_us}
        yield {"ph": "i", "s": "t", "name": failure.name, "cat": failure.kind, **at, "args": failure.facts}
    for name, points in arm.counters.items():
        for at_us, value in points:
            at = {"pid": pid, "tid": pid * _THREADS, "ts": at_us}
            yield {"ph": "C", "name": name, **at, "args": {"bytes": value}}
    for number, (request, first_token_us) in enumerate(arm.requests, start=1):
        yield from _request(request, first_token_us, pid, f"{number:x}")


def _slices(slices: Iterable[Slice], pid: int, tid: int) -> Iterator[_Event]:
    for piece in slices:
        warmup = ",warm-up" if piece.facts.get("warmup") is True else ""
        yield {
            "ph": "X",
            "name": piece.name,
            "cat": f"{piece.kind}{warmup}",
            "pid": pid,
            "tid": tid,
            "ts": piece.start_us,
            "dur": piece.end_us - piece.start_us,
            "args": dict(piece.facts),
        }


def _request(request: Slice, first_token_us: int | None, pid: int, id_: str) -> Iterator[_Event]:
    """An asynchronous slice: a client may send again while it waits. Its first token is an instant on it.

    Its id is local to the process: what has a global one is shown outside of any.
    """
    common = {"cat": "request", "id2": {"local": f"0x{id_}"}, "pid": pid, "tid": pid * _THREADS}
    yield {"ph": "b", "name": request.name, **common, "ts": request.start_us, "args": request.facts}
    if first_token_us is not None:
        yield {"ph": "n", "name": "first token", **common, "ts": first_token_us, "args": {}}
    yield {"ph": "e", "name": request.name, **common, "ts": request.end_us, "args": {}}
