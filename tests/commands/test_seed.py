"""`flask seed`: a file becomes rows, all or none, and a second run changes nothing."""

import json
from itertools import count

import pytest
from joserfc.jwk import ECKey
from sqlalchemy import func

from app import create_app
from config import Settings
from crypto.credentials import digest
from crypto.encryption import Cipher
from models import Client, ClientOrigin, Scope, Token, User, UserSession, db
from protocol import clock
from protocol.registered_client import NEVER
from services import passwords
from tests.builders import PASSWORD, REDIRECT_URI, SECRET_KEY, a_client, a_token, a_user, basic
from tests.commands.conftest import settings_on
from tests.live import PROJECT
from tests.statements import select

EXAMPLE = PROJECT / "docs/examples/ostiary.json"
LOOPBACK = "http://127.0.0.1:8000"
TABLES = (Scope, User, Client, ClientOrigin)
ADA = {"email": "ada@example.com", "password": PASSWORD}
WEB = {"client_id": "web", "redirect_uris": [REDIRECT_URI]}
SIGNS = WEB | {"token_endpoint_auth_method": "client_secret_jwt"}
KEY = "k" * 64


@pytest.fixture
def settings(settings):
    """Those of the other commands' tests, on a loopback issuer."""
    return settings.model_copy(update={"issuer": LOOPBACK, "allow_private_addresses": True})


@pytest.fixture
def write(tmp_path):
    """A new file with this document; returns its path."""
    numbers = count()

    def write(**document):
        path = tmp_path / f"seed-{next(numbers)}.json"
        path.write_text(json.dumps(document))
        return str(path)

    return write


@pytest.fixture
def everything(rows):
    """All that a file can speak of, as it is stored."""

    def everything():
        return [sorted(rows(select(model.__table__)), key=repr) for model in TABLES]

    return everything


def a_session():
    times = {"created_at": 1, "auth_time": 1, "expires_at": 2**40}
    return UserSession(session_digest=digest("session"), user_id=1, amr="pwd", **times)


# ---- what is stored ----------------------------------------------------------------------------------------


def test_the_example_of_the_document(flask_json, rows):
    seeded = flask_json("seed", str(EXAMPLE))
    document = json.loads(EXAMPLE.read_text())
    assert [user["email"] for user in seeded["users"]] == [user["email"] for user in document["users"]]
    given = {client["client_id"]: client.get("client_secret") for client in document["clients"]}
    assert {client["client_id"]: client.get("client_secret") for client in seeded["clients"]} == given
    digests = dict(rows(select(Client.client_id, Client.client_secret_digest)))
    assert digests == {name: digest(secret) if secret else None for name, secret in given.items()}
    assert rows(select(Scope.description).where(Scope.name == "notes.read")) == [("Read your notes",)]
    [(sub, name, verified_at, stored_hash)] = rows(
        select(User.sub, User.name, User.email_verified_at, User.password_hash).where(
            User.email == "ada@example.com"
        )
    )
    assert (sub, name) == ("ada", "Ada")
    assert verified_at is not None
    assert passwords.is_right("correct horse battery", stored_hash)
    assert rows(select(User.email).where(User.is_admin)) == []
    assert "password" not in seeded["users"][0]


def test_what_was_seeded_gets_tokens(flask_json, http, write):
    machine = {
        "client_id": "robot",
        "client_secret": "robot",
        "grant_types": ["client_credentials"],
        "scope": "read",
    }
    flask_json("seed", write(scopes=[{"name": "read", "description": "Read"}], clients=[machine]))
    answer = http.post(
        "/oauth/token",
        data={"grant_type": "client_credentials"},
        auth=basic("robot", "robot"),
        base_url=LOOPBACK,
    )
    assert (answer.status_code, answer.json["scope"]) == (200, "read")


