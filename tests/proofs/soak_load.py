"""The load of `make soak`: people and machines that do all there is to do, over HTTP, again and again.

Enters: a driver of a live server. Leaves: what was granted, what was not answered as it should have been, and
how long each answer took. Stored beforehand: the clients, the people, and for most of them a browser that is
signed in and has consented. The others, the regulars, come with a new browser each time.
"""

import itertools
import random
import secrets
import threading
import time
from collections import Counter, deque
from urllib.parse import parse_qs, urlsplit

from crypto import credentials
from models import Consent
from protocol import clock
from testing.races.workers import Call
from tests.builders import PASSWORD, REDIRECT_URI, a_machine, a_session, a_user
from tests.cookies import cookies_of
from tests.flows.browser_journey import Browser
from tests.flows.driving import PATIENCE_SECONDS, ask, exchange, machine_call, me, refresh, revoke
from tests.jose import assertion_claims, jwks, key_for, sign, with_assertion
from tests.load import Senders
from tests.pages.steps import authorization_path

WALKERS = 8
CONNECTIONS = 2  # of each walker: the kernel deals them among the processes
GRANTS_PER_PERSON = 20  # at least, so that a short run has fewer people
MOST_PEOPLE = 1_000
GRANTS_PER_REGULAR = 2_000  # of everybody's: each signs in some twenty times
SCOPES = {"shop": "openid profile", "notes": "profile email"}  # of the two clients that people go to
LASTING_SECONDS = 24 * 3600  # of a session that outlives the run
SIGNING_KEY = key_for("ES256")
# What a step is, in a hundred.
SHARES = {
    "code": 14,
    "refresh": 48,
    "machine": 10,
    "assertion": 12,
    "use": 4,
    "revocation": 2,
    "failed_authentication": 4,
    "abandoned_request": 3,
    "abandoned_code": 2,
    "sign_in": 1,
}
REPEATED, WITHDRAWN, SIGNED_OUT, MISTYPED = 0.15, 0.2, 0.5, 0.1  # shares of refreshes and sign-ins


class Person:
    """Somebody with a browser that stays signed in. `tokens`: what their client holds."""

    def __init__(self, user_id, client_id, cookie):
        self.user_id, self.client_id, self.cookie = user_id, client_id, cookie
        self.tokens = None


