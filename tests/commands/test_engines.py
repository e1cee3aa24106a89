"""Commands on each engine, and beside requests in flight: what they end must stay ended."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from flask_migrate import upgrade
from sqlalchemy import create_engine, func
from sqlalchemy.orm import Session

from app import create_app
from config import Settings
from crypto.encryption import Cipher
from database import engine_options, tenancy
from database.tenancy import HOME
from models import AuthorizationCode, Client, Token, User, db
from tests.builders import ISSUER, PASSWORD, REDIRECT_URI, SECRET_KEY, a_client, a_code, a_token, a_user
from tests.live import ENGINES, new_database
from tests.statements import delete, select, text

pytestmark = pytest.mark.long_on("mariadb")

COUNT_TOKENS = select(func.count()).select_from(Token)
WAITS_FOR_A_LOCK = {
    "postgresql": text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type"
        " = 'Lock'"
    ),
    "mariadb": text(
        "SELECT count(*) FROM information_schema.innodb_trx JOIN information_schema.processlist ON id"
        " = trx_mysql_thread_id"
        " WHERE db = database() AND trx_state = 'LOCK WAIT'"
    ),
}


@pytest.fixture(params=list(WAITS_FOR_A_LOCK))
def engine_name(request):
    """Where a reader sees what waits; on SQLite there is one writer."""
    return request.param


@pytest.fixture
def settings(engine_name, tmp_path, servers):
    """In place of the SQLite file of the other tests."""
    database_url = new_database(engine_name, tmp_path, servers)
    return Settings(issuer=ISSUER, database_url=database_url, secret_key=SECRET_KEY)


@pytest.fixture
def app(settings):
    app = create_app(settings)
    with app.app_context():
        upgrade()
    yield app
    with app.app_context():
        db.engine.dispose()


@pytest.mark.parametrize("engine_name", ENGINES)
def test_an_operators_day(flask_json, flask, refused):
    """Every command once."""
    flask_json("users", "add", "ada@example.com", "--password-stdin", input=PASSWORD)
    assert "already" in refused("users", "add", "ada@example.com", "--password-stdin", input=PASSWORD)
    flask_json("scopes", "add", "read", "--description", "Read your notes")
    assert "exists already" in refused("scopes", "add", "read", "--description", "Read your notes")
    web = flask_json("clients", "add", "Web", "--redirect-uri", REDIRECT_URI, "--scope", "read")["client_id"]
    flask_json("clients", "set", web, "--auth-method", "none", "--set", 'x_note="\\ud800"')
    assert "client_secret" in flask_json("clients", "set", web, "--auth-method", "client_secret_post")
    assert "client_secret" in flask_json("clients", "rotate-secret", web)
    flask_json("users", "set-password", "ada@example.com", "--password-stdin", input=PASSWORD)
    claims = ("--set", 'address={"country":"France"}', "--set", "phone_number=null")
    assert flask_json("users", "set", "ada@example.com", *claims)["claims"] == {
        "address": {"country": "France"}
    }
    for command in ("disable", "enable", "sign-out"):
        flask_json("users", command, "ada@example.com")
    shown = flask_json("clients", "show", web)
    assert (shown["scope"], shown["x_note"], shown["tokens"]) == ("read", "\ud800", 0)
    assert flask_json("users", "show", "ada@example.com")["disabled_at"] is None
    assert flask_json("tokens", "revoke", "--client", web) == {"codes": 0, "tokens": 0}
    assert flask_json("tokens", "revoke", "--user", "ada@example.com", "--client", web) == {
        "codes": 0,
        "tokens": 0,
    }
    signs = ("--auth-method", "client_secret_jwt", "--set", 'token_endpoint_auth_signing_alg="HS512"')
    assert "client_secret" in flask_json("clients", "set", web, *signs)
    [key] = flask_json("keys", "rotate", "--alg", "ES256")
    assert flask_json("keys", "rewrap") == {"sealed_anew": 0, "unreadable": 0}
    assert flask_json("keys", "retire", key["kid"], "--force")["kid"] == key["kid"]
    assert [key["state"] for key in flask_json("keys", "list")] == ["active"]
    assert flask_json("config", "check")["ok"] is True
    assert web in refused("scopes", "remove", "read")
    flask_json("clients", "remove", web)
    flask_json("scopes", "remove", "read")
    flask_json("users", "remove", "ada@example.com")
    assert [flask_json(noun, "list") for noun in ("users", "clients")] == [[], []]


class TestTenants:
    @pytest.fixture
    def settings(self, settings):
        return settings.model_copy(update={"tenants": "on"})

    @pytest.mark.parametrize("engine_name", ENGINES)
    def test_a_day_with_tenants(self, flask_json, refused, rows):
        for name, issuer in (("acme", ()), ("beta", ("--issuer", "https://beta.example"))):
            flask_json("tenants", "add", name, *issuer)
            new = ("ada@example.com", "--password-stdin", "--tenant", name)
            flask_json("users", "add", *new, input=PASSWORD)
            web = ("Web", "--redirect-uri", REDIRECT_URI, "--auth-method", "none")
            flask_json("clients", "add", *web, "--tenant", name)
            flask_json("keys", "rotate", "--tenant", name)
        assert "already" in refused("tenants", "add", "acme")
        assert "another issuer" in refused("tenants", "add", "more", "--issuer", "https://beta.example/more")
        assert "there is no tenant" in refused("tenants", "show", "nul\0")
        flask_json("tenants", "set", "acme", "refresh_leeway=0.5", 'branding.name="Acé 😀"')
        shown = flask_json("tenants", "show", "acme")
        assert (shown["settings"], shown["branding"]) == ({"refresh_leeway": 0.5}, {"name": "Acé 😀"})
        flask_json("tenants", "set", "acme", "refresh_leeway=null", "branding.name=null")
        assert flask_json("tenants", "show", "acme")["settings"] == {}
        for command in ("disable", "enable"):
            flask_json("tenants", command, "acme")
        found = flask_json("keys", "list", "--every-tenant")
        assert {row["tenant"] for row in found} == {"acme", "beta"}
        assert [verdict["ok"] for verdict in flask_json("config", "check", "--every-tenant")] == [True] * 3
        removed = flask_json("tenants", "remove", "acme", "--yes")["rows"]
        assert {name: removed[name] for name in ("end_user", "client", "client_origin")} == {
            "end_user": 1,
            "client": 1,
            "client_origin": 1,
        }
        assert [tenant["name"] for tenant in flask_json("tenants", "list")] == ["beta"]
        assert len(rows(select(User.tenant_id))) == len(rows(select(Client.tenant_id))) == 1

    def test_one_is_removed_after_the_request_that_has_locked_its_user(self, in_flight, flask, rows, caplog):
        """What that spends next is the tenant's: were it deleted first, each would wait for the other."""
        assert flask("tenants", "add", "acme").exit_code == 0

        def slower_exchange(session):
            yield
            session.execute(delete(AuthorizationCode))
            session.add(a_token(tenant_id=2, user_id=7))
            session.flush()

        with tenancy.entered(2):
            in_flight.seed(a_user(id=7), a_client(), a_code("code", user_id=7))
        done = in_flight.beside(slower_exchange, lambda: flask("tenants", "remove", "acme", "--yes"))
        assert (done.exit_code, "lost a race" in caplog.text) == (0, False), caplog.text
        left = [rows(select(table.tenant_id)) for table in (Token, User, Client)]
        assert left == [[], [(HOME,)], [(HOME,)]]


