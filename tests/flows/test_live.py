"""The shipped server starts on both engines, and a stopped one starts again on what it had."""

import http.client
import socket
import time

import pytest

from tests.live import live_server

pytestmark = pytest.mark.long_on("postgresql", "mariadb")


def test_it_starts_and_starts_again(database_url, tmp_path):
    with live_server(database_url, tmp_path) as server:
        assert server.rows("SELECT name FROM scope ORDER BY name") == [
            (name,) for name in ("address", "email", "groups", "openid", "phone", "profile")
        ]
        server.stop()
    with live_server(database_url, tmp_path) as server:
        assert server.rows("SELECT count(*) FROM scope") == [(6,)]
        assert "Traceback" not in server.log()


@pytest.mark.threat("T160")
def test_headers_do_not_move_the_application(tmp_path):
    """gunicorn would take SCRIPT_NAME and PATH_INFO from a peer on this machine."""
    with live_server(f"sqlite:///{tmp_path / 'headers.sqlite3'}", tmp_path) as server:
        for name in ("SCRIPT_NAME", "PATH_INFO", "SCRIPT-NAME", "PATH-INFO"):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
            connection.request("GET", "/logout", headers={name: "//evil.example"})
            answer = connection.getresponse()
            page = answer.read().decode()
            connection.close()
            assert answer.status in (200, 400)
            assert "evil.example" not in page


def test_silent_connections_hold_nobody_up(tmp_path):
    """More of them than there are threads, and twice as many as that."""
    with live_server(f"sqlite:///{tmp_path / 'silent.sqlite3'}", tmp_path) as server:
        silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(16)]
        start = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
        connection.close()
        for one in silent:
            one.close()
        assert time.monotonic() - start < 2
