"""What the server relies on, on each engine: claims, locks, keys, cascades, exact comparison, values as they
were.

One suite for all. What only one engine has (pragmas, lock files, session variables) is in
`test_transactions.py`.
"""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import func
from sqlalchemy.exc import DBAPIError, IntegrityError

import my_oauth
import store.client_secrets
import store.client_sessions
import store.clients
import store.codes
import store.logout_notices
import store.spent_assertions
import store.throttles
import store.tickets
import store.tokens
import store.user_sessions
import store.users
from config import Settings
from crypto.credentials import digest
from database import is_unavailable, lost_a_race, sqlite
from database.tenancy import HOME
from errors import StorageBusyError
from models import (
    AuthorizationCode,
    AuthorizationTicket,
    Client,
    ClientOrigin,
    ClientSecretUse,
    ClientSession,
    Consent,
    LogoutNotice,
    Scope,
    SpentAssertion,
    Throttle,
    Token,
    User,
    UserSession,
    db,
)
from protocol import clock
from protocol.parameters import VISIBLE
from protocol.throttle import Bucket
from store.client_secrets import note_use
from store.sweep import BATCH
from tests.apps import app_with_tables
from tests.builders import (
    ISSUER,
    SECRET_KEY,
    a_client,
    a_client_session,
    a_code,
    a_machine,
    a_notice,
    a_session,
    a_token,
    a_user,
)
from tests.live import ENGINES, new_database
from tests.statements import delete, insert, select, text, update
from unit_of_work import run_in_app, transaction

CROWD = 4
# SQLite has one writer, and takes texts of any length.
several_writers = with_lengths = pytest.mark.parametrize(
    "shared_app", ["postgresql", "mariadb"], indirect=True
)
# Nobody waits here. On SQLite that is decided where the lock file is asked for.
WAIT_SECONDS = 0.3  # so that another thread waits for a lock by then
IMPATIENT = {
    "postgresql": "SET lock_timeout = '50ms'",
    "mariadb": "SET innodb_lock_wait_timeout = 0",
    "sqlite": "SELECT 1",
}


@pytest.fixture(scope="module", params=ENGINES)
def shared_app(request, tmp_path_factory, servers):
    url = new_database(request.param, tmp_path_factory.mktemp("promises"), servers)
    with app_with_tables(Settings(issuer=ISSUER, database_url=url, secret_key=SECRET_KEY)) as app:
        yield app


@pytest.fixture
def app(shared_app):
    """Its tables are empty, and an app context is open."""
    with shared_app.app_context():
        with transaction():
            for table in reversed(db.metadata.sorted_tables):
                if table.name != "tenant":  # home is there from the start
                    db.session.execute(delete(table))
        yield shared_app
        db.session.remove()


@pytest.fixture
def engine(app):
    return db.engine.dialect.name


def stored(*rows):
    with transaction():
        for row in rows:
            db.session.add(row)
            db.session.flush()
    db.session.remove()


def count(model):
    return db.session.scalar(select(func.count()).select_from(model))


def at_once(app, work):
    """What each of a crowd got from `work(number)`, each in a transaction and a connection of its own."""
    barrier = threading.Barrier(CROWD)

    def one(number):
        with app.app_context():
            db.session.execute(text("SELECT 1"))  # connected before they meet
            barrier.wait(10)
            with transaction():
                return work(number)

    with ThreadPoolExecutor(CROWD) as pool:
        return list(pool.map(one, range(CROWD)))


def elsewhere(app, work):
    """What `work()` returns on another connection, which waits for no lock; its transaction is undone."""

    def one():
        with app.app_context():
            db.session.execute(text(IMPATIENT[db.engine.dialect.name]))
            try:
                return work()
            finally:
                db.session().invalidate()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(one).result(20)


