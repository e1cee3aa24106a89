"""What must happen to the tokens of people and machines, as plain Python: no Flask, no SQL, no digests.

Enters: what a client, a person or an operator does, in the order in which it is done. Leaves: an `Expected`
answer, and in `Model` the rows that must be there afterwards. Written from the decisions (`docs/adr/0001` to
`0004`, `0011`); where they are silent, as about which of two refusals comes first, it says what the server
does. Here an ended family is a flag, an ancestor an object.
"""

from dataclasses import dataclass, field

MICROSECONDS = 1_000_000
# inside a second: what is kept in whole seconds is rounded down
START = 1_800_000_000 * MICROSECONDS + 250_000
HOUR = 3600
DAY = 24 * HOUR
BROWSER_SESSION_SECONDS = 12 * 3600  # from its last use on
REMEMBERED_SECONDS = 30 * DAY
SESSIONS_OF_A_PERSON = 20
FAILURES_THAT_BURN_A_CODE = 5

BASIC, POST, NONE = "client_secret_basic", "client_secret_post", "none"
CODE, REFRESH, MACHINE = "authorization_code", "refresh_token", "client_credentials"
OPENID, OFFLINE_ACCESS = "openid", "offline_access"
ALL_SCOPES = frozenset({OPENID, "profile", "email", "read"})
LOGIN, CHOOSE, CONSENT = "sign-in page", "choice of an account", "consent page"


class Named:
    """What Hypothesis prints of a thing when a run fails: its name, not all that hangs on it."""

    def _repr_pretty_(self, printer, _cycle):
        printer.text(repr(self))


@dataclass(frozen=True)
class Lifetimes(Named):
    """The settings that the rules of this model know, in seconds."""

    name: str
    refresh_leeway: int = 10
    public_refresh_leeway: int = 30
    refresh_retry_lifetime: int = DAY
    access_token_lifetime: int = 600
    authorization_code_lifetime: int = 60
    refresh_token_idle_lifetime: int = 30 * DAY
    refresh_token_lifetime: int = 365 * DAY

    def __repr__(self):
        return self.name

    def leeway(self, client):
        return self.public_refresh_leeway if client.way == NONE else self.refresh_leeway

    def retry_lifetime(self, client):
        """Nothing is known of who asks for a public client, and nothing of whether a JWT was used."""
        return 0 if client.way == NONE or client.has_jwts else self.refresh_retry_lifetime

    def repeats(self, client):
        """Whether a refresh may be repeated at all."""
        return self.leeway(client) > 0 or self.retry_lifetime(client) > 0


USUAL = Lifetimes("USUAL")
STRICT = Lifetimes("STRICT", refresh_leeway=0, public_refresh_leeway=0, refresh_retry_lifetime=0)
LEEWAY_ONLY = Lifetimes("LEEWAY_ONLY", refresh_retry_lifetime=0)
EVIDENCE_ONLY = Lifetimes("EVIDENCE_ONLY", refresh_leeway=0, public_refresh_leeway=0)
SHORT_LIVED = Lifetimes(
    "SHORT_LIVED",
    refresh_retry_lifetime=2 * HOUR,
    access_token_lifetime=5,
    refresh_token_idle_lifetime=HOUR,
    refresh_token_lifetime=HOUR + 10,
)
LIFETIMES = [USUAL, USUAL, STRICT, LEEWAY_ONLY, EVIDENCE_ONLY, SHORT_LIVED]


@dataclass(eq=False)
class Person(Named):
    id: int
    name: str
    is_disabled: bool = False

    def __repr__(self):
        return self.name


@dataclass(eq=False)
class Session(Named):
    """What a sign-in begins and another one by the same person in the same browser renews."""

    person: Person
    id: int  # as the server counts them
    auth_time: int
    last_seen_at: int
    device: "Browser | None" = None
    sids: dict["Client", str] = field(default_factory=dict)  # of the clients that the person was sent back to
    is_ended: bool = False

    def __repr__(self):
        return f"<session {self.id} of {self.person}>"

    @property
    def ends_at(self):
        return self.last_seen_at + BROWSER_SESSION_SECONDS


