"""An issuer with a path: metadata at all its addresses, and the whole journey below the path, at a host that
has other things too.

RFC 8414 §3.1 puts the path behind the document's name, OpenID Connect Discovery §4 puts the name behind the
issuer.
"""

import re
from urllib.parse import parse_qs, urlencode, urlsplit

import joserfc.jwt
import pytest
import requests
from flask.testing import FlaskClient
from joserfc.jwk import KeySet

from app import create_app
from config import Settings
from crypto import jwt
from errors import ConfigError
from models import ClientOrigin, db
from tests.builders import (
    AUTHORIZATION_REQUEST,
    PASSWORD,
    REDIRECT_URI,
    SECRET_KEY,
    a_machine,
    a_public_client,
    a_user,
    code_request,
)
from tests.builders import ISSUER as ORIGIN
from tests.flows.browser_journey import Browser, add_client, add_person
from tests.jose import assertion_claims, jwks, key_for, sign, with_assertion
from tests.live import LiveServer
from tests.openid import an_openid_client, answer_of, refresh, tokens_for, userinfo
from tests.pages.steps import ask, follow, go, page, press, sign_in
from unit_of_work import transaction

PATH = "/realms/main"
ISSUER = ORIGIN + PATH
DOCUMENTS = ["oauth-authorization-server", "openid-configuration"]


class BelowThePath(FlaskClient):
    """The test client.

    What the helpers write without the issuer's path, it asks for below it; all else as it is.
    """

    def open(self, path, **arguments):
        below = path if path.startswith(PATH) else PATH + path
        return self.exactly(below, **arguments)

    def exactly(self, path, **arguments):
        arguments = {"base_url": ORIGIN} | arguments
        return super().open(path, **arguments)


@pytest.fixture
def settings(settings):
    return Settings(issuer=ISSUER, database_url="sqlite://", secret_key="k" * 32, signup="open")


@pytest.fixture
def http(app):
    app.test_client_class = BelowThePath
    return app.test_client()


@pytest.fixture
def person(seed):
    seed(a_user(), an_openid_client())


# ---- settings ----------------------------------------------------------------------------------------------


def issuer_of(text):
    return Settings(issuer=text, database_url="sqlite://", secret_key="k" * 32)


@pytest.mark.parametrize(
    "path",
    ["/auth", "/a/b/c", "/Realm-1", "/v1.0", "/~ada_x", "/oauth", "/x" * 100],
    ids=lambda path: path[:12],
)
def test_a_path_that_has_one_spelling(path):
    settings = issuer_of(f"https://op.example:8443{path}")
    assert (settings.origin, settings.path) == ("https://op.example:8443", path)


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/auth/", "//", "//auth", "/a//b", "/.", "/..", "/a/../b", "/a/.", "/.well-known"),
        *(
            "/a%2fb",
            "/%61uth",
            "/a b",
            "/ä",
            "/a\n",
            "/a;b",
            "/a:b",
            "/a@b",
            "/a\\b",
            "/a?b",
            "/a#b",
            "/a?",
            "/a#",
        ),
    ],
)
def test_a_path_that_has_several(path):
    with pytest.raises(ConfigError, match="OSTIARY_ISSUER"):
        issuer_of(f"https://op.example{path}")


def test_without_a_path_nothing_is_between():
    settings = issuer_of(ORIGIN)
    assert (settings.origin, settings.path) == (ORIGIN, "")
    assert type(create_app(settings).wsgi_app.app).__name__ != "Mounted"


# ---- metadata ----------------------------------------------------------------------------------------------

ADDRESSES = [f"/.well-known/{document}{PATH}" for document in DOCUMENTS]
ADDRESSES += [f"{PATH}/.well-known/{document}" for document in DOCUMENTS]