class TestClaims:
    """Of several that come at once one gets it, by what its own statement changed."""

    def test_a_code_is_claimed_once(self, app):
        stored(a_user(), a_client(), a_code("code"))
        assert sorted(at_once(app, lambda _: store.codes.claim(digest("code")))) == [
            False,
            False,
            False,
            True,
        ]

    def test_a_ticket_is_claimed_once(self, app):
        stored(a_client())
        with transaction():
            store.tickets.add("ticket", digest("browser"), "web", {}, clock.now())
        assert sorted(at_once(app, lambda _: store.tickets.claim("ticket"))) == [False, False, False, True]

    def test_an_assertion_is_spent_once(self, app):
        now = clock.now()
        spent = at_once(app, lambda _: store.spent_assertions.spend(digest("jti"), now + 60, now))
        assert sorted(spent) == [False, False, False, True]
        assert count(SpentAssertion) == 1

    def test_a_refresh_token_is_replaced_once(self, app):
        stored(a_client(), a_token(refresh_token_digest=digest("current")))
        presented = {"token_id": db.session.scalar(select(Token.id)), "current_digest": digest("current")}
        db.session.remove()
        delete = my_oauth.DELETE_THE_PRESENTED
        freed = at_once(app, lambda _: db.session.scalars(delete, presented).one_or_none())
        assert sorted(freed, key=str) == [0, None, None, None]

    def test_notices_are_shared_out(self, app):
        stored(a_user(), a_client(), *(a_notice(sid=str(number)) for number in range(CROWD)))
        now = clock.now()
        claimed = at_once(app, lambda _: [row.sid for row in store.logout_notices.claim_due(now, 1)])
        again = [row.sid for row in store.logout_notices.claim_due(now, CROWD)]
        assert sorted(sum(claimed, again)) == [str(number) for number in range(CROWD)]

    def test_one_sid_for_a_client_in_a_session(self, app):
        stored(a_user(), a_client(), a_session())
        now = clock.now()
        assert len(set(at_once(app, lambda _: store.client_sessions.find_or_make_sid(1, "web", now)))) == 1

    def test_one_use_of_a_session_is_written_down(self, app):
        """In an hour, whoever else uses it at the same moment: that one's answer carries the cookie."""
        now = clock.now()
        stored(a_user(), a_session(last_seen_at=now - 3600, is_kept=True))
        person = store.user_sessions.find_signed_in("session 1", now)
        db.session.rollback()
        assert sorted(at_once(app, lambda _: store.user_sessions.record_use(person, now))) == [
            False,
            False,
            False,
            True,
        ]
        kept = db.session.execute(select(UserSession.last_seen_at, UserSession.expires_at)).one()
        assert kept == (now, now + store.user_sessions.KEPT_SECONDS)

    def test_failures_are_all_counted(self, app):
        now, bucket = clock.now(), Bucket.of(100, 1_000, "subject")
        at_once(app, lambda _: store.throttles.count_failure([bucket], now))
        assert db.session.scalar(select(Throttle.expires_at)) == now + CROWD * bucket.drain_seconds


