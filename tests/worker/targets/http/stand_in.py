"""A server for tests: it speaks a real one's documented protocol, holds no model, and misbehaves on demand.

Its "models" are names; each says words of its own. It runs on the standard library alone, as a process.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path
from typing import Any

# What tests have requests in flight ask for: how the stand-in knows them.
IN_FLIGHT = 7

# Where servers say that they are up, and list their models.
UP = ("/health", "/health/ready", "/livez", "/api/version", "/v1/models", "/api/v1/models")

DAEMON = """
import os, sys, time
if os.fork(): os._exit(0)
open(sys.argv[1], "w").write(str(os.getpid()))
time.sleep(600)
"""

WORDS = [
    "ant",
    "bee",
    "cat",
    "dog",
    "elk",
    "fox",
    "gnu",
    "hen",
    "imp",
    "jay",
    "kid",
    "lot",
    "man",
    "nut",
    "owl",
    "pig",
]


# How an answer breaks off, in dialects.
ERRORS = {
    "error-message": 'data: {"error": {"message": "out of blocks"}}',
    "error-text": 'data: {"error": "out of blocks"}',
    "error-object": 'data: {"object": "error", "message": "out of blocks", "code": 40}',
    "error-field": 'error: {"code": 500, "message": "out of blocks"}',
    "error-event": 'event: error\ndata: {"message": "out of blocks"}',
    "error-event-text": "event: error\ndata: out of blocks",
    "error-event-alone": "event: error",
    "error-bare": '{"error": {"message": "out of blocks"}}',
    "error-choice": 'data: {"choices": [{"error": {"message": "out of blocks"}}]}',
    "error-detail": 'data: {"detail": "out of blocks"}',
    "error-type": 'data: {"type": "error", "message": "out of blocks"}',
    "error-finish": 'data: {"choices": [{"delta": {}, "text": "", "finish_reason": "error"}]}',
}


def said_by(model: str, prompt: str, count: int, again: int = 0) -> Iterator[str]:
    """A model's own words."""
    seed = sum(map(ord, model + prompt)) + again
    for number in range(count):
        yield f" {WORDS[(seed * (number + 1) + number * number) % len(WORDS)]}"


