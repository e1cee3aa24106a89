"""Redirect URIs: exact match with the one exception of RFC 8252 §7.3, and what may be registered at all."""

import pytest

from protocol.redirect_uris import (
    add_response,
    display_host,
    find_problem,
    is_native,
    is_registered,
    is_web,
    origin,
)

REGISTERED = [
    "https://app.example/cb",
    "https://app.example/cb?tenant=1",
    "http://127.0.0.1/cb",
    "http://[::1]:80/cb",
]


@pytest.mark.threat("T013")
@pytest.mark.parametrize(
    "uri",
    [
        *REGISTERED,
        "http://127.0.0.1:5000/cb",
        "http://127.0.0.1:65535/cb",
        "http://[::1]/cb",
        "http://[::1]:9/cb",
    ],
)
def test_a_registered_uri_is_found(uri):
    assert is_registered(uri, REGISTERED)


LOOPBACK = {
    "http://127.0.0.1": ["http://127.0.0.1/", "http://127.0.0.1:33418", "http://127.0.0.1:33418/"],
    "http://127.0.0.1/": ["http://127.0.0.1", "http://127.0.0.1:1", "http://127.0.0.1:1/"],
    "http://127.0.0.1:33418/": ["http://127.0.0.1", "http://127.0.0.1:9/"],
    "http://127.0.0.1?x=1": ["http://127.0.0.1:5/?x=1"],
    "http://127.8.0.1:80/cb": ["http://127.8.0.1:81/cb", "http://127.8.0.1/cb"],
    "http://[::1]": ["http://[::1]:8080/"],
    "http://localhost/callback": ["http://localhost:1/callback", "http://localhost:65535/callback"],
    "http://localhost": ["http://localhost/", "http://localhost:3000", "http://localhost:3000/"],
    "http://localhost:3000": ["http://localhost:3000/"],
    "http://localhost:3000/": ["http://localhost:3000"],
}


@pytest.mark.threat("T013")
@pytest.mark.parametrize(("registered", "requested"), LOOPBACK.items())
def test_a_loopback_uri_is_found_with_any_port(registered, requested):
    assert [uri for uri in requested if not is_registered(uri, [registered])] == []


NOT_LOOPBACK = {
    "http://localhost:3000/cb": [
        "http://localhost/cb",
        "http://localhost:3001/cb",
        "http://127.0.0.1:3000/cb",
    ],
    "http://localhost/cb": [
        "http://localhost:5000/cb/",
        "http://localhost:5000/CB",
        "http://localhost:5000/cb?x=1",
        "http://localhost:5000",
        "http://localhost:65536/cb",
        "http://localhost:/cb",
        "http://localhost:5000@evil/cb",
        "http://localhost.evil/cb",
        "http://localhost.:5000/cb",
        "http://LOCALHOST:5000/cb",
        "http://127.0.0.1:5000/cb",
        "http://[::1]:5000/cb",
        "https://localhost:5000/cb",
        "https://localhost/cb",
        "http://localhost:5000/cb\n",
    ],
    "http://127.8.0.1/cb": ["http://127.0.0.1/cb", "http://127.8.0.1:5000/cb/", "http://127.8.0.1:5000"],
    "http://127.0.0.1/cb": [
        "http://127.0.0.01:5000/cb",
        "http://127.0.0.256:5000/cb",
        "http://127.1:5000/cb",
    ],
    "http://127.0.0.256/cb": ["http://127.0.0.256:5000/cb"],
    "https://app.example": ["https://app.example/"],
    "https://app.example/": ["https://app.example"],
    "https://localhost": ["https://localhost/"],
    "com.example.app:": ["com.example.app:/"],
}


@pytest.mark.threat("T013")
@pytest.mark.parametrize(("registered", "requested"), NOT_LOOPBACK.items())
def test_anything_else_is_compared_as_text(registered, requested):
    assert [uri for uri in requested if is_registered(uri, [registered])] == []


