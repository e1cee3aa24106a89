"""Who the client is, as the application sees it: behind proxies, Unix sockets, and strangers who say that
they are proxies.
"""

import pytest
from flask import request

from app import create_app
from config import Settings
from tests.builders import ISSUER, SECRET_KEY

PERSON = "203.0.113.99"
FORGED = {
    "X-Forwarded-For": f"{PERSON}, 10.0.0.5",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "Forwarded": f"for={PERSON};host=evil.example",
}


@pytest.fixture
def see():
    """What the application sees of a request from a peer, with these proxies trusted."""

    def see(trusted="", peer="127.0.0.1", headers=FORGED, times=1):
        settings = Settings(
            issuer=ISSUER, database_url="sqlite://", secret_key=SECRET_KEY, trusted_proxies=trusted
        )
        app = create_app(settings)
        app.add_url_rule(
            "/seen",
            view_func=lambda: {
                "address": request.remote_addr,
                "scheme": request.scheme,
                "route": list(request.access_route),
                "left": [name for name in request.environ if "FORWARDED" in name],
            },
        )
        client = app.test_client()
        for _time in range(times):
            answer = client.get(
                "/seen",
                base_url="http://op.example",
                headers=headers,
                environ_overrides={"REMOTE_ADDR": peer},
            )
        return answer.json

    return see


@pytest.mark.parametrize(
    ("trusted", "peer"),
    [
        ("127.0.0.1, 10.0.0.0/8", "127.0.0.1"),
        ("127.0.0.1,10.0.0.5", "::ffff:127.0.0.1"),
        ("unix, 10.0.0.0/8", ""),
    ],
)
def test_what_trusted_proxies_say_counts(see, trusted, peer, caplog):
    seen = see(trusted, peer)
    assert seen == {"address": PERSON, "scheme": "https", "route": [PERSON], "left": []}
    assert "forwarded headers" not in caplog.text


@pytest.mark.threat("T160")
@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "192.0.2.1", ""])
def test_what_others_say_does_not_and_the_log_is_told_once(see, peer, caplog):
    seen = see("10.0.0.0/8", peer, times=3)
    assert seen == {"address": peer, "scheme": "http", "route": [peer], "left": []}
    assert caplog.text.count("OSTIARY_TRUSTED_PROXIES does not name") == 1
    assert f"forwarded headers came from {peer or 'a Unix socket'}," in caplog.text
    assert PERSON not in caplog.text


@pytest.mark.parametrize("name", FORGED)
def test_each_of_the_headers_is_a_finding(see, name, caplog):
    see(headers={name: FORGED[name]})
    assert "OSTIARY_TRUSTED_PROXIES does not name" in caplog.text


def test_nobody_is_told_of_a_request_without_them(see, caplog):
    see(headers={"X-Real-IP": PERSON})
    assert caplog.text == ""