def test_every_member_of_a_client(flask_json, rows, write):
    client = {
        "client_id": "web",
        "client_secret": "!~" * 100,
        "client_name": "The web",
        "redirect_uris": [REDIRECT_URI, "http://127.0.0.1/cb"],
        "post_logout_redirect_uris": ["https://app.example/bye"],
        "grant_types": ["authorization_code"],
        "scope": "profile email",
        "token_endpoint_auth_method": "client_secret_post",
        "is_resource_server": False,
        "require_pkce": False,
        "rotate_refresh_tokens": False,
        "max_sessions": 3,
        "access_token_lifetime": 60,
        "refresh_token_idle_lifetime": 3600,
        "refresh_token_lifetime": "never",
        "refresh_leeway": 0,
        "refresh_retry_lifetime": 60,
        "client_uri": "https://app.example/",
        "logo_uri": "https://app.example/logo",
        "tos_uri": "https://app.example/tos",
        "policy_uri": "https://app.example/policy",
        "contacts": ["ops@app.example"],
        "software_id": "notes",
        "software_version": "1",
    }
    [seeded] = flask_json("seed", write(clients=[client]))["clients"]
    assert {name: seeded[name] for name in client} == client
    assert rows(select(Client.refresh_token_lifetime, Client.max_sessions)) == [(NEVER, 3)]


def test_members_of_openid_connect(flask_json, rows, write):
    members = {
        "jwks": {"keys": [ECKey.generate_key("P-256").as_dict(private=False)]},
        "token_endpoint_auth_signing_alg": "ES256",
        "id_token_signed_response_alg": "EdDSA",
        "subject_type": "pairwise",
        "default_max_age": 0,
        "require_auth_time": True,
        "backchannel_logout_uri": "http://127.0.0.1:5000/logout",
        "client_name#de": "Notizen",
        "access_token_format": "jwt",
    }
    client = WEB | {"token_endpoint_auth_method": "private_key_jwt"} | members
    [seeded] = flask_json("seed", write(clients=[client | {"tos_uri": None}]))["clients"]
    assert {name: seeded[name] for name in members} == members
    assert "client_secret" not in seeded
    assert rows(select(Client.extra_metadata, Client.client_secret_digest)) == [(members, None)]


def test_a_secret_to_sign_with_is_sealed(flask_json, rows, write):
    client = WEB | {"token_endpoint_auth_method": "client_secret_jwt", "client_secret": KEY}
    path = write(clients=[client])
    [seeded] = flask_json("seed", path)["clients"]
    assert seeded["client_secret"] == KEY
    [(client_secret_digest, box)] = rows(select(Client.client_secret_digest, Client.sealed_client_secret))
    assert client_secret_digest is None
    assert Cipher([SECRET_KEY], "client secrets").decrypt(box, "web") == KEY.encode()
    flask_json("seed", path)
    assert rows(select(Client.sealed_client_secret)) == [(box,)]


def test_a_secret_that_was_long_enough_before(flask_json, refused, write):
    client = WEB | {"token_endpoint_auth_method": "client_secret_jwt"}
    signs = {"token_endpoint_auth_signing_alg": "HS256"}
    flask_json("seed", write(clients=[client | signs | {"client_secret": "s" * 32}]))
    flask_json("seed", write(clients=[client | signs]))
    signs["token_endpoint_auth_signing_alg"] = "HS512"
    assert "at least 64 octets" in refused("seed", write(clients=[client | signs]))


def test_claims_are_stored_once_and_null_is_left_out(flask_json, rows, write, sleep):
    claims = {"given_name": "Ada", "address": {"country": "France"}, "phone_number": "+33 1 23 45 67 89"}
    path = write(users=[ADA | {"claims": claims | {"nickname": None}}])
    [seeded] = flask_json("seed", path)["users"]
    assert seeded["claims"] == claims
    before = rows(select(User.claims, User.updated_at))
    sleep(60)
    flask_json("seed", path)
    assert rows(select(User.claims, User.updated_at)) == before
    flask_json("seed", write(users=[ADA | {"claims": {"given_name": "Ada"}}]))
    assert rows(select(User.claims, User.updated_at)) == [({"given_name": "Ada"}, clock.now())]


def test_what_is_left_out_is_as_clients_add_has_it(flask_json, rows, write):
    [seeded] = flask_json("seed", write(clients=[WEB]))["clients"]
    added = flask_json("clients", "add", "web", "--redirect-uri", REDIRECT_URI)
    assert rows(select(Client.client_secret_digest).where(Client.client_id == "web")) == [
        (digest(seeded["client_secret"]),)
    ]
    for made in ("client_id", "client_secret", "client_id_issued_at"):
        assert seeded.pop(made) and added.pop(made)
    assert seeded == added


