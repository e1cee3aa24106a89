"""The clients that a process keeps for a few seconds: what they save, how many they are, and how they end.

The apps of all other tests in memory keep none (`tests/apps.py`). Two processes on one database are in
`tests/storage/test_changed_clients.py`.
"""

import ast
import copy
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import event
from sqlalchemy.orm.exc import UnmappedInstanceError

import store.clients
from config import Settings
from crypto.credentials import digest
from errors import ConfigError
from models import Client, db
from services import client_cache, clients, seed
from services.client_cache import ClientCache
from services.current import state_of
from store.clients import ReadOnlyClient
from tests.builders import (
    AUTHORIZATION_REQUEST,
    CLIENT_SECRET,
    ISSUER,
    SECRET_KEY,
    a_client,
    a_code,
    a_machine,
    a_refresh_token,
    a_token,
    a_user,
    basic,
    code_request,
    refresh_request,
)
from tests.jose import assertion_claims, jwks, key_for, sign, with_assertion
from tests.statements import delete, update
from tests.test_house_rules import PROJECT, SOURCES
from tests.test_unit_of_work import busy, fail_commits  # noqa: F401 - a fixture
from unit_of_work import run_in_app, transaction

SECONDS = 5
NEW_SECRET = "ost_cs_" + "n" * 43
FROM_CLIENT = "FROM client \nWHERE"
MACHINE = {"grant_type": "client_credentials"}


def settings_with(**own):
    return Settings(issuer=ISSUER, database_url="sqlite://", secret_key=SECRET_KEY, **own)


@pytest.fixture(scope="session")
def settings():
    return settings_with(client_cache_lifetime=SECONDS)


@pytest.fixture
def cache(app):
    return state_of(app).client_cache