class TestLocks:
    def test_no_more_places_are_claimed_than_there_are(self, app):
        """Of a bucket with room for two; who finds none undoes what they did."""
        bucket, now = Bucket.of(2, 100, "accounts"), clock.now()

        def claim(_number):
            if seconds := store.throttles.claim(bucket, now):
                db.session.rollback()
            return seconds

        assert sorted(at_once(app, claim)) == [0, 0, 50, 50]
        assert store.throttles.seconds_to_wait([bucket], now) == 50

    def test_one_at_a_time_holds_a_persons_lock(self, app):
        stored(a_user())
        inside, most = [], []

        def enter(number):
            assert store.users.lock(1).sub == "sub-of-ada"
            inside.append(number)
            most.append(len(inside))
            inside.remove(number)

        at_once(app, enter)
        assert most == [1] * CROWD

    def test_what_is_found_with_the_lock_may_have_been_spent_before_it(self, app):
        """The row is as it was before the wait, the user as it is after it, and the claim decides."""
        stored(a_user(), a_client(), a_code("code"), a_token())
        found = []

        def exchange():
            found.append(store.codes.find_and_lock_user(digest("code")))
            return store.codes.claim(digest("code"))

        store.users.lock(1)
        with ThreadPoolExecutor(1) as pool:
            exchanged = pool.submit(run_in_app, app, exchange)
            time.sleep(WAIT_SECONDS)
            assert store.codes.claim(digest("code"))
            store.users.set_disabled(1, clock.now())
            db.session.commit()
            assert not exchanged.result(10)
        [both] = found
        assert both is None or (both[0].code_digest, both[1]) == (digest("code"), None)

    @several_writers  # on SQLite the family is read behind the lock
    def test_a_family_that_is_replaced_while_somebody_waits_for_the_lock(self, app, engine):
        """It is found once more, behind the lock; then it is what it is now."""
        stored(a_user(), a_client(), a_token(family_digest=digest("family")))

        def refresh():
            first, _user = store.tokens.find_family_and_lock_user(digest("family"))
            claimed = my_oauth.delete_presented(first)
            return claimed, store.tokens.find_family(digest("family")).refresh_token_digest

        store.users.lock(1)
        with ThreadPoolExecutor(1) as pool:
            refreshed = pool.submit(run_in_app, app, refresh)
            time.sleep(WAIT_SECONDS)
            db.session.execute(delete(Token))
            db.session.add(a_token(family_digest=digest("family"), refresh_token_digest=digest("new")))
            db.session.commit()
            assert refreshed.result(10) == (None, digest("new"))

    @several_writers
    @pytest.mark.parametrize("table", [AuthorizationCode, Token])
    def test_who_finds_and_locks_holds_the_user_alone(self, app, engine, table):
        """Who holds the user and deletes a code must not meet somebody who has them the other way round."""
        stored(a_user(), a_client(), a_code("code"), a_token(family_digest=digest("family")))
        assert store.codes.find_and_lock_user(digest("code"))[1].id == 1
        assert store.tokens.find_family_and_lock_user(digest("family"))[1].id == 1
        assert elsewhere(app, lambda: db.session.execute(update(table).values(scope="other")).rowcount) == 1
        with pytest.raises(DBAPIError):
            elsewhere(app, lambda: store.users.lock(1))

    def test_a_wait_has_an_end(self, app, monkeypatch):
        monkeypatch.setattr(sqlite, "LOCK_FILE_TIMEOUT", timedelta(milliseconds=20))
        stored(a_user())
        store.users.lock(1)
        with pytest.raises((DBAPIError, StorageBusyError)) as ended:
            elsewhere(app, lambda: store.users.lock(1))
        assert isinstance(ended.value, StorageBusyError) or (
            lost_a_race(ended.value) and is_unavailable(ended.value)
        )

    def test_a_reader_does_not_wait(self, app):
        stored(a_user(), a_client(), a_token())
        store.users.lock(1)
        db.session.execute(update(Token).values(used_at=1))
        assert elsewhere(app, lambda: db.session.scalar(select(Token.used_at))) is None

    @several_writers
    def test_a_sweep_locks_what_has_expired_and_nothing_else(self, app, engine):
        now = clock.now()
        stored(
            *(Throttle(bucket_digest=digest(str(number)), expires_at=now + number) for number in (-1, 1, 2))
        )
        store.throttles.sweep_some(now)
        changed = update(Throttle).values(expires_at=now + 9)
        for number in (1, 2):
            one = changed.where(Throttle.bucket_digest == digest(str(number)))
            assert elsewhere(app, lambda one=one: db.session.execute(one).rowcount) == 1

    @several_writers
    def test_a_sweep_passes_by_what_somebody_holds(self, app, engine):
        """And nothing else of its transaction is undone."""
        now = clock.now()
        stored(*(Throttle(bucket_digest=digest(str(number)), expires_at=now - 1) for number in range(3)))
        db.session.execute(
            update(Throttle).where(Throttle.bucket_digest == digest("1")).values(expires_at=now + 9)
        )

        def sweep():
            with transaction():
                db.session.execute(insert(Scope), {"name": "before", "description": ""})
                store.throttles.sweep_some(now)

        elsewhere(app, sweep)
        db.session.rollback()
        assert db.session.scalars(select(Throttle.bucket_digest)).all() == [digest("1")]
        assert count(Scope) == 1

    @several_writers
    def test_sweeps_that_meet_take_different_rows(self, app, engine):
        """Otherwise a crowd would add rows faster than it sweeps them."""
        now = clock.now()
        stored(*(Throttle(bucket_digest=digest(str(n)), expires_at=now - n) for n in range(2 * BATCH)))

        def sweep():
            with transaction():
                store.throttles.sweep_some(now)

        store.throttles.sweep_some(now)  # and holds what it took
        elsewhere(app, sweep)
        db.session.commit()
        assert count(Throttle) == 0

    @several_writers
    def test_a_deadlock_is_a_lost_race(self, app, engine):
        stored(a_user(), a_user(id=2, sub="b", email="b@example.com"))
        both_have_one = threading.Barrier(2)

        def lock_both(first, second):
            with app.app_context():
                store.users.lock(first)
                both_have_one.wait(10)
                try:
                    store.users.lock(second)
                except DBAPIError as error:
                    return lost_a_race(error)
                finally:
                    db.session.remove()

        with ThreadPoolExecutor(2) as pool:
            ended = list(pool.map(lock_both, (1, 2), (2, 1)))
        assert sorted(ended, key=str) == [None, True]


