"""Which issuer an address is of: whole names only, and nothing is made from what is not known."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from errors import StorageBusyError
from models import Tenant, db
from services import tenant_registry, tenants
from services.current import state_of
from services.tenant_state import entered
from tests.pages.steps import page
from tests.statements import update
from tests.tenants.conftest import in_memory
from tests.tenants.issuers import add_tenant
from unit_of_work import run_in_app

HOME_HOST = "op.example"
WHOSE = "/.well-known/openid-configuration"


@pytest.fixture
def app(apps, first_rows, stopped_clock):
    with in_memory(apps, first_rows) as app:
        add_tenant(app, "acme")
        add_tenant(app, "beta", "https://beta.example:8443")
        yield app


@pytest.fixture
def ask(app):
    """A request at any Host, and a path that is sent as it is written."""

    def ask(path, host=HOME_HOST, method="GET", **headers):
        overrides = {"HTTP_HOST": host, "RAW_URI": path}
        client = app.test_client()
        return client.open(
            path, method=method, base_url="https://op.example", environ_overrides=overrides, headers=headers
        )

    return ask


def as_home(app, work):
    with entered(state_of(app).home):
        return run_in_app(app, work)


def reads_of_tenants(app):
    """The statements that read the tenants, from now on."""
    seen = []
    with app.app_context():
        event.listen(
            db.engine,
            "before_cursor_execute",
            lambda connection, cursor, sql, *rest: seen.append(sql) if "FROM tenant" in sql else None,
        )
    return seen


def wait_a_second(app):
    """What was read is older than a second from now on."""
    state = state_of(app).tenants
    state._snapshot = state._snapshot._replace(read_at=state._snapshot.read_at - 1.1)


# ---- hosts -------------------------------------------------------------------------------------------------


@pytest.mark.threat("T204")
@pytest.mark.parametrize(
    "host", ["op.example", "OP.Example", "op.example:443", "op.example:", "%6fp.example"]
)
def test_spellings_of_homes_host(ask, host):
    assert ask(WHOSE, host).json["issuer"] == "https://op.example"
    assert ask(f"/t/acme{WHOSE}", host).json["issuer"] == "https://op.example/t/acme"


@pytest.mark.threat("T204")
@pytest.mark.parametrize("host", ["beta.example:8443", "BETA.example:8443", "beta.example:08443"])
def test_spellings_of_a_tenants_host(ask, host):
    assert ask(WHOSE, host).json["issuer"] == "https://beta.example:8443"
    for path in ("/t/acme/login", f"/t/acme{WHOSE}", f"{WHOSE}/t/acme", "/t/beta/login"):
        assert ask(path, host).status_code == 404


@pytest.mark.threat("T204")
@pytest.mark.parametrize(
    "host",
    [
        *(
            "",
            "evil.example",
            "op.example.",
            "op.example:8443",
            "op.example:80",
            "acme.op.example",
            "localhost",
        ),
        *(
            "beta.example",
            "beta.example:443",
            "beta.example.:8443",
            "beta.example:8443.",
            "127.0.0.1",
            "[::1]",
        ),
        *(
            "op.example@evil.example",
            "evil.example/op.example",
            "op.example, beta.example:8443",
            "op.example#",
        ),
        *(
            "op.example:99999",
            "op.example:4 43",
            "o\u0440.example".encode().decode("latin-1"),
        ),
        "a" * 5000,
    ],
)
def test_another_host(ask, host):
    """Refused as it is without tenants, whatever the path; health is asked under any."""
    for path in ("/login", WHOSE, "/t/acme/login", f"/t/acme{WHOSE}", "/t/nobody/login"):
        answer = ask(path, host)
        assert answer.status_code == 400, path
        assert "Set-Cookie" not in answer.headers
        assert "acme" not in answer.text or "/t/acme" in path
    assert ask("/healthz", host).status_code == 200


# ---- paths -------------------------------------------------------------------------------------------------


@pytest.mark.threat("T204")
@pytest.mark.parametrize(
    "path",
    [
        *("/t", "/t/", "/t//acme", "/t//acme/login", "//t/acme/login", "/T/acme/login", "/t/ACME/login"),
        *("/t/Acme/login", "/t/acme%2Flogin", "/t%2Facme/login", "/t/acme%2F..", "/t/acme/../login"),
        *(
            "/t/./acme/login",
            "/t/acme/./login",
            "/t/acme//login",
            "/t/acme.",
            "/t/acme./login",
            "/t/acme /login",
        ),
        *("/t/acme%00/login", "/t/acme%20/login", "/t/ac%6De%2e/login", "/t/acme;x/login", "/t/nobody"),
        *("/t/nobody/", "/t/nobody/login", "/t/home/login", "/t/home", "/t/beta/login", "/t/1/login", "/t/-"),
        *(
            "/t/acme/t/acme/login",
            "/t/acme/t/home/login",
            "/t/acme\\login",
            "/t/%C3%A4/login",
            "/t/%FF/login",
        ),
        "/t/" + "a" * 5000,
    ],
)
def test_no_page_of_anybody(ask, path):
    for method in ("GET", "POST", "OPTIONS"):
        answer = ask(path, method=method)
        assert answer.status_code == 404, method
        assert "Set-Cookie" not in answer.headers
    assert page(ask(path)).headings == ["Nothing here"]


def test_an_encoded_name_is_the_name(ask):
    """RFC 3986 §6.2.2.2: %61 is the letter a."""
    assert ask(f"/t/%61cme{WHOSE}").json["issuer"] == "https://op.example/t/acme"


@pytest.mark.parametrize("name", ["nobody", "ACME", "acme.", "home", "beta", "", "%00", "%FF", "a" * 300])
def test_a_program_gets_json(ask, name):
    for path in ("/oauth/token", "/oauth/jwks", "/oauth/userinfo", WHOSE, "/api/me"):
        for method in ("GET", "POST"):
            answer = ask(f"/t/{name}{path}", method=method)
            assert (answer.status_code, answer.mimetype) == (404, "application/json"), path
    if name:
        answer = ask(f"{WHOSE}/t/{name}")
        assert (answer.status_code, answer.mimetype) == (404, "application/json")


def test_the_issuer_itself_is_its_home_page(ask):
    assert ask("/t/acme").text == ask("/t/acme/").text
    assert page(ask("/t/acme/login")).links["Create an account"] == "/t/acme/signup?next="


@pytest.mark.threat("T204")
@pytest.mark.parametrize(("path", "name"), [("/t/acme", "acme"), ("", "beta")])
def test_disabled(app, ask, path, name):
    host = "beta.example:8443" if name == "beta" else HOME_HOST
    assert ask(f"{path}/login", host).status_code == 200
    as_home(app, lambda: tenants.disable(name))
    state_of(app).tenants.forget()
    for address in (f"{path}/login", f"{path}/", f"{path}{WHOSE}", f"{path}/oauth/token"):
        answer = ask(address, host)
        assert answer.status_code == 404 and "Set-Cookie" not in answer.headers
        assert answer.mimetype == ("text/html" if address.endswith(("/", "login")) else "application/json")
    assert ask("/login").status_code == 200
    as_home(app, lambda: tenants.enable(name))
    state_of(app).tenants.forget()
    assert ask(f"{path}/login", host).status_code == 200


# ---- bounded work ------------------------------------------------------------------------------------------


@pytest.mark.threat("T204")
def test_the_rows_are_read_at_most_once_a_second(app, ask):
    ask("/t/acme/login")
    reads = reads_of_tenants(app)
    began = time.monotonic()
    for number in range(60):
        ask(f"/t/nobody{number}/login")
        ask(f"{WHOSE}/t/nobody{number}")
        ask("/login", f"host{number}.example")
    assert len(reads) <= time.monotonic() - began + 1
    wait_a_second(app)
    reads.clear()
    ask("/t/nobody/login")
    ask("/t/nobody/login")
    assert len(reads) == 1


def test_home_and_health_read_nothing(app, ask):
    reads = reads_of_tenants(app)
    for path in ("/", "/login", WHOSE, "/oauth/jwks", "/t", "/nowhere", "/healthz"):
        ask(path)
    assert reads == []
    ask("/healthz", "evil.example")
    assert reads == []


def test_what_was_just_added_is_found(app, ask):
    assert ask("/t/late/login").status_code == 404
    add_tenant(app, "late")
    wait_a_second(app)
    assert ask("/t/late/login").status_code == 200


def test_so_many_states_are_kept(app, ask, monkeypatch):
    monkeypatch.setattr(tenant_registry, "KEPT", 3)
    names = [f"a{number}" for number in range(6)]
    for name in names:
        add_tenant(app, name)
    state_of(app).tenants.forget()
    for name in [*names, *names[::-1]]:
        assert ask(f"/t/{name}{WHOSE}").json["issuer"].endswith(f"/t/{name}")
        assert len(state_of(app).tenants._states) <= 3


# ---- what is stored cannot be used -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stored",
    [
        {"max_sessions": "many"},
        {"signup": "ajar"},
        {"secret_key": "x" * 32},
        {"issuer": "https://x.example"},
        {"no_more": 1},
    ],
)
def test_settings_that_are_not_valid_any_more(app, ask, stored, caplog):
    """They were when they were stored; this version knows better. Nobody else suffers."""
    change(app, "settings", stored)
    for path in (*OF_USERS, *OF_PROGRAMS):
        is_unserved(ask(f"/t/acme{path}"), path)
    is_unserved(ask(f"{WHOSE}/t/acme"), WHOSE)
    reasons = [record.message for record in caplog.records if record.name == "ostiary.error_responses"]
    assert len(reasons) == len(OF_USERS) + len(OF_PROGRAMS) + 1
    assert all(text.startswith("a tenant cannot be served: tenant acme: ") for text in reasons)
    assert next(iter(stored)) in reasons[0]
    refusals = [record.fields for record in caplog.records if record.name == "ostiary.events"]
    assert {fields["reason"] for fields in refusals} == {"tenant_unavailable"}
    for path, host in (("/login", HOME_HOST), ("/login", "beta.example:8443"), ("/healthz", HOME_HOST)):
        assert ask(path, host).status_code == 200
    change(app, "settings", {})
    assert ask("/t/acme/login").status_code == 200


OF_USERS = ("/", "/login", "/oauth/authorize", "/nowhere")
OF_PROGRAMS = ("/oauth/token", "/oauth/userinfo", "/oauth/introspect", "/oauth/jwks", "/api/me", WHOSE)


def is_unserved(answer, path):
    """503 as it is answered everywhere: as JSON for programs, as a page for users; and nothing of home."""
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5"), path
    assert answer.headers["Cache-Control"] == "no-store"
    assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["Request-Id"])
    assert "Set-Cookie" not in answer.headers
    if path in OF_PROGRAMS:
        assert answer.json["error"] == "temporarily_unavailable"
    else:
        assert page(answer).headings == ["Back in a moment"]
        assert page(answer).links["Try again"] == answer.request.path
    assert ("Access-Control-Allow-Origin" in answer.headers) == (path in (WHOSE, "/oauth/jwks"))


def change(app, column, value):
    """Change a column of acme, behind the back of everybody."""
    with app.app_context():
        db.session.execute(update(Tenant).where(Tenant.name == "acme").values({column: value}))
        db.session.commit()
    state_of(app).tenants.forget()


# ---- the database is away ----------------------------------------------------------------------------------


@pytest.fixture
def away(app, away_from):
    return away_from(app)


def test_the_database_is_away_at_the_first_look_up(ask, away):
    away(True)
    for path in (*OF_USERS, *OF_PROGRAMS):
        is_unserved(ask(f"/t/acme{path}"), path)
        is_unserved(ask(path, "beta.example:8443"), path)
    is_unserved(ask("/t/acme/oauth/token", method="POST"), "/oauth/token")
    is_unserved(ask("/t/acme/login", method="POST"), "/login")
    assert ask("/healthz").status_code == 200
    assert ask("/login").status_code == 200
    away(False)
    assert ask("/t/acme/login").status_code == 200


def test_those_who_wait_for_a_read_that_fails_do_not_try_again(app):
    """Else each of them would wait for the database once more, one after the other."""
    known, tries, barrier = state_of(app).tenants, [], Barrier(8)

    def fail():
        tries.append(1)
        time.sleep(0.3)
        raise OperationalError("", {}, Exception("the database is away"))

    def look_up(_):
        barrier.wait(10)
        with pytest.raises((OperationalError, StorageBusyError)):
            known.find(HOME_HOST, "/t/acme/login")

    known._read = fail
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(look_up, range(8)))
    assert len(tries) == 1


def test_the_database_goes_away_later(app, ask, away):
    """What is known stays known, and what is not known is not there."""
    ask("/t/acme/login")
    away(True)
    wait_a_second(app)
    assert ask("/t/nobody/login").status_code == 404
    assert ask("/t/acme/login").status_code == 200
