"""Requests over a socket, as bytes: what HTTP clients refuse to send is sent too, and what comes back is read
as HTTP.

Ways to break the wire itself stand here; those inside a request are in `ways.py`.
"""

import http.client
import socket
import time
from dataclasses import dataclass

from werkzeug.datastructures import Headers

from tests.generated.raw import Answer

PATIENCE_SECONDS = 20


@dataclass(frozen=True)
class Timed:
    """An answer and how long it took; None where the server hung up without one."""

    answer: Answer | None
    seconds: float


def exchange(port, sent, method=b"GET"):
    """Send these bytes on a connection of their own, say that nothing follows, and read what is answered."""
    started = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it was answered, and hung up on, before all was said
        answer = read(connection, method)
    return Timed(answer, time.perf_counter() - started)


def read(connection, method):
    response = http.client.HTTPResponse(connection, method=method.decode("latin-1"))
    try:
        response.begin()
        body = response.read()
    except (ConnectionError, http.client.RemoteDisconnected, http.client.IncompleteRead):
        return None
    finally:
        response.close()
    return Answer(response.status, Headers(response.getheaders()), body)


# ---- ways to break it: from the request's bytes and the value to bytes -------------------------------------


def first_line(change):
    """A way that puts another line in place of the request line."""

    def way(sent, value):
        line, rest = sent.split(b"\r\n", 1)
        method, target, version = line.split(b" ", 2)
        return change(method, target, version, value) + b"\r\n" + rest

    return way


def more_headers(change):
    """A way that puts another header after the request line."""

    def way(sent, value):
        line, rest = sent.split(b"\r\n", 1)
        return line + b"\r\n" + change(value) + b"\r\n" + rest

    return way


BREAKS = [
    first_line(lambda method, target, version, value: value + b" " + target + b" " + version),
    first_line(lambda method, target, version, value: method + b" " + target + value + b" " + version),
    first_line(lambda method, target, version, value: method + b" /" + value + b" " + version),
    first_line(lambda method, target, version, value: method + b" http://" + value + target + b" " + version),
    first_line(lambda method, target, version, value: method + b" http://[::1" + target + b" " + version),
    first_line(lambda method, target, version, value: method + b" * " + version),
    first_line(lambda method, target, version, value: method + b" " + target + b" HTTP/" + value),
    first_line(lambda method, target, version, value: method + b" " + target + b" HTTP/1.0"),
    first_line(lambda method, target, version, value: method + b" " + target),
    first_line(lambda method, target, version, value: method.lower() + b" " + target + b" " + version),
    more_headers(lambda value: value + b": " + value),
    more_headers(lambda value: value),
    more_headers(lambda value: b"X-" + value.hex().encode() + b": 1"),
    more_headers(lambda value: b" folded " + value),
    more_headers(lambda value: b"X-Folded: 1\r\n " + value),
    more_headers(lambda value: b"X_Forwarded_For: " + value),
    more_headers(lambda value: b"Script-Name: /" + value),
    more_headers(lambda value: b"Script_Name: /" + value),
    more_headers(lambda value: b"Host: " + value),
    more_headers(lambda value: b"Content-Length: 3\r\nContent-Length: " + value),
    more_headers(lambda value: b"Content-Length: 3\r\nTransfer-Encoding: chunked"),
    more_headers(lambda value: b"Transfer-Encoding: " + value),
    more_headers(lambda value: b"Expect: 100-continue"),
    more_headers(lambda value: b"Expect: " + value),
    more_headers(
        lambda value: b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: " + value
    ),
    more_headers(
        lambda value: b"\r\n".join(b"X-%d: %s" % (number, value[:40].hex().encode()) for number in range(120))
    ),
    lambda sent, value: sent + value,
    lambda sent, value: sent + sent,
    lambda sent, value: sent[: len(sent) // 2],
    lambda sent, value: sent.replace(b"\r\n", b"\n"),
    lambda sent, value: value,
    lambda sent, value: value + sent,
    lambda sent, value: (
        sent.partition(b"\r\n\r\n")[0]
        + b"\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"
        + value
        + b"\r\n0\r\n\r\n"
    ),
    lambda sent, value: sent.partition(b"\r\n\r\n")[0] + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + value,
    lambda sent, value: b"PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\n" + sent,
    lambda sent, value: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + value,
]
