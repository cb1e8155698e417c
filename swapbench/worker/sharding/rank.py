"""`python -m swapbench.worker.sharding.rank HOST:PORT`: one rank of a sharded model.

mlx.launch starts it, and the coordinator at HOST:PORT tells it what to do.
"""

import os
import queue
import socket
import sys
import threading
from collections.abc import Iterable

from swapbench.wire.events import encode
from swapbench.wire.swap import Message
from swapbench.worker.process import leave
from swapbench.worker.sharding import TOKEN_VARIABLE, Hello, RankOrder, Welcome


def main() -> None:
    """Report, meet the other ranks, and carry out orders until there are no more."""
    # mlx.launch asks without a pause whether it could write to its ranks, on a whole core (mlx 0.32); a pipe
    # that it finds closed when it does write it leaves alone.
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    host, _, port = sys.argv[1].rpartition(":")
    coordinator = socket.create_connection((host, int(port)), timeout=30)
    coordinator.settimeout(None)
    coordinator.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    lock = threading.Lock()

    def say(message: Message) -> None:
        """A whole line, from any thread. A rank whose coordinator is gone ends."""
        with lock:
            try:
                coordinator.sendall(encode(message))
            except OSError:
                os._exit(1)

    # As the launcher says: mlx.launch itself, or mpirun.
    ranks = (os.environ.get(name) for name in ("MLX_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK"))
    say(Hello(token=os.environ[TOKEN_VARIABLE], rank=int(next(filter(None, ranks), 0))))
    incoming = coordinator.makefile("rb")
    welcome = Welcome.model_validate_json(incoming.readline())
    orders: queue.SimpleQueue[RankOrder] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(incoming, orders), name="listener", daemon=True).start()

    # Imported now, and not before the coordinator knows of this rank: it takes seconds.
    from swapbench.worker.sharding.share import Share

    share = Share(welcome, say)
    while True:
        say(share.carry_out(orders.get()))


def _listen(incoming: Iterable[bytes], orders: "queue.SimpleQueue[RankOrder]") -> None:
    for line in incoming:
        orders.put(RankOrder.model_validate_json(line))
    os._exit(0)  # the coordinator is gone, whatever this rank waits for


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # noqa: BLE001 - the process's border: its last words go to worker.log
        print(f"rank: {error}", file=sys.stderr)
        leave(1)
