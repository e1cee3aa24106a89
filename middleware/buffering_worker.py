"""Give a request a thread when it is there whole; until then gunicorn's main loop reads it.

Enters: connections, as slow as their clients are. Leaves: whole requests (RFC 9112), to gunicorn's own
threads and its own parser. What is here decides when a request is handed over, never what it means: one that
looks odd is handed over at once, to be refused. `docs/adr/0009-only-whole-requests-get-a-thread.md` has the
reasons, `gunicorn.conf.py` the numbers of threads and connections.
"""

import re
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from io import BytesIO
from selectors import EVENT_READ
from typing import Any, Protocol

from gunicorn import util
from gunicorn.http import get_parser
from gunicorn.http.body import ChunkedReader
from gunicorn.http.errors import (
    ExpectationFailed,
    InvalidResponseHeader,
    InvalidResponseHeaderName,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
)
from gunicorn.workers.gthread import ThreadWorker

from middleware.endpoint_policy import MAXIMUM_BODY
from services.event_log import Event, Reason, as_address, write

MAXIMUM_HEAD = 48 * 1024  # 16 KiB of request line, 32 KiB of fields
# with sizes, extensions and trailers; the application counts the bytes of the body
MAXIMUM_CHUNKED = 2 * MAXIMUM_BODY
MAXIMUM_CHUNK_LINE = 8190  # gunicorn's
RECEIVE_BYTES = 64 * 1024

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
EXPECTS_CONTINUE = re.compile(rb"[^\r\n]* http/1\.1\r\n(?s:.*\r\n)?expect:[ \t]*100-continue[ \t]*\r\n")
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*0*(\d{1,9})[ \t]*\r\n")
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]+)[ \t]*(?:;[^\r\n]*)?\r\n")


STATUSES = {
    LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
}


REASONS = {
    HTTPStatus.REQUEST_TIMEOUT: Reason.TOO_SLOW,
    HTTPStatus.REQUEST_URI_TOO_LONG: Reason.TOO_LARGE,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: Reason.TOO_LARGE,
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: Reason.TOO_LARGE,
    HTTPStatus.INTERNAL_SERVER_ERROR: Reason.BUG,
}


class Connection(Protocol):
    """gunicorn's connection of a client, with two attributes of ours: `received` and `missing`."""

    sock: socket.socket
    client: object  # its address: host and port, or nothing of use for a Unix socket
    parser: Any  # gunicorn's
    timeout: float  # on the monotonic clock
    data_ready: bool
    received: bytearray
    missing: Iterator[bytes]

    def close(self) -> None: ...


class TooLargeError(Exception):
    """More was sent than any request of ours needs."""

    def __init__(self, status: HTTPStatus) -> None:
        self.status = status


def missing(received: bytearray) -> Iterator[bytes]:
    """Yield what to send to the client meanwhile, as long as bytes of the request are missing.

    Ends when no thread would wait for any. The caller lets `received` grow between the steps. The body of a
    Content-Length above the application's limit is not awaited: the length alone makes the application answer
    413.
    """
    yield from missing_lines(received, 0)
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return
    head, body = bytes(received[: end + 2]).lower(), end + 4
    is_chunked = b"\r\ntransfer-encoding:" in head
    if head.count(b"\r\ncontent-length:") + is_chunked > 1:
        return  # gunicorn refuses two lengths
    length = CONTENT_LENGTH.search(head)
    size = int(length[1]) if length else 0
    if is_chunked:
        rest = missing_chunks(received, body)
    else:
        rest = missing_bytes(received, body + size if size <= MAXIMUM_BODY else body)
    for nothing in rest:
        yield CONTINUE if len(received) == body and EXPECTS_CONTINUE.match(head) else nothing


def missing_bytes(received: bytearray, end: int) -> Iterator[bytes]:
    """Yield until so many bytes are there."""
    while len(received) < end:
        yield b""


def missing_lines(received: bytearray, start: int) -> Iterator[bytes]:
    """Yield until an empty line is there.

    Ends before where gunicorn refuses the request: after a bare LF, or a request line that alone is too long.
    """
    seen = start
    while received.find(b"\r\n\r\n", max(start, seen - 3)) < 0:
        if received.count(b"\n", seen) != received.count(b"\r\n", max(start, seen - 1)):
            return
        if len(received) - start > MAXIMUM_HEAD:
            if b"\r\n" in received:
                raise TooLargeError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return
        seen = len(received)
        yield b""


