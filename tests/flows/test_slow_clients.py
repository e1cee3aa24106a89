"""Clients that send slowly, never end, never read or never close, against the shipped server: everybody else
is served at once.

What `middleware/buffering_worker.py` hands over is compared with what gunicorn's own parser would wait for.
Requests that are odd, long, in parts or in a row get the answers that they get from gunicorn.
"""

import os
import random
import re
import socket
import threading
import time
from base64 import b64encode
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from gunicorn.config import Config
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader

from middleware.buffering_worker import MAXIMUM_HEAD, BufferingWorker, missing
from middleware.endpoint_policy import MAXIMUM_BODY
from tests.builders import AUTHORIZATION_REQUEST
from tests.flows.browser_journey import add_client
from tests.live import LiveServer, live_server

CALLBACK = "https://app.example/cb"
MANY = 64
PROMPT_SECONDS = 1


class ImpatientWorker(BufferingWorker):
    """The same, in a hurry. gunicorn takes it from here by its name."""

    request_seconds = 1.0
    write_seconds = 0.1


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("patient")
    with live_server(f"sqlite:///{folder / 'slow.sqlite3'}", folder) as server:
        yield server


@pytest.fixture(scope="module")
def impatient(tmp_path_factory):
    """A server with a Unix socket too, and with room for 2 x 40 connections."""
    folder = tmp_path_factory.mktemp("impatient")
    server = LiveServer(f"sqlite:///{folder / 'slow.sqlite3'}", folder)
    server.unix_socket = str(folder / "socket")
    server.environment["GUNICORN_CMD_ARGS"] = (
        f"--worker-class {__name__}.{ImpatientWorker.__name__} --worker-connections 40"
        f" --bind 127.0.0.1:{server.port} --bind unix:{server.unix_socket}"
    )
    try:
        yield server.start()
    finally:
        server.kill()


@pytest.fixture(scope="module")
def robot(server):
    """The request of a machine for a token."""
    robot = add_client(server, "Robot", "--grant-type", "client_credentials")
    basic = b64encode(f"{robot['client_id']}:{robot['client_secret']}".encode()).decode()
    return post(server, b"grant_type=client_credentials", f"Authorization: Basic {basic}")


