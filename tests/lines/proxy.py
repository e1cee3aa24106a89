"""A proxy on loopback between the application and its database, which breaks the line where a test wants it
broken.

Enters: the URL of a PostgreSQL or MariaDB database. Leaves: `url`, the same database through the proxy. It
reads just enough of the two protocols to see which statement goes by; it cannot read TLS, nor statements that
MariaDB prepares. `break_next` waits for a statement, the other methods break everything at once. A line that
was broken stays so: `mend` is for those made later.
"""

import asyncio
import struct
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from sqlalchemy import make_url

HOST = "127.0.0.1"
BYTES = 65_536
PATIENCE_SECONDS = 10
COMMIT = "COMMIT"
FRAME = {"BEGIN", "START TRANSACTION", COMMIT, "ROLLBACK"}  # around statements


class Break(Enum):
    """What becomes of the line at a statement."""

    BEFORE = "closed, and the database never sees the statement"
    AFTER = "closed once the database has answered, and the application never sees the answer"
    SILENT = "left open, and nothing passes any more"
    STALL = "held up once, for `stall_seconds`"


class Message(NamedTuple):
    """Bytes of the application's, and the statement that they make the database run, if they do."""

    content: bytes
    statement: str | None = None


async def read_postgresql(reader: asyncio.StreamReader) -> AsyncIterator[Message]:
    """Message formats of the PostgreSQL protocol 3.0: simple queries, and Parse, Bind and Execute."""
    length = await reader.readexactly(4)
    # the start-up: it has no type
    yield Message(length + await reader.readexactly(struct.unpack("!I", length)[0] - 4))
    prepared: dict[bytes, str] = {}
    bound: dict[bytes, str] = {}
    held = b""  # what leads up to Execute goes on together with it
    while True:
        head = await reader.readexactly(5)
        body = await reader.readexactly(struct.unpack("!I", head[1:])[0] - 4)
        kind, words = head[:1], body.split(b"\0", 2)
        statement = None
        if kind == b"Q":
            statement = words[0].decode()
        elif kind == b"P":
            prepared[words[0]] = words[1].decode()
        elif kind == b"B":
            bound[words[0]] = prepared[words[1]]
        elif kind == b"E":
            statement = bound[words[0]]
        held += head + body
        if kind not in (b"P", b"B", b"D"):
            yield Message(held, statement)
            held = b""


async def read_mysql(reader: asyncio.StreamReader) -> AsyncIterator[Message]:
    """Packets of the MySQL protocol: a command is number 0 of its exchange, and COM_QUERY is command 3."""
    while True:
        head = await reader.readexactly(4)
        body = await reader.readexactly(int.from_bytes(head[:3], "little"))
        is_query = head[3] == 0 and body[:1] == b"\x03"
        yield Message(head + body, body[1:].decode(errors="replace") if is_query else None)


READERS = {"postgresql": read_postgresql, "mysql": read_mysql, "mariadb": read_mysql}
WITHOUT_TLS = {"postgresql": {"sslmode": "disable", "gssencmode": "disable"}}


def is_counted(statement: str) -> bool:
    """Not what frames a transaction, nor what a driver says when it has connected."""
    return statement not in FRAME and not statement.startswith("SET ")


@dataclass
class Fault:
    """Waits for the `number`th statement that begins with `words`, in a transaction that had one with `about`
    in it.
    """

    kind: Break
    words: str
    about: str
    number: int

    def is_due(self, transaction: list[str]) -> bool:
        statement = transaction[-1]
        is_meant = statement.startswith(self.words) if self.words else is_counted(statement)
        if not is_meant or not any(self.about in earlier for earlier in transaction):
            return False
        self.number -= 1
        return self.number == 0


@dataclass(eq=False)
class Line:
    """One connection of the application's, and the one that was made to the database for it."""

    application: asyncio.StreamWriter
    database: asyncio.StreamWriter | None = None
    is_silent: bool = False
    keeps_answers: bool = False
    transaction: list[str] = field(default_factory=list)  # what was sent since the last BEGIN

    def note(self, statement: str) -> None:
        if statement in FRAME and statement not in (COMMIT, "ROLLBACK"):
            self.transaction.clear()
        self.transaction.append(statement)

    def cut(self) -> None:
        for end in (self.application, self.database):
            if end is not None:
                end.transport.abort()


