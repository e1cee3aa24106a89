"""The testbed of the scenarios: users, clients, codes, browsers and workers on a scratch database.

An app of this process stores the rows that a scenario begins with, and reads what is stored afterwards. The
workers send the requests that are tried.
"""

import itertools
import re
import secrets
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, Protocol
from urllib.parse import parse_qs, urlsplit

from flask import Flask

import store.clients
import store.codes
import store.tokens
import store.user_sessions
import store.users
from config import Settings
from crypto import credentials
from models import Client
from protocol import clock, pkce
from protocol.claims import AMR_PASSWORD
from store.codes import CodeRow
from store.user_sessions import SignIn
from testing.races.result import BrokenPromiseError, ScenarioResult
from testing.races.workers import Answer, Call, send
from unit_of_work import transaction

REDIRECT_URI = "https://client.invalid/callback"
CODE_LIFETIME_SECONDS = 600
SCOPE = "openid"
HIDDEN_FIELD = re.compile(r'name="(?P<name>\w+)"[^>]*value="(?P<value>[^"]+)"')


class Pair(NamedTuple):
    """An access token and a refresh token that were issued together; "" for no refresh token."""

    access_token: str
    refresh_token: str


class TokenCalls:
    """Makes requests of clients that all have the same secret, and of holders of their tokens."""

    def __init__(self, client_secret: str, verifier: str, redirect_uri: str) -> None:
        self.client_secret = client_secret
        self.verifier = verifier
        self.redirect_uri = redirect_uri

    def token_call(self, client_id: str, form: dict[str, str], path: str = "/oauth/token") -> Call:
        """Return a request that a client authenticates."""
        basic = b64encode(f"{client_id}:{self.client_secret}".encode()).decode()
        return Call("POST", path, {"Authorization": f"Basic {basic}"}, form)

    def exchange(self, client_id: str, code: str) -> Call:
        """Return a request that exchanges an authorization code."""
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect_uri}
        return self.token_call(client_id, form | {"code_verifier": self.verifier})

    def refresh(self, client_id: str, refresh_token: str) -> Call:
        """Return a refresh request."""
        return self.token_call(client_id, {"grant_type": "refresh_token", "refresh_token": refresh_token})

    def client_credentials(self, client_id: str) -> Call:
        """Return a request for client credentials (RFC 6749 §4.4)."""
        return self.token_call(client_id, {"grant_type": "client_credentials"})

    def revoke(self, client_id: str, token: str) -> Call:
        """Return a revocation request (RFC 7009)."""
        return self.token_call(client_id, {"token": token}, "/oauth/revoke")

    @staticmethod
    def me(access_token: str) -> Call:
        """Return a request for a protected resource."""
        return Call("GET", "/api/me", {"Authorization": f"Bearer {access_token}"})

    def challenge(self) -> str:
        """Return the code challenge of the verifier that all exchanges send."""
        return pkce.s256(self.verifier)


class Workers(Protocol):
    """Sends calls at the same moment: by threads that have the app, or by connections to a server.

    size: how many calls at most. capacity: how many calls are served at the same moment. again: why requests
    ran again, since it was last emptied.
    """

    size: int
    capacity: int
    again: Counter[str]

    def at_once(self, calls: Sequence[Call]) -> list[Answer]:
        """Send calls, and return their answers in the same order."""


