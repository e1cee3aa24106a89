"""Delivery of logout tokens: what is in them, what clients may answer, when it is tried again, and that one
holds up no other.
"""

import logging
import subprocess
import sys
import time

import pytest
from flask import has_app_context
from flask_migrate import upgrade
from joserfc import jwt
from joserfc.jwk import KeySet
from sqlalchemy import func

import store.users
from app import create_app
from config import Settings
from database.tenancy import HOME
from models import Client, LogoutNotice, db
from outbound import http_client, logout_delivery
from protocol import clock
from services.current import state_of
from services.sessions import revoke_sessions
from store import logout_notices
from store.logout_notices import ATTEMPT_SECONDS, ATTEMPTS, UNFINISHED, Priority, claim_due
from tests.builders import ISSUER, SECRET_KEY, a_client, a_client_session, a_notice, a_session, a_user
from tests.live import PROJECT, free_port
from tests.receiver import receiving
from tests.statements import select, update
from unit_of_work import transaction

pytestmark = pytest.mark.long_on("mariadb")

RESULT = select(LogoutNotice.attempts, LogoutNotice.outcome, LogoutNotice.next_attempt_at)
STATES = select(LogoutNotice.delivered_at.is_not(None), LogoutNotice.next_attempt_at.is_not(None))


@pytest.fixture(scope="module")
def settings():
    return Settings(
        issuer=ISSUER, database_url="sqlite://", secret_key=SECRET_KEY, allow_private_addresses=True
    )


@pytest.fixture
def receiver(integration):
    with receiving() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def no_jitter(monkeypatch):
    monkeypatch.setattr(logout_delivery, "JITTER", 0)


@pytest.fixture
def deliver(app):
    """Make the attempts that are due; how many they were."""
    return lambda: state_of(app).delivery.sender.deliver_due()


def a_told_client(address, client_id="web", **members):
    return a_client(client_id=client_id, extra_metadata={"backchannel_logout_uri": address} | members)


def verified(token, keys, alg="RS256"):
    return jwt.decode(token, KeySet.import_key_set(keys), algorithms=[alg])


# ---- the token ---------------------------------------------------------------------------------------------


@pytest.mark.threat("T114")
@pytest.mark.parametrize("alg", ["RS256", "ES256"])
def test_the_logout_token_is_what_the_specification_says(http, seed, deliver, receiver, sleep, alg):
    """Back-Channel Logout §2.4."""
    seed(a_user(), a_told_client(receiver.url("200"), id_token_signed_response_alg=alg), a_notice())
    assert deliver() == 1
    [received] = receiver.received
    assert received.content_type == "application/x-www-form-urlencoded"
    assert list(received.form) == ["logout_token"]
    token = verified(received.token, http.get("/oauth/jwks").json, alg)
    assert token.header["typ"] == "logout+jwt"
    assert set(token.header) == {"typ", "alg", "kid"}
    assert len(token.claims.pop("jti")) == 22
    assert token.claims == {
        "iss": ISSUER,
        "sub": "sub-of-ada",
        "aud": "web",
        "iat": clock.now(),
        "exp": clock.now() + 120,
        "sid": "sid-1",
        "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
    }


@pytest.mark.threat("T114")
def test_each_attempt_has_a_token_of_its_own(http, seed, deliver, receiver, sleep):
    seed(a_user(), a_told_client(receiver.url("500")), a_notice())
    deliver()
    sleep(5)
    deliver()
    first, second = [
        verified(received.token, http.get("/oauth/jwks").json).claims for received in receiver.received
    ]
    assert first["jti"] != second["jti"]
    assert second["iat"] - first["iat"] == 5


# ---- what clients answer -----------------------------------------------------------------------------------


@pytest.mark.threat("T114")
@pytest.mark.parametrize("status", [200, 204])
def test_a_client_that_has_taken_it_is_not_told_again(seed, rows, deliver, receiver, sleep, status):
    seed(a_user(), a_told_client(receiver.url(status)), a_notice())
    assert deliver() == 1
    assert rows(RESULT) == [(1, f"answered {status}", None)]
    assert rows(select(LogoutNotice.delivered_at)) == [(clock.now(),)]
    sleep(7200)
    assert deliver() == 0