class TestTransactions:
    def test_what_is_not_committed_is_seen_by_nobody_else(self, app):
        stored(a_user())
        db.session.execute(update(User).values(name="Countess"))
        assert elsewhere(app, lambda: db.session.scalar(select(User.name))) == "Ada"
        db.session.rollback()
        assert db.session.scalar(select(User.name)) == "Ada"

    def test_each_statement_sees_what_was_committed_before_it(self, app):
        """READ COMMITTED: the second read of a transaction is not a copy of the first."""
        stored(a_user())
        assert db.session.scalar(select(User.name)) == "Ada"

        def rename():
            with transaction():
                db.session.execute(update(User).values(name="Countess"))

        elsewhere(app, rename)
        assert db.session.scalar(select(User.name)) == "Countess"

    def test_a_rollback_undoes_all_of_it(self, app):
        stored(a_user(), a_client(), a_token())
        with pytest.raises(ZeroDivisionError), transaction():
            store.tokens.revoke_of_user(1)
            store.users.set_password_hash(1, "another")
            store.clients.add(a_machine())
            raise ZeroDivisionError
        assert (count(Token), count(Client)) == (1, 1)
        assert db.session.scalar(select(User.password_hash)) != "another"

    def test_an_update_reads_the_row_as_it_was(self, app):
        """The next attempt is decided by the number of attempts before this UPDATE, which changes it too."""
        last_but_one = store.logout_notices.ATTEMPTS - 2
        stored(a_user(), a_client(), a_notice(attempts=last_but_one))
        [begun] = store.logout_notices.claim_due(clock.now(), 1)
        assert begun.attempts == last_but_one + 1
        kept = db.session.execute(select(LogoutNotice.attempts, LogoutNotice.next_attempt_at)).one()
        assert kept.attempts == begun.attempts
        assert kept.next_attempt_at is not None


class TestKeys:
    def refuses(self, *rows):
        """Whether the last row is refused, as a race that was lost."""
        stored(*rows[:-1])
        with pytest.raises(IntegrityError) as refused:
            stored(rows[-1])
        db.session.remove()
        return lost_a_race(refused.value)

    def test_a_slot_of_a_pair_has_one_row(self, app):
        assert self.refuses(a_user(), a_client(), a_token(), a_token())

    def test_a_machine_has_as_many_tokens_as_it_likes(self, app):
        stored(a_machine(), *(a_token(client_id="robot", user_id=None, slot=None) for _ in range(3)))
        assert count(Token) == 3

    def test_a_slot_belongs_to_a_person(self, app):
        stored(a_client())
        with pytest.raises(DBAPIError):
            stored(a_token(user_id=None))

    def test_an_address_has_one_person(self, app):
        assert self.refuses(a_user(), a_user(id=2, sub="another"))

    def test_a_client_that_is_gone_gets_nothing(self, app):
        assert self.refuses(a_user(), a_token())

    def test_no_id_is_used_twice(self, app):
        stored(a_user(), a_client(), a_token())
        [first] = db.session.scalars(select(Token.id))
        store.tokens.revoke_of_user(1)
        db.session.commit()
        stored(a_token())
        [second] = db.session.scalars(select(Token.id))
        assert second > first


