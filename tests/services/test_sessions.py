"""The end of sessions: codes, tokens and notices go or come with it in one transaction, whatever the number
of clients.
"""

import pytest
from flask import abort
from sqlalchemy import func

import store.client_sessions
import store.logout_notices
from database.tables import table
from models import AuthorizationCode, ClientSession, LogoutNotice, Token, UserSession, db
from protocol import clock
from services.current import state_of
from services.sessions import SignedOut, revoke_sessions
from store.logout_notices import PER_USER, WAITING_PER_USER
from tests.builders import a_client, a_client_session, a_code, a_notice, a_session, a_token, a_user
from tests.statements import insert, select
from tests.test_unit_of_work import busy, fail_commits, view  # noqa: F401 - a fixture
from unit_of_work import transaction

NOTICES = select(LogoutNotice.client_id, LogoutNotice.sid, LogoutNotice.sub).order_by(LogoutNotice.id)
COUNTS = select(
    select(func.count()).select_from(UserSession).scalar_subquery(),
    select(func.count()).select_from(LogoutNotice).scalar_subquery(),
)


def a_notified_client(client_id="web", **members):
    members = {"backchannel_logout_uri": f"https://{client_id}.example/logout"} | members
    return a_client(client_id=client_id, extra_metadata=members)


@pytest.fixture
def end(app):
    """End sessions of a person, committed."""

    def end(*arguments):
        with app.app_context(), transaction():
            return revoke_sessions(*arguments)

    return end


@pytest.fixture
def ada(seed):
    """Ada with two sessions, in the first of which she went to two clients; "quiet" does not want
    to be told.
    """
    seed(a_user(), a_notified_client(), a_notified_client("quiet", backchannel_logout_uri=None))
    seed(a_session(1), a_session(2))
    seed(a_client_session("sid-1"), a_client_session("sid-q", client_id="quiet"))
    seed(a_client_session("sid-2", session_id=2))


def test_one_session_ends_and_its_clients_are_told(ada, end, rows):
    assert end(1, [1]) == SignedOut(sessions=1, codes=0, tokens=0, notices=1)
    assert rows(NOTICES) == [("web", "sid-1", "sub-of-ada")]
    assert rows(select(ClientSession.sid)) == [("sid-2",)]


def test_all_sessions_of_a_person_end(ada, end, rows, seed):
    seed(a_user(id=2, sub="b", email="bob@example.com"), a_session(3, user_id=2))
    assert end(1).notices == 2
    assert rows(NOTICES) == [("web", "sid-1", "sub-of-ada"), ("web", "sid-2", "sub-of-ada")]
    assert rows(select(UserSession.user_id)) == [(2,)]


def test_nobody_ends_the_session_of_somebody_else(ada, end, rows, seed):
    seed(a_user(id=2, sub="b", email="bob@example.com"))
    assert end(2, [1, 2]) == SignedOut(0, 0, 0, 0)
    assert rows(COUNTS) == [(2, 0)]


def test_a_session_ends_once(ada, end, rows):
    assert end(1, [1]).notices == 1
    assert end(1, [1]) == SignedOut(0, 0, 0, 0)
    assert len(rows(NOTICES)) == 1


def test_a_pairwise_client_is_told_of_the_person_as_it_knows_them(seed, end, rows):
    seed(
        a_user(pairwise_secret=b"p" * 32),
        a_notified_client(subject_type="pairwise"),
        a_session(),
        a_client_session(),
    )
    end(1)
    [(_client, _sid, sub)] = rows(NOTICES)
    assert sub != "sub-of-ada"
    assert len(sub) == 43


@pytest.mark.parametrize(
    ("scope", "is_ended"),
    [
        ("openid", True),
        ("profile openid email", True),
        ("openid offline_access", False),
        ("offline_access profile openid", False),
        ("openid offline-access", True),
        ("profile", False),
        ("openid2 profile", False),
    ],
)
def test_tokens_end_with_their_session_unless_they_are_for_when_the_person_is_away(
    ada, end, rows, seed, scope, is_ended
):
    """Back-Channel Logout §2.7."""
    seed(
        a_token(scope=scope, sid="sid-1"),
        a_token(slot=1, scope=scope, sid="sid-2"),
        a_token(slot=2, scope=scope),
    )
    assert end(1, [1]).tokens == is_ended
    assert len(rows(select(Token.id))) == 3 - is_ended


def test_unspent_codes_end_with_their_session(ada, end, rows, seed):
    seed(a_code("a", sid="sid-1"), a_code("b", sid="sid-q", client_id="quiet"), a_code("c", sid="sid-2"))
    assert end(1, [1]).codes == 2
    assert rows(select(AuthorizationCode.sid)) == [("sid-2",)]


# ---- one transaction ---------------------------------------------------------------------------------------


def test_what_a_refusal_undoes_it_undoes_whole(ada, app, http, rows):
    def refusing():
        revoke_sessions(1)
        abort(400)

    assert http.get(view(app, refusing)).status_code == 400
    assert rows(COUNTS) == [(2, 0)]


def test_a_request_that_is_run_again_tells_nobody_twice(ada, app, http, rows, fail_commits):  # noqa: F811
    fail_commits(busy(), busy())
    assert http.get(view(app, lambda: str(revoke_sessions(1).notices))).text == "2"
    assert rows(COUNTS) == [(0, 2)]


