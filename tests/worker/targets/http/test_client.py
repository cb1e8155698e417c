"""Streams as they come, in whatever pieces."""

import json
import shlex
import socket
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapbench.worker.targets.http import Endpoint, Exchange, ServerError, dig, filled
from swapbench.worker.targets.http.completion import lines_of, sse_events

STREAM = (
    b": keep-alive 1/2\n\nevent: x\nid: 7\nretry: 10\n"
    b'data: {"a":\r\ndata:1}\n\n\n\ndata: \xc3\xa9\r\n\r\nerror: {}\ndata: [DONE]\n\n'
)


def cut(data: bytes, places: list[int]) -> Iterator[bytes]:
    edges = [0, *sorted(place % len(data) for place in places), len(data)]
    yield from (data[a:b] for a, b in pairwise(edges))


@given(st.lists(st.integers(0, 1000)))
def test_events_are_the_same_however_the_stream_is_cut(places: list[int]) -> None:
    assert list(sse_events(cut(STREAM, places))) == [
        ("x", '{"a":\n1}'),
        ("", "\N{LATIN SMALL LETTER E WITH ACUTE}"),
        ("error", "{}"),
        ("", "[DONE]"),
    ]


def test_a_last_event_without_its_blank_line_counts() -> None:
    assert list(sse_events(iter([b"data: a\n\ndata: b"]))) == [("", "a"), ("", "b")]


@given(st.lists(st.binary()))
def test_no_bytes_break_the_reader(chunks: list[bytes]) -> None:
    list(sse_events(iter(chunks)))
    list(lines_of(iter(chunks)))


@pytest.mark.parametrize(
    ("where", "there"),
    [("a.0.b", 1), ("a.1.b", None), ("a.x", None), ("c", None), ("d", 0), ("d.e", None), ("a.-1", None)],
)
def test_places_in_documents(where: str, there: object) -> None:
    assert dig({"a": [{"b": 1}], "d": 0}, where) == there


@pytest.mark.parametrize(("model", "there"), [("llama3.2", 2), ("nomic", 1), ("llama", None), ("k", 3)])
def test_the_entry_of_a_model_is_found_by_its_name(model: str, there: object) -> None:
    listed = [("nomic:latest", 1), ("llama3.2:latest", 2), ("k:2", 3)]
    document = {"models": [{"name": name, "size": size} for name, size in listed]}
    assert dig(document, "models.[name={model}].size", model) == there
    assert dig({"models": 1}, "models.[name={model}].size", model) is None


def test_a_placeholder_alone_keeps_its_type_and_others_become_text() -> None:
    template = {
        "n": "{max_tokens}",
        "t": "at most {max_tokens}",
        "l": ["{model}"],
        "u": "{unknown} ${PORT}",
        "b": True,
    }
    values = {"max_tokens": 8, "model": "m"}
    assert filled(template, values) == {
        "n": 8,
        "t": "at most 8",
        "l": ["m"],
        "u": "{unknown} ${PORT}",
        "b": True,
    }


def test_a_value_is_quoted_as_the_place_wants_it() -> None:
    path = """/my "models"/it's \\ here"""
    values = {"path": path}
    command = str(filled('cmd: "serve {path|shell|json}"', values)).removeprefix("cmd: ")
    assert shlex.split(json.loads(command)) == ["serve", path]
    assert json.loads(str(filled('"{path|json}"', values))) == path
    assert filled("{path|nonsense} {other|json}", values) == "{path|nonsense} {other|json}"


def test_keys_are_hidden_in_what_is_told() -> None:
    endpoint = Endpoint("http://x", {}, ("sk-1",))
    assert endpoint.shown(b"no sk-1\n for  you " + b"x" * 500).startswith("no [hidden] for you xxx")
    assert len(endpoint.shown("x" * 500)) == 160


@pytest.mark.parametrize("key", ["sk-secret\r", "sk-secret\nX: y", "sk-secret\u20ac"])
def test_a_key_that_no_header_can_hold_is_not_told(key: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        endpoint = Endpoint(url, {"Authorization": f"Bearer {key}"}, (key,))
        with pytest.raises(ServerError, match="a header can't be sent") as caught:
            Exchange(endpoint, "GET", "/v1/models", timeout_s=5.0)
    assert "sk-secret" not in str(caught.value)