def test_a_public_client_has_origins_and_no_secret(flask_json, rows, write):
    [seeded] = flask_json("seed", write(clients=[WEB | {"token_endpoint_auth_method": "none"}]))["clients"]
    assert "client_secret" not in seeded
    assert rows(select(ClientOrigin.origin)) == [("https://app.example",)]


def test_without_json_the_secrets_that_were_made_are_shown(flask, write):
    done = flask("seed", write(users=[ADA], clients=[WEB | {"require_pkce": False}]))
    assert done.exit_code == 0
    assert "ost_cs_" in done.stdout
    assert done.stderr.startswith(
        "In line with the file: 1 user, 1 client, 0 scopes.\nweb: Warning: without PKCE"
    )
    assert PASSWORD not in done.output


def test_a_file_of_nothing(flask, write):
    done = flask("seed", write())
    assert (done.exit_code, done.stdout) == (0, "")


def test_a_dash_reads_the_file_from_stdin(flask_json):
    assert (
        flask_json("seed", "-", input=json.dumps({"users": [ADA]}))["users"][0]["email"] == "ada@example.com"
    )


# ---- a second run ------------------------------------------------------------------------------------------


def test_a_second_run_changes_nothing(flask_json, everything, seed, rows):
    flask_json("seed", str(EXAMPLE))
    [(user_id,)] = rows(select(User.id).where(User.email == "ada@example.com"))
    seed(a_token(client_id="web", user_id=user_id))
    before = everything()
    again = flask_json("seed", str(EXAMPLE))
    assert everything() == before
    assert len(rows(select(Token.id))) == 1
    assert again["clients"][0]["client_secret"] == "secret-of-web"


def test_a_secret_that_was_made_stays(flask_json, everything, write):
    path = write(clients=[WEB])
    flask_json("seed", path)
    before = everything()
    [again] = flask_json("seed", path)["clients"]
    assert everything() == before
    assert "client_secret" not in again


def test_what_is_there_is_brought_in_line(flask_json, rows, write):
    old = WEB | {
        "client_secret": "old",
        "max_sessions": 3,
        "scope": "profile",
        "logo_uri": "https://app.example/old",
    }
    flask_json("seed", write(scopes=[{"name": "read", "description": "Old"}], users=[ADA], clients=[old]))
    new = WEB | {"client_secret": "new", "client_name": "New", "scope": "read"}
    person = ADA | {"email": "Ada@Example.com", "name": "Ada"}
    flask_json("seed", write(scopes=[{"name": "read", "description": "New"}], users=[person], clients=[new]))
    assert rows(select(User.email, User.name)) == [("ada@example.com", "Ada")]
    columns = (Client.client_name, Client.client_secret_digest, Client.max_sessions, Client.scope)
    assert rows(select(*columns, Client.extra_metadata)) == [("New", digest("new"), None, "read", {})]
    assert rows(select(Scope.description).where(Scope.name == "read")) == [("New",)]


def test_what_the_file_does_not_name_stays(flask_json, seed, everything, write):
    seed(a_user(), a_client())
    before = everything()
    flask_json(
        "seed",
        write(users=[{"email": "bob@example.com", "password": PASSWORD}], clients=[WEB | {"client_id": "b"}]),
    )
    after = everything()
    assert [set(map(repr, old)) <= set(map(repr, new)) for old, new in zip(before, after, strict=True)] == [
        True
    ] * 4
    assert [len(new) - len(old) for old, new in zip(before, after, strict=True)] == [0, 1, 1, 0]


def test_a_client_that_becomes_public_loses_its_secret(flask_json, seed, rows, write):
    seed(a_client())
    flask_json("seed", write(clients=[WEB | {"token_endpoint_auth_method": "none"}]))
    assert rows(select(Client.client_secret_digest)) == [(None,)]
    assert rows(select(ClientOrigin.origin)) == [("https://app.example",)]


@pytest.mark.parametrize(("password", "left"), [(PASSWORD, 1), ("another horse battery", 0)])
def test_a_new_password_signs_out(flask_json, seed, rows, write, password, left):
    seed(a_user(), a_client(), a_token())
    seed(a_session())
    flask_json("seed", write(users=[ADA | {"password": password}]))
    [(stored_hash,)] = rows(select(User.password_hash))
    assert passwords.is_right(password, stored_hash)
    assert (len(rows(select(Token.id))), len(rows(select(UserSession.user_id)))) == (left, left)


