"""A server that holds one model and answers lines over a socket; swapbench swaps it through its own door."""

import asyncio
import gc
import socket
from concurrent.futures import ThreadPoolExecutor

import mlx.core as mx
from mlx_lm import load, stream_generate

from swapbench.orchestrator import Phase


class AsyncioServer:
    uses_mlx = True  # models live in this process: read MLX's ledgers, too

    def start(self, models, first):
        self._models, self._mlx = models, ThreadPoolExecutor(1)  # MLX's streams belong to one thread
        self._mlx.submit(self._load, first).result()
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        ThreadPoolExecutor(1).submit(self._loop.run_forever)

    async def _serve(self, reader, writer):
        prompt = (await reader.readline()).decode()
        pieces = stream_generate(self._model, self._tokenizer, prompt, max_tokens=8)
        while (piece := await self._loop.run_in_executor(self._mlx, next, pieces, None)) is not None:
            writer.write(f"{piece.token}\n".encode())
        writer.close()

    def apply_workload(self, workload):
        self._busy = [self._ask() for _ in range(workload.requests)]

    def swap(self, to, probe):
        with probe.phase(Phase.DRAIN):
            [answer.read() for answer in self._busy]
        for phase, model in ((Phase.UNLOAD, None), (Phase.LOAD, to)):
            with probe.phase(phase):
                self._mlx.submit(self._load, model).result()

    def verify(self, model, probe):
        with probe.first_token():
            first = (answer := self._ask()).readline()
        return first + answer.read()

    def stop(self):
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _ask(self):
        connection = socket.create_connection(self._server.sockets[0].getsockname())
        connection.sendall(b"Hello, who is answering now?\n")
        return connection.makefile("r")

    def _load(self, name):
        self._model = self._tokenizer = None
        gc.collect()
        mx.clear_cache()
        if name:
            self._model, self._tokenizer = load(str(self._models[name]))