@pytest.fixture
def pass_time(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(client_cache, "monotonic", lambda: now[0])

    def pass_time(seconds):
        now[0] += seconds

    return pass_time


@pytest.fixture
def elsewhere(app):
    """Change the row of a client as another process does: this one hears nothing of it."""

    def elsewhere(client_id, **columns):
        with app.app_context():
            db.session.execute(update(Client).where(Client.client_id == client_id).values(columns))
            db.session.commit()

    return elsewhere


@pytest.fixture
def token(http):
    """Ask for a token of the machine."""
    return lambda secret=CLIENT_SECRET: http.post("/oauth/token", data=MACHINE, auth=basic("robot", secret))


# ---- what is saved -----------------------------------------------------------------------------------------

ACCESS_TOKEN = "ost_at_" + "a" * 43


def bearer():
    return {"Authorization": f"Bearer {ACCESS_TOKEN}"}


READERS = {
    "code": lambda http: http.post("/oauth/token", data=code_request("one"), auth=basic()),
    "refresh": lambda http: http.post("/oauth/token", data=refresh_request(REFRESH_TOKEN), auth=basic()),
    "client credentials": lambda http: http.post("/oauth/token", data=MACHINE, auth=basic("robot")),
    "introspection": lambda http: http.post("/oauth/introspect", data={"token": "x"}, auth=basic()),
    "revocation": lambda http: http.post("/oauth/revoke", data={"token": "x"}, auth=basic()),
    "userinfo": lambda http: http.get("/oauth/userinfo", headers=bearer()),
}
REFRESH_TOKEN = a_refresh_token()


@pytest.fixture
def rows_of_readers(seed):
    openid = "openid profile email"
    used = {"used_at": 1, "scope": openid, "access_token_scope": openid}
    seed(a_user(), a_client(scope=openid), a_machine(), a_code("one"))
    seed(a_token(REFRESH_TOKEN, **used, access_token_digest=digest(ACCESS_TOKEN)))


@pytest.mark.parametrize("name", READERS)
def test_a_client_that_is_known_costs_no_statement(name, http, cache, app, statements, rows_of_readers):
    with app.app_context():
        assert cache.find("web") and cache.find("robot")
    statements.clear()
    assert READERS[name](http).status_code == 200
    assert not [sql for sql in statements if FROM_CLIENT in sql]


@pytest.mark.parametrize("name", READERS)
def test_a_client_that_is_not_known_costs_one(name, http, statements, rows_of_readers):
    statements.clear()
    assert READERS[name](http).status_code == 200
    assert len([sql for sql in statements if FROM_CLIENT in sql]) == 1


def test_the_authorization_endpoint_reads_the_row(http, token, cache, app, elsewhere, statements, seed):
    seed(a_user(), a_client())
    with app.app_context():
        assert cache.find("web")
    elsewhere("web", redirect_uris=["https://new.example/cb"])
    assert http.get("/oauth/authorize", query_string=AUTHORIZATION_REQUEST).status_code == 400
    asked = AUTHORIZATION_REQUEST | {"redirect_uri": "https://new.example/cb"}
    assert http.get("/oauth/authorize", query_string=asked).status_code == 303


# ---- what is kept, and for how long ------------------------------------------------------------------------


def test_it_is_read_again_after_a_while(seed, token, elsewhere, statements, pass_time):
    seed(a_machine())
    assert token().status_code == 200
    elsewhere("robot", scope="read write")
    pass_time(SECONDS - 0.1)
    assert token().json["scope"] == "read"
    pass_time(0.1)
    assert token().json["scope"] == "read write"


@pytest.mark.parametrize("settings", [settings_with()])
def test_it_can_be_switched_off(seed, token, elsewhere, cache, settings):
    """As `tests/apps.py` does it."""
    assert settings.client_cache_lifetime == timedelta(seconds=SECONDS)
    seed(a_machine())
    assert token().status_code == 200
    elsewhere("robot", scope="read write")
    assert token().json["scope"] == "read write"
    assert not cache._kept


@pytest.mark.parametrize("seconds", ["-1", "61", "soon"])
def test_no_row_is_kept_for_long(seconds):
    with pytest.raises(ConfigError, match="OSTIARY_CLIENT_CACHE_LIFETIME"):
        settings_with(client_cache_lifetime=seconds)


def test_an_unknown_client_is_not_kept(seed, token, cache):
    assert token().status_code == 401
    assert not cache._kept
    seed(a_machine())
    assert token().status_code == 200


def test_only_so_many_are_kept(app, seed, cache, monkeypatch):
    monkeypatch.setattr(client_cache, "MAXIMUM_CLIENTS", 3)
    seed(*(a_machine(client_id=name) for name in "abcd"))
    with app.app_context():
        for name in "abc":
            cache.find(name)
        cache.find("a")  # to use it keeps it no longer, to read it does
        cache.read("b")
        cache.find("d")
    assert [client_id for _tenant, client_id in cache._kept] == ["c", "b", "d"]


# ---- it is only read ---------------------------------------------------------------------------------------


def test_it_cannot_be_changed_or_stored(app, seed, cache):
    seed(a_client())
    with app.app_context():
        known = cache.find("web")
        with pytest.raises(AttributeError, match="lock the client's row"):
            known.scope = "everything"
        with pytest.raises(UnmappedInstanceError):
            db.session.add(known)
        assert not db.session.identity_map and not db.session.new


def test_it_has_every_column_of_its_row(app, seed, cache):
    seed(a_client(extra_metadata={"client_uri": "https://app.example"}))
    with app.app_context():
        known, row = cache.find("web"), store.clients.find("web")
        columns = {name: getattr(row, name) for name in Client.__table__.columns.keys()}
        assert vars(known) == columns
        assert known.member("client_uri") == row.member("client_uri")


def test_no_request_changes_it(app, http, cache, seed, rows_of_readers):
    key, names = key_for("ES256"), ("web", "robot", "signer")
    signs = {"token_endpoint_auth_method": "private_key_jwt", "extra_metadata": {"jwks": jwks(key)}}
    seed(a_machine(client_id="signer", client_secret_digest=None, **signs))
    with app.app_context():
        known = [cache.find(name) for name in names]
    before = copy.deepcopy([vars(client) for client in known])
    for ask in READERS.values():
        ask(http)
    assertion = sign(assertion_claims(iss="signer", sub="signer"), key)
    assert http.post("/oauth/token", data=with_assertion(assertion, **MACHINE)).status_code == 200
    assert [vars(client) for client in known] == before
    with app.app_context():
        assert list(map(id, map(cache.find, names))) == list(map(id, known))


# ---- a change in this process ------------------------------------------------------------------------------


def a_new_seed():
    return seed.NewClient("robot", CLIENT_SECRET, {"client_name": "R", "grant_types": ["client_credentials"]})


CHANGES = {
    "change": lambda: clients.change("robot", {"client_name": "Robot"}),
    "rotate": lambda: clients.rotate_secret("robot"),
    "rotate with an overlap": lambda: clients.rotate_secret("robot", 60),
    "seed": lambda: seed.put_client(a_new_seed()),
    "remove": lambda: clients.remove("robot"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_this_process_changes_it_forgets(name, app, seed, token, cache):
    seed(a_machine())
    assert token().status_code == 200
    run_in_app(app, CHANGES[name])
    assert not cache._kept
    assert token().status_code == (401 if name in ("rotate", "remove") else 200)


def test_a_change_that_is_undone_forgets_nothing(app, seed, token, cache):
    seed(a_machine())
    assert token().status_code == 200
    known = dict(cache._kept)
    with app.app_context(), pytest.raises(ZeroDivisionError), transaction():
        clients.rotate_secret("robot")
        1 / 0  # noqa: B018
    assert cache._kept == known
    assert token().status_code == 200


def test_it_is_forgotten_after_the_commit_and_not_before(app, seed, cache):
    seed(a_machine())
    with app.app_context():
        known = cache.find("robot")
        with transaction():
            clients.rotate_secret("robot")
            assert cache.find("robot") is known  # another request would only read the old row again
        assert cache.find("robot") != known


@pytest.mark.threat("T207")
def test_what_was_read_before_a_change_is_not_kept_after_it(app, seed, cache):
    seed(a_machine())

    def change_meanwhile(connection, cursor, sql, *rest):
        if FROM_CLIENT in sql:
            cache.forget(1, "robot")

    with app.app_context():
        event.listen(db.engine, "after_cursor_execute", change_meanwhile)
        assert cache.find("robot") is not None
        assert not cache._kept
        event.remove(db.engine, "after_cursor_execute", change_meanwhile)


def test_a_slow_reader_does_not_put_back_what_was_read_earlier(app, seed, cache, pass_time, monkeypatch):
    seed(a_machine())
    read, newer = store.clients.find_read_only, []

    def slow(client_id):
        old = read(client_id)
        monkeypatch.setattr(store.clients, "find_read_only", read)
        pass_time(1)
        newer.append(cache.read(client_id))
        return old

    monkeypatch.setattr(store.clients, "find_read_only", slow)
    with app.app_context():
        assert cache.find("robot") is not newer[0]
        assert cache.find("robot") is newer[0]


def test_a_lost_race_reads_it_again(app, seed, token, elsewhere, fail_commits):  # noqa: F811
    seed(a_machine())
    assert token().status_code == 200
    elsewhere("robot", scope="read write")
    fail_commits(busy())
    assert token().json["scope"] == "read write"


WRITERS = {("services/clients.py", name) for name in ("find_and_lock", "register", "remove")}
WRITERS |= {("services/seed.py", "put_client"), ("testing/races/testbed.py", "client")}


def test_whoever_changes_a_client_lets_it_be_forgotten():
    """`put_client` locks first by `find_and_lock`; the testbed of races makes new clients only."""
    found = set()
    for path in SOURCES:
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef):
                called = {ast.unparse(node.func) for node in ast.walk(function) if isinstance(node, ast.Call)}
                if called & {f"store.clients.{name}" for name in ("lock", "add", "remove")}:
                    found.add((str(path.relative_to(PROJECT)), function.name))
    assert found == WRITERS


# ---- a change elsewhere ------------------------------------------------------------------------------------


def test_an_old_secret_is_good_for_a_moment_and_a_new_one_at_once(seed, token, elsewhere, pass_time):
    seed(a_machine())
    assert token().status_code == 200
    elsewhere("robot", client_secret_digest=digest(NEW_SECRET))
    assert token().status_code == 200
    assert token(NEW_SECRET).status_code == 200
    assert token().status_code == 401  # the new row is known now


def test_without_the_new_secret_the_old_one_ends_by_itself(seed, token, elsewhere, pass_time):
    seed(a_machine())
    assert token().status_code == 200
    elsewhere("robot", client_secret_digest=digest(NEW_SECRET))
    pass_time(SECONDS)
    assert token().status_code == 401


@pytest.mark.threat("T207")
def test_a_key_that_a_client_adds_is_good_at_once(http, app, seed, elsewhere):
    def ask(key):
        claims = assertion_claims(iss="robot", sub="robot")
        return http.post("/oauth/token", data=with_assertion(sign(claims, key, kid=key.kid), **MACHINE))

    old, new = key_for("ES256", "a"), key_for("ES256", "b")
    by_key = {"token_endpoint_auth_method": "private_key_jwt", "client_secret_digest": None}
    seed(a_machine(**by_key, extra_metadata={"jwks": jwks(old)}))
    assert ask(old).status_code == 200
    elsewhere("robot", extra_metadata={"jwks": jwks(new)})
    assert ask(new).status_code == 200
    assert ask(old).status_code == 401


def test_a_wrong_secret_reads_the_row_and_is_counted_once(http, seed, token, statements, rows):
    seed(a_machine())
    assert token().status_code == 200
    statements.clear()
    assert token("wrong").status_code == 401
    assert len([sql for sql in statements if FROM_CLIENT in sql]) == 1
    assert len([sql for sql in statements if sql.startswith("INSERT INTO throttle")]) == 1


def test_a_client_that_is_gone_is_unknown_after_one_wrong_secret(app, seed, token, cache):
    seed(a_machine())
    assert token().status_code == 200
    with app.app_context():
        db.session.execute(delete(Client))
        db.session.commit()
    assert token("wrong").status_code == 401
    assert not cache._kept


# ---- threads -----------------------------------------------------------------------------------------------


def test_threads_share_it(monkeypatch):
    """Readers, and threads that change and forget: none fails, none sees what was forgotten before it asked,
    and the bound holds.
    """
    monkeypatch.setattr(client_cache, "MAXIMUM_CLIENTS", 3)
    stored = dict.fromkeys("abcdef", 0)
    monkeypatch.setattr(
        store.clients, "find_read_only", lambda client_id: ReadOnlyClient({"scope": stored[client_id]})
    )
    cache, one_writer, begin = ClientCache(timedelta(seconds=60)), threading.Lock(), threading.Barrier(6)

    def read():
        begin.wait()
        for _ in range(3_000):
            for client_id in "abcdef":
                least = stored_and_forgotten[client_id]
                assert cache.find(client_id).scope >= least
                assert len(cache._kept) <= 3 + 1  # one that is about to go

    def write():
        begin.wait()
        for number in range(3_000):
            client_id = "abcdef"[number % 6]
            with one_writer:
                stored[client_id] += 1
                now = stored[client_id]
                cache.forget(1, client_id) if number % 50 else cache.clear()
                stored_and_forgotten[client_id] = now

    stored_and_forgotten = dict(stored)
    with ThreadPoolExecutor(6) as threads:
        for done in [threads.submit(work) for work in (read, read, read, read, write, write)]:
            done.result()
