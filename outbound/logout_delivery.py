"""Deliver notices of logout to clients, after the transaction that wrote them.

Back-Channel Logout 1.0 §2.4 to §2.8. Enters: rows of `logout_notice` that are due. Leaves: a signed logout
token at each client, and what came of it in its row. The rows are the queue: a process that dies loses
nothing, another one finds what it left. No transaction is open while the network is waited for.
`docs/adr/0011-logout-notices-in-an-outbox.md` has the reasons. It signs with what it is given (`sign`), and
knows no keys.
"""

import atexit
import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple

from flask import Flask

import store.clients
import store.logout_notices
from crypto import credentials
from crypto.json_values import JsonObject
from crypto.jwt import DEFAULT_ALG
from errors import FetchError
from models import Client
from outbound.http_client import SECONDS, HttpClient
from protocol import clock
from store.logout_notices import ATTEMPTS, ClientOfTenant, NoticeRow, Priority
from unit_of_work import run_in_app

log = logging.getLogger("ostiary.logout_delivery")

PAUSES = (5, 30, 120, 600, 2_700)  # seconds before the second attempt and those after it: an hour in all
JITTER = 0.2  # of a pause: clients that failed together are not all tried again together
POLL_SECONDS = 10.0
CONCURRENCY = {Priority.FAST: 4, Priority.SLOW: 2}  # attempts of this process
FAILED_CLIENT_SECONDS = 30  # for so long after a failed attempt its client comes after all others
TOKEN_SECONDS = 120  # §2.4: at most two minutes
DELIVERED = (HTTPStatus.OK, HTTPStatus.NO_CONTENT)  # §2.8
EVENT = "http://schemas.openid.net/event/backchannel-logout"

Sign = Callable[[JsonObject, str, str], str]  # claims, alg, typ: the JWT


class Delivery(NamedTuple):
    """What is sent, and where to."""

    address: str
    token: str


@dataclass
class Sender:
    """Makes one attempt to deliver a notice, and records what came of it."""

    app: Flask
    http_client: HttpClient
    enter: Callable[[int], AbstractContextManager[None]]  # makes a tenant, by its number, the current one
    issuer: Callable[[], str]  # of the current tenant
    sign: Sign  # as the current tenant

    def deliver_due(self) -> int:
        """Make every attempt that is due, one after another, and return how many that were.

        A process that serves does it by itself.
        """
        made = 0
        while (notice := self.claim_one()) is not None:
            self.deliver(notice)
            made += 1
        return made

    def is_any_due(self) -> bool:
        """Return whether an attempt is due."""
        return run_in_app(self.app, lambda: store.logout_notices.is_any_due(clock.now()))

    def claim_one(
        self, priority: Priority | None = None, busy: Collection[ClientOfTenant] = ()
    ) -> NoticeRow | None:
        """Return a due notice, claimed for one attempt; none of the `busy` clients."""
        claimed = run_in_app(self.app, lambda: store.logout_notices.claim_due(clock.now(), 1, priority, busy))
        return claimed[0] if claimed else None

    def deliver(self, notice: NoticeRow) -> bool:
        """Make one attempt with a claimed notice, and return whether the client has taken it.

        A short transaction before it and one after, none while it waits.
        """
        with self.enter(notice.tenant_id):
            return self._deliver(notice)

    def _deliver(self, notice: NoticeRow) -> bool:
        delivery = run_in_app(self.app, lambda: self._write(notice))
        is_delivered, outcome = (
            self._post(delivery) if delivery else (False, "the client has no address for it")
        )
        run_in_app(self.app, lambda: record(notice, is_delivered, outcome, may_repeat=delivery is not None))
        log.info(
            "notice of logout: client_id=%s attempt=%d outcome=%s", notice.client_id, notice.attempts, outcome
        )
        return is_delivered

    def _write(self, notice: NoticeRow) -> Delivery | None:
        """Return what is to be sent; None for a client that has no address for it any more."""
        client = store.clients.find(notice.client_id)
        address = client.member("backchannel_logout_uri") if client is not None else None
        if client is None or address is None:
            return None
        return Delivery(address, self._make_logout_token(client, notice))

    def _make_logout_token(self, client: Client, notice: NoticeRow) -> str:
        """Return a logout token (§2.4), for this attempt alone: no client sees a `jti` twice."""
        now = clock.now()
        content: JsonObject = {
            "iss": self.issuer(),
            "sub": notice.sub,
            "aud": notice.client_id,
            "iat": now,
            "exp": now + TOKEN_SECONDS,
            "jti": credentials.random_text(16),
            "sid": notice.sid,
            "events": {EVENT: {}},
        }
        return self.sign(content, client.member("id_token_signed_response_alg", DEFAULT_ALG), "logout+jwt")

    def _post(self, delivery: Delivery) -> tuple[bool, str]:
        """Return whether the client has taken it, and what it answered in words (§2.5)."""
        try:
            status = self.http_client.post(delivery.address, {"logout_token": delivery.token})
        except FetchError as error:
            return False, str(error)
        return status in DELIVERED, f"answered {status}"


