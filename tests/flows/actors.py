"""Those who touch what a person has at a client: requests of clients and browsers over HTTP, and commands of
operators.

Each `Actor` has a name, an act, and its effect in `pair_model.Pair`. A `Stand` is a person at a client with
everything that they act on: two families, a pending code, an open request for consent, a browser. `meet` lets
two act at the same moment and says what came out.
"""

import secrets
import time
from collections.abc import Callable
from inspect import unwrap
from typing import NamedTuple

import store.tickets
from commands import clients, transaction, users
from crypto import credentials
from database.tenancy import HOME
from models import AuthorizationCode, AuthorizationTicket, Client, Consent, Token, User, UserSession, db
from protocol import clock
from testing.races.workers import Call
from tests.builders import (
    AUTHORIZATION_REQUEST,
    CHALLENGE,
    PASSWORD,
    REDIRECT_URI,
    a_client,
    a_client_session,
    a_code,
    a_session,
    a_token,
    a_user,
)
from tests.cookies import cookies_of
from tests.flows.driving import exchange, machine_call, refresh, revoke, send
from tests.flows.pair_model import DONE, LAPTOP, MINTED, PENDING, PHONE, REFUSED, RENEWED, TABLET, Pair, State
from tests.live import SECRET_KEY
from tests.statements import select

NEW_PASSWORD = "another correct horse"
SCOPE = "openid profile"
MICROSECONDS = 1_000_000


class Credential(NamedTuple):
    """What a device holds of its sign-in."""

    code: str
    access_token: str
    refresh_token: str

    @classmethod
    def new(cls):
        refresh_token = str(credentials.RefreshTokenMaker(SECRET_KEY).new())
        return cls(credentials.new_authorization_code(), credentials.new_access_token(), refresh_token)


class Stand:
    """A person at a client. `store()` comes before anybody acts, `state()` after."""

    def __init__(self, driver, user_id):
        self.driver = driver
        self.user_id = user_id
        self.client_id = f"web-{secrets.token_hex(8)}"
        self.email = f"{self.client_id}@example.com"
        self.sid = secrets.token_hex(11)
        self.phone, self.laptop = Credential.new(), Credential.new()
        self.code = credentials.new_authorization_code()
        self.ticket = credentials.random_text()
        self.cookie_value = credentials.random_text()
        self.session_id = user_id  # any number that nobody else has
        self.names = {
            credentials.digest(self.phone.access_token): PHONE,
            credentials.digest(self.laptop.access_token): LAPTOP,
        }
        self.cookie, self.csrf_token, self.browser = cookies_of(
            driver.app, driver.server.issuer, self.cookie_value
        )

    def rows(self):
        """In the order in which they refer to each other."""
        now = clock.now()
        grants = ["authorization_code", "refresh_token", "client_credentials"]
        of_pair = {"client_id": self.client_id, "user_id": self.user_id}
        yield a_user(id=self.user_id, sub=self.client_id, email=self.email)
        yield a_client(client_id=self.client_id, grant_types=grants, scope=SCOPE, max_sessions=2)
        digest = credentials.digest(self.cookie_value)
        yield a_session(self.session_id, user_id=self.user_id, session_digest=digest)
        yield a_client_session(self.sid, session_id=self.session_id, client_id=self.client_id)
        yield Consent(**of_pair, scope=SCOPE, granted_at=now)
        yield a_code(self.code, **of_pair, scope=SCOPE, sid=self.sid)
        yield self._family(self.phone, slot=0, sid=None, issued_at=(now - 2) * MICROSECONDS)
        yield self._family(self.laptop, slot=1, sid=self.sid, issued_at=(now - 1) * MICROSECONDS)

    def _family(self, held, **columns):
        return a_token(
            held.refresh_token,
            client_id=self.client_id,
            user_id=self.user_id,
            scope=SCOPE,
            access_token_scope=SCOPE,
            access_token_digest=credentials.digest(held.access_token),
            code_digest=credentials.digest(held.code),
            redirect_uri_digest=credentials.digest(REDIRECT_URI),
            code_challenge=CHALLENGE,
            **columns,
        )

    def store(self):
        """Store everything that is there before anybody acts, and an authorization request that waits for a
        decision.
        """
        for row in self.rows():
            db.session.add(row)
            db.session.flush()
        parameters = AUTHORIZATION_REQUEST | {"client_id": self.client_id, "scope": SCOPE}
        digest = credentials.digest(self.browser)
        store.tickets.add(self.ticket, digest, self.client_id, parameters, clock.now(), self.session_id)

    def action(self, actor, after):
        """What `actor` does here on a connection, so many seconds after everybody may begin."""

        def act(connection):
            time.sleep(after)
            return actor.act(self, connection)

        return act

    # ---- what is done --------------------------------------------------------------------------------------

    def post(self, path, **fields):
        """A form of this browser."""
        csrf_token = f"{self.csrf_token}~{secrets.token_hex(4)}"
        return Call("POST", path, {"Cookie": self.cookie}, fields | {"csrf_token": csrf_token})

    def issued(self, connection, call, name=None):
        """Whether a request for tokens is granted; the access token is known by this name then."""
        answer = send(connection, call)
        if answer.status != 200:
            return REFUSED
        if name is not None:
            self.names[credentials.digest(answer.json["access_token"])] = name
        return DONE

    def led_to(self, connection, call, *addresses):
        """Whether the browser is led to one of these."""
        answer = send(connection, call)
        return DONE if answer.status == 303 and answer.location.startswith(addresses) else REFUSED

    def operate(self, command, *arguments, **options):
        """Run a command of `flask …` on the server's database.

        Whether two of them found what they ended is not asked.
        """
        with self.driver.app.app_context():
            try:
                transaction.run_command(lambda: unwrap(command.callback)(*arguments, **options))
            except transaction.CommandError as refused:
                assert "the database" not in str(refused), refused
                return REFUSED
        return DONE

    # ---- what is left --------------------------------------------------------------------------------------

    def state(self):
        """What the database says now. A token that nobody was given is "unknown"."""
        pair = (Token.client_id == self.client_id, Token.user_id == self.user_id)
        with self.driver.app.app_context():
            rows = db.session.scalars
            digests = rows(
                select(Token.access_token_digest).where(*pair).order_by(Token.issued_at, Token.id)
            ).all()
            codes = rows(
                select(AuthorizationCode.code_digest).where(AuthorizationCode.client_id == self.client_id)
            )
            machines = rows(
                select(Token.id).where(Token.client_id == self.client_id, Token.user_id.is_(None))
            ).all()
            tickets = rows(
                select(AuthorizationTicket.client_id).where(AuthorizationTicket.client_id == self.client_id)
            )
            consents = rows(select(Consent.client_id).where(Consent.client_id == self.client_id))
            sessions = rows(
                select(UserSession.session_digest).where(UserSession.user_id == self.user_id)
            ).all()
            max_sessions = rows(
                select(Client.max_sessions).where(Client.client_id == self.client_id)
            ).one_or_none()
            user = db.session.get(User, (HOME, self.user_id))
            return State(
                families=tuple(self.names.get(digest, "unknown") for digest in digests),
                codes=frozenset(
                    PENDING if code == credentials.digest(self.code) else MINTED for code in codes
                ),
                is_ticket_open=tickets.one_or_none() is not None,
                is_consented=consents.one_or_none() is not None,
                session=self._session_state(sessions),
                person="removed"
                if user is None
                else "disabled"
                if user.disabled_at is not None
                else "enabled",
                is_client=max_sessions is not None,
                max_sessions=max_sessions,
                machine_tokens=len(machines),
            )

    def _session_state(self, digests):
        if not digests:
            return "gone"
        return "here" if digests == [credentials.digest(self.cookie_value)] else "elsewhere"


