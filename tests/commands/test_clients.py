"""`flask clients …`: registrations as RFC 7591 has them."""

import json
import re

import pytest
from sqlalchemy import func

from crypto.credentials import digest, new_client_id
from models import AuthorizationCode, Client, ClientOrigin, Consent, Token
from protocol import clock
from protocol.registered_client import NEVER
from tests.builders import (
    CLIENT_SECRET,
    REDIRECT_URI,
    a_client,
    a_code,
    a_machine,
    a_public_client,
    a_token,
    a_user,
    basic,
)
from tests.statements import select

SECRET = re.compile(r"ost_cs_[A-Za-z0-9_-]{43}")
COUNT_CLIENTS = select(func.count()).select_from(Client)
ORIGINS = select(ClientOrigin.origin).order_by(ClientOrigin.origin)
WEB = ("--redirect-uri", REDIRECT_URI)
MACHINE = ("--grant-type", "client_credentials")
POLICY = '"https://app.example/policy"'
PUBLIC = (*WEB, "--auth-method", "none")


def columns_of(rows, client_id, *names):
    [row] = rows(select(*(getattr(Client, name) for name in names)).where(Client.client_id == client_id))
    return row


def a_resource_server(**changed):
    values = {
        "client_id": "api",
        "grant_types": [],
        "redirect_uris": [],
        "scope": "",
        "is_resource_server": True,
    }
    return a_client(**values | changed)


# ---- add ---------------------------------------------------------------------------------------------------


def test_add_takes_the_schemes_without_a_dot_that_are_allowed(flask_json, refused):
    uris = [
        "cursor://anysphere.cursor-mcp/oauth/callback",
        "vscode://publisher.name/cb",
        "vscode-insiders://x/cb",
    ]
    options = [word for uri in uris for word in ("--redirect-uri", uri)]
    assert flask_json("clients", "add", "Editor", *options, "--auth-method", "none")["redirect_uris"] == uris
    assert "OSTIARY_REDIRECT_SCHEMES" in refused("clients", "add", "Other", "--redirect-uri", "zed://x/cb")


def test_add_answers_as_rfc_7591_has_it(flask_json, rows):
    added = flask_json("clients", "add", "Web", *WEB, "--scope", "profile email")
    secret = added.pop("client_secret")
    client_id = added.pop("client_id")
    assert SECRET.fullmatch(secret)
    assert abs(added.pop("client_id_issued_at") - clock.now()) < 60
    assert added == {
        "client_secret_expires_at": 0,
        "client_name": "Web",
        "redirect_uris": [REDIRECT_URI],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "scope": "profile email",
        "token_endpoint_auth_method": "client_secret_basic",
        "is_resource_server": False,
        "require_pkce": True,
        "rotate_refresh_tokens": True,
    }
    assert columns_of(rows, client_id, "client_secret_digest") == (digest(secret),)


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_the_secret_is_printed_once(flask, as_json):
    done = flask("clients", "add", "Web", *WEB, *as_json)
    [secret] = SECRET.findall(done.output)
    assert secret in done.stdout
    assert "not shown again" in done.stderr
    for command in (("list",), ("list", "--json"), ("show", client_id_in(done.stdout))):
        assert "client_secret " not in flask("clients", *command).output
        assert not SECRET.search(flask("clients", *command).output)


def client_id_in(stdout):
    return re.search(r"client_id\W+([\w-]{22})", stdout)[1]


def test_a_client_id_is_never_read_as_an_option():
    """One in 64 random texts begins with a dash."""
    assert [
        client_id for client_id in (new_client_id() for _ in range(2_000)) if client_id.startswith("-")
    ] == []


def test_what_was_added_gets_tokens(flask_json, flask, http):
    flask("scopes", "add", "read", "--description", "Read your notes")
    added = flask_json(
        "clients", "add", "Robot", *MACHINE, "--scope", "read", "--access-token-lifetime", "60"
    )
    answer = http.post(
        "/oauth/token",
        data={"grant_type": "client_credentials"},
        auth=basic(added["client_id"], added["client_secret"]),
    )
    assert answer.status_code == 200
    assert (answer.json["scope"], answer.json["expires_in"]) == ("read", 60)