@pytest.mark.threat("T013")
@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example/cb/",
        "https://app.example/cb/x",
        "https://app.example/cb?x=1",
        "https://app.example/cb?tenant=2",
        "https://app.example/cb#x",
        "https://APP.example/cb",
        "HTTPS://app.example/cb",
        "https://app.example/CB",
        "https://app.example:443/cb",
        "https://app.example.evil/cb",
        "https://app.example@evil/cb",
        "https://evil@app.example/cb",
        "https://appXexample/cb",
        "https://app.example/x/../cb",
        "https://app.example/%63b",
        "http://app.example/cb",
        "http://127.0.0.1:5000/other",
        "http://127.0.0.1:x/cb",
        "http://127.0.0.1:65536/cb",
        "http://127.0.0.1:99999/cb",
        "http://127.0.0.1:5000@evil/cb",
        "http://127.0.0.1.evil/cb",
        "http://127.0.0.2/cb",
        "http://localhost:5000/cb",
        "https://127.0.0.1:5000/cb",
        "http://[::1",
        "",
        "x" * 65_536,
    ],
)
def test_any_other_uri_is_not_found(uri):
    assert not is_registered(uri, REGISTERED)


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example/cb",
        "https://app.example",
        "https://app.example:8443/cb?x=1",
        "http://127.0.0.1/cb",
        "http://[::1]:8080/cb",
        "http://localhost:3000/cb",
        "com.example.app:/cb",
        "com.example.app://cb",
    ],
)
def test_an_allowed_uri_has_no_problem(uri):
    assert find_problem(uri) is None


@pytest.mark.threat("T011", "T012", "T014", "T016")
@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/cb",
        "app.example/cb",
        "http://app.example/cb",
        "http://127.0.0.1.evil/cb",
        "http://localhost.evil/cb",
        "https://",
        "https:///cb",
        "https://user:pass@app.example/cb",
        "https://app.example@evil/cb",
        "http://localhost:80@evil/",
        "https://app.example/cb#fragment",
        "https://app.example/c b",
        "https://app.example\\evil/cb",
        "https://app.example/\tcb",
        "https://app.example/\r\ncb",
        "https://äpp.example/cb",
        "https://app.example/cb?code=1",
        "https://app.example/cb?x=1&state=2",
        "https://[::1",
        "https://app.example:99999/cb",
        "javascript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "about:blank",
        "myapp:/cb",
        "https://app.example/" + "x" * 2_000,
        "https://" + "x" * 254 + "/cb",
    ],
)
def test_may_not_be_registered(uri):
    assert find_problem(uri)


@pytest.mark.threat("T014")
def test_a_scheme_without_a_dot_that_the_operator_allows():
    uris = ["cursor://anysphere.cursor-mcp/oauth/callback", "Cursor:/cb", "vscode-insiders://x.y/cb"]
    assert [uri for uri in uris if find_problem(uri, ("cursor", "vscode-insiders"))] == []
    assert all(find_problem(uri) for uri in uris)
    assert all(
        find_problem(uri, ("cursor",))
        for uri in ["vscode://x/cb", "cursors:/cb", "x-cursor:/cb", "javascript:x"]
    )
    assert find_problem("com.example.app:/cb", ()) is None
    assert find_problem("cursor://x/cb?code=1", ("cursor",)) and find_problem(
        "cursor://user@x/cb", ("cursor",)
    )


def test_the_origin_of_a_uri_has_no_default_port():
    assert origin("https://app.example/cb") == "https://app.example"
    assert origin("https://app.example:443/cb") == "https://app.example"
    assert origin("https://app.example:8443/cb") == "https://app.example:8443"
    assert origin("http://[::1]:5000/cb") == "http://[::1]:5000"
    assert origin("com.example.app:/cb") is None


def test_what_a_person_is_told():
    assert display_host("https://app.example:8443/cb") == "app.example:8443"
    assert display_host("com.example.app:/cb") == "com.example.app:"
    assert display_host("com.example.app://accounts.example.com/cb") == "com.example.app:"
    assert display_host("cursor://anysphere.cursor-mcp/oauth/callback") == "cursor:"


@pytest.mark.parametrize(
    "uri", ["http.example.app:/cb", "https.example.app://x/cb", "com.example.app:/cb", "cursor:/cb"]
)
def test_a_scheme_that_begins_like_one_of_the_web_is_an_applications(uri):
    assert not is_web(uri) and is_native(uri)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("http://127.0.0.1:5000/cb", True),
        ("http://127.8.0.1/cb", True),
        ("http://[::1]/cb", True),
        ("https://localhost/cb", True),
        ("https://LOCALHOST./cb", True),
        ("https://app.localhost/cb", True),
        ("https://app.example/cb", False),
        ("https://localhost.example/cb", False),
        ("https://127.0.0.1.example/cb", False),
    ],
)
def test_what_is_on_the_computer_itself(uri, expected):
    assert is_native(uri) is expected


def test_an_answer_is_added_to_what_was_registered_byte_for_byte():
    assert add_response("https://a.example/cb", [("code", "x"), ("state", "a b&c=d+é")]) == (
        "https://a.example/cb?code=x&state=a+b%26c%3Dd%2B%C3%A9"
    )
    assert (
        add_response("https://a.example/cb?x='%7E", [("code", "x")]) == "https://a.example/cb?x='%7E&code=x"
    )