def missing_chunks(received: bytearray, start: int) -> Iterator[bytes]:
    """Yield until the last chunk and its trailers are there (RFC 9112 §7.1), or gunicorn refuses a size."""
    size, at = -1, start
    while size != 0:
        while received.find(b"\r\n", at) < 0 and len(received) - at <= MAXIMUM_CHUNK_LINE:
            yield b""
        line = CHUNK_LINE.match(received, at)
        if not line:
            return
        size = int(line[1], 16)
        at = line.end() + size + len(b"\r\n")
        if at - start > MAXIMUM_CHUNKED:
            raise TooLargeError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        yield from missing_bytes(received, at) if size else missing_lines(received, line.end() - len(b"\r\n"))


def receive(client: socket.socket) -> bytes | None:
    """Return the bytes that have come by now: None for none, b"" where none will come any more."""
    try:
        return client.recv(RECEIVE_BYTES)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def join_chunks(req: Any) -> None:
    """Replace a chunked body by one with a length.

    The application would answer 500 to a bad chunk, and read a body that is too long in part.
    """
    body = req.body.read()
    req.body = BytesIO(body)
    req.headers = [field for field in req.headers if field[0] != "TRANSFER-ENCODING"]
    req.headers.append(("CONTENT-LENGTH", str(len(body))))


def log_refusal(peer: object, status: HTTPStatus, detail: str) -> None:
    """Log the refusal of a request that the application has not seen. peer: as `Connection.client`."""
    host = as_address(peer[0]) if isinstance(peer, tuple) else None
    reason = REASONS.get(status, Reason.MALFORMED)
    write(Event.REFUSED, reason=reason, status=status.value, detail=detail, remote_addr=host)


