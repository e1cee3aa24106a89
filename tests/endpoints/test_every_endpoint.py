"""What holds of every address: no cache keeps a secret, the issuer is the one of the settings, no session
begins by itself.
"""

from urllib.parse import urlsplit

import pytest
from sqlalchemy import func

from config import Settings
from crypto.credentials import digest
from crypto.encryption import Cipher
from models import AuthorizationTicket, Token, UserSession
from tests.builders import (
    ISSUER,
    SECRET_KEY,
    a_client,
    a_code,
    a_machine,
    a_public_client,
    a_refresh_token,
    a_token,
    a_user,
    basic,
    code_request,
    refresh_request,
)
from tests.jose import assertion_claims, jwks, key_for, secret_key, sign, with_assertion
from tests.pages.steps import answer_to_client, ask, authorization_path, page, press, sign_in
from tests.statements import select

CODE = "ost_ac_" + "c" * 43
ACCESS_TOKEN = "ost_at_" + "a" * 43
MACHINE = {"grant_type": "client_credentials"}
METADATA = "/.well-known/oauth-authorization-server"
STORED = select(
    *(
        select(func.count()).select_from(table).scalar_subquery()
        for table in (UserSession, AuthorizationTicket, Token)
    )
)


@pytest.fixture
def refresh_token(seed):
    token = a_refresh_token()
    seed(a_user(), a_client(), a_machine(), a_public_client(), a_code(CODE))
    seed(a_token(token, access_token_digest=digest(ACCESS_TOKEN), slot=7))
    return token


# ---- caches ------------------------------------------------------------------------------------------------


@pytest.mark.threat("T159")
def test_no_answer_of_a_machine_endpoint_is_kept(http, refresh_token):
    def post(path, body, auth=None, **rest):
        return http.post(path, data=body, auth=auth, **rest)

    bearer = {"Authorization": f"Bearer {ACCESS_TOKEN}"}
    answers = [
        post("/oauth/token", code_request(CODE), basic()),
        post("/oauth/token", refresh_request(refresh_token), basic()),
        post("/oauth/token", MACHINE, basic("robot")),
        post("/oauth/token", code_request("x"), basic()),
        post("/oauth/token", code_request(CODE), basic(secret="wrong")),
        post("/oauth/token", {}),
        post("/oauth/token", {"x": "x" * 100_000}),
        post("/oauth/introspect", {"token": ACCESS_TOKEN}, basic()),
        post("/oauth/introspect", {"token": "x"}, basic()),
        post("/oauth/introspect", {"token": "x"}),
        post("/oauth/revoke", {"token": "x"}, basic()),
        post("/oauth/revoke", {"token": "x"}),
        http.get("/oauth/token"),
        http.get("/api/me", headers=bearer),
        http.get("/api/me", headers={"Authorization": "Bearer x"}),
        http.get("/api/me"),
        http.get("/api/nothing"),
        http.get("/.well-known/nothing"),
        http.get("/readyz"),
    ]
    assert {answer.status_code for answer in answers} >= {200, 400, 401, 404, 405, 413, 503}
    assert {answer.headers["Cache-Control"] for answer in answers} == {"no-store"}
    assert not [answer for answer in answers if "Set-Cookie" in answer.headers]


@pytest.mark.threat("T159")
def test_no_page_of_a_person_is_kept_and_it_differs_by_cookie(http, refresh_token):
    before = [
        http.get("/login"),
        http.get("/signup"),
        ask(http),
        http.get("/nowhere"),
        http.get(authorization_path()),
    ]
    signed_in = [
        sign_in(http),
        http.get("/"),
        ask(http),
        press(http, ask(http), "Allow"),
        http.get(authorization_path()),
    ]
    signed_in += [http.get("/logout"), http.get("/login"), press(http, http.get("/logout"), "Sign out")]
    assert {answer.headers["Cache-Control"] for answer in before + signed_in} == {"no-store"}
    for answer in signed_in:
        assert "Cookie" in answer.headers["Vary"]


# ---- the issuer --------------------------------------------------------------------------------------------

FORGED = {
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-For": "127.0.0.1",
    "X-Forwarded-Port": "666",
    "X-Forwarded-Prefix": "/evil",
    "X-Original-URL": "/evil",
    "X-Rewrite-URL": "/evil",
    "X-Host": "evil.example",
    "Forwarded": "host=evil.example;proto=http",
}
WRONG_HOSTS = [
    "evil.example",
    "op.example.evil.example",
    "op.example:8443",
    "op.example@evil.example",
    "op.example.",
    "",
    "[::1]",
]


def settings_behind(proxies):
    return Settings(issuer=ISSUER, database_url="sqlite://", secret_key=SECRET_KEY, trusted_proxies=proxies)


@pytest.mark.threat("T160")
@pytest.mark.parametrize(
    "settings",
    [settings_behind(""), settings_behind("127.0.0.1/32")],
    ids=["a stranger's", "a trusted proxy's"],
)
def test_no_header_changes_the_issuer_anywhere(http, settings, refresh_token):
    """Of a trusted proxy address and scheme of the caller count, a host never does."""
    metadata = http.get(METADATA, headers=FORGED).json
    assert metadata["issuer"] == ISSUER
    introspected = http.post(
        "/oauth/introspect", data={"token": ACCESS_TOKEN}, auth=basic(), headers=FORGED
    ).json
    assert introspected["iss"] == ISSUER
    refused = http.get(authorization_path(response_type="token"), headers=FORGED)
    assert answer_to_client(refused)["iss"] == [ISSUER]
    to_sign_in = http.get(authorization_path(), headers=FORGED)
    assert to_sign_in.headers["Location"].startswith("/login?")
    shown = http.get(to_sign_in.headers["Location"], headers=FORGED)
    for answer in (shown, http.get("/", headers=FORGED), http.get("/nowhere", headers=FORGED)):
        assert "evil" not in answer.text