def test_one_document_at_every_address(http):
    answers = [http.exactly(address) for address in ADDRESSES]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert len({answer.text for answer in answers}) == 1
    document = answers[0].json
    assert document["issuer"] == ISSUER
    addresses = {name: value for name, value in document.items() if name.endswith(("_endpoint", "_uri"))}
    assert len(addresses) >= 7
    for name, address in addresses.items():
        assert address.startswith(f"{ISSUER}/oauth/"), name
        answer = http.exactly(urlsplit(address).path)
        assert answer.status_code != 404, name
        assert "HTML" not in answer.text or name in ("authorization_endpoint", "end_session_endpoint")


def test_it_is_for_everybody_at_every_address(http):
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "mcp-protocol-version"}
    for address in [*ADDRESSES, f"{PATH}/oauth/jwks"]:
        answer = http.exactly(address, method="OPTIONS", headers={"Origin": "https://x.example", **asked})
        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (204, "*")
        assert answer.headers["Access-Control-Allow-Headers"] == "mcp-protocol-version"
    for address in ADDRESSES:
        answer = http.exactly(address, headers={"Origin": "https://x.example"})
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "max-age" in answer.headers["Cache-Control"]
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("document", DOCUMENTS)
def test_other_issuers_of_the_host_are_not_here(http, document):
    for path in (
        "",
        "/",
        "/realms",
        "/realms/",
        "/realms/other",
        f"{PATH}/",
        f"{PATH}x",
        f"{PATH}/x",
        PATH.upper(),
    ):
        answer = http.exactly(f"/.well-known/{document}{path}")
        assert (answer.status_code, answer.mimetype) == (404, "application/json"), path


@pytest.mark.parametrize("document", DOCUMENTS)
def test_without_a_path_there_is_one_address(document):
    app = create_app(issuer_of(ORIGIN))
    with app.app_context():
        db.create_all()
    browser = app.test_client()
    assert browser.get(f"/.well-known/{document}", base_url=ORIGIN).json["issuer"] == ORIGIN
    for address in (f"/.well-known/{document}/", f"/.well-known/{document}/x", f"/x/.well-known/{document}"):
        assert browser.get(address, base_url=ORIGIN).status_code == 404
    with app.app_context():
        db.engine.dispose()


# ---- what is below the path, and what is not ---------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "/",
        "/login",
        "/oauth/token",
        "/oauth/jwks",
        "/realms",
        "/realms/",
        "/realms/mainx/login",
        "/realms/main%2Flogin",
    ]
    + [
        "/static/ostiary.css",
        "/Realms/main/login",
        "/realms/./main/login",
        f"/{PATH}/login",
        f"{PATH}//login",
    ],
)
def test_nothing_else_of_the_host_is_served(http, address):
    for method in ("GET", "POST"):
        answer = http.exactly(address, method=method, environ_overrides={"RAW_URI": address})
        assert answer.status_code == 404
        assert "Set-Cookie" not in answer.headers


def test_the_issuer_itself_is_the_home_page(http):
    assert http.exactly(PATH).text == http.exactly(f"{PATH}/").text
    assert "Ostiary" in page(http.exactly(PATH)).title


def test_health_is_asked_at_the_root_too(http):
    for address in ("/healthz", f"{PATH}/healthz"):
        assert http.exactly(address, base_url="http://10.0.0.1").status_code == 200
    assert f'href="{ISSUER}/login"' in http.exactly(f"{PATH}/login", base_url="http://10.0.0.1").text
    assert http.exactly("/login", base_url="http://10.0.0.1").status_code == 404
    assert http.exactly(f"{PATH}/login", base_url="http://10.0.0.1").status_code == 400


def test_whoever_serves_it_may_have_taken_the_path_off(http):
    """As mod_wsgi does for a WSGIScriptAlias."""
    for environ in (
        {"SCRIPT_NAME": PATH, "PATH_INFO": "/login"},
        {"SCRIPT_NAME": "/realms", "PATH_INFO": "/main/login"},
    ):
        shown = page(http.exactly(f"{PATH}/login", environ_overrides=environ))
        assert shown.links["Create an account"] == f"{PATH}/signup?next="


