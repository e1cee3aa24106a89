"""Cross-origin reading: for pages of public clients, at the endpoints that they need, and nowhere else."""

import pytest
from sqlalchemy import event

from errors import StorageBusyError
from models import ClientOrigin, db
from tests.builders import a_client, a_code, a_machine, a_public_client, a_token, a_user, basic, code_request

KNOWN, UNKNOWN = "https://spa.example", "https://evil.example"
CODE = "ost_ac_" + "c" * 43
ALLOW_ORIGIN = "Access-Control-Allow-Origin"
SHARED = [
    ("POST", "/oauth/token"),
    ("POST", "/oauth/revoke"),
    ("GET", "/oauth/userinfo"),
    ("POST", "/oauth/userinfo"),
    ("GET", "/api/me"),
]
PUBLIC = ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration", "/oauth/jwks"]


@pytest.fixture(autouse=True)
def registered(seed):
    seed(a_user(), a_client(), a_machine(), a_public_client(), ClientOrigin(client_id="spa", origin=KNOWN))


def vary(answer):
    return set(words(answer, "Vary"))


def words(answer, name):
    return [word.strip() for word in answer.headers.get(name, "").split(",")]


def preflight(http, path, method="GET", fields=None, origin=KNOWN):
    headers = {"Origin": origin, "Access-Control-Request-Method": method}
    if fields is not None:
        headers["Access-Control-Request-Headers"] = fields
    return http.options(path, headers=headers)


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
        answer = http.open(
            path, method=request, headers={"Origin": origin, "Access-Control-Request-Method": method}
        )
        assert answer.status_code < 500
        assert not [name for name in answer.headers.keys() if name.startswith("Access-Control-")]
        assert "Origin" in vary(answer)


@pytest.mark.threat("T164")
@pytest.mark.parametrize(
    "origin", ["https://spa.example\0", "https://spa\0.example", "https://spä.example", "https://a b", "null"]
)
def test_what_is_no_origin_is_looked_for_nowhere(http, statements, origin):
    """gunicorn lets no NUL through; where another server does, PostgreSQL would refuse the question."""
    statements.clear()
    assert http.post("/oauth/token", headers={"Origin": origin}).status_code == 400
    assert not [sql for sql in statements if "client_origin" in sql]


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
def test_a_preflight(http, statements, method, path):
    statements.clear()
    answer = preflight(http, path, method, "authorization")
    assert (answer.status_code, answer.text) == (204, "")
    assert answer.headers[ALLOW_ORIGIN] == KNOWN
    assert method in words(answer, "Access-Control-Allow-Methods")
    assert words(answer, "Access-Control-Allow-Headers") == ["Authorization", "Content-Type"]
    assert int(answer.headers["Access-Control-Max-Age"]) >= 600
    assert vary(answer) >= {"Origin", "Access-Control-Request-Headers"}
    assert "Set-Cookie" not in answer.headers
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert sum("client_origin" in sql for sql in statements) == 1
    assert len(statements) <= 2  # with a COMMIT


@pytest.mark.threat("T106")
@pytest.mark.parametrize("path", PUBLIC)
@pytest.mark.parametrize("origin", [UNKNOWN, "null", "http://localhost:6274", "app://x", "x" * 5000])
def test_anybody_may_ask_for_the_metadata_first(http, statements, path, origin):
    """MCP clients send `MCP-Protocol-Version` with it, and a browser asks whether they may; it costs no
    statement.
    """
    statements.clear()
    answer = preflight(http, path, "GET", "mcp-protocol-version", origin)
    assert (answer.status_code, answer.text) == (204, "")
    assert answer.headers[ALLOW_ORIGIN] == "*"
    assert words(answer, "Access-Control-Allow-Methods") == ["GET", "HEAD"]
    assert words(answer, "Access-Control-Allow-Headers") == ["mcp-protocol-version"]
    assert int(answer.headers["Access-Control-Max-Age"]) >= 600
    assert vary(answer) == {"Access-Control-Request-Headers"}
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert not [sql for sql in statements if sql not in ("COMMIT", "ROLLBACK")]


@pytest.mark.parametrize("path", [*PUBLIC, *dict.fromkeys(path for _method, path in SHARED)])
def test_whatever_is_harmless_may_be_sent(http, path):
    asked = (
        "mcp-protocol-version,traceparent,"
        " X-Requested-With,sentry-trace,,baggage,\tdpop,cache-control,if-none-match"
    )
    answer = preflight(http, path, "GET", asked)
    expected = (
        "mcp-protocol-version traceparent x-requested-with sentry-trace baggage dpop"
        " cache-control if-none-match"
    )
    assert set(words(answer, "Access-Control-Allow-Headers")) - {"Authorization", "Content-Type"} == set(
        expected.split()
    )