@pytest.mark.threat("T114")
@pytest.mark.parametrize("status", [201, 202, 301, 400, 401, 404, 429, 500, 503])
def test_any_other_answer_is_a_failure_and_tried_again(seed, rows, deliver, receiver, sleep, status):
    seed(a_user(), a_told_client(receiver.url(status)), a_notice())
    deliver()
    assert rows(RESULT) == [(1, f"answered {status}", clock.now() + 5)]
    assert rows(STATES) == [(False, True)]


@pytest.mark.threat("T114")
def test_a_redirect_is_not_followed(seed, rows, deliver, receiver):
    seed(a_user(), a_told_client(receiver.url("redirect")), a_notice())
    deliver()
    assert [received.path for received in receiver.received] == ["/redirect"]
    assert rows(select(LogoutNotice.outcome)) == [("answered 302",)]


@pytest.mark.threat("T114")
def test_a_huge_answer_is_not_read(seed, rows, deliver, receiver):
    seed(a_user(), a_told_client(receiver.url("huge")), a_notice())
    deliver()
    assert rows(select(LogoutNotice.outcome)) == [("answered 200",)]
    assert receiver.sent_kibibytes < 8 * 1024  # what the kernel's buffers hold, of 10 MiB


@pytest.mark.threat("T114")
def test_a_client_that_never_answers_is_left_after_a_while(seed, rows, deliver, receiver, monkeypatch):
    monkeypatch.setattr(http_client, "SECONDS", 0.3)
    seed(a_user(), a_told_client(receiver.url("hang")), a_notice())
    started = time.monotonic()
    deliver()
    assert time.monotonic() - started < 2
    assert rows(STATES) == [(False, True)]
    assert rows(select(LogoutNotice.outcome)) == [("it took too long",)]


@pytest.mark.integration
def test_a_client_that_is_not_there(seed, rows, deliver):
    seed(a_user(), a_told_client(f"http://127.0.0.1:{free_port()}/"), a_notice())
    deliver()
    assert rows(STATES) == [(False, True)]
    assert rows(select(LogoutNotice.outcome)) == [("the connection failed",)]


