"""A proxy that knows nothing but TCP: it hands each connection to the next of its servers, in turn, or to the
next that takes it.

Enters: the servers' ports. Leaves: one port for all of them. `Balancer(ports, in_turn=False)` hands all
connections to the first server that takes them: how one puts a spare behind an address.
"""

import asyncio
import threading
from contextlib import suppress

CHUNK_BYTES = 64 * 1024
PATIENCE_SECONDS = 10


class Balancer:
    """`with Balancer(ports) as balancer:` listens on `balancer.port`."""

    def __init__(self, ports=(), in_turn=True):
        self.ports = list(ports)
        self.in_turn = in_turn
        self.port = None
        self._connections = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self):
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *failure):
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_SECONDS)
        self._loop.close()

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE_SECONDS)

    async def _end(self):
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader, writer):
        try:
            server_reader, server_writer = await self._connect()
        except ConnectionError:
            writer.close()
            return
        await asyncio.gather(pump(reader, server_writer), pump(server_reader, writer))

    async def _connect(self):
        """To the server whose turn it is, or the first after it that takes the connection."""
        turn = self._connections if self.in_turn else 0
        self._connections += 1
        for number in range(len(self.ports)):
            with suppress(ConnectionError):
                return await asyncio.open_connection(
                    "127.0.0.1", self.ports[(turn + number) % len(self.ports)]
                )
        raise ConnectionError("no server takes connections")


async def pump(reader, writer):
    """Pass on what comes, until it ends or the other side is gone."""
    try:
        with suppress(ConnectionError):
            while content := await reader.read(CHUNK_BYTES):
                writer.write(content)
                await writer.drain()
    finally:
        writer.close()
