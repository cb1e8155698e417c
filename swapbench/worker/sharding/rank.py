"""`python -m swapbench.worker.sharding.rank HOST:PORT`: one rank of a sharded model.

mlx.launch starts it, and the coordinator at HOST:PORT tells it what to do.
"""

import os
import queue
import socket
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, Final

from swapbench.base.phases import Phase
from swapbench.wire.events import Event, encode
from swapbench.wire.swap import NO_SWAP, Message, PhaseMeasured
from swapbench.worker.process import leave
from swapbench.worker.sharding.messages import (
    TOKEN_VARIABLE,
    Hello,
    Order,
    Pulse,
    Ready,
    Report,
    Welcome,
    Work,
)

if TYPE_CHECKING:
    from swapbench.worker.probe import Probe

_PHASES: Final = {
    Work.UNLOAD: Phase.UNLOAD,
    Work.LOAD: Phase.LOAD,
    Work.RECONFIGURE: Phase.RECONFIGURE,
    Work.UPDATE_TAG: Phase.UPDATE_TAG,
    Work.REINIT: Phase.REINIT,
}


class Line:
    """The connection to the coordinator; whole lines, from any thread. Its end is the end of this process."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=30)
        self._socket.settimeout(None)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.incoming: BinaryIO = self._socket.makefile("rb")
        self._lock = threading.Lock()

    def say(self, message: Message) -> None:
        """One line."""
        with self._lock:
            try:
                self._socket.sendall(encode(message))
            except OSError:
                os._exit(1)


def main() -> None:
    """Report, meet the other ranks, and carry out orders until there are no more."""
    _let_go_of_stdin()
    line = Line(sys.argv[1])
    rank = _own_rank()
    line.say(Hello(token=os.environ[TOKEN_VARIABLE], rank=rank, pid=os.getpid(), host=socket.gethostname()))
    welcome = Welcome.model_validate_json(line.incoming.readline())
    orders: queue.SimpleQueue[Order] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(line, orders), name="listener", daemon=True).start()
    worker = _Worker(welcome, line)
    while True:
        line.say(worker.carry_out(orders.get()))


def _let_go_of_stdin() -> None:
    """mlx.launch asks without a pause whether it could write to its ranks, on a whole core (mlx 0.32); a pipe
    that it finds closed when it does write it leaves alone."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


def _own_rank() -> int:
    """As the launcher says: mlx.launch itself, or mpirun."""
    for variable in ("MLX_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK"):
        if variable in os.environ:
            return int(os.environ[variable])
    return 0


def _listen(line: Line, orders: "queue.SimpleQueue[Order]") -> None:
    """A rank whose coordinator is gone must end, whatever it waits for."""
    for text in line.incoming:
        orders.put(Order.model_validate_json(text))
    os._exit(0)


class _Worker:
    """What this rank does for each order, measured by its own instruments."""

    def __init__(self, welcome: Welcome, line: Line) -> None:
        # Imported now, and not before the coordinator knows of this rank: it takes seconds.
        import mlx.core as mx

        from swapbench.compat.mlx_lm import unasked
        from swapbench.worker.meter import MlxMeter
        from swapbench.worker.mlx_here import mlx_identity, wire
        from swapbench.worker.sharding.share import Share

        if welcome.engine.wired == "server":
            wire("recommended")
        self._meter = MlxMeter()
        self._measured: list[PhaseMeasured] = []
        threading.Thread(
            target=_pulse, args=(self._meter.read, line, welcome.pulse_s), name="pulse", daemon=True
        ).start()
        several = welcome.ranks > 1
        if not several:  # nobody to connect to: mlx.launch leaves an empty list, which the ring can't read
            os.environ.pop("MLX_HOSTFILE", None)
        backend = welcome.sharded.backend.removesuffix("-ring") if several else "any"
        group = mx.distributed.init(strict=several, backend=backend)
        if group.size() != welcome.ranks:
            raise RuntimeError(f"{group.size()} ranks met, and {welcome.ranks} were to")
        self._share = Share(welcome.sharded.mode, group, welcome.engine)
        versions, device = mlx_identity()
        line.say(Ready(versions=versions, device=device, note=unasked("shares")))

    def carry_out(self, order: Order) -> Report:
        """The report of one order. A failure is told: the coordinator decides what becomes of the others."""
        try:
            report = self._carry_out(order)
        except Exception as error:  # noqa: BLE001 - the rank's border: whatever failed, the coordinator must know
            text = " ".join(str(error).split())[:300] or type(error).__name__
            report = Report(number=order.number, error=text)
        report = report.model_copy(update={"measured": tuple(self._measured)})
        self._measured.clear()
        return report

    def _carry_out(self, order: Order) -> Report:
        if order.work in _PHASES:
            return self._phase(order, _PHASES[order.work])
        done = Report(number=order.number)
        match order.work:
            case Work.CHECK:
                return done.model_copy(update={"refused": self._share.refusal(order.path)})
            case Work.PAGE_CACHE:
                _set_page_cache(order)
            case Work.RESIDENCY:
                return done.model_copy(update={"resident": _residency(order)})
            case Work.SETTLE:
                return done.model_copy(update=self._settle())
            case Work.GENERATE:
                return done.model_copy(update=self._generate(order))
        return done

    def _phase(self, order: Order, phase: Phase) -> Report:
        probe = self._probe()
        probe.begin()
        with probe.phase(phase):
            found = self._do(order, probe)
        return Report(number=order.number).model_copy(update=found)

    def _do(self, order: Order, probe: "Probe") -> dict[str, int | str]:
        share = self._share
        match order.work:
            case Work.UNLOAD:
                share.unload()
            case Work.LOAD:
                return {"weight_bytes": share.load(order.path, probe.span)}
            case Work.RECONFIGURE:
                return {"kv_capacity_bytes": share.fit_pool()}
            case Work.UPDATE_TAG:
                return {"tag": share.tag(order.path, order.name)}
            case Work.REINIT:
                share.begin(probe.span)
        return {}

    def _generate(self, order: Order) -> dict[str, object]:
        probe = self._probe()
        probe.begin()
        with probe.first_token():
            first = self._share.first_token(order.prompt_tokens)
        said = self._share.go_on(first, order.tokens)
        return {"tokens": said.tokens, "tokens_per_s": said.tokens_per_s}

    def _settle(self) -> dict[str, object]:
        import gc

        from swapbench.worker.meter import settle

        gc.collect()
        settled = settle(self._meter)
        return {"settle_s": settled.seconds, "settled": settled.ledgers}

    def _probe(self) -> "Probe":
        from swapbench.worker.probe import Probe

        return Probe(self._meter, self._note, NO_SWAP)

    def _note(self, event: Event) -> None:
        if isinstance(event, PhaseMeasured):
            self._measured.append(event)


def _pulse(read: Callable[[], object], line: Line, every_s: float) -> None:
    pause = threading.Event()
    while not pause.wait(every_s):
        line.say(Pulse.model_validate({"reading": read()}))


def _set_page_cache(order: Order) -> None:
    from swapbench.instruments import page_cache

    page_cache.arrange(page_cache.weight_files(order.path), order.label)


def _residency(order: Order) -> float:
    from swapbench.instruments import page_cache

    return page_cache.residency(page_cache.weight_files(order.path)).share


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # noqa: BLE001 - the process's border: its last words go to worker.log
        print(f"rank: {error}", file=sys.stderr)
        leave(1)
