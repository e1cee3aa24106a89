"""Asks a live server, one request on a connection of its own, and takes 503 for an answer; waits for what
comes by and by.
"""

import http.client
import time

from testing.races.workers import Call
from tests.flows import driving

PATIENCE_SECONDS = 20


def ask(server, call):
    """The answer to a call over a connection of its own: the kernel deals those among the processes."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_SECONDS)
    try:
        answer = driving.ask(connection, call)
    finally:
        connection.close()
    assert answer.status in (200, 400, 401, 403, 503), answer.status
    return answer


def look(server, path):
    return ask(server, Call("GET", path))


def wait_until(is_so, seconds):
    began = time.monotonic()
    while not is_so():
        assert time.monotonic() - began < seconds, f"not within {seconds} s"
        time.sleep(0.02)
