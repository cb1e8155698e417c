"""All ranks of a sharded model: started by mlx.launch, told what to do, listened to, ended without asking."""

import os
import re
import secrets
import selectors
import shutil
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from swapbench.base.process import LENT, OWN_CODE, how_it_ended
from swapbench.spec.experiment import EngineSettings, Sharded
from swapbench.spec.experiment.tables import HERE, Host, read_hostfile
from swapbench.wire.events import encode
from swapbench.wire.plan import Questions, Replies, Reply
from swapbench.wire.swap import Reading
from swapbench.worker.sharding import (
    SAID,
    TOKEN_VARIABLE,
    Hello,
    Pulse,
    RankOrder,
    Ready,
    Report,
    Welcome,
    Work,
    sum_up,
)

_TICK_S: Final = 0.1
# One rank's end takes others with it: whoever ends within this time may be the cause.
_AFTERMATH_S: Final = 0.2
# mlx.launch looks at its ranks once a second.
_WORD_OF_LAUNCHER_S: Final = 2.0
# A rank says who it is as soon as it has connected.
_HELLO_S: Final = 5.0
_READ_BYTES: Final = 1 << 16
_LONGEST_LINE_BYTES: Final = 1 << 22

_RANK: Final = "swapbench.worker.sharding.rank"
_TRIES: Final = 100
# mlx.launch's own words for the end of a rank that it started.
_ENDED: Final = re.compile(r"Node with rank (\d+) exited with code (-?\d+)")


class RankError(RuntimeError):
    """A rank died, stalled or failed; every other one has been ended since."""


class Launch:
    """mlx.launch, running, with all ranks that it started."""

    def __init__(self, sharded: Sharded, machines: Sequence[Host], report_to: str, token: str) -> None:
        """Start ranks on `machines` that report to HOST:PORT of this one; an OSError without mlx.launch."""
        self._codes: dict[int, int] = {}
        self._last_line = ""
        self._word = threading.Condition()
        beside = Path(sysconfig.get_path("scripts")) / "mlx.launch"
        # What is lent is a file of this machine.
        rank = (*OWN_CODE, "-m", _RANK) if sharded.hostfile else (*LENT, _RANK)
        command = [
            str(beside) if beside.exists() else shutil.which("mlx.launch") or "mlx.launch",
            *where(sharded, machines),
            *("--backend", sharded.backend, "--env", f"{TOKEN_VARIABLE}={token}"),
            *("--", sharded.python or sys.executable, *rank, report_to),
        ]
        # In the worker's own process group: whoever ends the worker by its group ends these too.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=sys.stderr, stderr=subprocess.PIPE
        )
        threading.Thread(target=self._listen, name="launcher", daemon=True).start()

    @property
    def ended(self) -> str:
        """How mlx.launch itself ended; empty while it runs."""
        code = self._process.poll()
        if code is None:
            return ""
        return f"mlx.launch {how_it_ended(code)}" + (f": {self._last_line}" if self._last_line else "")

    def quieten(self) -> None:
        """Have mlx.launch write to its ranks: it finds their stdin closed, and leaves a whole core alone."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.write(b"\n")
            self._process.stdin.flush()

    def fate(self, rank: int, patience_s: float) -> str:
        """How a rank ended, as mlx.launch tells within `patience_s`; empty where it doesn't."""
        with self._word:
            self._word.wait_for(lambda: rank in self._codes, patience_s)
            code = self._codes.get(rank)
        if code is None:
            return ""
        return how_it_ended(code) + (f": {self._last_line}" if self._last_line and code >= 0 else "")

    def kill(self) -> None:
        """End mlx.launch and every rank here, stopped ones too; those elsewhere end with their connection."""
        ours = []
        with suppress(psutil.Error):
            ours = psutil.Process(self._process.pid).children(recursive=True)
        for process in ours:
            with suppress(psutil.Error):
                process.kill()
        self._process.kill()
        self._process.wait()

    def _listen(self) -> None:
        """Pass on what ranks and mlx.launch print, and note how ranks ended."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            os.write(2, line)
            text = line.decode(errors="replace").strip()
            ended = _ENDED.search(text)
            with self._word:
                if ended:
                    self._codes[int(ended[1])] = int(ended[2])
                    self._word.notify_all()
                elif text:
                    self._last_line = text[:300]


def machines_of(sharded: Sharded) -> tuple[Host, ...]:
    """Where the ranks run, rank 0 first. UsageError where the hostfile can't be read."""
    if sharded.hostfile:
        return read_hostfile(Path(sharded.hostfile))
    return (Host(HERE, (HERE,)),) * sharded.ranks


def own_address(sharded: Sharded, machines: Sequence[Host]) -> str:
    """Where ranks find this machine: as it is seen on the way to the first that is another."""
    if sharded.listen:
        return sharded.listen
    other = next((machine for machine in machines if machine.ssh != HERE), None)
    if other is None:
        return HERE
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(((other.ips or (other.ssh,))[0], 9))  # nothing is sent
        return str(probe.getsockname()[0])