class Actor(NamedTuple):
    """act: of a stand, on a connection; returns DONE or REFUSED. seconds: from its start to its
    first lock.
    """

    act: Callable
    effect: Callable
    seconds: float = 0.0
    touches: frozenset = frozenset({"pair"})
    is_end: bool = False  # two that end the same may both say that they did

    @property
    def name(self):
        return self.effect.__name__


HASHING_SECONDS = 0.03

ACTORS = [
    Actor(
        lambda stand, line: stand.issued(line, exchange(stand.client_id, stand.code), TABLET),
        Pair.spend_code,
    ),
    Actor(
        lambda stand, line: stand.issued(
            line, refresh(stand.client_id, stand.laptop.refresh_token), LAPTOP + RENEWED
        ),
        Pair.refresh,
    ),
    Actor(
        lambda stand, line: stand.issued(line, exchange(stand.client_id, stand.laptop.code)),
        Pair.replay_code,
    ),
    Actor(
        lambda stand, line: stand.issued(line, machine_call(stand.client_id)),
        Pair.machine,
        touches=frozenset({"client"}),
    ),
    Actor(
        lambda stand, line: (
            DONE if send(line, revoke(stand.client_id, stand.laptop.refresh_token)).status == 200 else REFUSED
        ),
        Pair.revoke,
        is_end=True,
    ),
    Actor(
        lambda stand, line: stand.led_to(
            line,
            stand.post("/oauth/authorize", ticket=stand.ticket, decision="allow"),
            f"{REDIRECT_URI}?code=",
        ),
        Pair.allow,
    ),
    Actor(
        lambda stand, line: stand.led_to(
            line, stand.post("/account/applications", client=stand.client_id), "/account/applications"
        ),
        Pair.withdraw,
        is_end=True,
    ),
    Actor(
        lambda stand, line: stand.led_to(line, stand.post("/logout"), "/logout"),
        Pair.sign_out,
        is_end=True,
    ),
    Actor(
        lambda stand, line: stand.led_to(
            line, stand.post("/account/password", password=PASSWORD, new_password=NEW_PASSWORD), "/account/"
        ),
        Pair.change_password,
        seconds=2 * HASHING_SECONDS,
    ),
    Actor(
        lambda stand, line: stand.operate(users.set_password, stand.email, NEW_PASSWORD),
        Pair.set_password,
        seconds=HASHING_SECONDS,
        is_end=True,
    ),
    Actor(lambda stand, line: stand.operate(users.disable, stand.email), Pair.disable, is_end=True),
    Actor(lambda stand, line: stand.operate(users.remove, stand.email), Pair.remove_person, is_end=True),
    Actor(
        lambda stand, line: stand.operate(clients.remove, stand.client_id),
        Pair.remove_client,
        touches=frozenset({"pair", "client"}),
        is_end=True,
    ),
    Actor(
        lambda stand, line: stand.operate(
            clients.set_,
            stand.client_id,
            None,
            members=(),
            post_logout_redirect_uris=(),
            scopes_given=(),
            max_sessions=1,
        ),
        Pair.lower_max_sessions,
        touches=frozenset({"pair", "client"}),
        is_end=True,
    ),
]