def test_every_address_on_a_page_is_below_the_path(http, person):
    sign_in(http)
    for address in ("/", "/login", "/signup", "/logout", "/account/", "/account/sessions", "/nowhere"):
        shown = page(http.get(address))
        found = [
            attributes[name]
            for _tag, attributes in shown.elements
            for name in ("href", "src", "action")
            if name in attributes
        ]
        assert found
        for target in found:
            assert not target.startswith("/") or target.startswith(f"{PATH}/"), (address, target)
            if urlsplit(target).path.startswith(f"{PATH}/static/"):
                with http.exactly(target) as answer:
                    assert answer.status_code == 200


def test_cookies_are_of_this_server_alone(http, person):
    """A `__Host-` cookie is of the whole host (RFC 6265bis §4.1.3.2): by its name it is kept apart from
    another server's.
    """
    cookies = sign_in(http).headers.getlist("Set-Cookie")
    assert sorted(cookie.partition("=")[0] for cookie in cookies) == [
        "__Host-ostiary.realms.main",
        "__Host-ostiary.realms.main-device",
    ]
    for cookie in cookies:
        assert {"Path=/", "Secure", "HttpOnly", "SameSite=Lax"} <= {
            part.strip() for part in cookie.split(";")
        }


# ---- people ------------------------------------------------------------------------------------------------


def test_a_journey_stays_below_the_path(http, person):
    shown = ask(http, scope="openid profile email", nonce="n")
    assert shown.request.path == f"{PATH}/login"
    shown = follow(http, press(http, shown, "Sign in", email="ada@example.com", password=PASSWORD))
    answer = answer_of(press(http, shown, "Allow"))
    assert answer["iss"] == ISSUER

    tokens = tokens_for(http, answer["code"])
    assert jwt.read_unverified(tokens["id_token"])["iss"] == ISSUER
    tokens = refresh(http, tokens)
    assert userinfo(http, tokens).json["email"] == "ada@example.com"
    me = http.get("/api/me", headers={"Authorization": f"Bearer {tokens['access_token']}"})
    assert me.json["name"] == "Ada"

    shown = follow(http, http.get("/oauth/logout", query_string={"id_token_hint": tokens["id_token"]}))
    assert (shown.request.path, page(shown).headings) == (f"{PATH}/logout", ["You are signed out"])
    assert follow(http, http.get("/account/")).request.path == f"{PATH}/login"


def test_next_comes_back_below_the_path(http, person):
    answer = follow(http, http.get("/account/sessions"))
    answer = press(http, answer, "Sign in", email="ada@example.com", password=PASSWORD)
    assert answer.headers["Location"] == f"{PATH}/account/sessions"


def test_a_new_account_goes_on_to_the_client(http, seed):
    seed(an_openid_client())
    shown = go(http, ask(http), "Create an account")
    shown = follow(
        http, press(http, shown, "Create account", name="Bo", email="bo@example.com", password=PASSWORD)
    )
    assert answer_of(press(http, shown, "Allow"))["iss"] == ISSUER


@pytest.mark.parametrize(
    ("origin", "status"), [(ORIGIN, 303), (ISSUER, 400), ("null", 303), ("https://evil.example", 400)]
)
def test_an_origin_has_no_path(http, person, origin, status):
    answer = press(
        http,
        http.get("/login"),
        "Sign in",
        headers={"Origin": origin},
        email="ada@example.com",
        password=PASSWORD,
    )
    assert answer.status_code == status


# ---- programs ----------------------------------------------------------------------------------------------


def test_programs_get_json(http):
    assert http.post("/oauth/token").mimetype == "application/json"
    assert http.get("/api/nothing").json["error"] == "invalid_request"


def test_pages_of_public_clients_may_read(http, seed):
    seed(a_public_client(), ClientOrigin(client_id="spa", origin="https://spa.example"))
    for path in ("/oauth/token", "/oauth/userinfo", "/api/me"):
        answer = http.options(
            path, headers={"Origin": "https://spa.example", "Access-Control-Request-Method": "POST"}
        )
        assert answer.headers["Access-Control-Allow-Origin"] == "https://spa.example"


