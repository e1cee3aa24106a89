"""The stage of the scenes: people, clients, codes and browsers in the place of its own, the crowd, and what
is stored afterwards.

Rows that a scene begins with are stored by an app of this process; everything that is tried goes through the
crowd.
"""

import itertools
import re
import secrets
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol
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
    access_token: str
    refresh_token: str


class TokenCalls:
    """The requests of clients that all have this secret, and of whoever has their tokens."""

    def __init__(self, client_secret: str, verifier: str, redirect_uri: str) -> None:
        self.client_secret = client_secret
        self.verifier = verifier
        self.redirect_uri = redirect_uri

    def token_call(self, client_id: str, form: dict[str, str], path: str = "/oauth/token") -> Call:
        basic = b64encode(f"{client_id}:{self.client_secret}".encode()).decode()
        return Call("POST", path, {"Authorization": f"Basic {basic}"}, form)

    def exchange(self, client_id: str, code: str) -> Call:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect_uri}
        return self.token_call(client_id, form | {"code_verifier": self.verifier})

    def refresh(self, client_id: str, refresh_token: str) -> Call:
        return self.token_call(client_id, {"grant_type": "refresh_token", "refresh_token": refresh_token})

    def machine(self, client_id: str) -> Call:
        return self.token_call(client_id, {"grant_type": "client_credentials"})

    def revoke(self, client_id: str, token: str) -> Call:
        return self.token_call(client_id, {"token": token}, "/oauth/revoke")

    @staticmethod
    def me(access_token: str) -> Call:
        return Call("GET", "/api/me", {"Authorization": f"Bearer {access_token}"})

    def challenge(self) -> str:
        return pkce.s256(self.verifier)


class Workers(Protocol):
    """What sends calls at the same moment: threads of processes that have the app, or connections to a
    server.

    size: how many calls at most. handful: as many as are served at the same moment. again: why requests were
    run again, since somebody took it.
    """

    size: int
    handful: int
    again: Counter[str]

    def at_once(self, calls: Sequence[Call]) -> list[Answer]:
        """Return the answers in the order of the calls."""


