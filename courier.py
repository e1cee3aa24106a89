"""Delivers notices of logout to clients, after the transaction that wrote them (Back-Channel Logout 1.0 §2.4 to §2.8).

Enters: rows of `logout_notice` that are due. Leaves: a signed logout token at each client, and what came of it in its row. The rows
are the queue: a process that dies loses nothing, another one finds what it left. No transaction is open while the network is
waited for. `docs/adr/0011-logout-notices-in-an-outbox.md` has the reasons. The same thread stores when
secrets of clients were in use.
"""

import atexit
import logging
import random
import threading
import time
from collections.abc import Callable, Collection
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple, TypeVar

from flask import Flask
from sqlalchemy import Row
from sqlalchemy.exc import DBAPIError

import store.client_secrets
import store.clients
import store.logout_notices
from config import Settings
from database import lost_a_race
from fetching import SECONDS, Fetcher, FetchError
from keyring import Keyring
from models import Client
from protocol import clock, credentials
from secret_uses import SecretUses
from store.logout_notices import ATTEMPTS, Lane
from unit_of_work import ATTEMPTS as TRIES
from unit_of_work import transaction

log = logging.getLogger("ostiary.courier")

PAUSES = (5, 30, 120, 600, 2_700)  # seconds before the second attempt and those after it: an hour in all
JITTER = 0.2  # of a pause: clients that failed together are not all tried again together
POLL_SECONDS = 10.0
AT_ONCE = {Lane.FAST: 4, Lane.SLOW: 2}  # attempts of this process
LAST_SECONDS = 30  # for so long after a failed attempt its client comes after all others
TOKEN_SECONDS = 120  # §2.4: at most two minutes
DELIVERED = (HTTPStatus.OK, HTTPStatus.NO_CONTENT)  # §2.8
EVENT = "http://schemas.openid.net/event/backchannel-logout"

Answer = TypeVar("Answer")


class Letter(NamedTuple):
    """What is sent, and where to."""

    address: str
    token: str