class BufferingWorker(ThreadWorker):
    """gunicorn's worker, which reads a request before it gives it to a thread.

    Everything here runs in the main loop, where nothing may wait, except `handle_request`.
    """

    request_seconds = 15.0  # from the first byte to the last
    # The kernel buffers more than one answer: a client that does not read this one asks on without reading.
    write_seconds = 0.5
    linger_seconds = 2.0

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)
        self.lingering_conns: deque[Connection] = deque()

    def enqueue_req(self, conn: Connection) -> None:
        """Read what is there of the next request, and hand it over or wait on.

        gunicorn calls this for a connection that is new, that is readable after a pause, or that it has read
        ahead from.
        """
        conn.sock.setblocking(False)
        conn.parser = conn.parser or get_parser(self.cfg, conn.sock, conn.client)
        read_ahead = conn.parser.unreader.take_buffered()
        conn.received = bytearray(read_ahead)
        conn.missing = missing(conn.received)
        # What is there is enough: reading on before each answer would fill the memory.
        data = None if read_ahead else receive(conn.sock)
        if go_on := self.advance(conn, data):
            go_on(conn)
        elif conn.received:
            self.watch(conn, self.pending_conns, self.request_seconds, self.on_pending_socket_readable)
        else:
            self.watch(conn, self.keepalived_conns, self.cfg.keepalive, self.on_client_socket_readable)

    def on_pending_socket_readable(self, conn: Connection, client: socket.socket) -> None:
        """Read on in a request that has begun."""
        if go_on := self.advance(conn, receive(client)):
            self.unwatch(conn, self.pending_conns)
            go_on(conn)

    def advance(self, conn: Connection, data: bytes | None) -> Callable[[Connection], None] | None:
        """Return what is to be done with the connection after `data` was received.

        None: it waits on.
        """
        conn.received += data or b""
        try:
            answer = next(conn.missing)
        except StopIteration:
            return self.hand_over
        except TooLargeError as error:
            return partial(self.refuse, status=error.status)
        if data == b"":
            return self.drop
        if answer:
            with suppress(OSError):
                conn.sock.send(answer)
        return None

    def hand_over(self, conn: Connection) -> None:
        """Give a whole request to gunicorn's threads."""
        conn.parser.unreader.unread(bytes(conn.received))
        conn.data_ready = True
        super().enqueue_req(conn)

    def handle_error(self, req: Any, client: socket.socket, addr: object, exc: Exception) -> None:
        """Refuse what is no HTTP without quoting it; gunicorn would, in its answer and in the log."""
        if isinstance(exc, ParseException) and not isinstance(
            exc, InvalidResponseHeader | InvalidResponseHeaderName
        ):
            status = STATUSES.get(type(exc), HTTPStatus.BAD_REQUEST)
            log_refusal(addr, status, type(exc).__name__)
        else:
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            self.log.error("Could not answer: %s", type(exc).__name__)
            log_refusal(addr, status, type(exc).__name__)
        with suppress(OSError):
            util.write_error(client, status.value, status.phrase, "")

    def handle_request(self, req: Any, conn: Connection) -> bool:
        """Let a thread answer the request. Return whether the connection stays open."""
        req._expected_100_continue = False  # `missing` has told the client
        conn.sock.settimeout(self.write_seconds)
        if isinstance(req.body.reader, ChunkedReader):
            join_chunks(req)
        try:
            return bool(super().handle_request(req, conn))
        except TimeoutError:
            return False

    def finish_request(self, conn: Connection, future: Future[bool]) -> None:
        """Go on with a connection whose request was answered."""
        if future.cancelled() or future.exception() or future.result():
            super().finish_request(conn, future)
        else:
            self.linger(conn)

    def refuse(self, conn: Connection, status: HTTPStatus) -> None:
        """Answer a request that is not there whole, and close."""
        log_refusal(conn.client, status, status.phrase)
        with suppress(OSError):
            util.write_error(conn.sock, status.value, status.phrase, "")
        self.linger(conn)

    def linger(self, conn: Connection) -> None:
        """Wait until the client has closed: closing on unread bytes can lose the answer (RFC 9112 §9.6).

        gunicorn waits for that in the main loop, where one client that does not close stops everybody for 2
        s.
        """
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            return self.drop(conn)
        self.watch(conn, self.lingering_conns, self.linger_seconds, self.on_lingering_socket_readable)

    def on_lingering_socket_readable(self, conn: Connection, client: socket.socket) -> None:
        """Close a connection whose client has closed."""
        if receive(client) == b"":
            self.unwatch(conn, self.lingering_conns)
            self.drop(conn)

    def drop(self, conn: Connection) -> None:
        """Close a connection."""
        self.nr_conns -= 1
        conn.close()

    def watch(
        self, conn: Connection, waiting: deque[Connection], seconds: float, on_readable: Callable[..., None]
    ) -> None:
        """Let a connection wait in a queue where all wait equally long.

        So the first in the queue is the first to go.
        """
        conn.timeout = time.monotonic() + seconds
        waiting.append(conn)
        self.poller.register(conn.sock, EVENT_READ, partial(on_readable, conn))

    def unwatch(self, conn: Connection, waiting: deque[Connection]) -> Connection:
        """Take a connection out of the queue where it waits, and return it."""
        self.poller.unregister(conn.sock)
        waiting.remove(conn)
        return conn

    def murder_pending(self) -> None:
        """Close the connections that have waited too long.

        gunicorn calls this after each batch of events, at least once a second.
        """
        now = time.monotonic()
        while self.pending_conns and self.pending_conns[0].timeout <= now:
            self.refuse(self.unwatch(self.pending_conns[0], self.pending_conns), HTTPStatus.REQUEST_TIMEOUT)
        while self.lingering_conns and self.lingering_conns[0].timeout <= now:
            self.drop(self.unwatch(self.lingering_conns[0], self.lingering_conns))
        if self.nr_conns >= self.worker_connections:
            self.make_room()

    def make_room(self) -> None:
        """Close the connection that has waited longest: at its limit gunicorn would accept nobody."""
        queues = (
            (self.pending_conns, self.request_seconds),
            (self.lingering_conns, self.linger_seconds),
            (self.keepalived_conns, self.cfg.keepalive),
        )
        waiting = {queue[0].timeout - seconds: queue for queue, seconds in queues if queue}
        if waiting:
            queue = waiting[min(waiting)]
            self.drop(self.unwatch(queue[0], queue))
