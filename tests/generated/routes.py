"""Every route with the parameters it reads, and right requests to change: of strangers, and of callers past the first checks.

A `Case` is a caller at a route. Its `parts` seed what the request needs (a live code, a ticket, a session) and are built anew for
each request, because one that succeeds spends it. `World` is an app, in memory or on the database of a live server, with people.
"""

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, replace

from flask import session
from flask_wtf.csrf import generate_csrf
from sqlalchemy import bindparam, delete

from models import AuthorizationTicket, ClientOrigin, Consent, UserSession, db
from protocol import clock, credentials
from tests.builders import (
    AUTHORIZATION_REQUEST,
    CLIENT_SECRET,
    PASSWORD,
    a_client,
    a_code,
    a_machine,
    a_public_client,
    a_token,
    a_user,
    code_request,
    refresh_request,
)
from tests.generated.raw import Parts, pairs

SPA_ORIGIN = "https://spa.example"
# Carol signs in again and again; Dan has allowed the client everything. Ids that PostgreSQL will not soon give to somebody else.
ADA, BYSTANDER, CAROL, DAN = range(1_000_001, 1_000_005)
AUTHORIZATION = AUTHORIZATION_REQUEST | {
    "scope": "profile",
    "state": "the state",
    "nonce": "the nonce",
    "response_mode": "query",
}
FORGET_CONSENT = delete(Consent).where(Consent.user_id == bindparam("user_id"))


class World:
    """An app with a person, clients of each kind, and a bystander whose tokens nobody presents."""

    def __init__(self, app, issuer, secret_key, password_hash):
        self.app = app
        self.issuer = issuer
        self.secret_key = secret_key
        self.host = issuer.partition("://")[2].encode()
        self.cookie_name = app.config["SESSION_COOKIE_NAME"].encode()
        self.slots = 0
        self.browsers = {}
        self.store(
            a_user(id=ADA),
            a_user(id=BYSTANDER, sub="sub-of-bob", email="bob@example.com", name="Bob"),
            a_user(id=CAROL, sub="sub-of-carol", email="carol@example.com", password_hash=password_hash),
            a_user(id=DAN, sub="sub-of-dan", email="dan@example.com"),
            a_client(),
            a_client(client_id="post", token_endpoint_auth_method="client_secret_post"),
            a_client(client_id="lax", require_pkce=False),
            a_public_client(),
            a_machine(token_endpoint_auth_method="client_secret_post"),
            a_client(client_id="api", is_resource_server=True, grant_types=[], redirect_uris=[]),
            ClientOrigin(client_id="spa", origin=SPA_ORIGIN),
            Consent(user_id=DAN, client_id="web", scope="profile email offline_access", granted_at=clock.now()),
        )
        self.bystander_access_token = "ost_at_" + "b" * 43
        self.bystander_refresh_token = self.refresh_token("web", BYSTANDER, self.bystander_access_token)

    def store(self, *rows):
        with self.app.app_context():
            for row in rows:
                db.session.add(row)
                db.session.flush()
            db.session.commit()

    # ---- credentials ----------------------------------------------------------------------------------------------

    def code(self, client_id="web", **changed):
        code = credentials.new_authorization_code()
        self.store(a_code(code, client_id=client_id, user_id=ADA, **changed))
        return code

    def refresh_token(self, client_id="web", user_id=ADA, access_token=None):
        refresh_token = str(credentials.RefreshTokenMaker(self.secret_key).new())
        access_token = access_token or credentials.new_access_token()
        self.slots += 1
        self.store(
            a_token(
                refresh_token,
                client_id=client_id,
                user_id=user_id,
                slot=self.slots,
                access_token_digest=credentials.digest(access_token),
                access_token_expires_at=clock.now() + 3_600,  # a long run takes longer than the usual ten minutes
            )
        )
        return refresh_token

    def access_token(self):
        access_token = credentials.new_access_token()
        self.refresh_token(access_token=access_token)
        return access_token

    def browser(self, user_id=None):
        """A browser that has been here, with nobody signed in or this person. It stays the same: nobody signs out with it."""
        if user_id not in self.browsers:
            self.browsers[user_id] = self.new_browser(user_id)
        return self.browsers[user_id]

    def new_browser(self, user_id=None):
        members = {"browser": credentials.random_text()}
        if user_id is not None:
            members["_user_id"] = credentials.random_text()
            key, now = credentials.digest(members["_user_id"]), clock.now()
            self.store(UserSession(session_digest=key, user_id=user_id, created_at=now, expires_at=now + 3_600))
        with self.app.test_request_context("/login", base_url=self.issuer):
            session.update(members)
            csrf_token = generate_csrf()
            serializer = self.app.session_interface.get_signing_serializer(self.app)
            cookie = self.cookie_name + b"=" + serializer.dumps(dict(session)).encode()
        return Browser(cookie, csrf_token, members["browser"])

    def ticket(self, browser):
        """A pending request of this browser, which Ada will be asked about: she has allowed nothing."""
        ticket = credentials.random_text()
        pending = AuthorizationTicket(
            ticket_digest=credentials.digest(ticket),
            browser_digest=credentials.digest(browser.id),
            client_id="web",
            parameters=AUTHORIZATION,
            expires_at=clock.now() + 3_600,
        )
        with self.app.app_context():
            db.session.execute(FORGET_CONSENT, {"user_id": ADA})
            db.session.add(pending)
            db.session.commit()
        return ticket

    # ---- parts of requests ----------------------------------------------------------------------------------------

    def get(self, path, query=None, **headers):
        return Parts(b"GET", path, pairs(query or {}), None, self.headers(headers))

    def post(self, path, form, query=None, **headers):
        return Parts(b"POST", path, pairs(query or {}), pairs(form), self.headers(headers))

    def headers(self, headers):
        named = ((name.replace("_", "-").encode(), value) for name, value in headers.items())
        return (
            (b"Host", self.host),
            *((name, value if isinstance(value, bytes) else value.encode()) for name, value in named),
        )