class Testbed(TokenCalls):
    """What a scenario has to play with. `tally` is the running one's."""

    code_scope = ""

    def __init__(
        self,
        app: Flask,
        settings: Settings,
        crowd: Workers,
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
        self.crowd = crowd
        self.tally = ScenarioResult("")
        self.names = (f"{secrets.token_hex(4)}-{number}" for number in itertools.count())

    def warm_up(self) -> None:
        """Every thread of the crowd gets its connection to the database, which is no part of any race."""
        self.crowd.at_once([self.me(credentials.new_access_token())] * self.crowd.size)

    # ---- rows ----------------------------------------------------------------------------------------------

    def client(self, **columns: Any) -> str:
        """The `client_id` of a new client, which may use every grant."""
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

    def people(self, count: int) -> list[int]:
        """The ids of so many new people, who have no password."""
        with self.app.app_context(), transaction():
            return [
                store.users.add(f"{name}@example.com", "", "").id
                for name in itertools.islice(self.names, count)
            ]

    def person(self) -> int:
        return self.people(1)[0]

    def codes(self, client_id: str, user_ids: Sequence[int]) -> list[str]:
        """New codes, one for each of the people named; a person named twice has two."""
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
        return self.codes(client_id, [user_id])[0]

    def browser(self, user_id: int) -> "Browser":
        """A browser that this person is signed in with."""
        cookie_value = credentials.random_text()
        with self.app.app_context(), transaction():
            store.user_sessions.start(user_id, SignIn(cookie_value, clock.now(), AMR_PASSWORD))
        return Browser(self, cookie_value)

    def token_digests(self, client_id: str, user_id: int | None = None) -> list[bytes]:
        with self.app.app_context():
            return store.tokens.access_token_digests(client_id, user_id)

    def count_codes(self, client_id: str) -> int:
        with self.app.app_context():
            return store.codes.count_of_client(client_id)

    # ---- what is answered ----------------------------------------------------------------------------------

    def at_once(self, calls: Sequence[Call]) -> list[Answer]:
        """The answers to calls that were sent at the same moment, counted; none may be a 5xx, or hit a unique
        key on its way.
        """
        answers = self.crowd.at_once(calls)
        again, self.crowd.again = self.crowd.again, Counter()
        before = self.tally.unique_key_retries
        self.tally.note(answers, again)
        for call, answer in zip(calls, answers, strict=True):
            check(answer.status < 500, f"{call.method} {call.path} was answered {answer.status}")
        check(
            self.tally.unique_key_retries == before, "the unique key had to decide, because the lock did not"
        )
        return answers

    def send(self, call: Call) -> Answer:
        """One call by itself, in this process; it is not counted."""
        answer = send(self.app, call, self.settings.issuer)
        check(answer.status < 500, f"{call.method} {call.path} was answered {answer.status}")
        return answer

    def sign_in(self, client_id: str, user_id: int) -> Pair:
        """The pair that a fresh code of this person becomes."""
        return self.pair(self.exchange(client_id, self.code(client_id, user_id)))

    def pair(self, call: Call) -> Pair:
        """The pair that is answered to a call that must succeed."""
        return pair_of(self.send(call))

    def is_live(self, access_token: str) -> bool:
        return self.send(self.me(access_token)).status in (200, 403)  # 403: a machine's


class Browser:
    """A signed-in browser of this process, whose requests the crowd can send too: with its cookie."""

    def __init__(self, stage: Testbed, cookie_value: str) -> None:
        self._stage = stage
        self._issuer = stage.settings.issuer
        self._http = stage.app.test_client()
        self._cookies: dict[str, str] = {}  # those of the answers so far
        with self._http.session_transaction(base_url=self._issuer) as session:
            session["_user_id"] = cookie_value

    def ask(self, client_id: str) -> dict[str, str]:
        """Bring an authorization request; returns the fields of the consent page's form, without the
        decision.
        """
        parameters = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": self._stage.redirect_uri,
            "scope": SCOPE,
            "code_challenge": self._stage.challenge(),
            "code_challenge_method": "S256",
        }
        page = self._http.get("/oauth/authorize", base_url=self._issuer, query_string=parameters)
        for line in page.headers.getlist("Set-Cookie"):
            name, _equals, rest = line.partition("=")
            self._cookies[name] = rest.partition(";")[0]
        return {name: hidden_field(page.text, name) for name in ("csrf_token", "ticket")}

    def allow(self, client_id: str) -> tuple[str, dict[str, str]]:
        """Allow the client; returns its code, and the form that signs out."""
        form = self.ask(client_id)
        answer = send(
            self._stage.app, self.call("/oauth/authorize", form | {"decision": "allow"}), self._issuer
        )
        return code_in(answer), {"csrf_token": form["csrf_token"]}

    def call(self, path: str, form: dict[str, str]) -> Call:
        return Call(
            "POST",
            path,
            {"Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())},
            form,
        )


def check(is_kept: bool, promise: str) -> None:
    """Raises BrokenPromiseError, with these words for what went wrong."""
    if not is_kept:
        raise BrokenPromiseError(promise)


def pair_of(answer: Answer) -> Pair:
    check(answer.status == 200, f"a request for tokens was answered {answer.status} {answer.error}")
    return Pair(answer.json["access_token"], answer.json.get("refresh_token", ""))


def code_in(answer: Answer) -> str:
    """The code that the browser takes back to the client."""
    codes = parse_qs(urlsplit(answer.location).query).get("code", [""])
    check(
        answer.location.startswith(REDIRECT_URI) and bool(codes[0]), f"a consent was answered {answer.status}"
    )
    return codes[0]


def hidden_field(page: str, name: str) -> str:
    values = [field["value"] for field in HIDDEN_FIELD.finditer(page) if field["name"] == name]
    check(bool(values), f"a page has no field {name}")
    return values[0] if values else ""