class State:
    """What is loaded, and when things go wrong."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.loaded: str | None = options.model
        self.loads = 0
        self.asleep = bool(options.asleep)
        self.told_busy = False
        self.broken = ""
        self.memory: list[bytes] = []
        self.computed: dict[str, set[str]] = {}
        self.instance = ""
        self.leaving: tuple[str, float] | None = None
        self.serial = 0
        self.seen: list[str] = []

    def load(self, model: str) -> str:
        """Have a model loaded; returns the fault that is due now."""
        if model == self.loaded:
            return ""
        self.told_busy = False
        if not self.options.keeps_caches:
            self.computed.clear()
        self.loads += 1
        if self.options.fault == "stuck" and self.loads >= self.options.at:
            return ""
        due = self.options.fault if self.loads == self.options.at and self._first_time() else ""
        threading.Event().wait(self.options.load_s)
        if due == "dies":
            print("x" * self.options.chatter, end="")
            print("loading", model, "\x1b[31mred\x1b[0m", flush=True)
            print("error: out of memory, giving up", flush=True)
            os._exit(3)
        if due == "hangs":
            threading.Event().wait()
        if self.options.writes:
            Path(self.options.writes).write_bytes(bytes(1 << 20))
        if self.options.weighs_mib and due == "":
            self.memory = [b"x" * (self.options.weighs_mib << 20), *self.memory[-1:]]
            del self.memory[1 if not self.options.keeps_boot else 2 :]
        if due in ("sulks", "wedges", "babbles"):
            self.broken = due
        elif due not in ("answers-500", "wrong-model", "redirects", "json-error"):
            self.loaded = model
            self.broken = ""
        return str(due)

    def compute(self, prompt: str) -> None:
        """Take time for every word of a prompt that the model has not seen since it was loaded, or ever."""
        seen = self.computed.setdefault(str(self.loaded), set())
        if prompt not in seen:
            threading.Event().wait(self.options.word_s * len(prompt.split()))
        seen.add(prompt)

    def dismiss(self, model: str) -> tuple[int, dict[str, Any]]:
        """Have a model go, as a router does: in its own time."""
        if model != self.loaded:
            return 400, {"error": "model is not running"}
        self.loaded, self.leaving = None, (model, time.monotonic() + 0.2)
        return 200, {"success": True}

    def routed(self) -> list[dict[str, Any]]:
        """The models of a router, and how far each is."""
        told = []
        if self.loaded:
            told.append({"id": self.loaded, "status": {"value": "loaded"}})
        if self.leaving:
            name, gone_s = self.leaving
            value = "unloaded" if time.monotonic() > gone_s else "loaded"
            told.append({"id": name, "status": {"value": value}})
        return told

    def _first_time(self) -> bool:
        mark = self.options.mark
        if not mark:
            return True
        if Path(mark).exists():
            return False
        Path(mark).write_text("", encoding="utf-8")
        return True


class Handler(BaseHTTPRequestHandler):
    """All protocols; which are meant shows by the path."""

    stale: str | None = None

    state: State
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Health, lists, and what is asked about."""
        options, state = self.state.options, self.state
        if options.fault == "never-ready":
            return self.answer(503, {"error": "still warming up"})
        if self.path in UP:
            return self.answer(200, {"status": "ok", "version": "0", "data": []})
        if self.path == "/api/ps":
            pinned = {"name": "nomic-embed:latest", "size": 777 << 30}
            return self.answer(200, {"models": [pinned, {"name": f"{state.loaded}:latest", "size": 4242}]})
        if self.path == "/memory":
            budget = 1 << 30 >> max(0, state.loads - 1)
            return self.answer(200, {"budget": budget, "evicted": 3, "restored": 2, "tokens": 64})
        if self.path == "/models":
            # llama-server's router: a model that is told to go takes a moment.
            listed = [{"id": "other", "status": {"value": "loaded"}}, *state.routed()]
            return self.answer(200, {"data": listed})
        if self.path == "/props":
            return self.answer(200, {"build_info": "b0"})
        if self.path == "/is_sleeping":
            return self.answer(200, {"is_sleeping": state.asleep})
        return self.answer(404, {"error": "no such path"})

    def do_POST(self) -> None:
        """Ask, load, unload, sleep, wake."""
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        state = self.state
        if state.options.tell_key:
            print("authorised by", self.headers.get("Authorization"), flush=True)
        if self.path == "/api/v1/models/unload":
            if body["instance_id"] not in (state.loaded, state.instance):
                return self.answer(404, {"error": f"no instance {body['instance_id']}"})
            state.loaded = None
            return self.answer(200, {"instance_id": body["instance_id"]})
        if self.path == "/api/v1/models/load":
            fault = state.load(body["model"])
            status = "loading" if fault == "not-loaded" else "loaded"
            instance = f"{body['model']}:2" if state.options.second else body["model"]
            state.instance = instance
            return self.answer(
                200,
                {"type": "llm", "instance_id": instance, "load_time_seconds": 1.25, "status": status},
            )
        if self.path == "/models/unload":
            return self.answer(*state.dismiss(body["model"]))
        if self.path.startswith("/api/models/unload/"):
            if state.loaded == self.path.rpartition("/")[2]:
                state.loaded = None
            return self.answer(200, {})
        if self.path.startswith(("/sleep", "/wake_up")):
            state.asleep = self.path.startswith("/sleep")
            return self.answer(200, None)
        if self.path == "/api/generate":
            return self.generate(body)
        if self.path == "/v1/models/load":  # as rapid-mlx's
            self.state.load(body["model"])
            return self.answer(200, {"state": "resident"})
        known = self.path.endswith("/completions")
        return self.complete(body) if known else self.answer(404, {"error": "no such path"})

    def complete(self, body: dict[str, Any]) -> None:
        """Server-sent events, as OpenAI's API has them."""
        options = self.state.options
        new, chat = body["model"] != self.state.loaded, "chat" in self.path
        prompt = "" if chat else body["prompt"]
        if options.context and len(prompt.split()) > options.context:
            return self.answer(400, {"error": "context length exceeded"})
        if refusal := self.refusal(body["model"], new):
            return self.answer(refusal[0], {"error": refusal[1]}, {"Retry-After": "0"})
        if options.progress and new:
            self.start("text/event-stream")
            for words in ("loading model", ".", "."):
                self.event({"choices": [{"delta": {"reasoning_content": words}, "text": words}]}, "")
        self.stale = self.state.loaded if options.stale and new else None
        try:
            fault = self.state.load(body["model"])
        except OSError as error:
            return self.answer(500, {"error": f"its cache can't be written: {error.strerror}"})
        if self.plainly_wrong(fault):
            return None
        if not (options.progress and new):
            self.start("application/json" if fault == "no-stream" else "text/event-stream")
        if chat:
            self.event({"choices": [{"delta": {"role": "assistant", "content": ""}}]}, fault)
        self.send(b": keep-alive\n\n" * options.keep_alives)
        for _ in range(options.keep_alives):
            self.event({"model": "keepalive", "choices": [{"delta": {"content": ""}, "text": ""}]}, "")
        if self.tell(body, fault):
            self.end("stop" if options.says_stop else "nothing" if fault == "no-end" else "done")
        return None

    def refusal(self, model: str, new: bool) -> tuple[int, str] | None:
        """Status and words for who can't be answered."""
        state = self.state
        if state.asleep:
            return 500, "asleep"
        if state.options.busy and new and not state.told_busy:
            state.told_busy = True
            return state.options.busy, "loading"
        if state.broken == "wedges" or (state.broken == "sulks" and not new):
            return 500, "the engine is gone"
        return None if model in ("ham", "egg") or state.options.any_name else (404, f"no model {model}")

    def tell(self, body: dict[str, Any], fault: str) -> bool:
        """The model's words; whether all of them were said."""
        options, chat = self.state.options, "chat" in self.path
        prompt = body["messages"][-1]["content"] if chat else body["prompt"]
        if options.says_nothing and body["max_tokens"] == IN_FLIGHT:
            return True
        self.state.compute(prompt)
        self.state.serial += 1
        serial, told = self.state.serial, []
        for number, word in enumerate(self.words(prompt, body["max_tokens"], fault)):
            if fault == "breaks-off" and number == 2:
                self.close_connection = True
                self.connection.shutdown(2)
                return False
            if fault == "half" and number == options.after:
                self.end("done")
                return False
            if fault in ERRORS and number == options.after:
                self.send(f"{ERRORS[fault]}\n\n".encode())
                self.end("done")
                return False
            content = [{"type": "text", "text": word}] if options.parts else word
            choice = {"delta": {"content": content}} if chat else {"text": content}
            marks = {} if options.anonymous else {"id": f"a{serial}", "model": self.named(body)}
            told.append({**marks, "choices": [choice]})
            if not options.one_write:
                threading.Event().wait(options.pace_s)
                self.event(told[-1], fault)
            if (
                self.state.options.fault == "silent-in-flight"
                and body["max_tokens"] == IN_FLIGHT
                and number == 2
            ):
                threading.Event().wait()
        if options.one_write:
            chunks = [f"data: {json.dumps(piece)}\n\n".encode() for piece in told]
            self.wfile.write(b"".join(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n" for chunk in chunks))
        return True

    def end(self, how: str) -> None:
        """Of a stream of events."""
        if how == "stop":
            self.event({"choices": [{"delta": {}, "text": "", "finish_reason": "stop"}]}, "")
        if how == "done" or (how == "stop" and self.state.options.fault):
            self.send(b"data: [DONE]\n\n")
        self.send(b"", last=True)

    def generate(self, body: dict[str, Any]) -> None:
        """JSON lines, as ollama's API has them; its durations are nanoseconds."""
        if body.get("keep_alive") == 0:
            self.state.loaded = None if self.state.loaded == body["model"] else self.state.loaded
            return self.answer(200, {"done": True})
        fault = self.state.load(body["model"])
        if self.plainly_wrong(fault):
            return None
        self.start("application/x-ndjson")
        for word in self.words(body["prompt"], body["options"]["num_predict"], fault):
            self.line({"model": self.named(body), "response": word, "done": False})
        durations = {"total_duration": 70_000_000, "load_duration": 50_000_000, "eval_count": 1}
        if fault != "no-end":
            self.line({"model": self.named(body), "response": "", "done": True, **durations})
        self.send(b"", last=True)
        return None

    def plainly_wrong(self, fault: str) -> bool:
        """Answer by a status alone."""
        if fault in ("answers-500", "sulks", "wedges", "babbles"):
            key = self.headers.get("Authorization", "")
            self.answer(500, {"error": f"CUDA is out of sorts {key}".strip()})
        elif fault == "json-error":
            self.answer(200, {"error": {"message": "not enough memory for 9.1 GB"}})
        elif fault == "redirects":
            self.send_response(307)
            self.send_header("Location", self.state.options.elsewhere)
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            return False
        return True

    def words(self, prompt: str, count: int, fault: str) -> Any:
        """What the model that is loaded says."""
        if fault == "no-text":
            return
        options, speaker = self.state.options, self.stale or self.state.loaded
        if options.long_by_boot and len(prompt.split()) > 100:
            speaker = options.model
        if self.state.broken == "babbles":
            speaker = "whatever was loaded by half"
        again = 0
        if options.prompt_cache:
            again = int(prompt in self.state.seen)
            self.state.seen.append(prompt)
        yield from said_by(str(speaker), prompt, 10**9 if fault == "endless" else count, again)

    def named(self, body: dict[str, Any]) -> str:
        """An honest server names the model that answers."""
        if self.state.options.second:
            return self.state.instance
        return str(self.state.loaded) if self.state.options.honest else str(body["model"])

    def event(self, data: Any, fault: str) -> None:
        """One server-sent event."""
        text = '{"choices": [' if fault == "no-json" else json.dumps(data)
        self.send(f"data: {text}\n\n".encode())

    def line(self, data: Any) -> None:
        """One line of JSON."""
        self.send(json.dumps(data).encode() + b"\n")

    def start(self, kind: str) -> None:
        """The head of a streamed answer."""
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def send(self, data: bytes, last: bool = False) -> None:
        """One chunk."""
        if data or last:
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()

    def answer(self, status: int, document: Any, headers: dict[str, str] | None = None) -> None:
        """A whole answer."""
        data = b"" if document is None else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Every request on a line of its own."""
        print(format % args, flush=True)


class Quiet(ThreadingHTTPServer):
    """Clients that give up are nothing to print a traceback for."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing."""


def made(*arguments: str) -> HTTPServer:
    """One that is about to serve; what goes wrong in it is its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model")
    parser.add_argument("--fault", default="")
    parser.add_argument("--at", type=int, default=2, help="the load in which it goes wrong")
    parser.add_argument("--mark", default="", help="a file that shows that it has gone wrong once")
    parser.add_argument("--load-s", type=float, default=0.0)
    parser.add_argument("--elsewhere", default="")
    parser.add_argument("--tell-key", action="store_true")
    parser.add_argument("--honest", action="store_true")
    parser.add_argument("--deaf", action="store_true", help="one request at a time")
    parser.add_argument("--asleep", action="store_true")
    parser.add_argument("--any-name", action="store_true", help="whatever is asked for is answered")
    parser.add_argument("--progress", action="store_true", help="tell, as a proxy does, that a model loads")
    parser.add_argument("--busy", type=int, default=0, help="this status to the first that asks for a model")
    parser.add_argument("--keep-alives", type=int, default=1)
    parser.add_argument("--parts", action="store_true", help="content as a list")
    parser.add_argument("--chatter", type=int, default=0, help="letters that it prints before it dies")
    parser.add_argument("--long-by-boot", action="store_true", help="long prompts: by the boot model")
    parser.add_argument("--prompt-cache", action="store_true", help="another answer the second time")
    parser.add_argument("--weighs-mib", type=int, default=0, help="memory of each model")
    parser.add_argument("--keeps-boot", action="store_true", help="never free the first model")
    parser.add_argument("--stale", action="store_true", help="the old model answers while the new one loads")
    parser.add_argument("--context", type=int, default=0, help="words that a prompt may have")
    parser.add_argument("--second", action="store_true", help="models are loaded as instances key:2")
    parser.add_argument("--word-s", type=float, default=0.0, help="to compute a word of a prompt")
    parser.add_argument("--keeps-caches", action="store_true", help="what was computed outlives a swap")
    parser.add_argument("--writes", default="", help="a file that is written at each load")
    parser.add_argument("--anonymous", action="store_true", help="pieces without id and model")
    parser.add_argument("--says-nothing", action="store_true", help="to requests in flight")
    parser.add_argument("--pace-s", type=float, default=0.0, help="between two pieces")
    parser.add_argument("--one-write", action="store_true")
    parser.add_argument("--says-stop", action="store_true", help="finish_reason, and no [DONE]")
    parser.add_argument("--after", type=int, default=2, help="pieces before an answer breaks off")
    parser.add_argument("--child", default="", help="leave a daemon behind, and its pid in this file")
    options = parser.parse_args(arguments)
    if options.fault == "cannot-start":
        print("no such model folder: /nowhere", flush=True)
        sys.exit(4)
    if options.child:
        subprocess.Popen([sys.executable, "-c", DAEMON, options.child], start_new_session=True).wait()
    handler = type("Own", (Handler,), {"state": State(options)})
    return (HTTPServer if options.deaf else Quiet)(("127.0.0.1", options.port), handler)


if __name__ == "__main__":
    made(*sys.argv[1:]).serve_forever()
