"""Calls that swap and unload, and what the server tells of itself."""

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final
from urllib.parse import quote

from swapbench.spec.preset import BYTES, SECONDS, Call, Preset, Reported, Until
from swapbench.wire.plan import Checkpoint
from swapbench.worker.targets.http.client import (
    Exchange,
    GarbledError,
    HungError,
    ServerError,
    dig,
    filled,
    filled_headers,
)
from swapbench.worker.targets.http.servers import Servers

_TELLS_WITHIN_S: Final = 10.0


class Calls:
    """Carries out a preset's calls; `old` and `new` are the models that a swap is between."""

    def __init__(self, preset: Preset, servers: Servers, timeout_s: float) -> None:
        self._preset = preset
        self._servers = servers
        self._timeout_s = timeout_s
        self._instances: dict[str, str] = {}
        self.note = ""

    def swap(self, new: Checkpoint, old: Checkpoint | None, only: str = "") -> Any:
        """The calls of a swap, in order, those about an old model only where there is one; the last answer.

        Raises:
            ServerError: one fails.
        """
        document = None
        for call in self._preset.swap.call:
            about_old = call.of == "old" or "{old}" in call.model_dump_json()
            if (about_old and old is None) or (only and call.of != only):
                continue
            document = self._carry_out(call, new, old or new)
        return document

    def unload(self, models: Sequence[Checkpoint]) -> None:
        """Where a server may hold more than one model, what is to be loaded must not be there already."""
        for model in models:
            for call in self._preset.unload:
                with suppress(ServerError):  # most often: it was not loaded
                    self._carry_out(call, model, model)

    def told(self, source: str, document: Any) -> dict[str, Any]:
        """What a document tells, as fields of an outcome."""
        found: dict[str, Any] = {}
        for figure in self._preset.reported:
            if figure.source == source:
                found |= _figure(figure, document, "")
        return found

    def told_when_asked(self, model: Checkpoint) -> dict[str, Any]:
        """Asked beside the swap; a server that does not say is no failure."""
        found: dict[str, Any] = {}
        for figure in self._preset.reported:
            if figure.path is not None:
                with suppress(ServerError):
                    name = self._servers.names[model.name]
                    document = self._get(model, _path(figure.path, {"model": name}), _TELLS_WITHIN_S)
                    found |= _figure(figure, document, name)
        return found

    def version(self) -> str:
        """As the server tells it; empty where it doesn't."""
        told = self._preset.version
        model = next(iter(self._servers.names))
        if told is not None:
            with suppress(ServerError):
                endpoint = self._servers.endpoint(model)
                with Exchange(endpoint, "GET", told.path, timeout_s=_TELLS_WITHIN_S) as exchange:
                    exchange.expect(200)
                    found = dig(exchange.document(), told.where)
                    return endpoint.shown(found) if isinstance(found, str) else ""
        return ""

    def _carry_out(self, call: Call, new: Checkpoint, old: Checkpoint) -> Any:
        name, gone = self._servers.names[new.name], self._servers.names[old.name]
        values = {"model": name, "old": self._instances.get(old.name, gone)}
        endpoint = self._servers.endpoint((new if call.of == "new" else old).name)
        path = _path(call.path, values)
        body = None if call.body is None else filled(call.body, values)
        headers = filled_headers(call.headers)
        with Exchange(endpoint, call.method, path, body, headers, self._timeout_s) as exchange:
            exchange.expect(*call.status)
            document = exchange.document()
        if call.where and (there := dig(document, call.where)) != filled(call.equals, values):
            said = endpoint.shown(repr(there))
            raise GarbledError(f"{call.method} {path}: {call.where} is {said}, not {call.equals!r}")
        if call.instance and isinstance(instance := dig(document, call.instance), str):
            self._instances[new.name] = instance
            if instance != name:
                self.note = f"{name} was loaded as {endpoint.shown(instance)}: it was resident already"
        if call.until is not None:
            self._await(call.until, values, new if call.until.of == "new" else old)
        return document

    def _await(self, until: Until, values: Mapping[str, str], model: Checkpoint) -> None:
        path, wanted = _path(until.path, values), filled(until.equals, values)
        where = str(filled(until.where, values))
        give_up_s = time.monotonic() + self._timeout_s
        while dig(self._get(model, path, self._timeout_s), where) != wanted:
            if time.monotonic() > give_up_s:
                raise HungError(f"GET {path}: {where} is not {wanted!r} after {self._timeout_s:g} s")
            time.sleep(until.every_s)

    def _get(self, model: Checkpoint, path: str, timeout_s: float) -> Any:
        with Exchange(self._servers.endpoint(model.name), "GET", path, timeout_s=timeout_s) as exchange:
            exchange.expect(200)
            return exchange.document()


def _path(template: str, values: Mapping[str, str]) -> str:
    """A path with names of models in it."""
    return str(filled(template, {key: quote(value, safe="/:") for key, value in values.items()}))


_FIELDS: Final = {
    "load": "reported_load_s",
    "memory": "reported_memory_bytes",
    "kv_capacity": "kv_capacity_bytes",
}


def _figure(reported: Reported, document: Any, model: str) -> dict[str, Any]:
    """By the names of an outcome's fields."""
    value = dig(document, reported.where, model)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        return {}
    field = _FIELDS.get(reported.what, reported.what)
    if reported.unit in SECONDS:
        return {field: value * SECONDS[reported.unit]}
    return {field: int(value * BYTES.get(reported.unit, 1))}