@dataclass(frozen=True)
class Browser:
    cookie: bytes
    csrf_token: str
    id: str


@dataclass(frozen=True)
class Case:
    """A caller at a route: `query` and `form` name the parameters under test, `status` is what the right request is answered."""

    name: str
    parts: Callable[[World], Parts]
    status: int = 200
    query: tuple[str, ...] = ()
    form: tuple[str, ...] = ()

    def __repr__(self):
        return self.name

    def parameters(self):
        return [("query", name.encode()) for name in self.query] + [("form", name.encode()) for name in self.form]


def basic(client_id):
    return "Basic " + b64encode(f"{client_id}:{CLIENT_SECRET}".encode()).decode()


AUTHORIZATION_PARAMETERS = (*AUTHORIZATION, "ticket")
CLIENT_PARAMETERS = ("client_id", "client_secret", "client_assertion")
CODE_PARAMETERS = ("grant_type", "code", "redirect_uri", "code_verifier", "scope", *CLIENT_PARAMETERS)
REFRESH_PARAMETERS = ("grant_type", "refresh_token", "scope", *CLIENT_PARAMETERS)
MACHINE_PARAMETERS = ("grant_type", "scope", *CLIENT_PARAMETERS)
TOKEN_PARAMETERS = ("token", "token_type_hint", *CLIENT_PARAMETERS)
CONSENT_PARAMETERS = ("csrf_token", "ticket", "decision")
UNKNOWN = ("unknown",)  # where nothing is read, that is what is proved


# ---- callers --------------------------------------------------------------------------------------------------------


def allowed_before(world):
    return world.get(b"/oauth/authorize", AUTHORIZATION, Cookie=world.browser(DAN).cookie)


def to_be_asked_about(world):
    browser = world.browser(ADA)
    world.ticket(browser)
    return world.get(b"/oauth/authorize", AUTHORIZATION, Cookie=browser.cookie)


def pending(world):
    browser = world.browser(ADA)
    return world.get(b"/oauth/authorize", {"ticket": world.ticket(browser)}, Cookie=browser.cookie)


def consent_of(user_id):
    def consent(world):
        browser = world.browser(user_id)
        form = {"csrf_token": browser.csrf_token, "ticket": world.ticket(browser), "decision": "allow"}
        return world.post(b"/oauth/authorize", form, Cookie=browser.cookie, Origin=world.issuer)

    return consent