class LogoutDelivery:
    """Delivers the notices of one app, in threads.

    One thread starts a thread for each attempt that is due. The bounds are those of CONCURRENCY, and one
    attempt at a time for each client: one that does not answer holds up nobody else, but for the moment in
    which more clients than the priority has places are found dead. Its next notices come after those of all
    others: a dead client with a hundred of them leaves room for one that failed once.
    """

    def __init__(self, sender: Sender, periodic_tasks: Sequence[Callable[[], None]] = ()) -> None:
        """periodic_tasks: small work that the same thread does each time it wakes up. They never raise."""
        self.sender = sender
        self._periodic_tasks = periodic_tasks
        self._changed = threading.Condition()
        self._in_flight: dict[ClientOfTenant, Priority] = {}
        self._failed_at: dict[ClientOfTenant, float] = {}  # on the monotonic clock
        self._must_look = False
        self._is_stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Look for what is due, from now on: at `wake`, and every POLL_SECONDS.

        Processes that serve call it, again and again.
        """
        with self._changed:
            if self._thread is None and not self._is_stopping:
                self._thread = threading.Thread(target=self._run, name="logout delivery", daemon=True)
                self._thread.start()
                atexit.register(self.stop)

    def wake(self) -> None:
        """Look for new notices now. A process that does not serve leaves them to those that do."""
        with self._changed:
            self._must_look = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Start nothing more, and wait for the attempts that are in flight."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout=1)
            atexit.unregister(self.stop)
        with self._changed:
            self._changed.wait_for(lambda: not self._in_flight, timeout=SECONDS + 1)

    def _run(self) -> None:
        while not self._is_stopping:
            for task in self._periodic_tasks:
                task()
            try:
                self._start_due_attempts()
            except Exception as error:
                log.warning("notices of logout wait: reason=%s", type(error).__name__)
            with self._changed:
                pause = POLL_SECONDS * with_jitter()
                self._changed.wait_for(lambda: self._must_look or self._is_stopping, timeout=pause)
                self._must_look = False

    def _start_due_attempts(self) -> None:
        if not self.sender.is_any_due():
            return
        for priority in Priority:
            while (notice := self._claim(priority)) is not None:
                attempt = threading.Thread(
                    target=self._attempt, args=(notice,), name="logout attempt", daemon=True
                )
                try:
                    attempt.start()
                except RuntimeError:  # there are too many threads
                    self._finish(notice, is_delivered=False)
                    raise

    def _claim(self, priority: Priority) -> NoticeRow | None:
        """Return a due notice of a priority with a free place, one for each client, claimed; else None."""
        with self._changed:
            busy = set(self._in_flight)
            if self._is_stopping or list(self._in_flight.values()).count(priority) >= CONCURRENCY[priority]:
                return None
            last = self._clients_that_failed()
        notice = self.sender.claim_one(priority, busy | last) or (
            self.sender.claim_one(priority, busy) if last else None
        )
        if notice is not None:
            with self._changed:
                self._in_flight[notice.client] = priority
        return notice

    def _clients_that_failed(self) -> set[ClientOfTenant]:
        since = time.monotonic() - FAILED_CLIENT_SECONDS
        self._failed_at = {client: at for client, at in self._failed_at.items() if at > since}
        return set(self._failed_at)

    def _attempt(self, notice: NoticeRow) -> None:
        is_delivered = False
        try:
            is_delivered = self.sender.deliver(notice)
        except Exception as error:  # it counts as lost, and is made again
            log.error("an attempt was not finished: notice=%d reason=%s", notice.id, type(error).__name__)
        finally:
            self._finish(notice, is_delivered)
            self.wake()

    def _finish(self, notice: NoticeRow, is_delivered: bool) -> None:
        with self._changed:
            del self._in_flight[notice.client]
            self._failed_at.pop(notice.client, None)
            if not is_delivered:
                self._failed_at[notice.client] = time.monotonic()
            self._changed.notify_all()


def record(notice: NoticeRow, is_delivered: bool, outcome: str, *, may_repeat: bool) -> None:
    """Store what came of an attempt, and when the next is due."""
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