def test_add_takes_all_options_at_once(flask_json, rows):
    added = flask_json(
        *(
            "clients",
            "add",
            "Web",
            *WEB,
            "--redirect-uri",
            "http://127.0.0.1/cb",
            "--redirect-uri",
            REDIRECT_URI,
        ),
        *("--post-logout-redirect-uri", "https://app.example/bye", "--grant-type", "authorization_code"),
        *(
            "--grant-type",
            "refresh_token",
            "--grant-type",
            "client_credentials",
            "--scope",
            "email profile email",
        ),
        *(
            "--scope",
            "offline_access",
            "--auth-method",
            "client_secret_post",
            "--max-sessions",
            "3",
            "--no-rotation",
        ),
        *("--access-token-lifetime", "300", "--refresh-token-idle-lifetime", "3600"),
        *("--refresh-leeway", "0", "--refresh-retry-lifetime", "60"),
        *("--refresh-token-lifetime", "never", "--set", 'logo_uri="https://app.example/logo"'),
        *("--set", 'contacts=["ops@app.example"]', "--set", "jwks=null"),
    )
    expected = {
        "redirect_uris": [REDIRECT_URI, "http://127.0.0.1/cb"],
        "post_logout_redirect_uris": ["https://app.example/bye"],
        "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
        "scope": "email profile offline_access",
        "token_endpoint_auth_method": "client_secret_post",
        "max_sessions": 3,
        "rotate_refresh_tokens": False,
        "access_token_lifetime": 300,
        "refresh_token_idle_lifetime": 3600,
        "refresh_token_lifetime": "never",
        "refresh_leeway": 0,
        "refresh_retry_lifetime": 60,
        "logo_uri": "https://app.example/logo",
        "contacts": ["ops@app.example"],
    }
    assert {name: added[name] for name in expected} == expected
    assert "jwks" not in added
    names = ("refresh_token_lifetime", "rotate_refresh_tokens", "max_sessions", "extra_metadata")
    extra = {name: expected[name] for name in ("post_logout_redirect_uris", "logo_uri", "contacts")}
    assert columns_of(rows, added["client_id"], *names) == (NEVER, False, 3, extra)
    assert flask_json("clients", "show", added["client_id"])["scope"] == "email profile offline_access"


def test_a_public_client_has_no_secret(flask, flask_json, rows):
    added = flask_json("clients", "add", "App", *PUBLIC, "--redirect-uri", "com.example.app:/cb")
    assert added["token_endpoint_auth_method"] == "none"
    assert not {"client_secret", "client_secret_expires_at"} & added.keys()
    assert columns_of(rows, added["client_id"], "client_secret_digest") == (None,)
    assert rows(ORIGINS) == [("https://app.example",)]
    assert "secret" not in flask("clients", "add", "App", *PUBLIC).output


def test_a_confidential_client_has_no_origins(flask_json, rows):
    flask_json("clients", "add", "Web", *WEB)
    assert rows(ORIGINS) == []


def test_a_resource_server_is_added_without_grants(flask_json, rows):
    added = flask_json("clients", "add", "API", "--resource-server")
    assert (added["grant_types"], added["response_types"], added["is_resource_server"]) == ([], [], True)
    assert columns_of(rows, added["client_id"], "client_secret_digest") == (digest(added["client_secret"]),)


def test_without_pkce_there_is_a_warning(flask, rows):
    done = flask("clients", "add", "Old", *WEB, "--no-pkce", "--json")
    assert done.exit_code == 0
    assert "RFC 9700 §2.1.1" in done.stderr
    assert json.loads(done.stdout)["require_pkce"] is False


def test_with_pkce_there_is_none(flask):
    assert "Warning" not in flask("clients", "add", "Web", *WEB).stderr


def test_a_client_that_can_do_nothing_is_registered_with_a_warning(flask):
    done = flask("clients", "add", "Later", "--json")
    assert (done.exit_code, json.loads(done.stdout)["grant_types"]) == (0, [])
    assert "can do nothing yet" in done.stderr