def get(server, path, *fields):
    return "\r\n".join([f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{server.port}", *fields, "", ""]).encode()


def post(server, body, *fields):
    """A whole request for a token; with a Content-Length unless a field speaks of the length."""
    if not any(name in field for field in fields for name in ("Content-Length", "Transfer-Encoding")):
        fields = (*fields, f"Content-Length: {len(body)}")
    fields = ("Content-Type: application/x-www-form-urlencoded", *fields)
    return get(server, "/oauth/token", *fields).replace(b"GET", b"POST", 1) + body


class Client:
    """A connection that says what it is told, and reads one answer at a time."""

    def __init__(self, server, said=b"", address=None):
        self.socket = socket.socket(socket.AF_UNIX if address else socket.AF_INET)
        self.socket.settimeout(30)
        self.socket.connect(address or ("127.0.0.1", server.port))
        self.file = self.socket.makefile("rb")
        self.say(said)

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.file.close()
        self.socket.close()

    def say(self, said):
        self.socket.sendall(said)

    def answer(self):
        """(status, body) of the next answer, 100 included; None when the server has closed."""
        try:
            line = self.file.readline()
        except ConnectionResetError:
            return None
        if not line:
            return None
        length = 0
        while (field := self.file.readline().strip()) != b"":
            name, _, value = field.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        return int(line.split()[1]), self.file.read(length)

    def status(self):
        answer = self.answer()
        return answer and answer[0]


def ask(server, request):
    """(status, seconds) of a request on a connection of its own."""
    start = time.monotonic()
    with Client(server, request) as client:
        return client.status(), time.monotonic() - start


@contextmanager
def crowd(server, said, count=MANY, drip=b"", every=1.0):
    """So many clients who have said this much, and say `drip` again and again."""
    over = threading.Event()

    def go_on(clients):
        while not over.wait(every):
            for client in clients:
                try:
                    client.say(drip)
                except OSError:
                    continue  # it was shown the door

    with ExitStack() as stack:
        clients = [stack.enter_context(Client(server, said)) for _ in range(count)]
        dripping = threading.Thread(target=go_on, args=[clients])
        if drip:
            dripping.start()
        try:
            yield clients
        finally:
            over.set()
            if drip:
                dripping.join()


def half_body(server):
    return post(server, b"grant_type", "Content-Length: 500")


def half_head(server):
    return get(server, "/healthz", "Accept: text/plain")[:-2]


def endless_chunks(server):
    return post(server, b"5\r\ngrant\r\n", "Transfer-Encoding: chunked")


SLOW = {
    "half a body": (half_body, MANY, b""),
    "a body at a byte a second": (half_body, MANY, b"x"),
    "half a head": (half_head, MANY, b""),
    "a head at a byte a second": (half_head, MANY, b"x"),
    "chunks without end": (endless_chunks, MANY, b"1\r\nx\r\n"),
    "an answer that is due, and then silence": (lambda server: get(server, "/healthz"), MANY, b""),
    "silence": (lambda server: b"", 200, b""),
}


def assert_prompt(server, *requests):
    for request in requests:
        status, seconds = ask(server, request)
        assert (status, seconds < PROMPT_SECONDS) == (200, True), f"{status} after {seconds:.1f} s"


def everyday(server):
    return [
        get(server, "/healthz"),
        get(server, "/.well-known/oauth-authorization-server"),
        get(server, "/login"),
    ]


# ---- nobody is held up -------------------------------------------------------------------------------------


@pytest.mark.threat("T165")
@pytest.mark.parametrize("kind", SLOW)
def test_slow_clients_hold_nobody_up(server, robot, kind):
    said, count, drip = SLOW[kind]
    with crowd(server, said(server), count, drip):
        time.sleep(0.2)
        assert_prompt(server, *everyday(server), robot, *everyday(server), robot)


def worker_seconds(server):
    """The CPU seconds that the workers have used."""
    ticks = 0
    for pid in re.findall(r"Booting worker with pid: (\d+)", server.log()):
        user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        ticks += int(user) + int(system)
    return ticks / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads CPU times from Linux's /proc")
def test_slow_clients_cost_next_to_nothing(server):
    with ExitStack() as stack:
        for said, count, drip in SLOW.values():
            stack.enter_context(crowd(server, said(server), count, drip))
        time.sleep(0.5)
        before = worker_seconds(server)
        time.sleep(2)
        assert worker_seconds(server) - before < 0.5


@pytest.mark.threat("T165")
@pytest.mark.parametrize("kind", [kind for kind in SLOW if "silence" not in kind])
def test_who_takes_too_long_is_told_so(impatient, kind):
    said, _count, drip = SLOW[kind]
    start = time.monotonic()
    with crowd(impatient, said(impatient), 30, drip, every=0.1) as clients:
        for client in clients:
            assert client.status() == 408
            assert client.answer() is None
    assert ImpatientWorker.request_seconds <= time.monotonic() - start < 5
    assert "event=refused reason=too_slow status=408" in impatient.log()


def test_a_second_request_has_its_own_time(impatient):
    with Client(impatient, get(impatient, "/healthz")) as client:
        assert client.status() == 200
        time.sleep(1.2)
        client.say(half_body(impatient))
        time.sleep(0.5)
        client.say(b"x" * (500 - len("grant_type")))
        assert client.status() == 400
        client.say(half_head(impatient))
        assert client.status() == 408
        assert client.answer() is None


@pytest.mark.long
def test_the_shipped_server_waits_for_a_quarter_of_a_minute(server):
    start = time.monotonic()
    with crowd(server, half_body(server), drip=b"x") as clients:
        assert [client.status() for client in clients] == [408] * MANY
    assert 14 < time.monotonic() - start < 20


def test_who_does_not_close_holds_nobody_up(server):
    with crowd(server, get(server, "/healthz", "Connection: close")) as clients:
        assert_prompt(server, *everyday(server))
        assert [client.status() for client in clients] == [200] * MANY


@pytest.mark.parametrize("kind", ["half a body", "an answer that is due, and then silence", "silence"])
def test_more_connections_than_there_is_room_for(impatient, kind):
    """The oldest make room, whatever they wait for; nobody who asks has to wait, and the youngest is still
    there.
    """
    with crowd(impatient, SLOW[kind][0](impatient), 120):
        assert_prompt(impatient, *everyday(impatient))
        with Client(impatient) as client:
            time.sleep(0.1)
            client.say(get(impatient, "/healthz"))
            assert client.status() == 200


def test_who_does_not_read_holds_nobody_up_for_long(impatient):
    """They ask for more than the kernel keeps for them, which is least on a Unix socket; a thread that writes
    gives up soon.
    """
    with ExitStack() as stack:
        for _ in range(24):
            client = stack.enter_context(Client(impatient, b"", impatient.unix_socket))
            client.say(get(impatient, "/static/ostiary.css") * 60)
        time.sleep(2)
        assert_prompt(impatient, *everyday(impatient) * 5)
    assert "Traceback" not in impatient.log()


def test_requests_are_not_read_faster_than_they_are_answered(impatient):
    """On a Unix socket the kernel keeps some 200 KiB for the server, however fast a client asks."""
    request, taken = get(impatient, "/healthz") * 1000, 0
    with Client(impatient, b"", impatient.unix_socket) as client:
        client.socket.setblocking(False)
        end = time.monotonic() + 1
        while time.monotonic() < end:
            try:
                taken += client.socket.send(request)
            except BlockingIOError:
                time.sleep(0.001)
            try:
                client.socket.recv(1_000_000)
            except BlockingIOError:
                continue
    assert 100_000 < taken < 1_500_000


def test_tls_is_not_taken_on_quietly(tmp_path):
    """Reading it needs threads; gunicorn's own worker is to be asked for by its name."""
    server = LiveServer(f"sqlite:///{tmp_path / 'tls.sqlite3'}", tmp_path)
    server.environment["GUNICORN_CMD_ARGS"] = f"--certfile {__file__}"
    with pytest.raises(AssertionError, match="--worker-class gthread"):
        server.start()


# ---- what arrives otherwise than at once -------------------------------------------------------------------


def test_a_body_in_two_parts(server, robot):
    with Client(server, robot[:-10]) as client:
        time.sleep(0.3)
        client.say(robot[-10:])
        assert client.status() == 200


@pytest.mark.parametrize("size", [1, 7, 64])
def test_a_request_in_small_pieces(server, robot, size):
    """On a kept connection, twice."""
    with Client(server) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(2):
            for start in range(0, len(robot), size):
                client.say(robot[start : start + size])
            assert client.status() == 200


def test_requests_in_a_row(server, robot):
    chunked = post(
        server, b"5\r\ngrant\r\n6;x=y\r\n_type=\r\n0\r\nX-Trailer: z\r\n\r\n", "Transfer-Encoding: chunked"
    )
    row = [get(server, "/healthz"), robot, chunked, robot, get(server, "/nowhere"), get(server, "/healthz")]
    with Client(server, b"".join(row) + robot[:-5]) as client:
        assert [client.status() for _ in row] == [200, 200, 400, 200, 404, 200]
        client.say(robot[-5:])
        assert client.status() == 200


def test_requests_in_a_row_of_which_the_last_closes(server, robot):
    with Client(server, robot + get(server, "/healthz", "Connection: close") + robot) as client:
        assert [client.status(), client.status(), client.answer()] == [200, 200, None]


def test_who_has_said_all_may_stop_sending(server, robot):
    with Client(server, robot * 3) as client:
        client.socket.shutdown(socket.SHUT_WR)
        assert [client.status(), client.status(), client.status(), client.answer()] == [200, 200, 200, None]


def test_a_unix_socket(impatient):
    with Client(impatient, half_head(impatient), impatient.unix_socket) as client:
        time.sleep(0.3)
        client.say(b"\r\n" + half_body(impatient))
        assert [client.status(), client.status(), client.answer()] == [200, 408, None]


def test_who_expects_100_is_told_to_continue(server, robot):
    head, _, body = robot.partition(b"\r\n\r\n")
    head += b"\r\nExpect: 100-Continue\r\n\r\n"
    with Client(server, head) as client:
        assert client.answer() == (100, b"")
        client.say(body)
        assert client.status() == 200
        client.say(head + body)
        assert client.status() == 200
        client.say(head.replace(b"HTTP/1.1", b"HTTP/1.0"))
        time.sleep(0.3)
        client.say(body)
        assert client.status() == 200
    with Client(server, post(server, b"", "Expect: 100-continue", "Content-Length: 1000000")) as client:
        assert client.status() == 413


# ---- what is too long --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authorization(server):
    """The path of an authorization request with these further parameters."""
    client = add_client(server, "Notebook", "--redirect-uri", CALLBACK, "--scope", "profile")
    known = AUTHORIZATION_REQUEST | {"client_id": client["client_id"], "redirect_uri": CALLBACK}
    return "/oauth/authorize?" + "&".join(f"{name}={value}" for name, value in known.items())


def authorize(server, path):
    """(status, where to) of an authorization request without its ticket."""
    with Client(server, get(server, path, "Connection: close")) as client:
        text = client.file.read().decode()
    location = re.search(r"(?im)^location: ([^?\r]*)", text)
    return int(text.split()[1]), location and location[1]


def long_line(path, length):
    """`path`, so much longer that its request line has this many bytes."""
    return path + "x" * (length - len(f"GET {path} HTTP/1.1"))


def test_request_lines_of_16_kib_are_served(server, authorization):
    short = authorize(server, f"{authorization}&state=x")
    assert short == (303, "/login")
    assert authorize(server, long_line(f"{authorization}&state=x&unknown=", 16 * 1024)) == short
    assert authorize(server, f"{authorization}&state={'%2F' * 5000}") == short
    assert authorize(server, long_line(f"{authorization}&unknown=", 16 * 1024 + 1)) == (414, None)


@pytest.mark.parametrize("kib", [17, 47, 64, 300])
def test_longer_ones_are_refused(server, kib):
    with Client(server, get(server, long_line("/login?x=", kib * 1024))) as client:
        assert client.status() == 414
        assert client.answer() is None


@pytest.mark.parametrize(
    "fields", [["X-Long: " + "x" * 70_000], ["X-Much: " + "x" * 8_000] * 9, ["X: y"] * 101]
)
def test_longer_heads_are_refused(server, fields):
    with Client(server, get(server, "/healthz", *fields)) as client:
        assert client.status() == 431
        assert client.answer() is None


def test_a_head_that_does_not_end_is_refused(server):
    with Client(server, half_head(server) + b"X: y\r\n" * (MAXIMUM_HEAD // 6 + 1)) as client:
        assert client.status() == 431
        assert client.answer() is None


def in_chunks(body, size):
    chunks = (body[start : start + size] for start in range(0, len(body), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


@pytest.mark.threat("T165")
@pytest.mark.parametrize("size", [MAXIMUM_BODY + 1, 10 * MAXIMUM_BODY])
def test_larger_bodies_are_refused(server, size):
    """However much of it is sent: the answer arrives."""
    body = b"x" * size
    for request in (
        post(server, body),
        post(server, b"", f"Content-Length: {size}"),
        post(server, in_chunks(body, 4096), "Transfer-Encoding: chunked"),
        post(server, b"%x\r\n" % (4 * size), "Transfer-Encoding: chunked"),
    ):
        assert ask(server, request)[0] == 413


def test_bodies_up_to_the_limit_are_read(server, robot):
    head, _, body = robot.partition(b"\r\n\r\n")
    fields = head.decode().split("\r\n")[2:-1]
    body += b"&unknown=" + b"x" * (MAXIMUM_BODY - len(body) - len("&unknown="))
    with Client(server, post(server, body, *fields[1:])) as client:
        assert client.status() == 200
        client.say(post(server, in_chunks(body, 1000), *fields[1:], "Transfer-Encoding: chunked"))
        assert client.status() == 200


# ---- what is odd -------------------------------------------------------------------------------------------

ODD_HEADS = {
    "both lengths": "Content-Length: 5\r\nTransfer-Encoding: chunked",
    "both lengths, the other way": "Transfer-Encoding: chunked\r\nContent-Length: 5",
    "two lengths": "Content-Length: 5\r\nContent-Length: 6",
    "the same length twice": "Content-Length: 5\r\nContent-Length: 5",
    "a list of lengths": "Content-Length: 5, 5",
    "a signed length": "Content-Length: +5",
    "a negative length": "Content-Length: -5",
    "a length in hexadecimal": "Content-Length: 0x5",
    "a length of 5000 digits": "Content-Length: " + "5" * 5000,
    "a length with a superscript": "Content-Length: 5\u00b2",
    "a folded length": "Content-Length:\r\n 5",
    "a folded field": "X: y\r\n z\r\nContent-Length: 5",
    "a space before the colon": "Content-Length : 5",
    "a bare LF": "X: y\nContent-Length: 5",
    "a bare CR": "X: y\rContent-Length: 5",
    "chunked twice": "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "chunked before another": "Transfer-Encoding: chunked, gzip",
    "not chunked": "Transfer-Encoding: gzip",
    "identity and a length": "Transfer-Encoding: identity\r\nContent-Length: 5",
    "no colon": "Content-Length 5",
}


@pytest.mark.threat("T167")
@pytest.mark.parametrize("case", ODD_HEADS)
def test_odd_heads_are_refused(server, case):
    """At once, and what follows on the connection is not read as a request."""
    body = b"5\r\nhello\r\n0\r\n\r\n" if "Transfer-Encoding" in ODD_HEADS[case] else b"hello"
    request = post(server, body, "Content-Length: 0").replace(
        b"Content-Length: 0", ODD_HEADS[case].encode("latin-1")
    )
    with Client(server, request + get(server, "/healthz")) as client:
        assert client.status() == 400
        assert client.answer() is None


@pytest.mark.threat("T158", "T167")
@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET / SECRET", 400),
        ("GET /SECRET HTTP/9.9", 400),
        ("SECR{}T / HTTP/1.1", 400),
        ("GET / HTTP/1.1\r\nSECRET<: x", 400),
        ("GET / HTTP/1.1\r\nTransfer-Encoding: SECRET", 400),
        ("GET / HTTP/1.1\r\nExpect: SECRET", 417),
        ("GET / HTTP/1.1\r\nX: SECRET" + "x" * 17_000, 431),
        ("GET /?SECRET=" + "x" * 20_000 + " HTTP/1.1", 414),
    ],
)
def test_what_is_no_http_is_quoted_nowhere(server, line, status):
    """Neither in the answer nor in the log: it may be a request with a token in it that went wrong on its
    way.
    """
    chunks = "0\r\n\r\n" if "Transfer-Encoding" in line else ""
    with Client(server, f"{line}\r\nHost: x\r\n\r\n{chunks}".encode()) as client:
        answer = client.answer()
    assert answer[0] == status
    assert b"SECR" not in answer[1]
    assert "SECR" not in server.log()


@pytest.mark.threat("T167")
def test_two_lengths_are_refused_before_the_body(server):
    for case in ("both lengths", "two lengths", "the same length twice"):
        status, seconds = ask(server, post(server, b"", ODD_HEADS[case]))
        assert (status, seconds < PROMPT_SECONDS) == (400, True)


@pytest.mark.threat("T167")
def test_lines_that_end_otherwise_are_refused_at_once(server):
    for request in (get(server, "/healthz").replace(b"\r\n", b"\n"), b"GET / HTTP/1.1\n", b"\n\n"):
        status, seconds = ask(server, request)
        assert (status, seconds < PROMPT_SECONDS) == (400, True)


ODD_CHUNKS = [
    b"0x5\r\nhello\r\n",
    b"+5\r\nhello\r\n",
    b"5 x\r\nhello\r\n",
    b"\r\nhello\r\n",
    b"5\r\nhelloworld\r\n",
    b"5\nhello\r\n",
]


@pytest.mark.threat("T167")
@pytest.mark.parametrize("chunks", ODD_CHUNKS)
def test_odd_chunks_are_refused(server, chunks):
    request = post(server, chunks + b"0\r\n\r\n", "Transfer-Encoding: chunked")
    with Client(server, request + get(server, "/healthz")) as client:
        assert client.status() == 400
        assert client.answer() is None


# ---- the same as gunicorn ----------------------------------------------------------------------------------

NAMES = [
    "Content-Length",
    "content-length",
    "Transfer-Encoding",
    "TRANSFER-ENCODING",
    "Expect",
    "X",
    "Content-Length ",
    " X",
]
VALUES = [
    "0",
    "3",
    "03",
    " 3\t",
    "3, 3",
    "chunked",
    "gzip, chunked",
    "Chunked ",
    "identity",
    "100-continue",
    "x\r\n 3",
    "\xb2",
]
BODIES = [
    b"",
    b"abc",
    b"3\r\nabc\r\n0\r\n\r\n",
    b"03;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n",
    b"0\r\n\r\n",
    b"3\nabc\r\n0\r\n\n",
    b"g\r\n",
]
SETTINGS = Config()
LINE_ENDS = [b"\r\n"] * 20 + [b"\n", b"\r", b"\r\n\r\n"]


def random_request(dice):
    """Most are nearly right."""
    lines = [dice.choice([b"POST / HTTP/1.1", b"POST / HTTP/1.0", b"\r\nGET / HTTP/1.1", b"post /"])]
    for _ in range(dice.randrange(4)):
        lines.append(f"{dice.choice(NAMES)}:{dice.choice(VALUES)}".encode("latin-1"))
    head = b"".join(line + dice.choice(LINE_ENDS) for line in lines)
    return (
        head
        + dice.choice(LINE_ENDS)
        + dice.choice(BODIES)
        + dice.choice([b"", b"", b"GET / HTTP/1.1\r\n\r\n"])
    )


def handed_over(request):
    """As much of the request as has come, byte by byte, when it is handed over; None if it never is."""
    received = bytearray()
    steps = missing(received)
    for byte in request:
        received.append(byte)
        if next(steps, None) is None:
            return bytes(received)
    return None


class WaitsError(Exception):
    """gunicorn's parser asked for more."""


def only(request):
    yield request
    raise WaitsError


def verdict(request):
    """What gunicorn's own parser does when no more than this has come: it reads, waits or refuses."""
    try:
        Request(SETTINGS, IterUnreader(only(request)), ("127.0.0.1", 1)).body.read()
    except WaitsError:
        return "waits"
    except Exception:
        return "refuses"
    return "reads"


def test_gunicorn_never_waits_for_what_is_handed_over():
    dice = random.Random("patience")  # noqa: S311 - the same requests in each run
    requests = [random_request(dice) for _ in range(5_000)]
    parts = [handed_over(request) for request in requests]
    assert {verdict(part) for part in parts if part is not None} == {"reads", "refuses"}
    assert "reads" not in {
        verdict(request) for request, part in zip(requests, parts, strict=True) if part is None
    }
