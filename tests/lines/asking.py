"""Asks a live server, one request on a connection of its own, and takes 503 for an answer; waits for what
comes by and by.
"""

import http.client
import json
import time

from tests.flows.driving import Answer, Call

PATIENCE_SECONDS = 20


def ask(server, call):
    """The answer to a call over a connection of its own: the kernel deals those among the processes."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_SECONDS)
    began = time.monotonic()
    try:
        connection.request(call.method, call.path, call.body or None, call.headers)
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    is_json = "json" in response.headers.get_content_type()
    assert response.status in (200, 400, 401, 403, 503), response.status
    return Answer(response.status, json.loads(content) if is_json else {}, time.monotonic() - began)


def look(server, path):
    return ask(server, Call("GET", path, {}))


def wait_until(is_so, seconds):
    began = time.monotonic()
    while not is_so():
        assert time.monotonic() - began < seconds, f"not within {seconds} s"
        time.sleep(0.02)