class InFlight:
    """A request of Ada's that holds her lock and waits, uncommitted, until a command meets it."""

    def __init__(self, database_url):
        self.engine = create_engine(database_url, **engine_options(database_url))
        self.command_has_ended = Event()

    def seed(self, *rows):
        with Session(self.engine) as session:
            for row in rows:
                session.add(row)
                session.flush()
            session.commit()

    def beside(self, request, run):
        """Run a command while `request` is in flight; returns what the command returned."""
        holds_the_lock = Event()
        with ThreadPoolExecutor(1) as pool:
            finished = pool.submit(self.send, request, holds_the_lock)
            assert holds_the_lock.wait(10)
            try:
                return run()
            finally:
                self.command_has_ended.set()
                finished.result(30)

    def send(self, request, holds_the_lock):
        with Session(self.engine) as session:
            session.execute(select(User.id).with_for_update(key_share=True))
            steps = request(session)
            next(steps)
            holds_the_lock.set()
            self.wait_until_met()
            next(steps, None)
            session.commit()

    def wait_until_met(self):
        """Until the command waits for a lock; or has ended, which is what it does when it takes none."""
        deadline = time.monotonic() + 20
        with self.engine.connect() as connection:
            while time.monotonic() < deadline and not self.command_has_ended.is_set():
                if connection.scalar(WAITS_FOR_A_LOCK[self.engine.dialect.name]):
                    return
                connection.rollback()
                time.sleep(0.12)  # MariaDB tells the same for 0.1 s, counted from when it was last asked


