"""Throttles and the limit of password hashes on a real server: failures at once are all counted, tokens are
not held up.
"""

import re
import threading
import time
from http.cookiejar import CookieJar
from statistics import quantiles
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener

import pytest

from tests.builders import PASSWORD
from tests.live import ENGINES, live_server, new_database

pytestmark = pytest.mark.long_on("postgresql", "mariadb")

AT_ONCE = 20


class Person:
    """A browser with the sign-in page open."""

    def __init__(self, issuer):
        self.login = f"{issuer}/login"
        self.opener = build_opener(HTTPCookieProcessor(CookieJar()))
        with self.opener.open(self.login, timeout=20) as page:
            self.csrf_token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.read().decode()).group(
                1
            )

    def sign_in(self, email, password):
        """The status, and the seconds of a Retry-After."""
        body = urlencode({"email": email, "password": password, "csrf_token": self.csrf_token}).encode()
        try:
            with self.opener.open(self.login, body, timeout=20) as answer:
                return answer.status, None
        except HTTPError as refused:
            with refused:
                return refused.status, refused.headers.get("Retry-After")


def at_once(calls):
    """Call all of them at the same moment; what they returned."""
    barrier = threading.Barrier(len(calls))
    results = [None] * len(calls)

    def run(number, call):
        barrier.wait()
        results[number] = call()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.fixture(params=ENGINES)
def server(request, tmp_path, postgres):
    limits = {"failed_sign_ins_per_account_and_address": 1_000, "failed_sign_ins_per_account": 1_000}
    with live_server(new_database(request.param, tmp_path, postgres), tmp_path, **limits) as server:
        server.flask("users", "add", "ada@example.com", "--password-stdin", input=PASSWORD)
        yield server


@pytest.mark.long
@pytest.mark.threat("T118")
def test_twenty_sign_ins_at_once(server):
    """At most two hashes at once in each of two processes; whoever is turned away is told when to
    come again.
    """
    robot = server.flask_json("clients", "add", "Robot", "--grant-type", "client_credentials")
    body = urlencode(
        {
            "grant_type": "client_credentials",
            "client_id": robot["client_id"],
            "client_secret": robot["client_secret"],
        }
    ).encode()
    server.flask("clients", "set", robot["client_id"], "--auth-method", "client_secret_post")
    people = [Person(server.issuer) for _person in range(AT_ONCE)]
    answers, seconds = [], []
    is_over = threading.Event()

    def sign_in_again_and_again(person):
        while not is_over.is_set():
            answers.append(person.sign_in("ada@example.com", "a wrong password"))

    threads = [threading.Thread(target=sign_in_again_and_again, args=[person]) for person in people]
    for thread in threads:
        thread.start()
    opener = build_opener()
    for _token in range(50):
        began = time.monotonic()
        with opener.open(f"{server.issuer}/oauth/token", body, timeout=20) as answer:
            assert answer.status == 200
        seconds.append(time.monotonic() - began)
    is_over.set()
    for thread in threads:
        thread.join()
    statuses = [status for status, _retry_after in answers]
    assert set(statuses) <= {400, 429, 503}
    assert 400 in statuses and 503 in statuses
    assert all(retry_after for status, retry_after in answers if status in (429, 503))
    assert quantiles(seconds, n=20)[-1] < 1.0  # of the token endpoint meanwhile
    assert Person(server.issuer).sign_in("ada@example.com", "a wrong password")[0] in (400, 429)


def test_failures_that_come_at_once_are_all_counted(server):
    rounds = 5
    began = time.time()
    failed = 0
    for _round in range(rounds):
        people = [Person(server.issuer) for _person in range(8)]
        answers = at_once(
            [lambda person=person: person.sign_in("ada@example.com", "wrong") for person in people]
        )
        failed += sum(status == 400 for status, _retry_after in answers)
        assert {status for status, _retry_after in answers} <= {400, 503}
    buckets = dict(server.rows("SELECT expires_at, 1 FROM throttle"))
    # The bucket of the address drains in 9 seconds a failure, the others in 1.
    filled = max(buckets) - began
    assert 9 * failed - 1 <= filled <= 9 * failed + (time.time() - began) + 1
    assert "lost a race" not in server.log()