def code_of(owner, **changed):
    """An exchange of a live code of the client `owner`, which proves itself in the header unless `changed` names it in the body."""

    def exchange(world):
        form = code_request(world.code(owner), scope="profile", **changed)
        headers = {} if "client_id" in changed else {"Authorization": basic(owner)}
        return world.post(b"/oauth/token", form, **headers)

    return exchange


def refresh_of(owner, **changed):
    def refresh(world):
        form = refresh_request(world.refresh_token(owner), scope="profile", **changed)
        headers = {} if "client_id" in changed else {"Authorization": basic(owner)}
        return world.post(b"/oauth/token", form, Origin=SPA_ORIGIN, **headers)

    return refresh


def me(world):
    return world.get(b"/api/me", Authorization="Bearer " + world.access_token(), Origin=SPA_ORIGIN)


def about_a_token(path, client_id, kind):
    def ask(world):
        token = world.access_token() if kind == "access_token" else world.refresh_token()
        return world.post(path, {"token": token, "token_type_hint": kind}, Authorization=basic(client_id))

    return ask


def page_form(path, form):
    """A form of ours, sent with its CSRF token by a browser that asked for the page."""

    def send(world):
        browser = world.browser()
        query = {"next": "/oauth/authorize?ticket=" + world.ticket(browser)}
        return world.post(path, form | {"csrf_token": browser.csrf_token}, query, Cookie=browser.cookie)

    return send


def page_with_next(path):
    def show(world):
        browser = world.browser(ADA)
        return world.get(path, {"next": "/oauth/authorize?ticket=" + world.ticket(browser)}, Cookie=browser.cookie)

    return show


def sign_out(world):
    browser = world.new_browser(ADA)
    form = {"csrf_token": browser.csrf_token, "ticket": world.ticket(browser)}
    return world.post(b"/logout", form, Cookie=browser.cookie)


def stranger(method, path, form=None, query=None):
    return lambda world: world.get(path, query) if method == "GET" else world.post(path, form or {}, query)


def preflight(world):
    headers = {"Origin": SPA_ORIGIN, "Access-Control-Request-Method": "POST"}
    return replace(world.get(b"/oauth/token", **headers), method=b"OPTIONS")


def page_of_somebody(path):
    return lambda world: world.get(path, Cookie=world.browser(ADA).cookie)


SIGN_IN = {"email": "carol@example.com", "password": PASSWORD}
SIGN_UP = {"name": "Eve", "email": "ada@example.com", "password": PASSWORD}  # an account that exists: nothing is stored
MACHINE = {"grant_type": "client_credentials", "client_id": "robot", "client_secret": CLIENT_SECRET, "scope": "read"}
INTROSPECT, REVOKE = b"/oauth/introspect", b"/oauth/revoke"
METADATA = b"/.well-known/oauth-authorization-server"
STATIC = b"/static/ostiary.css"

STRANGER_WITH_A_CODE = code_request("ost_ac_" + "c" * 43, client_id="web", client_secret="x")
STRANGER_WITH_A_TOKEN = {"token": "ost_at_x", "client_id": "web", "client_secret": "x"}
WITHOUT_PKCE = {"response_type": "code", "client_id": "lax"}

