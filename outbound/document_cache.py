"""Keep the JSON documents that clients publish (`jwks_uri` and the like) for a while, for all threads of a
process.
"""

import hashlib
import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple

from errors import FetchBusyError, FetchError
from outbound.http_client import HttpClient

log = logging.getLogger("ostiary.document_cache")

USUAL_SECONDS = 600
SHORTEST_SECONDS, LONGEST_SECONDS = 60, 3600  # whatever the answer says
FAILURE_SECONDS = 60
REFRESH_SECONDS = 60
# for an answer that somebody else has asked for: a slow client must not hold all threads
WAITING_SECONDS = 2.0
STALE_SECONDS = 300  # for so long more, while somebody else asks for a newer one, or nobody may
MAXIMUM_DOCUMENTS = 256


class Document(NamedTuple):
    """A parsed JSON document, and the digest of its text, which tells whether it is still the same."""

    content: Any
    digest: bytes


class CacheEntry(NamedTuple):
    """What came of the last try: a document, or the words of a failure; asked for and good until then, on the
    monotonic clock.
    """

    outcome: Document | str
    asked_at: float
    good_until: float

    def get(self) -> Document:
        if isinstance(self.outcome, str):
            raise FetchError(self.outcome)
        return self.outcome


class DocumentCache:
    """JSON documents by URL, for all threads of this process. Failures are kept too, more shortly; nobody
    asks twice at once.

    at_once: how many threads may wait for the network in all, whatever the host, their own question or
    another's. The next one is turned away at once: hosts that hang must not hold the threads that serve
    everybody else.
    """

    def __init__(self, fetcher: HttpClient, at_once: int) -> None:
        self._fetcher = fetcher
        self._lock = threading.Lock()
        # the one that was asked for longest ago first
        self._kept: OrderedDict[str, CacheEntry] = OrderedDict()
        self._under_way: dict[str, Future[CacheEntry]] = {}
        self._places = at_once

    def get(self, url: str) -> Document:
        """The document as it was a few minutes ago at most. Raises FetchError."""
        return self._find(url, is_good, is_stale).get()

    def refresh(self, url: str) -> Document:
        """The document of the last minute: for whoever misses something in it. Raises FetchError."""
        return self._find(url, is_recent, never).get()

    def at_hand(self, url: str, *, recent: bool = False) -> Document | None:
        """What `get`, or `refresh`, would return without waiting; None where it would have to wait.

        Raises FetchError.
        """
        with self._lock:
            kept = self._look(url, is_recent if recent else is_good, never if recent else is_stale)
            if kept is None and not self._places:
                raise FetchBusyError("too many wait for the network")
        return None if kept is None else kept.get()

    def _look(self, url: str, will_do: "Choice", will_do_meanwhile: "Choice") -> CacheEntry | None:
        """Under the lock."""
        kept = self._kept.get(url)
        is_hopeless = url in self._under_way or not self._places
        if kept is None or not (will_do(kept) or (is_hopeless and will_do_meanwhile(kept))):
            return None
        self._kept.move_to_end(url)
        return kept

    def _find(self, url: str, will_do: "Choice", will_do_meanwhile: "Choice") -> CacheEntry:
        with self._lock:
            kept = self._look(url, will_do, will_do_meanwhile)
            if kept is not None:
                return kept
            if not self._places:
                raise FetchBusyError("too many wait for the network")
            self._places -= 1
            under_way = self._under_way.get(url)
            if under_way is None:
                mine = self._under_way[url] = Future()
        try:
            return self._ask(url, mine) if under_way is None else under_way.result(WAITING_SECONDS)
        except TimeoutError:
            raise FetchBusyError("others wait for it already") from None
        finally:
            with self._lock:
                self._places += 1

    def _ask(self, url: str, promise: Future[CacheEntry]) -> CacheEntry:
        """Fetch it for everybody who waits."""
        asked_at = time.monotonic()
        kept = CacheEntry("it was given up", asked_at, asked_at)
        try:
            kept = self._fetch(url, asked_at)
        finally:
            with self._lock:
                del self._under_way[url]
                kept = better(self._kept.get(url), kept)
                self._kept[url] = kept
                self._kept.move_to_end(url)
                while len(self._kept) > MAXIMUM_DOCUMENTS:
                    self._kept.popitem(last=False)
            promise.set_result(kept)
        return kept

    def _fetch(self, url: str, asked_at: float) -> CacheEntry:
        try:
            fetched = self._fetcher.fetch(url)
            document = Document(read_json(fetched.content), hashlib.sha256(fetched.content).digest())
        except FetchError as error:
            log.warning("a client's document was not fetched: reason=%s", error)
            return CacheEntry(str(error), asked_at, time.monotonic() + FAILURE_SECONDS)
        seconds = USUAL_SECONDS if fetched.max_age is None else fetched.max_age
        return CacheEntry(
            document, asked_at, time.monotonic() + min(max(seconds, SHORTEST_SECONDS), LONGEST_SECONDS)
        )


Choice = Callable[[CacheEntry], bool]


def is_good(kept: CacheEntry) -> bool:
    return time.monotonic() < kept.good_until


def is_recent(kept: CacheEntry) -> bool:
    return time.monotonic() < kept.asked_at + REFRESH_SECONDS


def is_stale(kept: CacheEntry) -> bool:
    return isinstance(kept.outcome, Document) and time.monotonic() < kept.good_until + STALE_SECONDS


def never(_kept: CacheEntry) -> bool:
    return False


def better(before: CacheEntry | None, after: CacheEntry) -> CacheEntry:
    """A document that is still good outlives a refresh that failed, which anybody may have asked for."""
    if isinstance(after.outcome, str) and before is not None and after.asked_at < before.good_until:
        return before._replace(asked_at=after.asked_at)
    return after


def read_json(content: bytes) -> Any:
    """Raises FetchError."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise FetchError("the answer is no JSON") from None