@pytest.mark.threat("T011", "T014")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((*WEB, "--grant-type", "password"), "unknown grant type 'password'"),
        (
            (*WEB, "--grant-type", "implicit", "--grant-type", "authorization_code"),
            "unknown grant type 'implicit'",
        ),
        ((*WEB, "--auth-method", "tls_client_auth"), "unknown auth method 'tls_client_auth'"),
        ((*WEB, "--auth-method", "private_key_jwt"), "auth method private_key_jwt needs jwks or jwks_uri"),
        ((*WEB, "--set", 'logo_uri="http://app.example/logo"'), "logo_uri must be an https URL"),
        ((*WEB, "--set", "policy_uri=1"), "policy_uri must be an https URL"),
        ((*WEB, "--set", 'request_uris=["https://a.example/"]'), "request_uris cannot be registered"),
        (
            (*WEB, "--set", 'subject_type="pairwise"', "--redirect-uri", "https://b.example/"),
            "sector_identifier_uri",
        ),
        (("--set", 'subject_type="pairwise"', *MACHINE), "needs a redirect URI or a sector_identifier_uri"),
        (
            (*WEB, "--set", 'jwks_uri="http://app.example/jwks"'),
            "jwks_uri cannot be called: it must use https",
        ),
        (
            (*WEB, "--set", 'application_type="web"', "--redirect-uri", "a.b:/cb"),
            "not for application_type web",
        ),
        (
            (*WEB, "--access-token-lifetime", "90000", "--set", 'access_token_format="jwt"'),
            "at most 86400 seconds",
        ),
        ((*WEB, "--auth-method", ""), "unknown auth method ''"),
        (("--redirect-uri", "http://app.example/cb"), "must use https"),
        (("--redirect-uri", "https://app.example/cb#x"), "is not a URI"),
        (("--redirect-uri", "javascript:alert(1)"), "javascript"),
        (("--redirect-uri", ""), "redirect URI"),
        (("--redirect-uri", "https://app.example/\x1b[2J"), r"\x1b"),
        ((*WEB, "--post-logout-redirect-uri", "http://app.example/"), "must use https"),
        ((*WEB, "--post-logout-redirect-uri", ""), "is not a URI"),
        (("--grant-type", "authorization_code"), "needs a redirect URI"),
        ((*WEB, *MACHINE), "of use with grant type authorization_code only"),
        (
            (*PUBLIC, *MACHINE, "--grant-type", "authorization_code"),
            "public client cannot use grant type client_cred",
        ),
        (("--auth-method", "none", *MACHINE), "public client cannot use grant type client_credentials"),
        ((*MACHINE, "--grant-type", "refresh_token"), "refresh_token needs authorization_code"),
        ((*WEB, "--scope", "profile notes"), "there is no scope 'notes': add it with `flask scopes add`"),
        ((*WEB, "--scope", 'no"tes'), "cannot be a scope"),
        ((*WEB, "--scope", "\udcff"), "cannot be a scope"),
        ((*PUBLIC, "--no-pkce"), "--no-pkce is not for public clients"),
        ((*PUBLIC, "--no-rotation"), "--no-rotation is not for public clients"),
        ((*WEB, "--set", "logo_uri"), "write NAME=JSON"),
        ((*WEB, "--set", "logo_uri=https://app.example"), "write NAME=JSON"),
        ((*WEB, "--set", "logo_uri="), "write NAME=JSON"),
        ((*WEB, "--set", "number=NaN"), "write NAME=JSON"),
        ((*WEB, "--set", "number=1e999"), "write NAME=JSON"),
        ((*WEB, "--set", "deep=" + "[" * 100_000), "write NAME=JSON"),
        ((*WEB, "--set", '="x"'), "write NAME=JSON"),
        ((*WEB, "--set", "a=1", "--set", "a=2"), "give it once"),
        ((*WEB, "--set", 'client_id="mine"'), "the server makes it"),
        ((*WEB, "--set", 'client_secret="mine"'), "the server makes it"),
        ((*WEB, "--set", 'response_types=["token"]'), "the server makes it"),
        ((*WEB, "--set", 'scope="profile"'), "use --scope"),
        ((*WEB, "--set", 'client_name="x"'), "use NAME"),
        ((*WEB, "--set", 'redirect_uris=["https://a.example"]'), "use --redirect-uri"),
        ((*WEB, "--set", 'grant_types=["password"]'), "use --grant-type"),
        ((*WEB, "--set", 'token_endpoint_auth_method="none"'), "use --auth-method"),
        ((*WEB, "--set", "require_pkce=false"), "use --no-pkce"),
        ((*WEB, "--set", "post_logout_redirect_uris=[]"), "use --post-logout-redirect-uri"),
        (("--resource-server", *WEB), "a resource server has no redirect URIs"),
        (("--resource-server", *MACHINE), "a resource server has no grant types"),
        (("--resource-server", "--post-logout-redirect-uri", "https://a.example/"), "has no redirect URIs"),
        (("--resource-server", "--auth-method", "none"), "must authenticate"),
    ],
)
def test_add_refuses_what_does_not_fit_and_stores_nothing(refused, rows, options, words):
    assert words in refused("clients", "add", "Web", *options, "--json")
    assert rows(COUNT_CLIENTS) == [(0,)]
    assert rows(ORIGINS) == []