class TestCascades:
    @pytest.fixture
    def everything(self, app):
        now = clock.now()
        stored(
            a_user(),
            a_client(),
            ClientOrigin(client_id="web", origin="https://app.example"),
            a_session(),
            a_client_session(),
            a_notice(),
            Consent(user_id=1, client_id="web", scope="", granted_at=now),
            a_code("code"),
            a_token(),
        )
        with transaction():
            store.tickets.add("ticket", digest("browser"), "web", {}, now)

    def left(self):
        models = (
            ClientOrigin,
            UserSession,
            ClientSession,
            LogoutNotice,
            Consent,
            AuthorizationCode,
            Token,
            AuthorizationTicket,
        )
        return {model.__name__ for model in models if count(model)}

    def test_with_a_client_goes_all_that_it_had(self, everything):
        with transaction():
            store.clients.remove(store.clients.find("web"))
        assert self.left() == {"UserSession"}

    def test_with_a_person_goes_all_but_what_clients_are_to_be_told(self, everything):
        with transaction():
            store.users.remove(1)
        assert self.left() == {"ClientOrigin", "LogoutNotice", "AuthorizationTicket"}
        assert db.session.scalars(select(LogoutNotice.user_id)).all() == [None]


class TestBulkDeletes:
    def test_a_sweep_takes_the_oldest_and_a_few_only(self, app):
        now = clock.now()
        stored(a_user(), a_client(), *(a_code(str(n), expires_at=now - n) for n in range(BATCH + 2)))
        stored(a_code("live"))
        store.codes.sweep_some(now)
        left = set(db.session.scalars(select(AuthorizationCode.code_digest)))
        assert left == {digest("0"), digest("1"), digest("live")}
        store.codes.sweep_some(now)
        assert list(db.session.scalars(select(AuthorizationCode.code_digest))) == [digest("live")]

    def test_a_sign_in_keeps_the_newest_to_the_microsecond(self, app):
        now = clock.now_in_microseconds()
        stored(
            a_user(), a_client(), *(a_token(slot=n, issued_at=now + at) for n, at in enumerate((1, 3, 2, 3)))
        )
        pair = {"client_id": "web", "user_id": 1, "keep": 2}
        assert sorted(db.session.scalars(my_oauth.DELETE_ALL_BUT_THE_NEWEST, pair)) == [0, 2]
        assert sorted(db.session.scalars(select(Token.slot))) == [1, 3]

    def test_receipts_are_trimmed(self, app, monkeypatch):
        stored(
            a_user(),
            a_client(),
            *(a_notice(next_attempt_at=None) for _ in range(store.logout_notices.PER_USER + 2)),
        )
        told = {"client_id": "web", "sub": "s", "sid": "new"}
        store.logout_notices.add(1, clock.now(), [told])
        assert count(LogoutNotice) == store.logout_notices.PER_USER


class TestUsesOfSecrets:
    def test_processes_that_note_one_at_once(self, app):
        stored(a_client())
        now = clock.now()
        # as processes do it: again where a race or a wait for a lock was lost
        with ThreadPoolExecutor(CROWD) as pool:
            list(
                pool.map(
                    lambda number: run_in_app(app, partial(note_use, "web", 1, now + number)), range(CROWD)
                )
            )
        assert store.client_secrets.last_uses("web")[1] - now in range(CROWD)
        store.client_secrets.note_use("web", 1, now + 3599)
        assert store.client_secrets.last_uses("web")[1] - now in range(CROWD)
        store.client_secrets.note_use("web", 1, now + 3600 + CROWD)
        assert store.client_secrets.last_uses("web") == {1: now + 3600 + CROWD}

    def test_none_of_a_client_or_a_secret_that_is_gone(self, app):
        stored(a_client(client_secret_number=3))
        for client_id, number in (("web", 1), ("web", 4), ("gone", 1)):
            store.client_secrets.note_use(client_id, number, clock.now())
        assert count(ClientSecretUse) == 0

    @several_writers
    def test_it_holds_up_no_token(self, app):
        """Whoever inserts a token refers to the client: it does not wait for who notes a use of its
        secret.
        """
        stored(a_user(), a_client())
        store.client_secrets.note_use("web", 1, clock.now())
        assert elsewhere(app, lambda: db.session.add(a_token()) or db.session.flush()) is None
        db.session.rollback()