@pytest.mark.threat("T160")
@pytest.mark.parametrize("host", WRONG_HOSTS)
def test_another_host_is_refused_everywhere(http, host):
    for path in ("/", "/login", METADATA, "/oauth/token", "/oauth/authorize", "/api/me", "/nowhere"):
        answer = http.open(path, method="POST" if path == "/oauth/token" else "GET", headers={"Host": host})
        assert answer.status_code == 400
        assert "Set-Cookie" not in answer.headers
        assert not [value for _name, value in answer.headers if "evil" in value]
        assert "evil" not in answer.text


# ---- metadata ----------------------------------------------------------------------------------------------


@pytest.mark.threat("T162")
def test_every_address_in_the_metadata_is_ours_on_https_and_answers(http):
    metadata = http.get(METADATA).json
    addresses = {name: value for name, value in metadata.items() if name.endswith("_endpoint")}
    assert len(addresses) >= 4
    for address in addresses.values():
        parts = urlsplit(address)
        assert f"{parts.scheme}://{parts.netloc}" == ISSUER
        assert http.options(parts.path).status_code == 200


KEY = key_for("ES256")
PROOFS = {
    "client_secret_basic": lambda client: {"auth": basic(client)},
    "client_secret_post": lambda client: {"data": {"client_id": client, "client_secret": basic()[1]}},
    "none": lambda client: {"data": {"client_id": client}},
    "private_key_jwt": lambda client: {"data": with_assertion(sign(assertion_claims(client), KEY))},
    "client_secret_jwt": lambda client: {
        "data": with_assertion(sign(assertion_claims(client), secret_key(basic()[1]), "HS256"))
    },
}


@pytest.mark.threat("T162")
@pytest.mark.parametrize("endpoint", ["introspection", "revocation", "token"])
@pytest.mark.parametrize("method", [*PROOFS, "tls_client_auth"])
def test_a_way_of_authentication_works_exactly_where_it_is_advertised(http, seed, endpoint, method):
    metadata = http.get(METADATA).json
    path = urlsplit(metadata[f"{endpoint}_endpoint"]).path
    advertised = method in metadata[f"{endpoint}_endpoint_auth_methods_supported"]
    able = {
        "client_secret_digest": None if method == "none" else digest(basic()[1]),
        "sealed_client_secret": Cipher([SECRET_KEY], "client secrets").encrypt(basic()[1].encode(), "x"),
        "extra_metadata": {"jwks": jwks(KEY)},
    }
    seed(
        a_user(),
        a_client(client_id="x", token_endpoint_auth_method=method, **able),
        a_code(CODE, client_id="x"),
    )
    statuses = set()
    for name, proof in PROOFS.items():
        request = proof("x")
        body = (code_request(CODE) if endpoint == "token" else {"token": "x"}) | request.get("data", {})
        answer = http.post(path, data=body, auth=request.get("auth"))
        assert (answer.status_code == 200) is (advertised and name == method), (name, answer.json)
        statuses.add(answer.status_code)
    assert (200 in statuses) is advertised


@pytest.mark.threat("T162")
def test_the_lists_are_what_is_enforced(http, seed):
    """Response types, response modes and challenge methods: what is advertised works; the tests of the rules
    have the others.
    """
    seed(a_user(), a_client())
    metadata = http.get(METADATA).json
    sign_in(http)
    for response_type in metadata["response_types_supported"]:
        for response_mode in metadata["response_modes_supported"]:
            for method in metadata["code_challenge_methods_supported"]:
                more = {
                    "response_type": response_type,
                    "response_mode": response_mode,
                    "code_challenge_method": method,
                }
                assert page(http.get(authorization_path(**more))).headings == ["Web asks for access"]


# ---- addresses that are none -------------------------------------------------------------------------------

ADDRESSES = ["/", "/login", "/logout", "/oauth/authorize", "/oauth/token", "/api/me", "/healthz"]


@pytest.mark.threat("T168")
@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "PUT", "DELETE", "PATCH", "X" * 100])
def test_an_odd_method_is_refused_and_begins_no_session(http, seed, rows, method):
    seed(a_client())
    for path in [*ADDRESSES, "/nowhere"]:
        answer = http.open(path, method=method, data={"email": "ada@example.com"})
        assert answer.status_code == (404 if path == "/nowhere" else 405)
        assert "Set-Cookie" not in answer.headers
    assert rows(STORED) == [(0, 0, 0)]


@pytest.mark.threat("T168")
def test_options_says_what_may_be_asked_and_begins_no_session(http, seed, rows):
    seed(a_client())
    for path in ADDRESSES:
        answer = http.options(path)
        assert (answer.status_code, answer.text) == (200, "")
        assert "OPTIONS" in answer.headers["Allow"]
        assert "Set-Cookie" not in answer.headers
    assert rows(STORED) == [(0, 0, 0)]


NOTHING_THERE = """
    /nowhere /oauth /oauth/ /oauth/user /oauth/register /oauth/par /oauth/token/ /oauth/tokens /api /api/
    /api/you /admin /account/nothing /device /.well-known/ /.well-known/openid-configuration/x /.git/config
    /.env /instance/secret_key /static/ /static/nothing /favicon.ico /robots.txt
""".split()


@pytest.mark.threat("T168")
def test_an_unknown_address_begins_none(http, rows):
    for path in NOTHING_THERE:
        for method in ("GET", "HEAD", "POST"):
            answer = http.open(path, method=method)
            assert answer.status_code in (400, 404, 405), path
            assert "Set-Cookie" not in answer.headers
    assert rows(STORED) == [(0, 0, 0)]