@pytest.mark.threat("T105")
@pytest.mark.parametrize("name", ["", "  ", "x" * 201, "a\x1b[2J", "\udcff"])
def test_add_refuses_a_name(refused, rows, name):
    assert "the name must be printable" in refused("clients", "add", name, *WEB)
    assert rows(COUNT_CLIENTS) == [(0,)]


def test_all_problems_are_told_together(refused, rows):
    told = refused(
        *(
            "clients",
            "add",
            "",
            "--auth-method",
            "magic",
            "--grant-type",
            "password",
            "--scope",
            "a b",
            "--set",
            "x",
        ),
        *("--redirect-uri", "http://app.example/", "--redirect-uri", "ftp:x"),
    )
    words = [
        "the name",
        "'magic'",
        "'password'",
        "'a'",
        "'b'",
        "'x'",
        "http://app.example/",
        "ftp:x",
        "authorization",
    ]
    assert [word for word in words if word not in told] == []
    assert rows(COUNT_CLIENTS) == [(0,)]


@pytest.mark.parametrize(
    "options",
    [
        ("--max-sessions", "0"),
        ("--max-sessions", "100001"),
        ("--max-sessions", "many"),
        ("--access-token-lifetime", "0"),
        ("--access-token-lifetime", "never"),
        ("--access-token-lifetime", "-5"),
        ("--refresh-token-idle-lifetime", "0"),
        ("--refresh-token-idle-lifetime", "1.5"),
        ("--refresh-token-lifetime", "2147483648"),
        ("--refresh-token-lifetime", "forever"),
        ("--refresh-leeway", "-1"),
        ("--refresh-leeway", "never"),
        ("--refresh-retry-lifetime", "2147483648"),
        ("--no-such-option",),
    ],
)
def test_what_is_not_understood_is_a_usage_error(flask, rows, options):
    done = flask("clients", "add", "Web", *WEB, *options)
    assert (done.exit_code, done.stdout) == (2, "")
    assert options[0] in done.stderr
    assert rows(COUNT_CLIENTS) == [(0,)]


def test_how_long_a_public_clients_refreshes_may_be_repeated(flask, flask_json, rows):
    """It has the leeway alone; a long one is a warning."""
    public = ("clients", "add", "Web", *WEB, "--redirect-uri", REDIRECT_URI, "--auth-method", "none")
    done = flask(*public, "--refresh-retry-lifetime", "60")
    assert (done.exit_code, "--refresh-leeway" in done.stderr) == (1, True)
    assert rows(COUNT_CLIENTS) == [(0,)]
    assert "stays unseen" in flask(*public, "--refresh-leeway", "61").stderr
    added = flask_json(*public, "--refresh-leeway", "60", "--refresh-retry-lifetime", "0")
    assert (added["refresh_leeway"], added["refresh_retry_lifetime"]) == (60, 0)
    shown = flask_json("clients", "set", added["client_id"], "--refresh-leeway", "5")
    assert (shown["refresh_leeway"], flask_json("clients", "show", added["client_id"])["refresh_leeway"]) == (
        5,
        5,
    )


# ---- set ---------------------------------------------------------------------------------------------------