@pytest.fixture
def in_flight(app, settings):
    in_flight = InFlight(settings.database_url)
    in_flight.seed(a_user(), a_client())
    yield in_flight
    in_flight.engine.dispose()


def exchange(session):
    """The code is spent and the token inserted when the command comes."""
    session.execute(delete(AuthorizationCode))
    session.add(a_token())
    session.flush()
    yield


def refresh(session):
    """The old row is gone and the new one inserted when the command comes."""
    session.execute(delete(Token))
    session.add(a_token())
    session.flush()
    yield


def slow_exchange(session):
    """The code is spent when the command comes, the token inserted only later: that needs the
    client's row.
    """
    session.execute(delete(AuthorizationCode))
    yield
    session.add(a_token())
    session.flush()


@pytest.mark.long
@pytest.mark.parametrize("request_of_ada", [exchange, refresh, slow_exchange])
@pytest.mark.parametrize(
    "command",
    [
        ("users", "sign-out", "ada@example.com"),
        ("users", "set-password", "ada@example.com", "--password-stdin"),
        ("users", "disable", "ada@example.com"),
        ("users", "remove", "ada@example.com"),
        ("tokens", "revoke", "--user", "ada@example.com"),
        ("tokens", "revoke", "--client", "web"),
        ("tokens", "revoke", "--user", "ada@example.com", "--client", "web"),
        ("clients", "remove", "web"),
    ],
    ids=lambda command: " ".join(command[:3]),
)
def test_a_token_that_is_being_issued_is_ended_too(in_flight, flask, rows, request_of_ada, command):
    """Without the lock the DELETE would not see the row that a request is about to commit."""
    in_flight.seed(a_token() if request_of_ada is refresh else a_code("code"))
    done = in_flight.beside(request_of_ada, lambda: flask(*command, input=PASSWORD))
    assert done.exit_code == 0, done.stderr
    assert rows(COUNT_TOKENS) == [(0,)]


def test_two_changes_of_one_client_are_checked_one_after_the_other(in_flight, flask, rows):
    """Each alone is allowed; together they would make a public client without PKCE."""

    def switch_pkce_off(session):
        client = session.get(Client, (HOME, "web"), with_for_update={"key_share": True})
        client.require_pkce = False
        session.flush()
        yield

    done = in_flight.beside(switch_pkce_off, lambda: flask("clients", "set", "web", "--auth-method", "none"))
    assert done.exit_code == 1
    assert "--no-pkce is not for public clients" in done.stderr
    assert rows(select(Client.token_endpoint_auth_method)) == [("client_secret_basic",)]


def test_a_secret_that_is_renewed_meanwhile_is_not_sealed_over(in_flight, settings, rows):
    """Without the lock the old secret would come back, sealed anew."""
    sealed = {
        secret: Cipher([SECRET_KEY], "client secrets").encrypt(secret, "robot") for secret in (b"old", b"new")
    }

    def rotate_secret(session):
        client = session.get(Client, (HOME, "robot"), with_for_update={"key_share": True})
        client.sealed_client_secret = sealed[b"new"]
        session.flush()
        yield

    new_key = "another secret key of a server !"
    in_flight.seed(
        a_client(client_id="robot", client_secret_digest=None, sealed_client_secret=sealed[b"old"])
    )
    app = create_app(
        Settings(**{**settings.model_dump(), "secret_key": new_key, "old_secret_keys": [SECRET_KEY]})
    )
    done = in_flight.beside(rotate_secret, lambda: app.test_cli_runner().invoke(args=("keys", "rewrap")))
    with app.app_context():
        db.engine.dispose()
    assert done.exit_code == 0
    [(box,)] = rows(select(Client.sealed_client_secret).where(Client.client_id == "robot"))
    assert Cipher([new_key], "client secrets").decrypt(box, "robot") == b"new"


def test_two_changes_of_a_persons_claims_are_both_kept(in_flight, flask, rows):
    def give_a_nickname(session):
        person = session.get(User, (HOME, 1), with_for_update={"key_share": True})
        person.claims = {"nickname": "A."}
        session.flush()
        yield

    command = ("users", "set", "ada@example.com", "--set", 'gender="female"')
    assert in_flight.beside(give_a_nickname, lambda: flask(*command)).exit_code == 0
    assert rows(select(User.claims)) == [({"nickname": "A.", "gender": "female"},)]