def where(sharded: Sharded, machines: Sequence[Host]) -> list[str]:
    """mlx.launch's options for where ranks run, and by which ports they find each other."""
    options = ["--hostfile", sharded.hostfile] if sharded.hostfile else ["-n", str(sharded.ranks)]
    here = all(machine.ssh == HERE for machine in machines)
    port = sharded.port or (_free_ports(len(machines)) if here else 0)
    return [*options, *(["--starting-port", str(port)] if port else [])]


def _free_ports(count: int) -> int:
    """The first of `count` ports in a row that nobody listens on: mlx.launch counts up from one."""
    for _ in range(_TRIES):
        with ExitStack() as held, suppress(OSError, OverflowError):
            first = 0
            for number in range(count):
                probe = held.enter_context(socket.socket())
                probe.bind((HERE, first + number))
                first = first or int(probe.getsockname()[1])
            return first
    raise OSError(f"no {count} free ports in a row on this machine; name the first with sharded.port")


@dataclass
class _Rank:
    """What is known of one rank; `gone` is its place among those that ended, 0 while it lives."""

    number: int
    connection: socket.socket | None = None
    ready: Ready | None = None
    reading: Reading = field(default_factory=Reading)
    report: Report | None = None
    silence_s: float = 0.0
    gone: int = 0
    broken: str = ""
    pending: bytes = field(default=b"", repr=False)