# ---- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.threat("T061", "T130")
@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"user": []}, "user: is unknown"),
        ({"users": {}}, "users: should be a list"),
        ({"users": None}, "users: should be a list"),
        ({"users": ["ada"]}, "users[0]: should be an object"),
        ({"users": [{"email": "ada@example.com"}]}, "users[0].password: is missing"),
        ({"users": [ADA | {"mail": 1}]}, "users[0].mail: is unknown"),
        ({"users": [ADA | {"is_admin": True}]}, "users[0].is_admin: is unknown"),
        ({"users": [ADA | {"name": 1}]}, "users[0].name: should be a valid string"),
        ({"users": [ADA | {"email": "ada"}]}, "users[0]: 'ada' is not an email address"),
        ({"users": [ADA | {"email": "\ud800@example.com"}]}, "is not an email address"),
        ({"users": [ADA | {"password": "short"}]}, "users[0]: the password will not do"),
        ({"users": [ADA | {"name": "x" * 201}]}, "users[0]: the name must be printable"),
        ({"users": [ADA | {"sub": "a b"}]}, "users[0]: 'a b' cannot be a sub"),
        ({"users": [ADA | {"sub": "a" * 44}]}, "cannot be a sub"),
        ({"users": [ADA, ADA | {"email": "ADA@example.com"}]}, "users[1].email: is that of users[0] too"),
        (
            {"users": [ADA | {"sub": "a"}, ADA | {"email": "b@example.com", "sub": "a"}]},
            "users[1].sub: is that of users[0] too",
        ),
        ({"scopes": [{"name": "a b", "description": "x"}]}, "scopes[0]: 'a b' cannot be a scope"),
        ({"scopes": [{"name": "a", "description": " "}]}, "scopes[0]: the description must be printable"),
        (
            {"scopes": [{"name": "offline_access", "description": "x"}]},
            "scopes[0]: the scope offline_access exists",
        ),
        ({"scopes": [{"name": "a", "description": "x"}] * 2}, "scopes[1].name: is that of scopes[0] too"),
        ({"clients": [{"redirect_uris": [REDIRECT_URI]}]}, "clients[0].client_id: is missing"),
        ({"clients": [WEB | {"redirect_uri": REDIRECT_URI}]}, "clients[0].redirect_uri: is unknown"),
        (
            {"clients": [WEB | {"redirect_uris": REDIRECT_URI}]},
            "clients[0].redirect_uris: should be a valid list",
        ),
        (
            {"clients": [WEB | {"redirect_uris": [1]}]},
            "clients[0].redirect_uris[0]: should be a valid string",
        ),
        ({"clients": [WEB | {"client_id": "-web"}]}, "clients[0]: '-web' cannot be a client_id"),
        ({"clients": [WEB | {"client_id": "a:b"}]}, "'a:b' cannot be a client_id"),
        ({"clients": [WEB | {"client_id": "a" * 256}]}, "cannot be a client_id"),
        (
            {"clients": [WEB | {"client_secret": ""}]},
            "clients[0]: the client_secret must be 1 to 255 visible ASCII",
        ),
        ({"clients": [WEB | {"client_secret": "ä"}]}, "the client_secret must be 1 to 255 visible ASCII"),
        (
            {"clients": [WEB | {"client_secret": "a" * 256}]},
            "the client_secret must be 1 to 255 visible ASCII",
        ),
        (
            {"clients": [WEB | {"client_secret": "a", "token_endpoint_auth_method": "none"}]},
            "clients[0]: a public client has no secret",
        ),
        ({"clients": [WEB | {"client_name": ""}]}, "clients[0]: the name must be printable"),
        ({"clients": [WEB | {"scope": "read"}]}, "clients[0]: there is no scope 'read'"),
        ({"clients": [WEB | {"grant_types": ["password"]}]}, "clients[0]: unknown grant type 'password'"),
        ({"clients": [WEB | {"redirect_uris": ["http://app.example/"]}]}, "must use https"),
        (
            {"clients": [WEB | {"is_resource_server": True}]},
            "clients[0]: a resource server has no redirect URIs",
        ),
        (
            {"clients": [WEB | {"max_sessions": 0}]},
            "clients[0].max_sessions: should be greater than or equal to 1",
        ),
        ({"clients": [WEB | {"max_sessions": True}]}, "clients[0].max_sessions: should be a valid integer"),
        (
            {"clients": [WEB | {"access_token_lifetime": "never"}]},
            "clients[0].access_token_lifetime: should be a valid",
        ),
        (
            {"clients": [WEB | {"refresh_token_lifetime": 0}]},
            "clients[0].refresh_token_lifetime: must be a number of",
        ),
        ({"clients": [WEB | {"refresh_token_idle_lifetime": True}]}, "must be a number of seconds"),
        ({"clients": [WEB | {"logo_uri": 1}]}, "clients[0]: logo_uri must be an https URL"),
        ({"clients": [WEB | {"jwks": {"keys": []}}]}, "clients[0]: jwks must be a JWK Set"),
        ({"clients": [WEB | {"request_uris": []}]}, "clients[0].request_uris: is unknown"),
        ({"clients": [WEB | {"x_team": 1}]}, "clients[0].x_team: is unknown"),
        ({"clients": [WEB | {"extra_metadata": {}}]}, "clients[0]: extra_metadata is unknown"),
        (
            {"clients": [WEB | {"token_endpoint_auth_method": "private_key_jwt"}]},
            "clients[0]: auth method private_key",
        ),
        (
            {"clients": [SIGNS | {"client_secret": KEY[:63]}]},
            "clients[0]: the client_secret is a signing key here",
        ),
        ({"clients": [SIGNS | {"client_secret": ""}]}, "at least 64 characters (RFC 7518 §3.2)"),
        (
            {"clients": [SIGNS | {"client_secret": KEY[:31], "token_endpoint_auth_signing_alg": "HS256"}]},
            "at least 32 characters",
        ),
        (
            {"clients": [SIGNS | {"token_endpoint_auth_method": "private_key_jwt", "client_secret": KEY}]},
            "a client that signs with its own keys has no secret",
        ),
        ({"users": [ADA | {"claims": []}]}, "users[0].claims: should be a valid dictionary"),
        ({"users": [ADA | {"claims": {"birthdate": "today"}}]}, "users[0]: birthdate must be a date"),
        ({"users": [ADA | {"claims": {"email": "x@example.com"}}]}, "users[0]: email is no claim"),
        ({"clients": [WEB, WEB]}, "clients[1].client_id: is that of clients[0] too"),
    ],
)
def test_it_refuses_and_stores_nothing(refused, write, everything, document, words):
    before = everything()
    good = {"scopes": [{"name": "good", "description": "Good"}]}
    told = refused("seed", write(**good | document))
    assert words in told
    assert PASSWORD not in told
    assert everything() == before


