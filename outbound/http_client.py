"""Send requests to addresses that somebody registered, without harm: the one guarded way out.

Enters: a URL. Leaves: what it answered (`jwks_uri` and the like) or whether it took what was posted (notices
of logout), or one `FetchError`. Nobody can make this server call itself, its neighbours or a cloud's
metadata: the name is resolved once, every address that it has must be public (`protocol/blocked_urls.py`),
and the connection goes to the very address that was checked. No redirects, no proxies, and limits that hold
for all of it together.
"""

import http.client
import io
import logging
import queue
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, cast
from urllib.parse import urlencode

from config import Settings
from errors import BlockedUrlError, FetchError
from protocol import blocked_urls
from protocol.blocked_urls import Target

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

log = logging.getLogger("ostiary.http_client")

SECONDS = 5.0  # for all of it: the name, the connection, TLS, and the answer however it drips
MAXIMUM_SIZE = 1024 * 1024
MAXIMUM_HEAD = 64 * 1024  # status line, header lines, and the sizes of chunks
MAXIMUM_TRIES = 4  # addresses of one name
JSON_TYPE = re.compile(r"application/([a-z0-9.-]+\+)?json")

Resolve = Callable[[str, int], list[str]]


class Fetched(NamedTuple):
    """A document that was fetched.

    max_age: in seconds, as the answer's Cache-Control says (RFC 9111 §5.2.2.1); 0: it must not be cached.
    """

    content: bytes
    max_age: int | None


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a name, as the system knows them."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class HttpClient:
    """The client of one app. It keeps no connections."""

    def __init__(self, settings: Settings, resolve: Resolve = resolve) -> None:
        self._allow_private = settings.allow_private_addresses
        self._resolve = resolve

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """Return what checks certificates; made late, for reading the authorities takes a while."""
        return ssl.create_default_context()

    def get(self, url: str) -> bytes:
        """Return a JSON document. Raises FetchError."""
        return self.fetch(url).content

    def fetch(self, url: str) -> Fetched:
        """Return a JSON document and how long it may be cached. Raises FetchError."""
        headers = {"Accept": "application/json, application/jwk-set+json"}
        with self._exchange("GET", url, headers) as response:
            if response.status != http.HTTPStatus.OK:
                raise FetchError("it was not answered 200")
            if not JSON_TYPE.fullmatch(
                response.getheader("Content-Type", "").partition(";")[0].strip().lower()
            ):
                raise FetchError("the answer is not of a JSON type")
            if response.getheader("Content-Encoding", "identity").strip().lower() != "identity":
                raise FetchError("the answer is compressed")
            return Fetched(read_body(response), max_age(response.getheader("Cache-Control", "")))

    def post(self, url: str, form: Mapping[str, str]) -> int:
        """Send a form and return the status. Nothing else of the answer is read. Raises FetchError."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        with self._exchange("POST", url, headers, urlencode(form).encode("ascii")) as response:
            return response.status

    @contextmanager
    def _exchange(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """Yield the head of the answer to a request; its body is read inside the block."""
        deadline = Deadline(SECONDS)
        try:
            target = blocked_urls.read_url(url, self._allow_private)
            with self._connect(target, deadline) as connected:
                connection = http.client.HTTPConnection(target.host, target.port)
                connection.sock = cast(socket.socket, DeadlineSocket(connected, deadline))
                fixed = {"Host": target.netloc, "User-Agent": "ostiary", "Accept-Encoding": "identity"}
                connection.request(method, target.path, body, {**fixed, "Connection": "close", **headers})
                yield connection.getresponse()
        except BlockedUrlError as error:
            raise FetchError(str(error)) from None
        except TimeoutError:
            raise FetchError("it took too long") from None
        except ssl.SSLError:
            raise FetchError("there is no trusted TLS connection to it") from None
        except (OSError, http.client.HTTPException):
            raise FetchError("the connection failed") from None

    def _connect(self, target: Target, deadline: "Deadline") -> socket.socket:
        """Return a connection to one of the addresses that were checked.

        With TLS the certificate is that of the host's name.
        """
        addresses = list(dict.fromkeys(self._addresses(target, deadline)))
        blocked_urls.check_addresses(addresses, self._allow_private)
        addresses = addresses[:MAXIMUM_TRIES]
        for position, address in enumerate(addresses):
            share = deadline.left() / (len(addresses) - position)
            try:
                connected = socket.create_connection((address, target.port), timeout=share)
                break
            except OSError:
                if position == len(addresses) - 1:
                    raise
        if not target.is_tls:
            return connected
        try:
            connected.settimeout(deadline.left())
            return self._tls.wrap_socket(connected, server_hostname=target.host)
        except BaseException:
            connected.close()
            raise

    def _addresses(self, target: Target, deadline: "Deadline") -> list[str]:
        """Return the addresses of the target's host.

        The system's resolver has no time limit: a thread of its own waits for it, and may be given up.
        """
        if blocked_urls.read_address(target.host) is not None:
            return [target.host]
        answers: queue.SimpleQueue[list[str]] = queue.SimpleQueue()

        def ask() -> None:
            try:
                answers.put(self._resolve(target.host, target.port))
            except OSError:
                answers.put([])

        threading.Thread(target=ask, name="resolver", daemon=True).start()
        try:
            return answers.get(timeout=deadline.left())
        except queue.Empty:
            raise TimeoutError from None


def read_body(response: http.client.HTTPResponse) -> bytes:
    """Return the body of an answer. Raises FetchError for one that is too large, or ends early."""
    if (response.length or 0) > MAXIMUM_SIZE:
        raise FetchError("the answer is too large")
    content = response.read(MAXIMUM_SIZE + 1)
    if len(content) > MAXIMUM_SIZE:
        raise FetchError("the answer is too large")
    if response.length:
        raise FetchError("the answer ended early")
    return content


def max_age(cache_control: str) -> int | None:
    """Return for how many seconds an answer may be cached, or None where it does not say."""
    directives = dict[str, str]()
    for part in cache_control.lower().split(","):
        name, _equals, value = part.strip().partition("=")
        directives.setdefault(name, value.strip('" '))
    if directives.keys() & {"no-store", "no-cache"}:
        return 0
    seconds = directives.get("max-age", "")
    return int(seconds[:9]) if seconds.isascii() and seconds.isdecimal() else None


class Deadline:
    """A moment on the monotonic clock by which all must be over."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left, more than 0. Raises TimeoutError."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class DeadlineSocket:
    """What `HTTPConnection` takes for its socket. Who opened the real one closes it."""

    def __init__(self, connected: socket.socket, deadline: Deadline) -> None:
        self._socket = connected
        self._deadline = deadline

    def sendall(self, content: bytes) -> None:
        self._socket.settimeout(self._deadline.left())
        self._socket.sendall(content)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(DeadlineReader(self._socket, self._deadline))

    def close(self) -> None:
        """Do nothing: it is called before the answer is read."""


class DeadlineReader(io.RawIOBase):
    """The bytes of the answer.

    Each wait for more has only what is left of the time, and all of them together have a limit.
    """

    def __init__(self, connected: socket.socket, deadline: Deadline) -> None:
        self._socket = connected
        self._deadline = deadline
        self._bytes_left = MAXIMUM_HEAD + MAXIMUM_SIZE

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        self._socket.settimeout(self._deadline.left())
        count = self._socket.recv_into(buffer)
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise FetchError("the answer is too large")
        return count
