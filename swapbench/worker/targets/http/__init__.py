"""An HTTP client for servers under test: a deadline, a name for every way to misbehave, and templates."""

import http.client
import json
import os
import re
import shlex
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import urlsplit

from swapbench.spec.preset import PLACEHOLDER, fill_secrets

_READ_BYTES: Final = 1 << 16
_LONGEST_ANSWER_BYTES: Final = 16 << 20
_SHOWN_CHARACTERS: Final = 160
_PARTS: Final = re.compile(r"\[[^\]]*\]|[^.]+")


class ServerError(RuntimeError):
    """The server did not do what was asked of it; the message says what it did instead."""


class UnreachableError(ServerError):
    """Nobody listens there, or whoever does hung up."""


class HungError(ServerError):
    """It took the request, and is silent."""


class StatusError(ServerError):
    """It answered that it can't or won't."""


class GarbledError(ServerError):
    """It said something that is no answer in its protocol."""


@dataclass(frozen=True)
class Endpoint:
    """Where a server is, and what every request to it has; `hide` are texts that must never be told."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    hide: tuple[str, ...] = ()

    def clean(self, text: str) -> str:
        """The text without keys, on one line."""
        for hidden in self.hide:
            text = text.replace(hidden, "[hidden]")
        return " ".join(text.split())

    def shown(self, data: bytes | str) -> str:
        """The beginning of what the server said, fit to be told."""
        text = self.clean(data.decode("utf-8", "replace") if isinstance(data, bytes) else data)
        return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."


class Exchange:
    """One request and its answer, read as far as one likes before a deadline. `what` was asked for."""

    def __init__(
        self,
        endpoint: Endpoint,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        """Connect and send; UnreachableError if nobody listens, ServerError if a header can't be sent."""
        self.endpoint = endpoint
        self.what = f"{method} {endpoint.url}{path}"
        self._timeout_s = timeout_s
        parts = urlsplit(endpoint.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=min(timeout_s, 10.0))
        self._response: http.client.HTTPResponse | None = None
        self._socket: socket.socket | None = None
        self.sent_s = time.perf_counter()
        self._deadline_s = self.sent_s + timeout_s
        data = None if body is None else json.dumps(body).encode()
        said = {"Accept": "*/*", **endpoint.headers, **(headers or {})}
        if data is not None:
            said["Content-Type"] = "application/json"
        try:
            self._connection.connect()
            self._socket = self._connection.sock
            self._connection.request(method, parts.path + path, data, said)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise UnreachableError(f"{self.what}: {self._spelt(error)}") from None
        except ValueError:
            # Its text quotes the header, key and all.
            self.close()
            why = "a header can't be sent: is there a line break or an odd character in a key?"
            raise ServerError(f"{self.what}: {why}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def head(self) -> http.client.HTTPResponse:
        """Wait for the answer's status and headers; a ServerError if none come."""
        if self._response is None:
            self._response = self._within_timeout(self._connection.getresponse)
        return self._response

    def expect(self, *statuses: int) -> http.client.HTTPResponse:
        """As `head`; a StatusError for any other status. Redirects are never followed: who knows where to."""
        response = self.head()
        if response.status in statuses:
            return response
        if 300 <= response.status < 400:
            where = self.endpoint.shown(response.headers.get("Location", "nowhere"))
            raise StatusError(f"{self.what}: redirects to {where} ({response.status}), which is not followed")
        said = ""
        with suppress(ServerError):
            said = self.endpoint.shown(b"".join(self.chunks()))
        raise StatusError(f"{self.what}: answered {response.status}" + (f": {said}" if said else ""))

    def chunks(self) -> Iterator[bytes]:
        """The answer's bytes as they come; a ServerError if they don't, or are more than any answer's."""
        response = self.head()
        total = 0
        while data := self._within_timeout(lambda: response.read1(_READ_BYTES)):
            total += len(data)
            if total > _LONGEST_ANSWER_BYTES:
                raise self.garbled(f"answered more than {_LONGEST_ANSWER_BYTES >> 20} MiB")
            yield data

    def document(self) -> Any:
        """The answer as JSON, a GarbledError if it is none; None for an empty one."""
        data = b"".join(self.chunks())
        try:
            return json.loads(data) if data.strip() else None
        except (ValueError, RecursionError):
            raise self.garbled(f"answered what is no JSON: {self.endpoint.shown(data)}") from None

    def give_up(self) -> None:
        """Hang up: whoever reads in another thread is told at once, and closes."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Hang up and let go, by the thread that reads."""
        self.give_up()
        if self._response is not None:
            with suppress(OSError):
                self._response.close()
        self._connection.close()

    def garbled(self, what: str) -> GarbledError:
        """Something in the answer is not as it has to be."""
        return GarbledError(f"{self.what}: {what}")

    def _within_timeout(self, read: Any) -> Any:
        left_s = self._deadline_s - time.perf_counter()
        try:
            if left_s <= 0:
                raise TimeoutError
            assert self._socket is not None
            self._socket.settimeout(left_s)
            return read()
        except TimeoutError:
            raise HungError(f"{self.what}: no end of an answer within {self._timeout_s:g} s") from None
        except http.client.IncompleteRead:
            raise UnreachableError(f"{self.what}: hung up in the middle of its answer") from None
        except http.client.RemoteDisconnected:
            raise UnreachableError(f"{self.what}: hung up without an answer") from None
        except (http.client.HTTPException, ValueError) as error:
            raise self.garbled(f"no HTTP: {self.endpoint.shown(repr(error))}") from None
        except OSError as error:
            raise UnreachableError(f"{self.what}: {self._spelt(error)}") from None

    def _spelt(self, error: Exception) -> str:
        words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return self.endpoint.clean(words or type(error).__name__)


def same_model(named: str, asked: str) -> bool:
    """As servers spell one: ollama adds a tag, LM Studio the number of an instance."""
    key, _, number = named.rpartition(":")
    instance = key == asked and number.isdigit()
    return instance or named in (asked, f"{asked}:latest") or f"{named}:latest" == asked


def dig(document: Any, where: str, model: str = "") -> Any:
    """What stands in a document at `choices.0.text` or `models.[name={model}].size`; None if nothing does."""
    for part in _PARTS.findall(where):
        if part.startswith("["):
            key, _, wanted = part[1:-1].partition("=")
            entries = document if isinstance(document, list) else []
            wanted = wanted.replace("{model}", model)
            document = next((e for e in entries if same_model(str(dig(e, key)), wanted)), None)
        elif isinstance(document, list) and part.isdigit() and int(part) < len(document):
            document = document[int(part)]
        elif isinstance(document, dict):
            document = document.get(part)
        else:
            return None
    return document


# How a value is written within a shell's command line, and within the double quotes of JSON and YAML.
_QUOTES: Final[Mapping[str, Callable[[str], str]]] = {
    "shell": shlex.quote,
    "json": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
}


def filled(template: Any, values: Mapping[str, Any]) -> Any:
    """A template with its placeholders filled; a text that is one placeholder alone becomes its value."""
    if isinstance(template, Mapping):
        return {key: filled(value, values) for key, value in template.items()}
    if isinstance(template, list | tuple):
        return [filled(value, values) for value in template]
    if not isinstance(template, str):
        return template
    whole = PLACEHOLDER.fullmatch(template)
    if whole and not whole[2] and whole[1] in values:
        return values[whole[1]]

    def quoted(found: re.Match[str]) -> str:
        quotes = found[2].split("|")[1:]
        if found[1] not in values or any(quote not in _QUOTES for quote in quotes):
            return found[0]
        text = str(values[found[1]])
        for quote in quotes:
            text = _QUOTES[quote](text)
        return text

    return PLACEHOLDER.sub(quoted, template)


def filled_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers with their keys; those whose key may be missing, and is, are left out."""
    known = {name: fill_secrets(text, os.environ) for name, text in headers.items()}
    return {name: text for name, text in known.items() if text is not None}