def test_every_problem_is_told_at_once(refused, write):
    told = refused(
        "seed",
        write(
            scopes=[{"name": "a b", "description": "x"}, 1],
            users=[{"email": "ada", "password": "short"}, {"email": 1}],
            clients=[
                {"client_id": "a b", "scope": "nope"},
                {"client_id": "web", "max_sessions": -1, "what": 1},
            ],
            more=1,
        ),
    )
    places = ["more", "scopes[0]", "scopes[1]", "users[0]", "users[1].email", "users[1].password"]
    places += ["clients[0]", "clients[1].max_sessions", "clients[1].what"]
    assert [place for place in places if f"  - {place}: " not in told] == []
    # the heading, and a second problem of users[0] and of clients[0]
    assert len(told.splitlines()) == len(places) + 3


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"x"', b"\xff\xfe\xfd", b"[" * 100_000])
def test_a_file_that_is_no_json_object(refused, tmp_path, content):
    (tmp_path / "seed.json").write_bytes(content)
    assert "this is not" in refused("seed", str(tmp_path / "seed.json"))


def test_a_sub_never_changes(refused, seed, everything, write):
    seed(a_user())
    before = everything()
    assert "ada@example.com has another sub already" in refused("seed", write(users=[ADA | {"sub": "ada"}]))
    assert everything() == before


