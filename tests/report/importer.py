"""What Perfetto's importer demands of a trace in Chrome's format: it drops what it can't place, silently."""

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final

Event = dict[str, Any]

_REQUIRED: Final = {
    "M": {"name", "args"},
    "X": {"name", "cat", "dur", "args"},
    "C": {"name", "args"},
    "i": {"name", "s"},
    "b": {"name", "cat", "id2"},
    "n": {"name", "cat", "id2"},
    "e": {"name", "cat", "id2"},
}
_METADATA: Final = {
    "process_name",
    "process_labels",
    "process_sort_index",
    "thread_name",
    "thread_sort_index",
}


@dataclass(frozen=True)
class Trace:
    """A trace that has passed every rule; slices by process and track, each with its depth."""

    events: list[Event]
    processes: dict[int, str]
    slices: dict[tuple[str, str], list[tuple[int, Event]]]
    counters: dict[str, list[tuple[int, int]]]

    def of(self, phase: str) -> list[Event]:
        """Events of one kind."""
        return [event for event in self.events if event["ph"] == phase]


def imported(text: str) -> Trace:
    """The trace as the importer would take it; fails on whatever it would drop or misplace."""
    document = json.loads(text, parse_constant=_no_constant)
    events: list[Event] = document["traceEvents"]
    for event in events:
        _check_fields(event)
    times = [event["ts"] for event in events if event["ph"] != "M"]
    assert times == sorted(times)
    processes = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    threads = {
        e["tid"]: (processes[e["pid"]], e["args"]["name"]) for e in events if e["name"] == "thread_name"
    }
    assert {event["pid"] for event in events} == set(processes)
    _check_threads(events, threads)
    _check_async(events)
    return Trace(events, processes, _stacked(events, threads), _counted(events, processes))


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def _check_fields(event: Event) -> None:
    assert event["ph"] in _REQUIRED, event
    assert set(event) >= _REQUIRED[event["ph"]] | {"pid", "tid", "ts"}, event
    for name in ("pid", "tid", "ts", *(["dur"] if event["ph"] == "X" else [])):
        assert type(event[name]) is int, event
        assert event[name] >= 0, event
    # Of process 0 and thread 0 the importer makes the idle task.
    assert event["pid"] > 0
    assert event["tid"] > 0
    assert isinstance(event["name"], str)
    assert event["name"]
    if event["ph"] == "M":
        assert event["name"] in _METADATA
    if event["ph"] == "i":
        assert event["s"] in ("g", "p", "t")
    if event["ph"] == "C":
        assert all(type(value) in (int, float) for value in event["args"].values())


def _check_threads(events: list[Event], threads: dict[int, tuple[str, str]]) -> None:
    """A thread is named by its id alone: one id in two processes would share a name."""
    owner: dict[int, int] = {}
    for event in events:
        assert owner.setdefault(event["tid"], event["pid"]) == event["pid"]
        if event["ph"] in ("X", "i"):
            assert event["tid"] in threads
    assert len(set(threads.values())) == len(threads)


def _check_async(events: list[Event]) -> None:
    open_ids: set[tuple[int, str, str]] = set()
    used: set[tuple[int, str, str]] = set()
    for event in events:
        if event["ph"] in ("b", "n", "e"):
            assert int(event["id2"]["local"], 16) >= 0
            key = (event["pid"], event["cat"], event["id2"]["local"])
            if event["ph"] == "b":
                assert key not in used
                used.add(key)
                open_ids.add(key)
            assert key in open_ids
            if event["ph"] == "e":
                open_ids.remove(key)
    assert not open_ids


def _stacked(
    events: list[Event], threads: dict[int, tuple[str, str]]
) -> dict[tuple[str, str], list[tuple[int, Event]]]:
    """Slices pushed on their track's stack as they come: one that ends after what it is in has no place."""
    stacks: dict[int, list[int]] = defaultdict(list)
    tracks: dict[tuple[str, str], list[tuple[int, Event]]] = defaultdict(list)
    for event in events:
        if event["ph"] != "X":
            continue
        stack, end = stacks[event["tid"]], event["ts"] + event["dur"]
        while stack and stack[-1] <= event["ts"]:
            stack.pop()
        assert not stack or end <= stack[-1], event
        tracks[threads[event["tid"]]].append((len(stack), event))
        stack.append(end)
    return dict(tracks)


def _counted(events: list[Event], processes: dict[int, str]) -> dict[str, list[tuple[int, int]]]:
    """Each argument is a counter of its own; its times go up."""
    counters: dict[tuple[int, str], list[tuple[int, int]]] = defaultdict(list)
    for event in events:
        if event["ph"] == "C":
            for name, value in event["args"].items():
                counters[event["pid"], f"{event['name']} {name}"].append((event["ts"], value))
    for points in counters.values():
        times = [at for at, _ in points]
        assert times == sorted(set(times))
    alone = len(processes) == 1
    return {name if alone else f"{pid}: {name}": points for (pid, name), points in counters.items()}