@dataclass(eq=False)
class Browser(Named):
    name: str
    sessions: list[Session] = field(default_factory=list)  # the present account first

    def __repr__(self):
        return self.name


@dataclass(eq=False)
class Client(Named):
    id: str
    way: str = BASIC  # in which it authenticates
    grants: tuple[str, ...] = (CODE, REFRESH)
    rotates: bool = True
    max_sessions: int = 1
    is_resource_server: bool = False
    has_jwts: bool = False  # as access tokens
    is_told: bool = False  # of sign-outs

    def __repr__(self):
        return self.id


@dataclass(eq=False)
class AccessToken(Named):
    client: Client
    scope: frozenset[str]
    issued_at: int  # microseconds
    expires_at: int
    family: "Family | None" = None  # None: a machine's
    is_used: bool = False
    number: int = 0  # a later one is higher
    text: str = ""  # until an answer has told it

    def __repr__(self):
        return f"<access token {self.number} of {self.family or self.client}>"


@dataclass(eq=False)
class RefreshToken(Named):
    family: "Family"
    number: int
    text: str = ""

    @property
    def client(self):
        return self.family.client

    @property
    def scope(self):
        return self.family.scope

    @property
    def expires_at(self):
        return min(self.family.refresh_ends_at, self.family.ends_at)

    def __repr__(self):
        return f"<refresh token {self.number} of {self.family}>"


@dataclass(eq=False)
class Code(Named):
    client: Client
    session: Session
    auth_time: int
    scope: frozenset[str]
    expires_at: int
    number: int
    text: str
    failures: int = 0  # refused exchanges by its client
    is_ended: bool = False
    family: "Family | None" = None  # what it was spent for

    @property
    def person(self):
        return self.session.person

    @property
    def sid(self):
        return self.session.sids[self.client]

    def __repr__(self):
        return f"<code {self.number} of {self.person} at {self.client}>"


@dataclass(eq=False)
class Family(Named):
    """One sign-in and its refreshes. `slots` are those that it may have got, the database decides which."""

    code: Code
    slots: set[int]
    ends_at: int
    access: AccessToken
    current: RefreshToken | None  # None: the client gets no refresh tokens
    refresh_ends_at: int = 0
    previous: RefreshToken | None = None
    # how the client proved itself in the refresh that may be repeated; None: it may not
    sealed_way: str | None = None
    is_presented: bool = False  # the current refresh token was seen, though it was refused
    is_ended: bool = False

    @property
    def client(self):
        return self.code.client

    @property
    def person(self):
        return self.code.person

    @property
    def scope(self):
        return self.code.scope

    @property
    def age_order(self):
        return self.access.issued_at, self.access.number

    def __repr__(self):
        return f"{self.person} at {self.client}"


@dataclass(frozen=True)
class Expected:
    """An answer. A token in it whose text is empty is a new one: the answer tells it."""

    status: int = 200
    error: str | None = None
    access: AccessToken | None = None
    refresh: RefreshToken | None = None

    @property
    def has_id_token(self):
        return self.access is not None and OPENID in self.access.scope


@dataclass(eq=False)
class Asked(Named):
    """An authorization request on its way through the pages.

    `session`: of whoever signed in or was chosen for it.
    """

    browser: Browser
    client: Client
    scope: frozenset[str]
    prompt: str | None
    session: Session | None = None
    is_proven: bool = False  # by a sign-in for it

    def __repr__(self):
        return f"<request of {self.client} in {self.browser}>"