class Proxy:
    """`with Proxy(database_url) as proxy:` has `url` and `broken`, the statements at which a line broke."""

    def __init__(self, database_url: str) -> None:
        self._target = make_url(database_url)
        self.broken: list[str] = []
        self._backend = self._target.get_backend_name()
        self.stall_seconds = 2.0
        self._faults: list[Fault] = []
        self._lines: set[Line] = set()
        self._is_silent = False
        self._answer_delay = 0.0
        self._port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> "Proxy":
        self._thread.start()
        self._run(self._listen())
        return self

    def __exit__(self, *failure: object) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_SECONDS)
        self._loop.close()

    @property
    def target_url(self) -> str:
        return self._target.render_as_string(hide_password=False)

    @property
    def url(self) -> str:
        through = self._target.set(host=HOST, port=self._port)
        through = through.difference_update_query(["host", "port", "unix_socket"])
        return through.update_query_dict(WITHOUT_TLS.get(self._backend, {})).render_as_string(
            hide_password=False
        )

    # ---- what a test does to the line ----------------------------------------------------------------------

    def break_next(self, kind: Break, words: str = "", about: str = "", number: int = 1) -> None:
        """At the `number`th statement from now on that begins with `words`; without words BEGIN, COMMIT,
        ROLLBACK and SET are none.

        about: only in a transaction that has had a statement with this in it.
        """
        self._faults.append(Fault(kind, words, about, number))

    def forget_faults(self) -> None:
        """Those that have not come yet."""
        self._faults.clear()

    def cut_all(self) -> None:
        """Every line, as when the database is started again. New ones can be made at once."""
        self._run(self._cut_all())

    def silence_all(self) -> None:
        """Nothing passes on any line, not even its end; new ones can be made and are silent too."""
        self._run(self._silence_all())

    def refuse(self) -> None:
        """No new line can be made, and every line is cut."""
        self._run(self._stop_listening())
        self.cut_all()

    def refuse_new(self) -> None:
        """No new line can be made; those that there are stay as they are."""
        self._run(self._stop_listening())

    def slow_down(self, seconds: float) -> None:
        """Every answer of the database comes so much later."""
        self._answer_delay = seconds

    def mend(self) -> None:
        """New lines are whole again. One that was silenced never speaks again."""
        self._answer_delay = 0.0
        self._is_silent = False
        self._run(self._listen())

    # ---- inside the loop -----------------------------------------------------------------------------------

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE_SECONDS)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, HOST, self._port)
            self._port = self._server.sockets[0].getsockname()[1]

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _cut_all(self) -> None:
        for line in list(self._lines):
            line.cut()

    async def _silence_all(self) -> None:
        self._is_silent = True
        for line in self._lines:
            line.is_silent = True

    async def _end(self) -> None:
        await self._stop_listening()
        await self._cut_all()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._carry(reader, Line(writer, is_silent=self._is_silent)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, from_application: asyncio.StreamReader, line: Line) -> None:
        self._lines.add(line)
        answers: asyncio.Task[None] | None = None
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                from_database, line.database = await self._connect()
                answers = self._loop.create_task(self._carry_answers(from_database, line))
                async for message in READERS[self._backend](from_application):
                    await self._pass(message, line)
            while line.is_silent and line in self._lines:
                await asyncio.sleep(3600)  # the database does not learn that the application has gone
        finally:
            if answers is not None:
                answers.cancel()
            line.cut()
            self._lines.discard(line)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        query = self._target.query
        socket_path = query.get("unix_socket")
        folder = str(query.get("host", ""))
        if folder.startswith("/"):
            socket_path = f"{folder}/.s.PGSQL.{query.get('port', self._target.port or 5432)}"
        if socket_path:
            return await asyncio.open_unix_connection(str(socket_path))
        return await asyncio.open_connection(self._target.host, self._target.port)

    async def _pass(self, message: Message, line: Line) -> None:
        if message.statement is not None:
            line.note(message.statement)
            fault = next((fault for fault in list(self._faults) if fault.is_due(line.transaction)), None)
            if fault is not None:
                self._faults.remove(fault)
                self.broken.append(message.statement)
                await self._break(fault.kind, line)
        if not line.is_silent and line.database is not None:
            line.database.write(message.content)
            await line.database.drain()

    async def _break(self, kind: Break, line: Line) -> None:
        match kind:
            case Break.BEFORE:
                line.cut()
                raise ConnectionAbortedError
            case Break.AFTER:
                line.keeps_answers = True
            case Break.SILENT:
                line.is_silent = True
            case Break.STALL:
                await asyncio.sleep(self.stall_seconds)

    async def _carry_answers(self, from_database: asyncio.StreamReader, line: Line) -> None:
        with suppress(OSError):
            while content := await from_database.read(BYTES):
                if line.keeps_answers:
                    break
                await asyncio.sleep(self._answer_delay)
                if not line.is_silent:
                    line.application.write(content)
                    await line.application.drain()
        if not line.is_silent:
            line.cut()
