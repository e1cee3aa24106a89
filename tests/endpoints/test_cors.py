"""Cross-origin reading: for pages of public clients, at the endpoints that they need, and nowhere else."""

import pytest

from models import ClientOrigin
from tests.builders import a_client, a_code, a_machine, a_public_client, a_token, a_user, basic, code_request

KNOWN, UNKNOWN = "https://spa.example", "https://evil.example"
CODE = "ost_ac_" + "c" * 43
ALLOW_ORIGIN = "Access-Control-Allow-Origin"
SHARED = [("POST", "/oauth/token"), ("POST", "/oauth/revoke"), ("GET", "/api/me")]


@pytest.fixture(autouse=True)
def registered(seed):
    seed(a_user(), a_client(), a_machine(), a_public_client(), ClientOrigin(client_id="spa", origin=KNOWN))


def vary(answer):
    return {word.strip() for word in answer.headers.get("Vary", "").split(",")}


@pytest.mark.threat("T106")
def test_a_page_of_a_public_client_reads_its_tokens(http, seed):
    seed(a_code(CODE, client_id="spa"))
    answer = http.post("/oauth/token", data=code_request(CODE, client_id="spa"), headers={"Origin": KNOWN})
    assert answer.status_code == 200
    assert answer.headers[ALLOW_ORIGIN] == KNOWN
    assert "Origin" in vary(answer)
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.threat("T106")
@pytest.mark.parametrize(("method", "path"), SHARED)
@pytest.mark.parametrize(
    "origin",
    [
        UNKNOWN,
        "null",
        "",
        "*",
        KNOWN + "/",
        KNOWN.upper(),
        KNOWN + ":443",
        KNOWN + ".evil.example",
        "http://spa.example",
        "é",
        "x" * 5000,
        "https://app.example",  # of a confidential client
    ],
)
def test_no_other_origin_reads_anything(http, method, path, origin):
    for request in (method, "OPTIONS"):
        answer = http.open(path, method=request, headers={"Origin": origin, "Access-Control-Request-Method": method})
        assert answer.status_code < 500
        assert not [name for name in answer.headers.keys() if name.startswith("Access-Control-")]
        assert "Origin" in vary(answer)


@pytest.mark.parametrize(("method", "path"), SHARED)
def test_errors_are_read_too(http, method, path):
    answer = http.open(path, method=method, headers={"Origin": KNOWN})
    assert answer.status_code in (400, 401)
    assert answer.headers[ALLOW_ORIGIN] == KNOWN


def test_errors_of_routing_and_size_are_read_too(http):
    assert http.get("/oauth/token", headers={"Origin": KNOWN}).headers[ALLOW_ORIGIN] == KNOWN
    large = http.post("/oauth/token", data={"x": "x" * 100_000}, headers={"Origin": KNOWN})
    assert (large.status_code, large.headers[ALLOW_ORIGIN]) == (413, KNOWN)


@pytest.mark.parametrize(("method", "path"), SHARED)
def test_a_preflight(http, method, path):
    headers = {
        "Origin": KNOWN,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization",
    }
    answer = http.options(path, headers=headers)
    assert (answer.status_code, answer.text) == (204, "")
    assert answer.headers[ALLOW_ORIGIN] == KNOWN
    assert answer.headers["Access-Control-Allow-Methods"] == method
    assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
    assert "Set-Cookie" not in answer.headers


@pytest.mark.threat("T106")
@pytest.mark.parametrize("path", ["/oauth/introspect", "/oauth/authorize", "/login", "/", "/readyz"])
def test_what_no_page_reads(http, path):
    for method in ("GET", "POST", "OPTIONS"):
        answer = http.open(path, method=method, headers={"Origin": KNOWN, "Access-Control-Request-Method": "POST"})
        assert ALLOW_ORIGIN not in answer.headers


@pytest.mark.threat("T106")
def test_metadata_is_everybodys(http):
    answer = http.get("/.well-known/oauth-authorization-server", headers={"Origin": UNKNOWN})
    assert answer.headers[ALLOW_ORIGIN] == "*"


def test_a_refusal_is_still_undone(http, seed, rows):
    """The headers come inside the transaction's boundary and change nothing of it."""
    from sqlalchemy import func, select

    from models import Token

    seed(a_token(client_id="spa"), a_code(CODE, client_id="spa", code_challenge="x" * 43))
    answer = http.post("/oauth/token", data=code_request(CODE, client_id="spa"), headers={"Origin": KNOWN})
    assert answer.json["error"] == "invalid_grant"
    assert rows(select(func.count()).select_from(Token)) == [(1,)]


def test_a_program_pays_nothing_for_it(http, statements):
    statements.clear()
    answer = http.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=basic("robot"))
    assert answer.status_code == 200
    assert len([sql for sql in statements if sql != "COMMIT"]) == 3
    assert "Origin" in vary(answer)
