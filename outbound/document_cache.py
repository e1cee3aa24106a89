"""Cache the JSON documents that clients publish (`jwks_uri` and the like), for all threads of a process."""

import hashlib
import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple

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

    content: object
    digest: bytes


class CacheEntry(NamedTuple):
    """What came of the last try: a document, or the words of a failure.

    Both times are on the monotonic clock.
    """

    outcome: Document | str
    asked_at: float
    good_until: float

    def get(self) -> Document:
        """Return the document. Raises FetchError for a failure."""
        if isinstance(self.outcome, str):
            raise FetchError(self.outcome)
        return self.outcome


class DocumentCache:
    """JSON documents by URL, for all threads of this process.

    Failures are cached too, for a shorter time; no URL is fetched twice at once.

    at_once: how many threads may wait for the network in all, whatever the host, whether they fetch or wait
    for another thread. The next one is refused at once: hosts that hang must not hold the threads that serve
    everybody else.
    """

    def __init__(self, fetcher: HttpClient, at_once: int) -> None:
        self._fetcher = fetcher
        self._lock = threading.Lock()
        # The one that was asked for longest ago comes first.
        self._entries: OrderedDict[str, CacheEntry] = OrderedDict()
        self._in_flight: dict[str, Future[CacheEntry]] = {}
        self._free_slots = at_once

    def get(self, url: str) -> Document:
        """Return the document as it was a few minutes ago at most. Raises FetchError."""
        return self._get(url, is_good, is_stale).get()

    def refresh(self, url: str) -> Document:
        """Return the document of the last minute, for whoever misses something in it. Raises FetchError."""
        return self._get(url, is_recent, never).get()

    def get_cached(self, url: str, *, recent: bool = False) -> Document | None:
        """Return what `get`, or `refresh`, would return without waiting; None where it would have to wait.

        Raises FetchError.
        """
        with self._lock:
            entry = self._find_cached(url, is_recent if recent else is_good, never if recent else is_stale)
            if entry is None and not self._free_slots:
                raise FetchBusyError("too many wait for the network")
        return None if entry is None else entry.get()

    def _find_cached(self, url: str, is_enough: "Choice", is_enough_meanwhile: "Choice") -> CacheEntry | None:
        """Return the entry of this URL where it is enough. Called under the lock."""
        entry = self._entries.get(url)
        is_hopeless = url in self._in_flight or not self._free_slots
        if entry is None or not (is_enough(entry) or (is_hopeless and is_enough_meanwhile(entry))):
            return None
        self._entries.move_to_end(url)
        return entry

    def _get(self, url: str, is_enough: "Choice", is_enough_meanwhile: "Choice") -> CacheEntry:
        """Return an entry that is enough, fetched by this thread or another.

        is_enough_meanwhile: the same, while another thread fetches it or none may.
        """
        with self._lock:
            entry = self._find_cached(url, is_enough, is_enough_meanwhile)
            if entry is not None:
                return entry
            if not self._free_slots:
                raise FetchBusyError("too many wait for the network")
            self._free_slots -= 1
            in_flight = self._in_flight.get(url)
            if in_flight is None:
                mine = self._in_flight[url] = Future()
        try:
            return self._fetch_for_all(url, mine) if in_flight is None else in_flight.result(WAITING_SECONDS)
        except TimeoutError:
            raise FetchBusyError("others wait for it already") from None
        finally:
            with self._lock:
                self._free_slots += 1

    def _fetch_for_all(self, url: str, promise: Future[CacheEntry]) -> CacheEntry:
        """Fetch the document for all threads that wait for it."""
        asked_at = time.monotonic()
        entry = CacheEntry("it was given up", asked_at, asked_at)
        try:
            entry = self._fetch(url, asked_at)
        finally:
            with self._lock:
                del self._in_flight[url]
                entry = keep_good_document(self._entries.get(url), entry)
                self._entries[url] = entry
                self._entries.move_to_end(url)
                while len(self._entries) > MAXIMUM_DOCUMENTS:
                    self._entries.popitem(last=False)
            promise.set_result(entry)
        return entry

    def _fetch(self, url: str, asked_at: float) -> CacheEntry:
        """Return what came of one try."""
        try:
            fetched = self._fetcher.fetch(url)
            document = Document(parse_json(fetched.content), hashlib.sha256(fetched.content).digest())
        except FetchError as error:
            log.warning("a client's document was not fetched: reason=%s", error)
            return CacheEntry(str(error), asked_at, time.monotonic() + FAILURE_SECONDS)
        seconds = USUAL_SECONDS if fetched.max_age is None else fetched.max_age
        return CacheEntry(
            document, asked_at, time.monotonic() + min(max(seconds, SHORTEST_SECONDS), LONGEST_SECONDS)
        )


Choice = Callable[[CacheEntry], bool]


def is_good(entry: CacheEntry) -> bool:
    return time.monotonic() < entry.good_until


def is_recent(entry: CacheEntry) -> bool:
    return time.monotonic() < entry.asked_at + REFRESH_SECONDS


def is_stale(entry: CacheEntry) -> bool:
    return isinstance(entry.outcome, Document) and time.monotonic() < entry.good_until + STALE_SECONDS


def never(_entries: CacheEntry) -> bool:
    return False


def keep_good_document(before: CacheEntry | None, after: CacheEntry) -> CacheEntry:
    """Return the entry to be kept: a good document outlives a refresh that failed."""
    if isinstance(after.outcome, str) and before is not None and after.asked_at < before.good_until:
        return before._replace(asked_at=after.asked_at)
    return after


def parse_json(content: bytes) -> object:
    """Return the value that a text is. Raises FetchError."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise FetchError("the answer is no JSON") from None