def test_delivery_is_woken_after_the_commit_alone(ada, app, http, statements, fail_commits, monkeypatch):  # noqa: F811
    monkeypatch.setattr(state_of(app).delivery, "wake", lambda: statements.append("wake"))
    fail_commits(busy())
    http.get(view(app, lambda: str(revoke_sessions(1).notices)))
    assert statements.count("wake") == 1
    assert statements.index("wake") > max(n for n, sql in enumerate(statements) if sql == "COMMIT")


def test_a_refused_request_does_not_call_it(ada, app, http, statements, monkeypatch):
    monkeypatch.setattr(state_of(app).delivery, "wake", lambda: statements.append("wake"))

    def refusing():
        revoke_sessions(1)
        abort(400)

    http.get(view(app, refusing))
    assert "wake" not in statements


@pytest.mark.parametrize("sessions", [1, 10])
@pytest.mark.parametrize(("clients", "budget"), [(0, 3), (1, 7), (20, 7)])
def test_it_costs_as_much_for_many_clients_as_for_one(end, seed, statements, sessions, clients, budget):
    seed(
        a_user(),
        *(a_notified_client(f"c{n}") for n in range(clients)),
        *(a_session(n) for n in range(sessions)),
    )
    for session in range(sessions):
        seed(
            *(
                a_client_session(f"{session}-{n}", session_id=session, client_id=f"c{n}")
                for n in range(clients)
            )
        )
    statements.clear()
    assert end(1) == SignedOut(sessions, 0, 0, sessions * clients)
    assert len(statements) - statements.count("COMMIT") - statements.count("BEGIN IMMEDIATE") == budget, (
        statements
    )
    assert statements.count("COMMIT") == 1


def test_clients_that_need_not_be_told_cost_less(end, seed, statements):
    seed(a_user(), a_client(), a_session(), a_client_session())
    statements.clear()
    assert end(1).notices == 0
    assert len([sql for sql in statements if sql not in ("COMMIT", "BEGIN IMMEDIATE")]) == 5


# ---- what is kept ------------------------------------------------------------------------------------------


def add(app, number, user_id=1):
    with app.app_context(), transaction():
        told = [{"client_id": "web", "sub": "s", "sid": f"new {n}"} for n in range(number)]
        store.logout_notices.add(user_id, clock.now(), told)


def finished(number, **changed):
    values = {
        "user_id": 1,
        "client_id": "web",
        "sub": "s",
        "created_at": 1,
        "attempts": 1,
        "outcome": "",
    } | changed
    return [values | {"sid": f"old {n}", "delivered_at": 1} for n in range(number)]


def insert_notices(app, values):
    with app.app_context(), transaction():
        db.session.execute(insert(table(LogoutNotice)), values)


def test_the_newest_receipts_of_a_person_are_kept(app, seed, rows):
    seed(a_user(), a_user(id=2, sub="b", email="bob@example.com"), a_client(), a_notice(sid="waits"))
    insert_notices(app, finished(PER_USER + 50) + finished(150, user_id=2))
    add(app, 10)
    kept = [
        sid
        for (sid,) in rows(
            select(LogoutNotice.sid).where(LogoutNotice.user_id == 1).order_by(LogoutNotice.id)
        )
    ]
    newest = [f"old {n}" for n in range(60, 150)] + [f"new {n}" for n in range(10)]
    assert kept == ["waits", *newest]  # what is not delivered yet is not dropped for receipts
    assert rows(select(func.count()).where(LogoutNotice.user_id == 2)) == [(150,)]


def test_those_that_wait_have_a_bound_too(app, seed, rows):
    seed(a_user(), a_client())
    for _time in range(3):
        add(app, WAITING_PER_USER // 2)
        assert rows(select(func.count()).select_from(LogoutNotice))[0][0] <= WAITING_PER_USER


def test_receipts_of_people_who_were_removed_go_with_the_next_notice(app, seed, rows):
    seed(a_user(), a_client(), a_notice(user_id=None, sid="waits"))
    insert_notices(app, finished(3, user_id=None))
    add(app, 1)
    assert rows(select(LogoutNotice.sid).order_by(LogoutNotice.id)) == [("waits",), ("new 0",)]


# ---- the clients of a session ------------------------------------------------------------------------------


def test_a_client_keeps_its_sid_as_long_as_the_session_lives(app, seed, rows, statements):
    seed(a_user(), a_client(), a_client(client_id="other"), a_session(1), a_session(2))
    begin = store.client_sessions.find_or_make_sid
    with app.app_context(), transaction():
        statements.clear()
        first = begin(1, "web", 10)
        assert sum("client_session" in sql for sql in statements) == 1
        assert begin(1, "web", 20) == first
        others = {begin(1, "other", 30), begin(2, "web", 40)}
    assert len({first, *others}) == 3
    assert len(first) == 22
    assert rows(select(ClientSession.created_at).where(ClientSession.sid == first)) == [(10,)]
    with app.app_context():
        found = store.client_sessions.find(first)
        assert (found.user_id, found.session_id, found.client_id) == (1, 1, "web")
        assert store.client_sessions.find("none") is None
