"""All ranks of a sharded model, as their coordinator sees them: told what to do, listened to, and ended."""

import secrets
import selectors
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from swapbench.spec.experiment import EngineSettings, Sharded
from swapbench.spec.hostfile import Host
from swapbench.wire.events import encode
from swapbench.wire.plan import Questions, Replies, Reply
from swapbench.wire.swap import Reading
from swapbench.worker.sharding.launch import Launch, machines_of, own_address
from swapbench.worker.sharding.messages import (
    Hello,
    Order,
    Pulse,
    Ready,
    Report,
    Welcome,
    Work,
    decode,
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


class RankError(RuntimeError):
    """A rank died, stalled or failed; every other one has been ended since."""


@dataclass
class _Rank:
    """What is known of one rank. `order` counts the ends in the order in which they were seen."""

    connection: socket.socket | None = None
    ready: Ready | None = None
    reading: Reading = field(default_factory=Reading)
    report: Report | None = None
    silence_s: float = 0.0
    gone: int | None = None
    broken: str = ""
    pending: bytes = field(default=b"", repr=False)


class Crew:
    """Starts every rank, and is the only one to speak with them.

    Args:
        pulse_s: how often a rank shows that it lives, and what it holds.
    """

    def __init__(self, sharded: Sharded, engine: EngineSettings, pulse_s: float) -> None:
        """Returns when all ranks have met.

        Raises:
            RankError: they did not, and why.
            UsageError: the hostfile can't be read.
        """
        self._sharded = sharded
        machines = machines_of(sharded)
        self._welcome = Welcome(sharded=sharded, ranks=len(machines), engine=engine, pulse_s=pulse_s)
        self._token = secrets.token_hex(16)
        self._ranks = [_Rank() for _ in machines]
        self._changed = threading.Condition()
        self._gone = self._orders = 0
        self._closing = False
        self._server, self._launch = self._started(machines)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._server, selectors.EVENT_READ)
        self._ears = threading.Thread(target=self._listen, name="crew", daemon=True)
        self._ears.start()
        self._await("starting", lambda: all(rank.connection for rank in self._ranks))
        self._launch.quieten()
        self._await("meeting", lambda: all(rank.ready for rank in self._ranks))

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

    def ask(self, order: Order) -> tuple[Report, ...]:
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
        self._await(order.work, lambda: all(rank.report for rank in self._ranks))
        with self._changed:
            return tuple(rank.report for rank in self._ranks if rank.report is not None)

    def _started(self, machines: Sequence[Host]) -> tuple[socket.socket, Launch]:
        """Where ranks report to, and the ranks."""
        try:
            server = socket.create_server((own_address(self._sharded, machines), 0))
        except OSError as error:
            raise RankError(f"no address to report to: {error}; name one with sharded.listen") from None
        try:
            host, port = server.getsockname()[:2]
            return server, Launch(self._sharded, machines, f"{host}:{port}", self._token)
        except OSError as error:
            server.close()
            raise RankError(f"mlx.launch can't be started: {error}") from None

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

    def _await(self, step: str, done: Callable[[], bool]) -> None:
        """Wait until every rank is `done`, or one can't be any more: then nobody goes on.

        Raises:
            RankError: which rank, and why.
        """
        ends_s = time.monotonic() + self._sharded.deadline_s
        with self._changed:
            while not (self._is_lost() or done()):
                if time.monotonic() >= ends_s or self._launch.ended:
                    break
                self._changed.wait(_TICK_S)
            if done() and not self._is_lost():
                return
            if any(rank.gone is not None for rank in self._ranks):
                self._changed.wait_for(lambda: False, _AFTERMATH_S)
        reason = self._reason(step)
        self.kill()
        raise RankError(reason)

    def _is_lost(self) -> bool:
        return any(
            rank.gone is not None
            or rank.broken
            or (rank.report is not None and rank.report.error)
            or rank.silence_s > self._sharded.stall_s
            for rank in self._ranks
        )

    def _reason(self, step: str) -> str:
        """Which rank, and what became of it: of several that ended, one that was killed is the cause."""
        of = f"of {self.size}"
        ended = sorted(
            (rank.gone, number) for number, rank in enumerate(self._ranks) if rank.gone is not None
        )
        for number, rank in enumerate(self._ranks):
            if rank.broken:
                return f"rank {number} {of} sent something that is no message: {rank.broken}"
        fates = [(number, self._launch.fate(number, _WORD_OF_LAUNCHER_S)) for _, number in ended]
        if fates:
            killed = [entry for entry in fates if "SIGKILL" in entry[1]]
            number, fate = (killed or fates)[0]
            return f"rank {number} {of} {fate or 'closed its connection, and has probably ended'}"
        for number, rank in enumerate(self._ranks):
            if rank.report is not None and rank.report.error:
                return f"rank {number} {of}: {rank.report.error}"
        for number, rank in enumerate(self._ranks):
            if rank.silence_s > self._sharded.stall_s:
                return (
                    f"rank {number} {of} stalled: no sign of life for {self._sharded.stall_s:g} s "
                    "(stopped, hung, or its machine is out of reach)"
                )
        return self._launch.ended or self._late(step)

    def _late(self, step: str) -> str:
        def missing(rank: _Rank) -> bool:
            if step == "starting":
                return rank.connection is None
            return rank.ready is None if step == "meeting" else rank.report is None

        late = [str(number) for number, rank in enumerate(self._ranks) if missing(rank)]
        who = f"rank {late[0]}" if len(late) == 1 else f"ranks {', '.join(late)}"
        return f"{who} of {self.size} did not end within {self._sharded.deadline_s:g} s"

    def _listen(self) -> None:
        """Hear every rank until the crew is closed. Silence is counted in ticks of this very loop, so that a
        coordinator that was stopped itself takes nobody for stalled."""
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
        try:
            hello = decode(connection.makefile("rb", buffering=0).readline(_READ_BYTES))
        except (OSError, ValueError):
            connection.close()
            return
        if not isinstance(hello, Hello) or not self._is_expected(hello):
            connection.close()
            return
        connection.settimeout(None)
        rank = self._ranks[hello.rank]
        with self._changed:
            rank.connection = connection
        self._selector.register(connection, selectors.EVENT_READ, rank)
        with suppress(OSError):
            connection.sendall(encode(self._welcome))

    def _is_expected(self, hello: Hello) -> bool:
        known = secrets.compare_digest(hello.token.encode(), self._token.encode())
        return known and 0 <= hello.rank < self.size and self._ranks[hello.rank].connection is None

    def _hear(self, connection: socket.socket, rank: _Rank) -> None:
        try:
            data = connection.recv(_READ_BYTES)
        except OSError:
            data = b""
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
                self._note(rank, line)

    def _note(self, rank: _Rank, line: bytes) -> None:
        try:
            said = decode(line)
        except ValueError:
            rank.broken = repr(line[:80])
            return
        match said:
            case Pulse():
                rank.reading = said.reading
            case Ready():
                rank.ready = said
            case Report() if said.number == self._orders:
                rank.report = said


_PULSE_S = 0.25


def answer(questions: Questions, sharded: Sharded) -> Replies:
    """Start ranks, load the checkpoint, ask.

    Ranks, and not one process: tensors that are summed in parts round otherwise than whole ones.

    Raises:
        RankError: a rank could not.
    """
    checkpoint, verify = questions.checkpoint, questions.verify
    crew = Crew(sharded, questions.engine, _PULSE_S)
    try:
        for work in (Work.LOAD, Work.REINIT):
            crew.ask(Order(number=0, work=work, name=checkpoint.name, path=checkpoint.path))
        replies = []
        for length in verify.prompt_tokens:
            order = Order(number=0, work=Work.GENERATE, prompt_tokens=length, tokens=verify.tokens)
            replies.append(Reply(prompt_tokens=length, tokens=crew.ask(order)[0].tokens))
        return Replies(replies=tuple(replies))
    finally:
        crew.kill()