CASES = [
    Case("home of a stranger", stranger("GET", b"/"), 200, UNKNOWN),
    Case(
        "the demo page", stranger("GET", b"/demo"), 404, ("code", "state", "iss", "error")
    ),  # of a loopback issuer only
    Case("a stylesheet", stranger("GET", STATIC, query={"v": "1"}), 200, ("v",)),
    Case("a part of a stylesheet", lambda world: world.get(STATIC, Range="bytes=0-9"), 206, ("v",)),
    Case("metadata", stranger("GET", METADATA), 200, UNKNOWN),
    Case("healthz", stranger("GET", b"/healthz"), 200, UNKNOWN),
    Case("readyz", stranger("GET", b"/readyz"), 200, UNKNOWN),
    Case("me of a stranger", stranger("GET", b"/api/me"), 401, ("access_token",)),
    Case("an authorization", stranger("GET", b"/oauth/authorize", query=AUTHORIZATION), 303, AUTHORIZATION_PARAMETERS),
    Case("one without PKCE", stranger("GET", b"/oauth/authorize", query=WITHOUT_PKCE), 303, AUTHORIZATION_PARAMETERS),
    Case("one by POST", stranger("POST", b"/oauth/authorize", AUTHORIZATION), 303, (), AUTHORIZATION_PARAMETERS),
    Case("one that was allowed before", allowed_before, 303, AUTHORIZATION_PARAMETERS),
    Case("one to be asked about", to_be_asked_about, 200, AUTHORIZATION_PARAMETERS),
    Case("a pending one", pending, 200, ("ticket",)),
    Case("consent", consent_of(ADA), 303, (), CONSENT_PARAMETERS),
    Case("consent of a stranger", consent_of(None), 303, (), CONSENT_PARAMETERS),
    Case("a stranger's code", stranger("POST", b"/oauth/token", STRANGER_WITH_A_CODE), 401, (), CODE_PARAMETERS),
    Case("a code", code_of("web"), 200, (), CODE_PARAMETERS),
    Case("a code, public client", code_of("spa", client_id="spa"), 200, (), CODE_PARAMETERS),
    Case(
        "a code, secret in the body",
        code_of("post", client_id="post", client_secret=CLIENT_SECRET),
        200,
        (),
        CODE_PARAMETERS,
    ),
    Case("a refresh", refresh_of("web"), 200, (), REFRESH_PARAMETERS),
    Case("a refresh, public client", refresh_of("spa", client_id="spa"), 200, (), REFRESH_PARAMETERS),
    Case("a preflight", preflight, 204, UNKNOWN),
    Case("a machine", stranger("POST", b"/oauth/token", MACHINE), 200, (), MACHINE_PARAMETERS),
    Case("introspection, stranger", stranger("POST", INTROSPECT, STRANGER_WITH_A_TOKEN), 401, (), TOKEN_PARAMETERS),
    Case("introspection", about_a_token(INTROSPECT, "api", "access_token"), 200, (), TOKEN_PARAMETERS),
    Case("introspection by the client", about_a_token(INTROSPECT, "web", "refresh_token"), 200, (), TOKEN_PARAMETERS),
    Case("revocation, stranger", stranger("POST", REVOKE, STRANGER_WITH_A_TOKEN), 401, (), TOKEN_PARAMETERS),
    Case("revocation", about_a_token(REVOKE, "web", "refresh_token"), 200, (), TOKEN_PARAMETERS),
    Case("me", me, 200, ("access_token",)),
    Case("home", page_of_somebody(b"/"), 200, UNKNOWN),
    Case("sign-in page, stranger", stranger("GET", b"/login", query={"next": "/"}), 200, ("next",)),
    Case("sign-in page", page_with_next(b"/login"), 200, ("next",)),
    Case("sign-in without a cookie", stranger("POST", b"/login", SIGN_IN), 400, (), ("csrf_token", *SIGN_IN)),
    Case("sign-in", page_form(b"/login", SIGN_IN), 303, ("next",), ("csrf_token", *SIGN_IN)),
    Case("sign-up page", page_with_next(b"/signup"), 200, ("next",)),
    Case("sign-up", page_form(b"/signup", SIGN_UP), 400, ("next",), ("csrf_token", *SIGN_UP)),
    Case("sign-out page", page_of_somebody(b"/logout"), 200, UNKNOWN),
    Case("sign-out", sign_out, 303, (), ("csrf_token", "ticket")),
    Case("sign-out of a stranger", page_form(b"/logout", {"ticket": "x"}), 303, (), ("csrf_token", "ticket")),
]

# One caller of each method of each route, the one who gets furthest: for what is not a parameter.
FURTHEST = [
    case
    for case in CASES
    if case.name
    in (
        "home",
        "the demo page",
        "a stylesheet",
        "a part of a stylesheet",
        "metadata",
        "healthz",
        "readyz",
        "me",
        "a preflight",
        "one that was allowed before",
        "consent",
        "a code",
        "introspection",
        "revocation",
        "sign-in page",
        "sign-in",
        "sign-up page",
        "sign-up",
        "sign-out page",
        "sign-out",
    )
]