def test_a_client_assertion_is_for_the_whole_issuer(http, seed):
    key = key_for("ES256")
    members = {"client_secret_digest": None, "extra_metadata": {"jwks": jwks(key)}}
    seed(a_machine(token_endpoint_auth_method="private_key_jwt", **members))
    for audience, status in ((ISSUER, 200), (ORIGIN, 401), (f"{ORIGIN}/realms/other", 401)):
        assertion = sign(assertion_claims(aud=audience), key)
        answer = http.post("/oauth/token", data=with_assertion(assertion, grant_type="client_credentials"))
        assert answer.status_code == status, audience


def test_the_demo_works_below_the_path(first_rows):
    origin = "http://127.0.0.1:8000"
    app = create_app(Settings(issuer=origin + PATH, database_url="sqlite://", secret_key=SECRET_KEY))
    with app.app_context(), db.engine.connect() as connection:
        connection.connection.driver_connection.deserialize(first_rows)
    with app.app_context(), transaction():
        db.session.add(a_public_client(client_id="demo", redirect_uris=[f"{origin}{PATH}/demo"]))
    shown = page(app.test_client().get(f"{PATH}/demo", base_url=origin))
    (data,) = [attributes for _tag, attributes in shown.elements if "data-issuer" in attributes]
    for name in (
        "data-authorization-endpoint",
        "data-token-endpoint",
        "data-revocation-endpoint",
        "data-resource",
    ):
        assert re.fullmatch(f"{origin}{PATH}/(oauth|api)/[a-z]+", data[name]), name
    with app.app_context():
        db.engine.dispose()


# ---- live --------------------------------------------------------------------------------------------------


@pytest.mark.integration
def test_a_server_below_a_path_serves_a_whole_journey(tmp_path):
    """A client that knows the issuer alone, and a person with cookies, at the shipped server."""
    server = LiveServer(f"sqlite:///{tmp_path / 'path.sqlite3'}", tmp_path)
    origin, server.issuer = server.issuer, f"{server.issuer}/auth"
    server.environment["OSTIARY_ISSUER"] = server.issuer
    try:
        server.start()
        add_person(server)
        client = add_client(
            server, "Notebook", "--redirect-uri", REDIRECT_URI, "--scope", "openid", "--scope", "email"
        )
        walk_through(origin, server.issuer, client)
        assert "Traceback" not in server.log() and "bug:" not in server.log()
    finally:
        server.kill()


def walk_through(origin, issuer, client):
    path = issuer.removeprefix(origin)
    document = requests.get(f"{origin}/.well-known/oauth-authorization-server{path}", timeout=10).json()
    assert document == requests.get(f"{issuer}/.well-known/openid-configuration", timeout=10).json()
    request = AUTHORIZATION_REQUEST | {"client_id": client["client_id"], "scope": "openid email"}
    with Browser(origin) as browser:
        browser.open(f"{document['authorization_endpoint']}?{urlencode(request)}")
        assert urlsplit(browser.page.url).path == f"{path}/login"
        browser.sign_in().press("Allow")
        answer = {name: value for name, (value,) in parse_qs(urlsplit(browser.left_for).query).items()}
        assert answer["iss"] == issuer
        secret = (client["client_id"], client["client_secret"])
        body = code_request(answer["code"])
        tokens = requests.post(document["token_endpoint"], body, auth=secret, timeout=10).json()
        keys = KeySet.import_key_set(requests.get(document["jwks_uri"], timeout=10).json())
        assert joserfc.jwt.decode(tokens["id_token"], keys).claims["iss"] == issuer
        bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
        about = requests.get(document["userinfo_endpoint"], headers=bearer, timeout=10).json()
        assert about["email"] == "ada@example.com"
        browser.open(f"{document['end_session_endpoint']}?{urlencode({'id_token_hint': tokens['id_token']})}")
        assert browser.page.url == f"{issuer}/logout"
        assert browser.open(f"{issuer}/account/").page.form("Sign in")