class Load:
    """`with Load(…) as load:` begins; `grants` counts on until `load.end()`.

    `notify_url`: where logout notices go to.
    """

    def __init__(self, driver, grants, seconds, notify_url, steps_a_second=None):
        self.driver, self.seconds, self.steps_a_second = driver, seconds, steps_a_second
        self.issuer = driver.server.issuer
        self.lock = threading.Lock()
        self.counts, self.failures, self.latencies = Counter(), Counter(), []
        self._store_clients(notify_url)
        people = self._store_people(min(MOST_PEOPLE, max(WALKERS, grants // GRANTS_PER_PERSON)))
        regulars = self._store_regulars(max(WALKERS, grants // GRANTS_PER_REGULAR))
        self.walkers = [
            Walker(self, number, people[number::WALKERS], regulars[number::WALKERS])
            for number in range(WALKERS)
        ]
        self.senders = Senders([walker.step for walker in self.walkers])

    def __enter__(self):
        self.senders.begin()
        return self

    def __exit__(self, *failure):
        self.end()
        for walker in self.walkers:
            walker.close()

    def end(self):
        """No walker takes another step. What one of them does after that, it does for the caller."""
        self.senders.end()

    @property
    def grants(self):
        return self.counts["grants"]

    def wait_for(self, grants):
        """Until there were so many."""
        seen, seen_at = self.grants, time.monotonic()
        while self.grants < grants:
            time.sleep(0.02)
            if self.grants > seen:
                seen, seen_at = self.grants, time.monotonic()
            assert time.monotonic() - seen_at < PATIENCE_SECONDS, (
                f"nothing is granted any more: {dict(self.failures)}"
            )

    def count(self, what, number=1):
        with self.lock:
            self.counts[what] += number

    def answered(self, kind, answer, statuses, redirect=""):
        """Whether it was answered so."""
        is_right = answer.status in statuses and answer.location.startswith(redirect)
        with self.lock:
            self.counts["requests"] += 1
            self.latencies.append(answer.seconds)
            if not is_right:
                self.failures[
                    f"{kind}: {answer.status} {answer.error or ''} {answer.location[:60]}".strip()
                ] += 1
        return is_right

    def failed(self, kind, problem):
        with self.lock:
            self.failures[f"{kind}: {problem}"] += 1

    def take_latencies(self):
        """Of all answers since the last time, in seconds."""
        with self.lock:
            taken, self.latencies = self.latencies, []
        return taken

    # ---- who is there --------------------------------------------------------------------------------------

    def _store_clients(self, notify_url):
        is_notified = {"backchannel_logout_uri": notify_url}
        self.shop = self.driver.client(scope=SCOPES["shop"], extra_metadata=is_notified)
        self.notes = self.driver.client(scope=SCOPES["notes"])
        self.robot = self.driver.client(build=a_machine, access_token_lifetime=self.seconds)
        self.signer = self.driver.client(
            build=a_machine,
            access_token_lifetime=self.seconds,
            token_endpoint_auth_method="private_key_jwt",
            client_secret_digest=None,
            extra_metadata={"jwks": jwks(SIGNING_KEY)},
        )

    def _store_people(self, number):
        """Half of them go to one client and half to the other."""
        clients = [(self.shop, SCOPES["shop"]), (self.notes, SCOPES["notes"])]
        people, rows = [], []
        for user_id, (client_id, scope) in zip(
            self.driver.new_users(number), itertools.cycle(clients), strict=False
        ):
            value = credentials.random_text()
            people.append(Person(user_id, client_id, cookies_of(self.driver.app, self.issuer, value).header))
            session = {
                "session_digest": credentials.digest(value),
                "expires_at": clock.now() + LASTING_SECONDS,
            }
            rows.append(a_session(None, user_id=user_id, **session))
            rows.append(Consent(user_id=user_id, client_id=client_id, scope=scope, granted_at=clock.now()))
        self.driver.store(*rows)
        return people

    def _store_regulars(self, number):
        """Their addresses."""
        names = [secrets.token_hex(8) for _ in range(number)]
        self.driver.store(*(a_user(id=None, sub=name, email=f"{name}@example.com") for name in names))
        return [f"{name}@example.com" for name in names]


class Walker:
    """Takes one step after another, with people of its own. Where there is a pace it keeps to it."""

    def __init__(self, load, number, people, regulars):
        self.load, self.people, self.regulars = load, itertools.cycle(people), itertools.cycle(regulars)
        self.random = random.Random(number)  # noqa: S311 - what comes next, no secret
        self.connections = deque(load.driver.workers.connect() for _ in range(CONNECTIONS))
        self.pause = WALKERS / load.steps_a_second if load.steps_a_second else 0
        self.due = time.monotonic() + self.pause * self.random.random()

    def step(self, is_over):
        if is_over.wait(max(0, self.due - time.monotonic()) if self.pause else 0):
            return
        [name] = self.random.choices(list(SHARES), list(SHARES.values()))
        try:
            getattr(self, name)()
        except Exception as error:
            self.load.failed(name, repr(error))
        self.load.count(name)
        self.due += self.pause

    def ask(self, kind, call, *statuses, redirect=""):
        """The answer; None where it is another than it should be."""
        self.connections.rotate()
        try:
            answer = ask(self.connections[0], call)
        except Exception:
            self.connections[0].close()  # the next one begins anew
            raise
        return answer if self.load.answered(kind, answer, statuses, redirect) else None

    def granted(self, kind, call):
        """The tokens, counted; None where there are none."""
        answer = self.ask(kind, call, 200)
        if answer is None:
            return None
        self.load.count("grants")
        return answer.json

    def close(self):
        for connection in self.connections:
            connection.close()

    # ---- steps of people -----------------------------------------------------------------------------------

    def code(self):
        self.get_tokens(next(self.people))

    def get_tokens(self, person):
        if code := self.get_code(person):
            person.tokens = self.granted("code", exchange(person.client_id, code))

    def get_code(self, person):
        call = Call("GET", self.path_for(person.client_id), {"Cookie": person.cookie})
        answer = self.ask("authorization", call, 303, redirect=f"{REDIRECT_URI}?")
        return answer and parse_qs(urlsplit(answer.location).query)["code"][0]

    def path_for(self, client_id):
        scope = SCOPES["shop" if client_id == self.load.shop else "notes"]
        return authorization_path(client_id=client_id, scope=scope)

    def refresh(self):
        """Some answers are lost, and asked for again."""
        person = next(self.people)
        if person.tokens is None:
            return self.get_tokens(person)
        call = refresh(person.client_id, person.tokens["refresh_token"])
        pair = self.granted("refresh", call)
        if self.random.random() < REPEATED:
            again = self.granted("repeated refresh", call)
            if pair and again and again["refresh_token"] != pair["refresh_token"]:
                self.load.failed("repeated refresh", "another pair")
        person.tokens = pair

    def someone(self):
        """The next person with tokens; None where there is nobody soon."""
        return next(
            (person for person in itertools.islice(self.people, 10) if person.tokens is not None), None
        )

    def use(self):
        if person := self.someone():
            self.ask("use", me(person.tokens["access_token"]), 200)

    def revocation(self):
        if person := self.someone():
            self.ask("revocation", revoke(person.client_id, person.tokens["refresh_token"]), 200)
            person.tokens = None

    def abandoned_request(self):
        """Nobody signs in."""
        self.ask("abandoned request", Call("GET", self.path_for(self.load.shop), {}), 303, redirect="/login?")

    def abandoned_code(self):
        self.get_code(next(self.people))

    def sign_in(self):
        """With a new browser, through sign-in and consent to the client; some remove its access then, some
        sign out.
        """
        issuer, email = self.load.issuer, next(self.regulars)
        with Browser(issuer) as browser:
            browser.open(issuer + self.path_for(self.load.shop))
            if self.random.random() < MISTYPED:
                browser.sign_in(email, "a wrong password")
            browser.sign_in(email, PASSWORD)
            if browser.left_for is None:
                browser.press("Allow")
            [code] = parse_qs(urlsplit(browser.left_for).query)["code"]
            self.granted("code of a sign-in", exchange(self.load.shop, code))
            if self.random.random() < WITHDRAWN:
                browser.open(f"{issuer}/account/applications").press("Remove access of Web")
            if self.random.random() < SIGNED_OUT:
                browser.open(f"{issuer}/logout").press("Sign out")

    # ---- steps of machines ---------------------------------------------------------------------------------

    def machine(self):
        self.granted("machine", machine_call(self.load.robot))

    def assertion(self):
        claims = assertion_claims(
            self.load.signer,
            aud=self.load.issuer,
            jti=secrets.token_hex(16),
            exp=clock.now() + self.load.seconds,
        )
        body = with_assertion(sign(claims, SIGNING_KEY), grant_type="client_credentials")
        self.granted("assertion", Call("POST", "/oauth/token", form=body))

    def failed_authentication(self):
        """Of a client that nobody knows, another one each time."""
        self.ask("failed authentication", machine_call(f"nobody-{secrets.token_hex(8)}"), 401)