class Testbed(TokenCalls):
    """Users, clients and workers for the scenarios. result: that of the running scenario."""

    code_scope = ""

    def __init__(
        self,
        app: Flask,
        settings: Settings,
        workers: Workers,
        client_secret: str = "",
        verifier: str = "",
        redirect_uri: str = REDIRECT_URI,
    ) -> None:
        super().__init__(
            client_secret or credentials.new_client_secret(),
            verifier or credentials.random_text(),
            redirect_uri,
        )
        self.app = app
        self.settings = settings
        self.workers = workers
        self.result = ScenarioResult("")
        self.names = (f"{secrets.token_hex(4)}-{number}" for number in itertools.count())

    def warm_up(self) -> None:
        """Let every worker thread connect to the database, before the races begin."""
        self.workers.at_once([self.me(credentials.new_access_token())] * self.workers.size)

    # ---- rows ----------------------------------------------------------------------------------------------

    def client(self, **columns: object) -> str:
        """Store a client that may use every grant, and return its `client_id`."""
        client = Client(
            client_id=next(self.names),
            client_name="Proof",
            client_secret_digest=credentials.digest(self.client_secret),
            client_id_issued_at=clock.now(),
            token_endpoint_auth_method="client_secret_basic",  # noqa: S106 - RFC 7591's word
            grant_types=["authorization_code", "refresh_token", "client_credentials"],
            redirect_uris=[self.redirect_uri],
            scope=SCOPE,
            **columns,
        )
        with self.app.app_context(), transaction():
            store.clients.add(client)
            return client.client_id

    def new_users(self, count: int) -> list[int]:
        """Store so many users without a password, and return their ids."""
        with self.app.app_context(), transaction():
            return [
                store.users.add(f"{name}@example.com", "", "").id
                for name in itertools.islice(self.names, count)
            ]

    def new_user(self) -> int:
        """Store a user without a password, and return the id."""
        return self.new_users(1)[0]

    def codes(self, client_id: str, user_ids: Sequence[int]) -> list[str]:
        """Store and return authorization codes, one for each item of `user_ids`."""
        codes = [credentials.new_authorization_code() for _ in user_ids]
        now = clock.now()
        with self.app.app_context(), transaction():
            for code, user_id in zip(codes, user_ids, strict=True):
                row = CodeRow(
                    code_digest=credentials.digest(code),
                    client_id=client_id,
                    user_id=user_id,
                    redirect_uri=self.redirect_uri,
                    scope=self.code_scope,
                    code_challenge=self.challenge(),
                    auth_time=now,
                    acr=None,
                    sid=None,
                    sealed_openid=None,
                    expires_at=now + CODE_LIFETIME_SECONDS,
                )
                store.codes.issue(row, now)
        return codes

    def code(self, client_id: str, user_id: int) -> str:
        """Store and return an authorization code."""
        return self.codes(client_id, [user_id])[0]

    def browser(self, user_id: int) -> "Browser":
        """Return a browser in which this user is signed in."""
        cookie_value = credentials.random_text()
        with self.app.app_context(), transaction():
            store.user_sessions.start(user_id, SignIn(cookie_value, clock.now(), AMR_PASSWORD))
        return Browser(self, cookie_value)

    def token_digests(self, client_id: str, user_id: int | None = None) -> list[bytes]:
        """Return the digests of the stored access tokens of a user at a client; of no user for None."""
        with self.app.app_context():
            return store.tokens.access_token_digests(client_id, user_id)

    def count_codes(self, client_id: str) -> int:
        """Return how many codes of a client are stored."""
        with self.app.app_context():
            return store.codes.count_of_client(client_id)

    # ---- answers -------------------------------------------------------------------------------------------

    def at_once(self, calls: Sequence[Call]) -> list[Answer]:
        """Send calls at the same moment, count and return their answers.

        Raises BrokenPromiseError for a 5xx, and where a request ran again because of a unique key.
        """
        answers = self.workers.at_once(calls)
        again, self.workers.again = self.workers.again, Counter()
        before = self.result.unique_key_retries
        self.result.note(answers, again)
        for call, answer in zip(calls, answers, strict=True):
            check(answer.status < 500, f"{call.method} {call.path} was answered {answer.status}")
        check(
            self.result.unique_key_retries == before, "the unique key had to decide, because the lock did not"
        )
        return answers

    def send(self, call: Call) -> Answer:
        """Send one call in this process, and return its answer, which is not counted."""
        answer = send(self.app, call, self.settings.issuer)
        check(answer.status < 500, f"{call.method} {call.path} was answered {answer.status}")
        return answer

    def sign_in(self, client_id: str, user_id: int) -> Pair:
        """Exchange a new code of this user, and return the pair."""
        return self.pair(self.exchange(client_id, self.code(client_id, user_id)))

    def pair(self, call: Call) -> Pair:
        """Send a call that must succeed, and return the pair that it is answered with."""
        return pair_of(self.send(call))

    def is_live(self, access_token: str) -> bool:
        """Return whether an access token is accepted; 403 is for one without a user."""
        return self.send(self.me(access_token)).status in (200, 403)


class Browser:
    """A browser in which a user is signed in. The workers can send its requests: they carry its cookies."""

    def __init__(self, testbed: Testbed, cookie_value: str) -> None:
        self._testbed = testbed
        self._issuer = testbed.settings.issuer
        self._http = testbed.app.test_client()
        self._cookies: dict[str, str] = {}  # of the answers so far
        with self._http.session_transaction(base_url=self._issuer) as session:
            session["_user_id"] = cookie_value

    def ask(self, client_id: str) -> dict[str, str]:
        """Send an authorization request, and return the hidden fields of the consent page's form."""
        parameters = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": self._testbed.redirect_uri,
            "scope": SCOPE,
            "code_challenge": self._testbed.challenge(),
            "code_challenge_method": "S256",
        }
        page = self._http.get("/oauth/authorize", base_url=self._issuer, query_string=parameters)
        for line in page.headers.getlist("Set-Cookie"):
            name, _equals, rest = line.partition("=")
            self._cookies[name] = rest.partition(";")[0]
        return {name: hidden_field(page.text, name) for name in ("csrf_token", "ticket")}

    def allow(self, client_id: str) -> tuple[str, dict[str, str]]:
        """Allow the client, and return its code and the form that signs out."""
        form = self.ask(client_id)
        answer = send(
            self._testbed.app, self.call("/oauth/authorize", form | {"decision": "allow"}), self._issuer
        )
        return code_in(answer), {"csrf_token": form["csrf_token"]}

    def call(self, path: str, form: dict[str, str]) -> Call:
        """Return a request that sends a form with this browser's cookies."""
        return Call(
            "POST",
            path,
            {"Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())},
            form,
        )


def check(is_kept: bool, promise: str) -> None:
    """Raise BrokenPromiseError, with these words for what went wrong, unless the guarantee held."""
    if not is_kept:
        raise BrokenPromiseError(promise)


def pair_of(answer: Answer) -> Pair:
    """Return the pair in a token response. Raises BrokenPromiseError for a refusal."""
    check(answer.status == 200, f"a request for tokens was answered {answer.status} {answer.error}")
    return Pair(answer.json["access_token"], answer.json.get("refresh_token", ""))


def code_in(answer: Answer) -> str:
    """Return the code that a consent was answered with. Raises BrokenPromiseError where there is none."""
    codes = parse_qs(urlsplit(answer.location).query).get("code", [""])
    check(
        answer.location.startswith(REDIRECT_URI) and bool(codes[0]), f"a consent was answered {answer.status}"
    )
    return codes[0]


def hidden_field(page: str, name: str) -> str:
    """Return the value of a form's hidden field. Raises BrokenPromiseError where there is none."""
    values = [field["value"] for field in HIDDEN_FIELD.finditer(page) if field["name"] == name]
    check(bool(values), f"a page has no field {name}")
    return values[0] if values else ""