class Courier:
    """One for each app. A thread hands out the attempts that are due to threads that last for one attempt each.

    The bounds are those of AT_ONCE, and one attempt at a time for each client: one that does not answer holds up nobody else, but
    for the moment in which more clients than the lane has places are found dead. Its next notices come after those of all others:
    a dead client with a hundred of them leaves room for one that failed once.
    """

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._changed = threading.Condition()
        self._under_way: dict[str, Lane] = {}  # by client_id
        self._failed_at: dict[str, float] = {}  # by client_id, on the monotonic clock
        self._is_woken = False
        self._is_stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Look for what is due, from now on: at `wake`, and every POLL_SECONDS. Processes that serve call it, again and again."""
        with self._changed:
            if self._thread is None and not self._is_stopping:
                self._thread = threading.Thread(target=self._run, name="courier", daemon=True)
                self._thread.start()
                atexit.register(self.stop)

    def wake(self) -> None:
        """There are new notices. Nothing happens in a process that does not serve: those that do will find them."""
        with self._changed:
            self._is_woken = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Hand out nothing more, and wait for the attempts that are under way."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout=1)
            atexit.unregister(self.stop)
        with self._changed:
            self._changed.wait_for(lambda: not self._under_way, timeout=SECONDS + 1)

    def _run(self) -> None:
        while not self._is_stopping:
            note_secret_uses(self._app)
            try:
                self._hand_out()
            except Exception as error:
                log.warning("notices of logout wait: reason=%s", type(error).__name__)
            with self._changed:
                pause = POLL_SECONDS * with_jitter()
                self._changed.wait_for(lambda: self._is_woken or self._is_stopping, timeout=pause)
                self._is_woken = False

    def _hand_out(self) -> None:
        if not is_any_due(self._app):
            return
        for lane in Lane:
            while (notice := self._claim(lane)) is not None:
                attempt = threading.Thread(target=self._attempt, args=(notice,), name="courier attempt", daemon=True)
                try:
                    attempt.start()
                except RuntimeError:  # there are too many threads
                    self._finish(notice, is_delivered=False)
                    raise

    def _claim(self, lane: Lane) -> Row[Any] | None:
        """The next attempt of a lane, if it has a place; none for a client that another attempt is under way to."""
        with self._changed:
            busy = set(self._under_way)
            if self._is_stopping or list(self._under_way.values()).count(lane) >= AT_ONCE[lane]:
                return None
            last = self._clients_that_failed()
        notice = claim_one(self._app, lane, busy | last) or (claim_one(self._app, lane, busy) if last else None)
        if notice is not None:
            with self._changed:
                self._under_way[notice.client_id] = lane
        return notice

    def _clients_that_failed(self) -> set[str]:
        since = time.monotonic() - LAST_SECONDS
        self._failed_at = {client_id: at for client_id, at in self._failed_at.items() if at > since}
        return set(self._failed_at)

    def _attempt(self, notice: Row[Any]) -> None:
        is_delivered = False
        try:
            is_delivered = deliver(self._app, notice)
        except Exception as error:  # it counts as lost, and is made again
            log.error("an attempt was not finished: notice=%d reason=%s", notice.id, type(error).__name__)
        finally:
            self._finish(notice, is_delivered)
            self.wake()

    def _finish(self, notice: Row[Any], is_delivered: bool) -> None:
        with self._changed:
            del self._under_way[notice.client_id]
            self._failed_at.pop(notice.client_id, None)
            if not is_delivered:
                self._failed_at[notice.client_id] = time.monotonic()
            self._changed.notify_all()


def note_secret_uses(app: Flask) -> None:
    """Store which secrets of clients were in use, each in a transaction of its own: one that fails stops no other, and is
    noted at its next use.
    """
    uses: SecretUses = app.extensions["ostiary.secret_uses"]
    for secret, at in uses.take().items():
        try:
            settle(app, partial(store.client_secrets.note_use, *secret, at))
        except Exception as error:
            uses.forget(secret)
            log.warning("the use of a client's secret is not noted: reason=%s", type(error).__name__)


def deliver_due(app: Flask) -> int:
    """Make every attempt that is due, one after another, and return how many that were: what a serving process does by itself."""
    made = 0
    while (notice := claim_one(app)) is not None:
        deliver(app, notice)
        made += 1
    return made


def is_any_due(app: Flask) -> bool:
    return settle(app, lambda: store.logout_notices.is_any_due(clock.now()))


def claim_one(app: Flask, lane: Lane | None = None, busy: Collection[str] = ()) -> Row[Any] | None:
    claimed = settle(app, lambda: store.logout_notices.claim_due(clock.now(), 1, lane, busy))
    return claimed[0] if claimed else None


def deliver(app: Flask, notice: Row[Any]) -> bool:
    """One attempt, of a notice that was claimed, and whether the client has taken it.

    A short transaction before it and one after, none while it waits.
    """
    letter = settle(app, lambda: write(app, notice))
    is_delivered, outcome = post(app, letter) if letter else (False, "the client has no address for it")
    settle(app, lambda: record(notice, is_delivered, outcome, may_repeat=letter is not None))
    log.info("notice of logout: client_id=%s attempt=%d outcome=%s", notice.client_id, notice.attempts, outcome)
    return is_delivered


def settle(app: Flask, work: Callable[[], Answer]) -> Answer:
    """`work()` as one transaction, run again when it lost a race, as requests are: several threads may make a key at once."""
    for number in range(1, TRIES + 1):
        try:
            with app.app_context(), transaction():
                return work()
        except DBAPIError as error:
            if number == TRIES or not lost_a_race(error):
                raise
    raise AssertionError("the loop returns or raises")


def write(app: Flask, notice: Row[Any]) -> Letter | None:
    """None for a client that wants to be told no more."""
    client = store.clients.find(notice.client_id)
    address = client.member("backchannel_logout_uri") if client is not None else None
    if client is None or address is None:
        return None
    return Letter(address, make_logout_token(app, client, notice))


def make_logout_token(app: Flask, client: Client, notice: Row[Any]) -> str:
    """§2.4. Each attempt has its own: it expires soon, and no client sees a `jti` twice."""
    settings: Settings = app.extensions["ostiary.settings"]
    keyring: Keyring = app.extensions["ostiary.keyring"]
    now = clock.now()
    content = {
        "iss": settings.issuer,
        "sub": notice.sub,
        "aud": notice.client_id,
        "iat": now,
        "exp": now + TOKEN_SECONDS,
        "jti": credentials.random_text(16),
        "sid": notice.sid,
        "events": {EVENT: {}},
    }
    return keyring.sign(content, client.member("id_token_signed_response_alg", "RS256"), "logout+jwt")


def post(app: Flask, letter: Letter) -> tuple[bool, str]:
    """§2.5: whether the client has taken it, and what it answered in words."""
    fetcher: Fetcher = app.extensions["ostiary.fetcher"]
    try:
        status = fetcher.post(letter.address, {"logout_token": letter.token})
    except FetchError as error:
        return False, str(error)
    return status in DELIVERED, f"answered {status}"


def record(notice: Row[Any], is_delivered: bool, outcome: str, *, may_repeat: bool) -> None:
    now = clock.now()
    if is_delivered:
        store.logout_notices.record(notice.id, notice.attempts, outcome, delivered_at=now)
    elif notice.attempts < ATTEMPTS and may_repeat:
        pause = round(PAUSES[notice.attempts - 1] * with_jitter())
        store.logout_notices.record(notice.id, notice.attempts, outcome, next_attempt_at=now + pause)
    else:
        store.logout_notices.record(notice.id, notice.attempts, outcome)
        log.warning("notice of logout given up: client_id=%s outcome=%s", notice.client_id, outcome)


def with_jitter() -> float:
    return random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - jitter, not a secret
