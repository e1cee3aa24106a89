"""A client's back-channel logout endpoint for tests: HTTP on a free loopback port.

The path says how it answers.
"""

import http.server
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import parse_qs

HUGE = 10 * 1024 * 1024


@dataclass(frozen=True)
class Received:
    path: str
    content_type: str
    form: dict[str, list[str]]
    at: float  # monotonic

    @property
    def token(self):
        [token] = self.form["logout_token"]
        return token


class Handler(http.server.BaseHTTPRequestHandler):
    """`/204` answers 204, `/redirect` sends on to `/204`, `/huge` answers 200 and 10 MiB, `/hang`
    not at all.
    """

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        received = Received(self.path, self.headers["Content-Type"], parse_qs(body), time.monotonic())
        self.server.receiver.received.append(received)
        behaviour = self.path.split("/")[1]
        if behaviour == "hang":
            self.server.receiver.is_over.wait(30)
        elif behaviour == "redirect":
            self.answer(302, ("Location", "/204"))
        elif behaviour == "huge":
            self.answer(200, ("Content-Length", str(HUGE)))
            self.send_much()
        else:
            self.answer(int(behaviour))

    def do_GET(self):
        """A person who comes back."""
        self.answer(200)

    def answer(self, status, *headers):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()

    def send_much(self):
        try:
            for _kibibyte in range(HUGE // 1024):
                self.wfile.write(b"x" * 1024)
                self.server.receiver.sent_kibibytes += 1
        except OSError:
            pass  # nobody reads it

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


class Receiver:
    """`url("204")` is an address to register, `received` what came, in order."""

    def __init__(self):
        self.received = []
        self.sent_kibibytes = 0
        self.is_over = threading.Event()
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.receiver = self

    def url(self, behaviour):
        return f"http://127.0.0.1:{self.server.server_port}/{behaviour}"

    def at(self, path):
        """What came to one address."""
        return [received for received in self.received if received.path == f"/{path}"]

    def wait_for(self, path, count=1, seconds=2.0):
        """What came to one address, as soon as it is so much; fewer after `seconds`."""
        deadline = time.monotonic() + seconds
        while len(self.at(path)) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.at(path)


@contextmanager
def receiving():
    receiver = Receiver()
    thread = threading.Thread(
        target=receiver.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
    )
    thread.start()
    try:
        yield receiver
    finally:
        receiver.is_over.set()
        receiver.server.shutdown()
        receiver.server.server_close()
        thread.join()