@pytest.mark.threat("T114")
@pytest.mark.parametrize(
    "settings", [Settings(issuer=ISSUER, database_url="sqlite://", secret_key=SECRET_KEY)], ids=["production"]
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_private_addresses_are_not_called(seed, rows, deliver, receiver, scheme):
    seed(a_user(), a_told_client(receiver.url("200").replace("http", scheme, 1)), a_notice())
    deliver()
    assert receiver.received == []
    assert rows(STATES) == [(False, True)]


# ---- again, and given up -----------------------------------------------------------------------------------


@pytest.mark.threat("T114")
def test_six_attempts_in_about_an_hour_and_then_no_more(seed, rows, deliver, receiver, sleep):
    seed(a_user(), a_told_client(receiver.url("503")), a_notice())
    begun_at = clock.now()
    assert deliver() == 1
    for attempt, pause in enumerate((5, 30, 120, 600, 2_700), start=2):
        sleep(pause - 1)
        assert deliver() == 0
        sleep(1)
        assert deliver() == 1
        assert rows(select(LogoutNotice.attempts)) == [(attempt,)]
    assert clock.now() - begun_at == 3_455
    assert rows(RESULT) == [(ATTEMPTS, "answered 503", None)]
    assert rows(STATES) == [(False, False)]
    sleep(7 * 24 * 3600)
    assert deliver() == 0
    assert len(receiver.received) == ATTEMPTS


def test_a_client_that_comes_back_is_told(seed, rows, deliver, receiver, sleep, app):
    seed(a_user(), a_told_client(receiver.url("500")), a_notice())
    deliver()
    with app.app_context(), transaction():
        db.session.execute(
            update(Client).values(extra_metadata={"backchannel_logout_uri": receiver.url("204")})
        )
    sleep(5)
    assert deliver() == 1
    assert rows(RESULT) == [(2, "answered 204", None)]


def test_pauses_differ_a_little(monkeypatch):
    monkeypatch.setattr(logout_delivery, "JITTER", 0.2)
    drawn = [logout_delivery.with_jitter() for _time in range(200)]
    assert 0.8 <= min(drawn) < 0.9
    assert 1.1 < max(drawn) <= 1.2


def test_a_client_that_wants_to_be_told_no_more(seed, rows, deliver):
    seed(a_user(), a_client(), a_notice())
    assert deliver() == 1
    assert rows(RESULT) == [(1, "the client has no address for it", None)]


def test_a_client_is_told_of_a_person_who_was_removed(app, seed, rows, deliver, receiver):
    seed(a_user(), a_told_client(receiver.url("200")), a_session(), a_client_session())
    with app.app_context(), transaction():
        revoke_sessions(1)
        store.users.remove(1)
    assert deliver() == 1
    assert rows(select(LogoutNotice.user_id, LogoutNotice.outcome)) == [(None, "answered 200")]


def test_an_attempt_whose_process_died_is_made_again(app, seed, rows, deliver, receiver, sleep):
    seed(a_user(), a_told_client(receiver.url("200")), a_notice())
    with app.app_context(), transaction():
        claim_due(clock.now(), 10)
    assert deliver() == 0
    sleep(ATTEMPT_SECONDS)
    assert deliver() == 1
    assert rows(RESULT) == [(2, "answered 200", None)]


def test_the_last_attempt_is_the_last_even_when_its_process_died(app, seed, rows, deliver, sleep):
    seed(a_user(), a_client(), a_notice(attempts=ATTEMPTS - 1))
    with app.app_context(), transaction():
        claim_due(clock.now(), 10)
    sleep(24 * 3600)
    assert deliver() == 0
    assert rows(RESULT) == [(ATTEMPTS, UNFINISHED, None)]


def test_a_late_result_does_not_undo_that_of_a_newer_attempt(app, seed, rows, sleep):
    seed(a_user(), a_client(), a_notice())
    with app.app_context(), transaction():
        [lost] = claim_due(clock.now(), 10)
        sleep(ATTEMPT_SECONDS)
        [newer] = claim_due(clock.now(), 10)
        assert logout_notices.record(newer.id, newer.attempts, "answered 200", delivered_at=clock.now())
        assert not logout_notices.record(
            lost.id, lost.attempts, "it took too long", next_attempt_at=clock.now() + 5
        )
    assert rows(RESULT) == [(2, "answered 200", None)]


@pytest.mark.threat("T114")
def test_nothing_of_it_is_logged_but_the_client_and_the_outcome(seed, deliver, receiver, caplog):
    caplog.set_level(logging.DEBUG)
    seed(a_user(), a_told_client(receiver.url("400")), a_notice())
    deliver()
    [received] = receiver.received
    assert "notice of logout: client_id=web attempt=1 outcome=answered 400" in caplog.text
    assert received.token.rpartition(".")[2] not in caplog.text
    assert "sid-1" not in caplog.text


@pytest.mark.threat("T114")
def test_no_transaction_is_open_while_a_client_is_waited_for(app, seed, deliver, statements):
    class Network:
        def post(self, url, form):
            assert not has_app_context()  # and so no session of the database
            assert statements[-1] == "COMMIT"
            return 200

    state_of(app).delivery.sender.http_client = Network()
    seed(a_user(), a_told_client("https://web.example/"), a_notice())
    assert deliver() == 1
    assert statements[-1] in ("COMMIT", "ROLLBACK")


# ---- lanes -------------------------------------------------------------------------------------------------


def claimed(app, lane, busy=()):
    with app.app_context(), transaction():
        return [
            notice.client_id
            for notice in claim_due(clock.now(), 1, lane, {(HOME, client_id) for client_id in busy})
        ]


@pytest.mark.parametrize("lanes_first", [Priority.FAST, Priority.SLOW])
def test_what_waits_for_a_struggling_client_goes_the_slow_way(app, seed, lanes_first):
    """A client that an attempt is under way to, or whose last one failed, keeps no first attempt of others
    waiting.
    """
    seed(a_user(), a_client(client_id="dead"), a_client(client_id="well"))
    later, now = clock.now() + 600, clock.now()
    seed(
        a_notice(client_id="dead", attempts=1, next_attempt_at=later),
        *(a_notice(client_id="dead") for _n in range(3)),
    )
    seed(a_notice(client_id="well", created_at=now, next_attempt_at=now))
    if lanes_first is Priority.FAST:
        assert claimed(app, Priority.FAST) == ["well"]
        assert claimed(app, Priority.FAST) == []
    assert claimed(app, Priority.SLOW) == ["dead"]
    assert claimed(app, Priority.SLOW, ["dead"]) == []


def test_claims_are_those_that_have_waited_longest(app, seed):
    seed(a_user(), a_client(), *(a_notice(sid=f"s{n}", next_attempt_at=clock.now() - n) for n in range(30)))
    with app.app_context(), transaction():
        first = claim_due(clock.now(), 4)
        assert {notice.sid for notice in first} == {"s29", "s28", "s27", "s26"}
        assert [notice.attempts for notice in first] == [1] * 4
        assert {notice.sid for notice in claim_due(clock.now(), 2)} == {"s25", "s24"}


# ---- threads and processes, on databases that they can share -----------------------------------------------


@pytest.fixture
def shared(database_url):
    """An app on a fresh database of each engine."""
    settings = Settings(
        issuer=ISSUER, database_url=database_url, secret_key=SECRET_KEY, allow_private_addresses=True
    )
    app = create_app(settings)
    with app.app_context():
        upgrade()
    yield app
    with app.app_context():
        db.engine.dispose()


def store_rows(app, *new):
    with app.app_context(), transaction():
        for row in new:
            db.session.add(row)
            db.session.flush()
        end_of_new = [row.client_id for row in new if isinstance(row, LogoutNotice)]
    return end_of_new


def states(app):
    """How many notices there are by client and state."""
    with app.app_context(), transaction():
        found = db.session.execute(select(LogoutNotice))
        counted = {}
        for (notice,) in found:
            key = (notice.client_id, logout_notices.state_of(notice))
            counted[key] = counted.get(key, 0) + 1
    return counted


@pytest.fixture
def running(shared, monkeypatch):
    """The courier of `shared`, at work."""
    courier_at_work = state_of(shared).delivery
    courier_at_work.start()
    yield courier_at_work
    courier_at_work.stop()
    assert not courier_at_work._thread.is_alive()


@pytest.mark.threat("T114")
def test_a_client_that_hangs_holds_up_nobody(shared, running, receiver):
    """Not with one notice, not with many, not with what failed before."""
    store_rows(
        shared,
        a_user(),
        a_told_client(receiver.url("hang"), "dead"),
        a_told_client(receiver.url("204"), "well"),
    )
    for _round in range(3):
        store_rows(shared, *(a_notice(client_id="dead") for _n in range(20)), a_notice(client_id="well"))
        started = time.monotonic()
        seen = len(receiver.at("204"))
        running.wake()
        assert len(receiver.wait_for("204", seen + 1)) == seen + 1
        assert time.monotonic() - started < 2
        time.sleep(0.2)
    assert len(receiver.at("hang")) == 1  # one at a time
    receiver.is_over.set()


@pytest.mark.threat("T114")
def test_a_client_that_failed_once_does_not_wait_for_those_that_are_dead(shared, receiver, monkeypatch):
    """The dead ones have all the places of the slow lane between them, and notices for many minutes: they let
    others pass.
    """
    monkeypatch.setattr(http_client, "SECONDS", 0.5)
    monkeypatch.setattr(logout_delivery, "PAUSES", (0.5,) * len(logout_delivery.PAUSES))
    dead = [f"dead{n}" for n in range(logout_delivery.CONCURRENCY[Priority.SLOW])]
    clients = [a_told_client(receiver.url("hang"), client_id) for client_id in dead]
    store_rows(shared, a_user(), *clients, a_told_client(receiver.url("503"), "well"))
    long_ago = clock.now() - 1_000
    waiting = [
        a_notice(client_id=client_id, next_attempt_at=long_ago) for client_id in dead for _n in range(50)
    ]
    store_rows(shared, *waiting, a_notice(client_id="well", attempts=1, next_attempt_at=clock.now()))
    at_work = state_of(shared).delivery
    at_work.start()
    # 100 notices of half a second each would come before it; its next try may be due at once
    assert receiver.wait_for("503", seconds=5)
    at_work.stop()


def test_it_looks_for_what_others_have_left(shared, receiver, monkeypatch):
    monkeypatch.setattr(logout_delivery, "POLL_SECONDS", 0.2)
    at_work = state_of(shared).delivery
    at_work.start()
    store_rows(shared, a_user(), a_told_client(receiver.url("204")), a_notice())
    assert len(receiver.wait_for("204")) == 1
    at_work.stop()
    assert states(shared) == {("web", "delivered"): 1}


def test_it_is_stopped_when_the_attempts_under_way_are_over(shared, receiver, monkeypatch):
    monkeypatch.setattr(http_client, "SECONDS", 0.5)
    at_work = state_of(shared).delivery
    store_rows(shared, a_user(), a_told_client(receiver.url("hang")), a_notice(), a_notice())
    at_work.start()
    assert receiver.wait_for("hang")
    at_work.stop()
    with shared.app_context(), transaction():
        outcomes = sorted(db.session.scalars(select(LogoutNotice.outcome)))
    assert outcomes == ["", "it took too long"]
    at_work.wake()
    at_work.start()
    time.sleep(0.1)
    assert len(receiver.received) == 1


@pytest.mark.threat("T114")
def test_it_survives_what_goes_wrong(shared, receiver, monkeypatch, caplog):
    monkeypatch.setattr(logout_delivery, "POLL_SECONDS", 0.05)
    at_work = state_of(shared).delivery
    broken = {"claim_due": 3, "record": 1}

    def failing(name, original):
        def call(*arguments, **named):
            if broken[name]:
                broken[name] -= 1
                raise RuntimeError("a secret")
            return original(*arguments, **named)

        return call

    for name in broken:
        monkeypatch.setattr(logout_notices, name, failing(name, getattr(logout_notices, name)))
    client = a_told_client(receiver.url("204"))
    store_rows(shared, a_user(), client, a_notice(), a_notice())
    at_work.start()
    assert len(receiver.wait_for("204", 2, seconds=5)) == 2
    at_work.stop()
    assert states(shared) == {("web", "delivered"): 1, ("web", "waiting"): 1}
    assert "RuntimeError" in caplog.text
    assert "a secret" not in caplog.text


DELIVERING = """
import sys, time
from app import create_app
from services.current import state_of
app = create_app()
print("ready", flush=True)
sys.stdin.readline()
print(state_of(app).delivery.sender.deliver_due())
"""


def test_two_processes_deliver_each_notice_once(shared, receiver, tmp_path, database_url):
    number, clients = 60, 6
    store_rows(shared, a_user(), *(a_told_client(receiver.url("204"), f"c{n}") for n in range(clients)))
    store_rows(shared, *(a_notice(client_id=f"c{n % clients}", sid=f"sid {n}") for n in range(number)))
    with shared.app_context(), transaction():
        keys = state_of(shared).home.keyring.jwks()
    environment = {
        "OSTIARY_ISSUER": ISSUER,
        "OSTIARY_DATABASE_URL": database_url,
        "OSTIARY_SECRET_KEY": SECRET_KEY,
        "OSTIARY_ALLOW_PRIVATE_ADDRESSES": "true",
        "PYTHONWARNINGS": "error",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", DELIVERING],
            cwd=PROJECT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _process in range(2)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    made = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert sum(made) == number
    assert min(made) > 0
    assert len(receiver.received) == number
    with shared.app_context(), transaction():
        assert db.session.scalar(select(func.count()).where(LogoutNotice.delivered_at.is_not(None))) == number
    sids = {verified(received.token, keys).claims["sid"] for received in receiver.received}
    assert len(sids) == number