DIFFERENT = (
    "web",
    "Web",
    "WEB",
    "web ",
    " web",
    "w\u00e9b",
    "we\u0301b",
    "w\u0117b",
    "web\u200b",
    "\U0001f310",
    "",
)


class TestComparison:
    def test_client_ids_are_told_apart_by_every_character(self, app):
        stored(*(a_client(client_id=client_id) for client_id in DIFFERENT))
        for client_id in DIFFERENT:
            assert db.session.get(Client, (HOME, client_id)).client_id == client_id
            db.session.remove()
            found = store.clients.find(client_id)  # which looks for none that is no client id by its syntax
            assert (found.client_id if found else None) == (
                client_id if VISIBLE.fullmatch(client_id) else None
            )
            db.session.remove()
        assert store.clients.find("wEb") is None
        assert store.clients.find("web  ") is None

    def test_scopes_are_told_apart_by_every_character(self, app):
        stored(*(Scope(name=name, description=name) for name in DIFFERENT))
        assert set(db.session.scalars(select(Scope.name).where(Scope.name.in_(DIFFERENT)))) == set(DIFFERENT)
        assert store.clients.unknown_scopes(["WEb", "web", "web  "]) == ["WEb", "web  "]

    def test_texts_that_are_searched(self, app):
        """`openid` is a word of a scope, and `OpenID` is none."""
        stored(
            a_user(),
            a_client(),
            a_token(scope="OpenID email", sid="sid"),
            a_token(slot=1, scope="email openid", sid="sid"),
        )
        stored(
            a_token(slot=2, scope="openid", sid="SID"),
            a_token(slot=3, scope="openid offline_access", sid="sid"),
        )
        assert store.tokens.revoke_of_sids(1, ["sid"]) == 1
        assert sorted(db.session.scalars(select(Token.slot))) == [0, 2, 3]

    def test_digests_are_bytes(self, app):
        stored(
            a_user(),
            a_client(),
            a_token(access_token_digest=b"a" * 31 + b"\0"),
            a_token(slot=1, access_token_digest=b"A" * 32),
        )
        assert store.tokens.find_by_access_token(b"a" * 31 + b"\0").access_token_digest == b"a" * 31 + b"\0"
        assert store.tokens.find_by_access_token(b"a" * 32) is None
        assert store.tokens.find_by_access_token(b"a" * 31 + b" ") is None


class TestValues:
    @pytest.mark.parametrize(
        "value",
        [
            {},
            {"nested": [1, -1.5, True, None, {"deep": []}], "": "empty name"},
            {"text": "\u00e9 \U0001f510 \\ \" ' % \n \0", "half a pair": "\ud800"},
            {"large": "x" * 300_000, "number": 2**60},
        ],
        ids=["empty", "nested", "characters", "large"],
    )
    def test_json_comes_back_as_it_was(self, app, value):
        stored(a_client(extra_metadata=value))
        assert store.clients.find("web").extra_metadata == value

    def test_json_that_is_nothing(self, app):
        stored(a_user(claims={}), a_client(), a_token(openid=None), a_token(slot=1, openid={"nonce": None}))
        assert db.session.scalars(select(Token.slot).where(Token.openid.is_(None))).all() == [0]

    def test_large_values_come_back_whole(self, app):
        sealed, words = bytes(range(256)) * 4_096, "s" * 100_000
        stored(a_user(), a_client(scope=words), a_token(sealed_pair=sealed, scope=words))
        token = db.session.execute(select(Token.sealed_pair, Token.scope)).one()
        assert (bytes(token.sealed_pair), token.scope) == (sealed, words)
        assert store.clients.find("web").scope == words

    @with_lengths
    def test_what_is_too_long_is_refused_and_not_cut(self, app, engine):
        with pytest.raises(DBAPIError) as refused:
            stored(a_user(name="n" * 201))
        assert not is_unavailable(refused.value)
        assert count(User) == 0

    def test_large_numbers_come_back_whole(self, app):
        stored(a_user(), a_client())
        with transaction():
            db.session.execute(
                insert(Consent), {"user_id": 1, "client_id": "web", "scope": "", "granted_at": 2**53}
            )
        assert db.session.scalar(select(Consent.granted_at)) == 2**53
