"""Request lines that no browser sends, over a socket: the shipped server takes no host, no scheme and no
other page from them.
"""

import json
import socket

import pytest

from services.browser_ids import MAXIMUM_COOKIES
from tests.flows.browser_journey import add_client
from tests.live import live_server

METADATA = "/.well-known/oauth-authorization-server"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lines")
    with live_server(f"sqlite:///{folder / 'lines.sqlite3'}", folder) as server:
        yield server


@pytest.fixture
def send(server):
    """The status, the headers and the body of the answer to these lines; (None, "", "") when the server just
    hangs up.
    """

    def send(*lines, host=None):
        host = f"127.0.0.1:{server.port}" if host is None else host
        request = "\r\n".join([*lines, f"Host: {host}", "Connection: close", "", ""]).encode("latin-1")
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(request)
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
        head, _empty_line, body = answer.decode("latin-1").partition("\r\n\r\n")
        return (int(head.split()[1]) if head else None), head, body

    return send


@pytest.mark.threat("T160")
@pytest.mark.parametrize("authority", ["evil.example", "op@evil.example", "127.0.0.1", "[::1]:1"])
@pytest.mark.parametrize("scheme", ["http", "https", "HTTP"])
def test_an_absolute_address_does_not_change_the_issuer(server, send, scheme, authority):
    status, head, body = send(f"GET {scheme}://{authority}{METADATA} HTTP/1.1")
    assert status in (200, 400)
    assert "evil" not in head + body
    if status == 200:
        assert json.loads(body)["issuer"] == server.issuer
        assert json.loads(body)["token_endpoint"] == f"{server.issuer}/oauth/token"


@pytest.mark.threat("T160")
def test_nor_does_it_lead_a_redirect_away(server, send):
    notes = add_client(server, "Notes", "--redirect-uri", "https://app.example/cb")
    query = f"response_type=token&client_id={notes['client_id']}"
    status, head, _body = send(f"GET http://evil.example/oauth/authorize?{query} HTTP/1.1")
    assert status in (303, 400)
    assert "evil" not in head


@pytest.mark.threat("T160")
@pytest.mark.parametrize("host", ["evil.example", "", "127.0.0.1", "localhost", "127.0.0.1:1"])
def test_another_host_is_refused(send, host):
    for line in (
        f"GET {METADATA} HTTP/1.1",
        "GET /login HTTP/1.1",
        f"GET http://127.0.0.1{METADATA} HTTP/1.1",
    ):
        status, head, body = send(line, host=host)
        assert status == 400
        assert "evil" not in head + body
        assert "Set-Cookie" not in head


@pytest.mark.threat("T163")
@pytest.mark.parametrize(
    "target",
    r"""
    /login%00 /%00/login /login%20 /login/ /login/. /./login /x/../login /../../login /login;x /login%3fx
    /%6cogin/.. /..%2flogin /login\ /login%5c /login%ff /LOGIN login * ? // /// //login http:/login
    /static/../app.py /static/%2e%2e/app.py /static/..%2fapp.py /static/..%5capp.py /static/%2e%2e%2fapp.py
    """.split()
    + ["/login\xff", "/login\t"],
)
def test_a_bent_path_leads_to_no_page(send, target):
    status, head, body = send(f"GET {target} HTTP/1.1")
    assert status in (400, 404, None)
    assert "password" not in body and "def create_app" not in body
    assert "Location" not in head


def test_as_many_browser_ids_as_a_browser_keeps_are_read(send):
    """Whoever restores as many tabs at once in a fresh browser has one of each; refused, nothing would help
    for hours.
    """
    cookies = (
        f"__Host-ostiary-browser-{number:08x}={'a' * 22}.6a000000" for number in range(MAXIMUM_COOKIES)
    )
    status, _head, _body = send("GET /login HTTP/1.1", f"Cookie: {'; '.join(cookies)}")
    assert status == 200
