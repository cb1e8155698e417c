"""A Hugging Face hub on 127.0.0.1, with what the library asks of one, and the ways in which one fails."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

SHA = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class StandInHub:
    """One repository, and what is to go wrong with it.

    Args:
        cut_after: bytes of a weight file's answer after which the connection is closed, once.
        keeps_cutting: whether every answer is cut, and nothing comes that has not come before.
        wrong_bytes: weight files come through with other bytes than their hash says.
        status, error_code: what files (or, with `hides`, everything) are refused with.
    """

    repo: str
    files: dict[str, bytes]
    cut_after: int | None = None
    keeps_cutting: bool = False
    wrong_bytes: bool = False
    status: int = 0
    error_code: str = ""
    hides: bool = False
    token: str = ""
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    endpoint: str = ""

    def weights_asked(self) -> list[str]:
        """The Range header of every request for the contents of weights, in order."""
        return [
            span for method, path, span in self.asked if method == "GET" and "model" in path.split("/")[-1]
        ]

    def is_lfs(self, name: str) -> bool:
        return name.endswith(".safetensors")

    def sha256(self, name: str) -> str:
        return hashlib.sha256(self.files[name]).hexdigest()

    def etag(self, name: str) -> str:
        return self.sha256(name) if self.is_lfs(name) else hashlib.sha1(self.files[name]).hexdigest()

    def info(self) -> dict[str, Any]:
        return {"id": self.repo, "sha": SHA, "siblings": [self._sibling(name) for name in self.files]}

    def tree(self) -> list[dict[str, Any]]:
        return [{"type": "file", "path": name, **self._facts(name, "oid")} for name in self.files]

    def _sibling(self, name: str) -> dict[str, Any]:
        return {"rfilename": name, "blobId": self.etag(name)[:40], **self._facts(name, "sha256")}

    def _facts(self, name: str, hash_key: str) -> dict[str, Any]:
        size = len(self.files[name])
        facts: dict[str, Any] = {"size": size, "oid": self.etag(name)[:40]}
        if self.is_lfs(name):
            facts["lfs"] = {hash_key: self.sha256(name), "size": size, "pointerSize": 134}
        return facts


@contextmanager
def serving(*hubs: StandInHub) -> Iterator[str]:
    """Serve the repositories on a free port, until left; yields the endpoint."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hubs": hubs}))
    endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    for hub in hubs:
        hub.endpoint = endpoint
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hubs: ClassVar[tuple[StandInHub, ...]]
    hub: StandInHub  # that the request is about

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        asked = "/".join(path.removeprefix("/api/models").split("/")[1:3])
        self.hub = next((hub for hub in self.hubs if hub.repo == asked), self.hubs[0])
        self.hub.asked.append((self.command, path, self.headers.get("Range", "")))
        if path.startswith(f"/api/models/{self.hub.repo}/tree/"):
            self._json(self.hub.tree())
        elif path.startswith(f"/api/models/{self.hub.repo}"):
            self._refuse() if self.hub.hides and self._refused() else self._json(self.hub.info())
        elif path.startswith(f"/{self.hub.repo}/resolve/"):
            name = path.split("/", 5)[5]
            self._refuse() if self._refused() else self._file(name, body)
        else:
            self._send(404, {"X-Error-Code": "RepoNotFound"}, b"")

    def _refused(self) -> bool:
        return bool(self.hub.status) and self.headers.get("Authorization") != f"Bearer {self.hub.token}"

    def _refuse(self) -> None:
        self._send(self.hub.status, {"X-Error-Code": self.hub.error_code} if self.hub.error_code else {}, b"")

    def _json(self, content: Any) -> None:
        self._send(200, {"Content-Type": "application/json"}, json.dumps(content).encode())

    def _file(self, name: str, body: bool) -> None:
        data = self.hub.files[name]
        if self.hub.wrong_bytes and self.hub.is_lfs(name):
            data = bytes(len(data))
        headers = {"ETag": f'"{self.hub.etag(name)}"', "X-Repo-Commit": SHA, "Accept-Ranges": "bytes"}
        if self.hub.is_lfs(name):
            headers |= {"X-Linked-Etag": f'"{self.hub.etag(name)}"', "X-Linked-Size": str(len(data))}
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        if body and self.hub.is_lfs(name) and self.hub.keeps_cutting and start:
            self._send(500, {}, b"")
            return
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._send(206 if start else 200, headers, data[start:], body, self._cut(name, body))

    def _cut(self, name: str, body: bool) -> int | None:
        if not body or not self.hub.is_lfs(name):
            return None
        cut = self.hub.cut_after
        if not self.hub.keeps_cutting:
            self.hub.cut_after = None
        return cut

    def _send(
        self, status: int, headers: dict[str, str], data: bytes, body: bool = True, cut: int | None = None
    ) -> None:
        self.send_response(status)
        for key, value in (headers | {"Content-Length": str(len(data))}).items():
            self.send_header(key, value)
        self.end_headers()
        if body and self.command != "HEAD":
            self.wfile.write(data[:cut])
        if cut is not None:
            self.close_connection = True