OK = Expected()
INVALID_CLIENT = Expected(401, "invalid_client")
INVALID_GRANT = Expected(400, "invalid_grant")
INVALID_SCOPE = Expected(400, "invalid_scope")
UNAUTHORIZED_CLIENT = Expected(400, "unauthorized_client")
INVALID_TOKEN = Expected(401, "invalid_token")
INSUFFICIENT_SCOPE = Expected(403, "insufficient_scope")


class Model:
    """The world: people, clients, what was issued, and the time, which moves when it is told to."""

    def __init__(self, lifetimes):
        self.lifetimes = lifetimes
        self.time = START
        self.people = [Person(1, "ada"), Person(2, "bob")]
        self.clients = [
            Client("web", is_told=True),
            Client("spa", way=NONE, max_sessions=2),
            Client("static", way=POST, rotates=False, max_sessions=2),
            Client("plain", grants=(CODE,)),
            Client("jwt", has_jwts=True, is_told=True),
            Client("robot", grants=(MACHINE,)),
            Client("api", grants=(), is_resource_server=True),
        ]
        self.resource_server = self.clients[-1]
        self.browsers = [Browser("laptop"), Browser("phone")]
        self.browser_sessions = []
        self.notices = 0
        self.codes = []
        self.access_tokens = []
        self.refresh_tokens = []
        self.families = []
        self.machine_tokens = []
        self.consents = {}

    # ---- what there is -------------------------------------------------------------------------------------

    @property
    def now(self):
        return self.time // MICROSECONDS

    def live_families(self):
        return [family for family in self.families if not family.is_ended]

    def repeatable_families(self):
        return [family for family in self.live_families() if family.previous is not None]

    def sessions(self, client, person):
        """The rows of a pair, newest first."""
        rows = [
            family for family in self.live_families() if (family.client, family.person) == (client, person)
        ]
        return sorted(rows, key=lambda family: family.age_order, reverse=True)

    def live_access_tokens(self):
        """Those that have a row, expired or not."""
        return [family.access for family in self.live_families()] + self.machine_tokens

    def pending_codes(self):
        """Those that can still be spent."""
        return [
            code
            for code in self.codes
            if not code.is_ended and not code.family and code.expires_at > self.now
        ]

    def spent_codes(self):
        return [code for code in self.codes if code.family]

    def replayable_codes(self):
        """Those whose tokens are still there."""
        return [code for code in self.spent_codes() if not code.family.is_ended]

    # ---- codes ---------------------------------------------------------------------------------------------

    def issue_code(self, client, session, scope, text):
        expires_at = self.now + self.lifetimes.authorization_code_lifetime
        code = Code(client, session, session.auth_time, scope, expires_at, len(self.codes), text)
        self.codes.append(code)
        return code

    def exchange(self, client, way, code, redirect_uri_fits=True, verifier_fits=True):
        if refusal := self.refuse_client(client, way, CODE):
            return refusal
        fits = client is code.client and redirect_uri_fits and verifier_fits
        if code not in self.pending_codes():
            if code.family is not None and fits:
                code.family.is_ended = True
            return INVALID_GRANT
        if not fits:
            self.count_failure(client, code)
            return INVALID_GRANT
        family = code.family = self.begin_family(code)
        return Expected(access=family.access, refresh=family.current)

    def count_failure(self, client, code):
        """A client's mistakes are forgiven, guessing is not."""
        if client is code.client:
            code.failures += 1
            code.is_ended = code.failures == FAILURES_THAT_BURN_A_CODE

    def begin_family(self, code):
        """A sign-in: all but the newest N-1 rows of the pair go."""
        rows = self.sessions(code.client, code.person)
        replaced = rows[code.client.max_sessions - 1 :]
        for family in replaced:
            family.is_ended = True
        freed = set().union(*(family.slots for family in replaced))
        taken = set().union(*(family.slots for family in self.sessions(code.client, code.person)))
        smallest_free = min(set(range(len(taken) + 1)) - taken)
        ends_at = self.now + self.lifetimes.refresh_token_lifetime
        family = Family(
            code, freed or {smallest_free}, ends_at, self.new_access_token(code.client, code.scope), None
        )
        family.access.family = family
        if REFRESH in code.client.grants:
            self.renew_refresh_token(family)
        self.families.append(family)
        return family

    def new_access_token(self, client, scope, family=None):
        expires_at = self.now + self.lifetimes.access_token_lifetime
        token = AccessToken(client, scope, self.time, expires_at, family, number=len(self.access_tokens))
        self.access_tokens.append(token)
        return token

    def renew_refresh_token(self, family):
        if family.current is None or family.client.rotates:
            family.current = RefreshToken(family, len(self.refresh_tokens))
            self.refresh_tokens.append(family.current)
        family.refresh_ends_at = self.now + self.lifetimes.refresh_token_idle_lifetime

    # ---- refresh -------------------------------------------------------------------------------------------

    def refresh(self, client, way, token, scope=None):
        """`token` is None for one that was never issued; a `scope` of None is one that is left out."""
        if refusal := self.refuse_client(client, way, REFRESH):
            return refusal
        if token is None or token.family.is_ended or token.family.client is not client:
            return INVALID_GRANT
        family, scope = token.family, token.family.scope if scope is None else scope
        if not scope <= family.scope:
            return self.refuse_wider_scope(family, token)
        if token is family.current:
            return self.refresh_with_current(family, way, scope)
        return self.repeat(family, token, way, scope)

    def refuse_wider_scope(self, family, token):
        """It ends nothing. But whoever has the current refresh token has the pair: it is not given again."""
        if token is family.current:
            family.is_presented, family.sealed_way = True, None
        return INVALID_SCOPE

    def refresh_with_current(self, family, way, scope):
        if self.refresh_has_expired(family):
            return INVALID_GRANT
        repeats = not family.client.rotates and family.sealed_way is not None
        if repeats and self.is_in_leeway(family) and family.access.expires_at > self.now:
            return self.refuse_other_repeat(family, way, scope) or self.same_pair(family)
        return self.rotate(family, family.current, way, scope)

    def repeat(self, family, token, way, scope):
        """The evidence decides: is this a client that lost an answer, or a thief?"""
        in_leeway = self.is_in_leeway(family)
        is_unused = self.is_in_retry_lifetime(family) and not family.access.is_used
        if token is not family.previous or family.is_presented or not (in_leeway or is_unused):
            return self.theft(family)
        if self.refresh_has_expired(family):
            return INVALID_GRANT
        if refusal := self.refuse_other_repeat(family, way, scope):
            return refusal
        if in_leeway or family.access.expires_at > self.now:
            return self.same_pair(family)
        return self.rotate(family, token, way, scope)

    def refuse_other_repeat(self, family, way, scope):
        """A repeat asks for what was asked the first time."""
        if way != family.sealed_way:
            return INVALID_CLIENT
        return None if scope == family.access.scope else INVALID_SCOPE

    def rotate(self, family, presented, way, scope):
        family.previous = presented if family.client.rotates else None
        family.access = self.new_access_token(family.client, scope, family)
        family.sealed_way = way if self.lifetimes.repeats(family.client) else None
        family.is_presented = False
        self.renew_refresh_token(family)
        return self.same_pair(family)

    def same_pair(self, family):
        return Expected(access=family.access, refresh=family.current)

    def theft(self, family):
        family.is_ended = True
        return INVALID_GRANT

    def may_be_refreshed(self, family):
        return not family.is_ended and not self.refresh_has_expired(family)

    def refresh_has_expired(self, family):
        return self.now >= family.current.expires_at

    def age(self, family):
        return self.time - family.access.issued_at

    def edge(self, family, name):
        """The microsecond in which something ends for the family."""
        seconds = {
            "access": family.access.expires_at,
            "refresh": family.refresh_ends_at,
            "family": family.ends_at,
        }
        if name in seconds:
            return seconds[name] * MICROSECONDS
        lifetime = {"leeway": self.lifetimes.leeway, "retry": self.lifetimes.retry_lifetime}[name]
        return family.access.issued_at + lifetime(family.client) * MICROSECONDS

    def is_in_leeway(self, family):
        return self.age(family) < self.lifetimes.leeway(family.client) * MICROSECONDS

    def is_in_retry_lifetime(self, family):
        return self.age(family) < self.lifetimes.retry_lifetime(family.client) * MICROSECONDS

    # ---- machines ------------------------------------------------------------------------------------------

    def client_credentials(self, client, way):
        if refusal := self.refuse_client(client, way, MACHINE):
            return refusal
        self.machine_tokens = [
            token
            for token in self.machine_tokens
            if token.client is not client or token.expires_at > self.now
        ]
        token = self.new_access_token(client, frozenset({"read"}))
        self.machine_tokens.append(token)
        return Expected(access=token)

    # ---- use, introspection, revocation --------------------------------------------------------------------

    def is_active(self, token):
        return token in self.live_access_tokens() and token.expires_at > self.now

    def use(self, token, needed=frozenset()):
        """`GET /api/me`, which needs a person, or `/oauth/userinfo`, which needs `openid`."""
        if not self.is_active(token):
            return INVALID_TOKEN
        self.mark_used(token)
        return OK if token.family and needed <= token.scope else INSUFFICIENT_SCOPE

    def mark_used(self, token):
        if token.family is not None and not token.is_used and not self.is_in_leeway(token.family):
            token.family.sealed_way = None
        token.is_used = True

    def introspect(self, client, way, token):
        """The answer's status, and whether the token is active as far as this client may know."""
        if way == NONE or way != client.way:
            return INVALID_CLIENT, False
        if isinstance(token, RefreshToken):
            return OK, self.may_refresh(client, token)
        is_shown = self.is_active(token) and (client.is_resource_server or client is token.client)
        if is_shown:
            self.mark_used(token)
        return OK, is_shown

    def may_refresh(self, client, token):
        family = token.family
        return client is family.client and token is family.current and self.may_be_refreshed(family)

    def revoke(self, client, way, token):
        if way != client.way:
            return INVALID_CLIENT
        if isinstance(token, RefreshToken):
            is_known = not token.family.is_ended
        else:
            is_known = token in self.live_access_tokens()
        if not is_known:
            return OK
        if token.client is not client:
            return INVALID_GRANT
        if token in self.machine_tokens:
            self.machine_tokens.remove(token)
        else:
            token.family.is_ended = True
        return OK

    def refuse_client(self, client, way, grant):
        if way != client.way or (way == NONE and grant == MACHINE):
            return INVALID_CLIENT
        return None if grant in client.grants else UNAUTHORIZED_CLIENT

    # ---- people and operators ------------------------------------------------------------------------------

    def is_alive(self, session):
        return not session.is_ended and session.ends_at > self.now and not session.person.is_disabled

    def live_sessions(self):
        return [session for session in self.browser_sessions if self.is_alive(session)]

    def newest_session(self, person):
        """None where the person is signed in nowhere."""
        return next((session for session in reversed(self.live_sessions()) if session.person is person), None)

    def accounts(self, browser):
        return [session for session in browser.sessions if self.is_alive(session)]

    def sign_in(self, person, browser, id):
        """At the sign-in page. `id`: of a new session, where one is begun."""
        here = self.accounts(browser)
        session = self.account_of(person, browser)
        if session is None:
            session = self.begin_session(person, id, browser)
        session.auth_time = session.last_seen_at = self.now
        session.device = browser
        browser.sessions = [session, *(other for other in here if other.person is not person)]
        return session

    def account_of(self, person, browser):
        return next((session for session in self.accounts(browser) if session.person is person), None)

    def sessions_of(self, person):
        """Expired ones too; those that were used last come first."""
        known = [
            session for session in self.browser_sessions if session.person is person and not session.is_ended
        ]
        return sorted(known, key=lambda session: (session.last_seen_at, session.id), reverse=True)

    def session_of_device(self, person, browser):
        return next(
            (session for session in self.sessions_of(person) if browser and session.device is browser), None
        )

    def begin_session(self, person, id, browser=None):
        """Or take up the one of this browser again.

        Those that were unused for long go, and the first of too many.
        """
        session = self.session_of_device(person, browser)
        others = [other for other in self.sessions_of(person) if other is not session]
        for at, other in enumerate(others):
            if at >= SESSIONS_OF_A_PERSON - 1 or other.last_seen_at + REMEMBERED_SECONDS <= self.now:
                self.end_session(other)
        if session is None:
            session = Session(person, id, self.now, self.now)
            self.browser_sessions.append(session)
        return session

    def choose(self, browser, session):
        browser.sessions = [session, *(other for other in self.accounts(browser) if other is not session)]

    def end_session(self, session):
        """With it end its codes, and the tokens that lived by it: those with `openid` and without
        `offline_access`.
        """
        session.is_ended = True
        for code in self.codes:
            if code.session is session:
                code.is_ended = True
        for family in self.live_families():
            if (
                family.code.session is session
                and OPENID in family.scope
                and OFFLINE_ACCESS not in family.scope
            ):
                family.is_ended = True
        self.notices += len([client for client in session.sids if client.is_told])

    def sign_out(self, browser, sessions):
        left = [session for session in self.accounts(browser) if session not in sessions]
        for session in sessions:
            self.end_session(session)
        browser.sessions = left

    # ---- authorization requests ----------------------------------------------------------------------------

    def next_step(self, asked):
        """A page, an error code, or the session to answer for."""
        here, is_silent = self.accounts(asked.browser), asked.prompt == "none"
        if is_silent:  # whoever has not allowed the client is not there for it
            here = [session for session in here if (session.person, asked.client) in self.consents]
        if not here:
            return "login_required" if is_silent else LOGIN
        session = asked.session or self.find_account(asked, here)
        if session is None:
            return "account_selection_required"
        if asked.prompt == "login" and not asked.is_proven:
            return LOGIN
        if asked.prompt == "select_account" and asked.session is None:
            return CHOOSE
        is_ambiguous = len(here) > 1 and asked.session is None and not is_silent
        if (
            self.needs_consent(session.person, asked.client, asked.scope)
            or is_ambiguous
            or asked.prompt == "consent"
        ):
            return "consent_required" if is_silent else CONSENT
        return session

    def find_account(self, asked, here):
        """The present one. Where nobody may be asked, the one that the client knows already."""
        if len(here) == 1 or asked.prompt != "none":
            return here[0]
        known = [session for session in here if asked.client in session.sids]
        return known[0] if len(known) == 1 else None

    def needs_consent(self, person, client, scope):
        return not scope <= self.consents.get((person, client), frozenset())

    def allow(self, person, client, scope):
        self.consents[person, client] = self.consents.get((person, client), frozenset()) | scope

    def sign_out_everywhere(self, person):
        """`users sign-out`: unlike the end of a session it takes all tokens."""
        for session in self.browser_sessions:
            if session.person is person and not session.is_ended:
                self.end_session(session)
        self.end_tokens(person=person)

    def disable(self, person):
        person.is_disabled = True
        self.sign_out_everywhere(person)

    def enable(self, person):
        person.is_disabled = False

    def end_tokens(self, person=None, client=None):
        """`tokens revoke`: the codes and tokens of a person, of a client, or of one at the other."""
        for credential in [*self.codes, *self.families]:
            if (person or credential.person, client or credential.client) == (
                credential.person,
                credential.client,
            ):
                credential.is_ended = True
        if person is None:
            self.machine_tokens = [token for token in self.machine_tokens if token.client is not client]