def test_a_sub_of_somebody_else(refused, seed, everything, write):
    """The unique key notices it, after other rows have been written: all or none."""
    seed(a_user(sub="ada", email="somebody@example.com"))
    before = everything()
    path = write(
        scopes=[{"name": "read", "description": "Read"}], users=[ADA | {"sub": "ada"}], clients=[WEB]
    )
    assert "the database refused" in refused("seed", path)
    assert everything() == before


def test_outside_of_a_loopback_issuer(tmp_path, write):
    settings = Settings(
        issuer="https://op.example", database_url=f"sqlite:///{tmp_path / 'x'}", secret_key=SECRET_KEY
    )
    app = create_app(settings)
    done = app.test_cli_runner().invoke(
        args=("seed", write(users=[ADA]), "--migrate"), catch_exceptions=False
    )
    assert (done.exit_code, done.stdout) == (1, "")
    assert "for a loopback issuer only" in done.stderr
    assert not (tmp_path / "x").exists()


# ---- an empty database -------------------------------------------------------------------------------------


@pytest.mark.integration
@pytest.mark.parametrize(("options", "exit_code"), [((), 1), (("--migrate",), 0)])
def test_an_empty_database_is_migrated_when_asked(tmp_path, write, options, exit_code):
    app = create_app(settings_on(tmp_path / "empty.sqlite3").model_copy(update={"issuer": LOOPBACK}))
    done = app.test_cli_runner().invoke(args=("seed", write(users=[ADA]), *options), catch_exceptions=False)
    assert (done.exit_code, "not migrated" in done.stderr) == (exit_code, exit_code == 1)
    with app.app_context():
        if exit_code == 0:
            assert db.session.scalar(select(func.count()).select_from(User)) == 1
        db.engine.dispose()


@pytest.mark.parametrize("options", [(), ("--migrate",)])
def test_a_database_that_cannot_be_reached(write, options):
    url = "postgresql://owner:the-password@127.0.0.1:1/ostiary"
    app = create_app(Settings(issuer=LOOPBACK, database_url=url, secret_key=SECRET_KEY))
    done = app.test_cli_runner().invoke(args=("seed", write(users=[ADA]), *options), catch_exceptions=False)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: the database cannot be used: ")
    assert "the-password" not in done.stderr


class TestTenants:
    @pytest.fixture
    def settings(self, settings, request):
        return settings.model_copy(update={"tenants": "on"} | getattr(request, "param", {}))

    def test_a_file_is_about_the_tenant_that_is_named(self, flask_json, write, rows):
        flask_json("tenants", "add", "acme")
        file = write(users=[ADA | {"sub": "ada"}], clients=[WEB], scopes=[{"name": "x", "description": "X"}])
        seeded = flask_json("seed", file, "--tenant", "acme")
        assert [user["sub"] for user in seeded["users"]] == ["ada"]
        assert flask_json("users", "list") == flask_json("clients", "list") == []
        assert len(flask_json("users", "list", "--tenant", "acme")) == 1
        before = rows(select(User.__table__))
        assert flask_json("seed", file, "--tenant", "acme")["users"] == seeded["users"]
        assert rows(select(User.__table__)) == before

    def test_the_same_file_at_two(self, flask_json, write, rows):
        flask_json("tenants", "add", "acme")
        file = write(users=[ADA | {"sub": "ada"}], clients=[WEB | {"client_secret": "secret"}])
        for name in ("home", "acme"):
            flask_json("seed", file, "--tenant", name)
        assert rows(select(User.sub)) == [("ada",), ("ada",)]
        assert rows(select(Client.client_id)) == [("web",), ("web",)]

    def test_the_tenant_must_be_there(self, refused, write, everything):
        before = everything()
        assert "there is no tenant 'acme'" in refused("seed", write(users=[ADA]), "--tenant", "acme")
        assert everything() == before

    @pytest.mark.parametrize("settings", [{"issuer": "https://localhost:8443"}], indirect=True)
    def test_it_must_be_on_loopback_too(self, flask_json, refused, write, everything):
        flask_json("tenants", "add", "acme", "--issuer", "https://acme.example")
        before = everything()
        told = refused("seed", write(users=[ADA]), "--tenant", "acme")
        assert "seeds are for a loopback issuer only" in told
        assert everything() == before


def test_without_tenants_none_can_be_named(refused, write):
    assert "tenants are off" in refused("seed", write(users=[ADA]), "--tenant", "acme")