def test_set_changes_only_what_is_given(flask_json, seed, rows):
    seed(
        a_client(
            extra_metadata={"logo_uri": "https://app.example/logo", "tos_uri": "https://app.example/tos"}
        )
    )
    before = flask_json("clients", "show", "web")
    options = (
        "--access-token-lifetime",
        "60",
        "--name",
        "New",
        "--set",
        "logo_uri=null",
        "--set",
        f"policy_uri={POLICY}",
    )
    after = flask_json("clients", "set", "web", *options)
    assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} == {
        "access_token_lifetime",
        "client_name",
        "logo_uri",
        "policy_uri",
        "tokens",
        "client_secrets",  # as the tokens, in `show` alone
    }
    assert "logo_uri" not in after
    assert (after["access_token_lifetime"], after["client_name"]) == (60, "New")
    assert after["policy_uri"] == json.loads(POLICY)
    assert columns_of(rows, "web", "client_secret_digest") == (digest(CLIENT_SECRET),)
    assert "client_secret" not in after


def test_set_replaces_lists_and_an_empty_value_empties_them(flask_json, seed, rows):
    seed(a_client(extra_metadata={"post_logout_redirect_uris": ["https://app.example/bye"]}))
    options = ("--redirect-uri", "", "--post-logout-redirect-uri", "", "--scope", "", *MACHINE)
    changed = flask_json("clients", "set", "web", *options)
    assert (changed["redirect_uris"], changed["scope"], changed["grant_types"]) == (
        [],
        "",
        ["client_credentials"],
    )
    assert columns_of(rows, "web", "redirect_uris", "extra_metadata") == ([], {})


def test_set_switches_on_again_what_was_off(flask, flask_json, seed):
    seed(a_client(require_pkce=False, rotate_refresh_tokens=False))
    changed = flask_json("clients", "set", "web", "--pkce", "--rotation")
    assert (changed["require_pkce"], changed["rotate_refresh_tokens"]) == (True, True)
    done = flask("clients", "set", "web", "--no-pkce", "--no-rotation")
    assert "RFC 9700 §2.1.1" in done.stderr


def test_set_keeps_the_origins_in_line(flask_json, seed, rows):
    seed(a_public_client())
    options = ("--redirect-uri", "https://one.example/cb", "--redirect-uri", "https://two.example:8443/cb")
    flask_json("clients", "set", "spa", *options)
    assert rows(ORIGINS) == [("https://one.example",), ("https://two.example:8443",)]
    flask_json("clients", "set", "spa", "--auth-method", "client_secret_post")
    assert rows(ORIGINS) == []


def test_a_client_that_becomes_confidential_gets_a_secret(flask_json, seed, rows):
    seed(a_public_client())
    changed = flask_json("clients", "set", "spa", "--auth-method", "client_secret_basic")
    assert columns_of(rows, "spa", "client_secret_digest") == (digest(changed["client_secret"]),)


def test_a_client_that_becomes_public_loses_its_secret(flask_json, seed, rows):
    seed(a_client())
    assert "client_secret" not in flask_json("clients", "set", "web", "--auth-method", "none")
    assert columns_of(rows, "web", "client_secret_digest") == (None,)
    assert rows(ORIGINS) == [("https://app.example",)]


@pytest.mark.parametrize(
    ("client", "options", "words"),
    [
        (a_client, ("--grant-type", "client_credentials"), "of use with grant type authorization_code only"),
        (a_client, ("--redirect-uri", ""), "needs a redirect URI"),
        (a_client, ("--redirect-uri", "http://app.example/"), "must use https"),
        (a_client, ("--auth-method", "magic"), "unknown auth method"),
        (a_client, ("--scope", "notes"), "there is no scope 'notes'"),
        (a_client, ("--resource-server",), "a resource server has no redirect URIs"),
        (a_client, ("--name", ""), "the name"),
        (a_client, ("--set", "x"), "write NAME=JSON"),
        (a_machine, ("--scope", "profile", "--auth-method", "none"), "public client cannot"),
        (a_machine, ("--scope", "profile", *WEB), "of use with grant type authorization_code only"),
        (a_public_client, ("--no-pkce",), "--no-pkce is not for public clients"),
        (a_public_client, ("--no-rotation",), "--no-rotation is not for public clients"),
        (a_resource_server, ("--auth-method", "none"), "must authenticate"),
        (a_resource_server, MACHINE, "a resource server has no grant types"),
    ],
)
def test_set_refuses_and_changes_nothing(refused, seed, rows, client, options, words):
    seed(client())
    before = rows(select(Client.__table__))
    [client_id] = rows(select(Client.client_id))[0]
    told = refused("clients", "set", client_id, *options, "--access-token-lifetime", "7", "--json")
    assert words in told
    assert rows(select(Client.__table__)) == before
    assert rows(ORIGINS) == []