class Crew:
    """Starts every rank, and is the only one to speak with them."""

    def __init__(self, sharded: Sharded, engine: EngineSettings, pulse_s: float) -> None:
        """Returns when all ranks have met; each shows every `pulse_s` that it lives, and what it holds.

        Raises:
            RankError: they did not, and why.
            UsageError: the hostfile can't be read.
        """
        self._sharded = sharded
        machines = machines_of(sharded)
        self._welcome = Welcome(sharded=sharded, ranks=len(machines), engine=engine, pulse_s=pulse_s)
        self._token = secrets.token_hex(16)
        self._ranks = [_Rank(number) for number in range(len(machines))]
        self._changed = threading.Condition()
        self._gone = self._orders = 0
        self._closing = False
        try:
            self._server = socket.create_server((own_address(sharded, machines), 0))
        except OSError as error:
            raise RankError(f"no address to report to: {error}; name one with sharded.listen") from None
        host, port = self._server.getsockname()[:2]
        try:
            self._launch = Launch(sharded, machines, f"{host}:{port}", self._token)
        except OSError as error:
            self._server.close()
            raise RankError(f"mlx.launch can't be started: {error}") from None
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._server, selectors.EVENT_READ)
        self._ears = threading.Thread(target=self._listen, name="crew", daemon=True)
        self._ears.start()
        self._await(lambda rank: rank.connection is not None)
        self._launch.quieten()
        self._await(lambda rank: rank.ready is not None)

    @property
    def size(self) -> int:
        """How many ranks there are."""
        return len(self._ranks)

    @property
    def ready(self) -> Ready:
        """What rank 0 said of its libraries and its device."""
        said = self._ranks[0].ready
        assert said is not None
        return said

    def reading(self) -> Reading:
        """What all ranks hold, by their latest signs of life; from any thread."""
        with self._changed:
            return sum_up([rank.reading for rank in self._ranks])

    def ask(self, order: RankOrder) -> tuple[Report, ...]:
        """Have every rank carry out an order; their reports, by rank. Not for two threads at once.

        Raises:
            RankError: one of them could not.
        """
        self._orders += 1
        line = encode(order.model_copy(update={"number": self._orders}))
        with self._changed:
            for rank in self._ranks:
                rank.report = None
            connections = [rank.connection for rank in self._ranks]
        for connection in connections:
            # That a rank is gone is found out by listening to it.
            if connection is not None:
                with suppress(OSError):
                    connection.sendall(line)
        self._await(lambda rank: rank.report is not None)
        with self._changed:
            return tuple(rank.report for rank in self._ranks if rank.report is not None)

    def kill(self) -> None:
        """End every rank, whatever it is doing."""
        with self._changed:
            if self._closing:
                return
            self._closing = True
        self._ears.join()
        for rank in self._ranks:
            if rank.connection is not None:
                rank.connection.close()
        self._server.close()
        self._selector.close()
        self._launch.kill()

    def _await(self, done: Callable[[_Rank], bool]) -> None:
        """Wait until every rank is `done`, or one can't be any more: then nobody goes on, by a RankError."""
        ends_s = time.monotonic() + self._sharded.deadline_s
        with self._changed:
            while not (self._is_lost() or all(map(done, self._ranks))):
                if time.monotonic() >= ends_s or self._launch.ended:
                    break
                self._changed.wait(_TICK_S)
            if all(map(done, self._ranks)) and not self._is_lost():
                return
            if any(rank.gone for rank in self._ranks):
                self._changed.wait_for(lambda: False, _AFTERMATH_S)
        reason = next(self._reasons(done))
        self.kill()
        raise RankError(reason)

    def _is_lost(self) -> bool:
        return any(
            rank.gone
            or rank.broken
            or (rank.report is not None and rank.report.error)
            or rank.silence_s > self._sharded.stall_s
            for rank in self._ranks
        )

    def _reasons(self, done: Callable[[_Rank], bool]) -> Iterator[str]:
        """Which rank, and what became of it: of several that ended, one that was killed is the cause."""
        named = {f"rank {rank.number} of {self.size}": rank for rank in self._ranks}
        for name, rank in named.items():
            if rank.broken:
                yield f"{name} sent something that is no message: {rank.broken}"
        ended = sorted((rank.gone, name) for name, rank in named.items() if rank.gone)
        fates = [(name, self._launch.fate(named[name].number, _WORD_OF_LAUNCHER_S)) for _, name in ended]
        for name, fate in sorted(fates, key=lambda told: "SIGKILL" not in told[1]):
            yield f"{name} {fate or 'closed its connection, and has probably ended'}"
        for name, rank in named.items():
            if rank.report is not None and rank.report.error:
                yield f"{name}: {rank.report.error}"
        for name, rank in named.items():
            if rank.silence_s > self._sharded.stall_s:
                yield (
                    f"{name} stalled: no sign of life for {self._sharded.stall_s:g} s "
                    "(stopped, hung, or its machine is out of reach)"
                )
        if self._launch.ended:
            yield self._launch.ended
        late = [str(rank.number) for rank in self._ranks if not done(rank)]
        who = f"rank{'s' if len(late) > 1 else ''} {', '.join(late)} of {self.size}"
        yield f"{who} did not end within {self._sharded.deadline_s:g} s"

    def _listen(self) -> None:
        """Silence is counted in ticks of this loop: one that was stopped itself takes nobody for stalled."""
        heard_s = time.monotonic()
        while not self._closing:
            events = self._selector.select(_TICK_S)
            passed_s = min(time.monotonic() - heard_s, 2 * _TICK_S)
            heard_s = time.monotonic()
            with self._changed:
                for rank in self._ranks:
                    rank.silence_s += passed_s if rank.ready else 0.0
            for key, _ in events:
                if key.fileobj is self._server:
                    self._admit()
                else:
                    assert isinstance(key.fileobj, socket.socket)
                    self._hear(key.fileobj, key.data)
            with self._changed:
                self._changed.notify_all()

    def _admit(self) -> None:
        """Somebody has connected: a rank, if its first line says so."""
        connection, _ = self._server.accept()
        connection.settimeout(_HELLO_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        hello = None
        with suppress(OSError, ValueError):
            hello = SAID.validate_json(connection.makefile("rb", buffering=0).readline(_READ_BYTES))
        if not (
            isinstance(hello, Hello)
            and secrets.compare_digest(hello.token.encode(), self._token.encode())
            and 0 <= hello.rank < self.size
            and self._ranks[hello.rank].connection is None
        ):
            connection.close()
            return
        connection.settimeout(None)
        rank = self._ranks[hello.rank]
        with self._changed:
            rank.connection = connection
        self._selector.register(connection, selectors.EVENT_READ, rank)
        with suppress(OSError):
            connection.sendall(encode(self._welcome))

    def _hear(self, connection: socket.socket, rank: _Rank) -> None:
        data = b""
        with suppress(OSError):
            data = connection.recv(_READ_BYTES)
        with self._changed:
            if not data:
                self._selector.unregister(connection)
                self._gone += 1
                rank.gone = self._gone
                return
            rank.silence_s = 0.0
            *lines, rank.pending = (rank.pending + data).split(b"\n")
            if len(rank.pending) > _LONGEST_LINE_BYTES:
                rank.broken = f"a line of over {_LONGEST_LINE_BYTES} bytes"
            for line in lines:
                try:
                    said = SAID.validate_json(line)
                except ValueError:
                    rank.broken = repr(line[:80])
                    continue
                if isinstance(said, Pulse):
                    rank.reading = said.reading
                elif isinstance(said, Ready):
                    rank.ready = said
                elif isinstance(said, Report) and said.number == self._orders:
                    rank.report = said


def answer(questions: Questions, sharded: Sharded) -> Replies:
    """Start ranks, load the checkpoint, ask.

    Ranks, and not one process: tensors that are summed in parts round otherwise than whole ones.

    Raises:
        RankError: a rank could not.
    """
    checkpoint, verify = questions.checkpoint, questions.verify
    crew = Crew(sharded, questions.engine, pulse_s=0.25)
    try:
        for work in (Work.LOAD, Work.REINIT):
            crew.ask(RankOrder(work=work, name=checkpoint.name, path=checkpoint.path))
        replies = []
        for length in verify.prompt_tokens:
            order = RankOrder(work=Work.GENERATE, prompt_tokens=length, tokens=verify.tokens)
            replies.append(Reply(prompt_tokens=length, tokens=crew.ask(order)[0].tokens))
        return Replies(replies=tuple(replies))
    finally:
        crew.kill()