@pytest.mark.threat("T106")
@pytest.mark.parametrize("path", [*PUBLIC, *dict.fromkeys(path for _method, path in SHARED)])
@pytest.mark.parametrize(
    "field",
    [
        "cookie",
        "Cookie",
        "set-cookie",
        "host",
        "origin",
        "proxy-authorization",
        "x-forwarded-for",
        "X-Forwarded-Host",
    ]
    + [
        "forwarded",
        "x-http-method-override",
        "x-original-url",
        "sec-fetch-site",
        "x-real-ip",
        "*",
        "a b",
        "a:b",
        "é",
    ]
    + ["x" * 101, "x\x00y", "(x)", "a;b"],
)
def test_what_proves_or_forges_something_may_not(http, path, field):
    answer = preflight(http, path, "GET", f"traceparent,{field},accept-language")
    allowed = set(words(answer, "Access-Control-Allow-Headers")) - {"Authorization", "Content-Type"}
    assert allowed == {"traceparent", "accept-language"}


@pytest.mark.threat("T106")
@pytest.mark.parametrize("path", PUBLIC)
def test_what_is_public_is_read_without_cookies_and_whatever_token_a_page_adds(http, path):
    """Clients send their token along with requests for metadata; a page sends there what it knows, and nobody
    reads it.
    """
    answer = preflight(http, path, "GET", "authorization, cookie")
    assert answer.status_code == 204
    assert words(answer, "Access-Control-Allow-Headers") == ["authorization"]
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_the_names_are_bounded(http):
    answer = preflight(http, PUBLIC[0], "GET", ",".join(f"x-{number}" for number in range(1_000)))
    assert len(words(answer, "Access-Control-Allow-Headers")) <= 30


def test_what_no_browser_sends_is_no_preflight(http):
    for path in (*PUBLIC, "/oauth/token"):
        for headers in ({}, {"Origin": UNKNOWN}, {"Access-Control-Request-Method": "GET"}):
            answer = http.options(path, headers=headers)
            assert (answer.status_code, "OPTIONS" in answer.headers["Allow"]) == (200, True)
            assert "Access-Control-Max-Age" not in answer.headers


def test_an_origin_that_cannot_be_one_costs_no_statement(http, statements):
    for origin in ("null", "", "*", "x" * 5000, KNOWN + "/", "https://[", "é", "app://x"):
        statements.clear()
        preflight(http, "/oauth/token", "POST", "traceparent", origin)
        assert not [sql for sql in statements if "client_origin" in sql], origin


def test_errors_of_what_is_public_are_read_too(http):
    """A client looks for metadata in several places; without the header its page could not tell a 404 from a
    line that broke.
    """
    answers = [
        http.get("/.well-known/oauth-protected-resource"),
        http.post("/oauth/jwks"),
        http.post(PUBLIC[0]),
    ]
    assert [answer.status_code for answer in answers] == [404, 405, 405]
    assert {answer.headers[ALLOW_ORIGIN] for answer in answers} == {"*"}


@pytest.mark.threat("T106")
@pytest.mark.parametrize("path", ["/oauth/introspect", "/oauth/authorize", "/login", "/", "/readyz"])
def test_what_no_page_reads(http, path):
    for method in ("GET", "POST", "OPTIONS"):
        answer = http.open(
            path, method=method, headers={"Origin": KNOWN, "Access-Control-Request-Method": "POST"}
        )
        assert ALLOW_ORIGIN not in answer.headers


@pytest.mark.threat("T106")
def test_metadata_is_everybodys(http):
    for path in PUBLIC:
        for headers in ({}, {"Origin": UNKNOWN}):
            answer = http.get(path, headers=headers)
            assert answer.headers[ALLOW_ORIGIN] == "*"
            assert "Access-Control-Allow-Credentials" not in answer.headers
            assert "Vary" not in answer.headers


def test_a_refusal_is_still_undone(http, seed, rows):
    """The headers come inside the transaction's boundary and change nothing of it."""
    from sqlalchemy import func

    from models import Token
    from tests.statements import select

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


def test_a_page_reads_that_the_storage_is_away(app, http):
    def fail(_connection):
        raise StorageBusyError

    with app.app_context():
        event.listen(db.engine, "commit", fail)
    machine = {"grant_type": "client_credentials"}
    answer = http.post("/oauth/token", data=machine, auth=basic("robot"), headers={"Origin": KNOWN})
    assert (answer.status_code, answer.headers[ALLOW_ORIGIN]) == (503, KNOWN)
    answer = http.get(PUBLIC[0])
    assert (answer.status_code, answer.headers[ALLOW_ORIGIN]) == (503, "*")