def test_a_client_without_pkce_cannot_become_public(refused, seed):
    seed(a_client(require_pkce=False, rotate_refresh_tokens=False))
    told = refused("clients", "set", "web", "--auth-method", "none")
    assert "--no-pkce is not" in told
    assert "--no-rotation is not" in told


def test_a_resource_server_can_become_a_machine(flask_json, seed):
    seed(a_resource_server())
    changed = flask_json("clients", "set", "api", "--no-resource-server", *MACHINE)
    assert (changed["is_resource_server"], changed["grant_types"]) == (False, ["client_credentials"])


def test_set_without_anything_to_change_is_a_usage_error(flask, seed):
    seed(a_client())
    assert flask("clients", "set", "web").exit_code == 2


# ---- list, show, rotate-secret, remove ---------------------------------------------------------------------


def test_list_shows_each_client_on_a_line(flask, flask_json, seed):
    seed(a_client(), a_machine(client_name="Robot"))
    assert [client["client_id"] for client in flask_json("clients", "list")] == ["robot", "web"]
    lines = flask("clients", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["CLIENT_ID", "robot", "web"]
    assert (
        len({line.index(word) for line, word in zip(lines, ("CLIENT_NAME", "Robot", "Web"), strict=True)})
        == 1
    )


def test_show_counts_tokens_and_hides_the_secret(flask, flask_json, seed):
    seed(a_user(), a_client(), a_token())
    shown = flask_json("clients", "show", "web")
    assert (shown["client_id"], shown["scope"], shown["tokens"]) == ("web", "profile email", 1)
    assert "client_secret" not in shown
    assert re.search(r"^tokens +1$", flask("clients", "show", "web").stdout, re.MULTILINE)


def test_rotate_secret_ends_the_old_secret(flask, flask_json, seed, http):
    seed(a_machine(scope="profile"))
    renewed = flask_json("clients", "rotate-secret", "robot")["client_secret"]
    body = {"grant_type": "client_credentials"}
    assert http.post("/oauth/token", data=body, auth=basic("robot", renewed)).status_code == 200
    assert http.post("/oauth/token", data=body, auth=basic("robot")).status_code == 401
    done = flask("clients", "rotate-secret", "robot")
    [another] = SECRET.findall(done.output)
    assert another != renewed


def test_a_public_client_has_no_secret_to_rotate(refused, seed, rows):
    seed(a_public_client())
    assert "public client" in refused("clients", "rotate-secret", "spa")
    assert columns_of(rows, "spa", "client_secret_digest") == (None,)


def test_remove_takes_all_that_belongs_to_the_client(flask_json, seed, rows):
    seed(a_user(), a_client(), a_public_client(), a_token(), a_token(client_id="spa"), a_code("code"))
    seed(Consent(user_id=1, client_id="web", scope="profile", granted_at=1))
    assert flask_json("clients", "remove", "web") == {"client_id": "web", "tokens": 1}
    assert rows(select(Client.client_id)) == [("spa",)]
    assert rows(select(Token.client_id)) == [("spa",)]
    assert rows(select(Consent.client_id)) == rows(select(AuthorizationCode.client_id)) == []


def test_people_are_locked_before_their_client_goes(flask, seed, statements):
    seed(a_user(), a_user(id=2, sub="b", email="bob@example.com"), a_client())
    seed(a_token(), a_code("code", user_id=2))
    statements.clear()
    assert flask("clients", "remove", "web").exit_code == 0
    locks = [sql for sql in statements if sql.startswith("SELECT end_user.id, end_user.sub")]
    assert len(locks) == 2
    assert statements[-2].startswith("DELETE FROM client")
    assert statements[-1] == "COMMIT"


@pytest.mark.parametrize(
    "command", [("show",), ("set", "--pkce"), ("rotate-secret",), ("remove",)], ids=lambda command: command[0]
)
@pytest.mark.parametrize("client_id", ["nope", "WEB", "", "\udcff"])
def test_there_is_no_such_client(refused, seed, rows, command, client_id):
    seed(a_client())
    assert "there is no client" in refused("clients", command[0], client_id, *command[1:], "--json")
    assert rows(select(Client.client_id)) == [("web",)]
