"""Every route with the parameters it reads, and right requests to change: of strangers, and of callers past
the first checks.

A `Case` is a caller at a route. Its `parts` seed what the request needs (a live code, a ticket, a session)
and are built anew for each request, because one that succeeds spends it. `World` is an app, in memory or on
the database of a live server, with people.
"""

import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlalchemy import bindparam

import store.tickets
from crypto import credentials
from crypto.encryption import encrypt
from database.tenancy import HOME
from models import ClientOrigin, Consent, User, db
from protocol import clock
from protocol.claims import ACR_PASSWORD
from services.current import state_of
from tests import jose
from tests.builders import (
    AUTHORIZATION_REQUEST,
    CLIENT_SECRET,
    PASSWORD,
    a_client,
    a_code,
    a_machine,
    a_public_client,
    a_session,
    a_token,
    a_user,
    code_request,
    refresh_request,
)
from tests.cookies import cookies_of
from tests.generated.checks import AFTER_LOGOUT
from tests.generated.raw import Parts, pairs
from tests.statements import delete, update

SPA_ORIGIN = "https://spa.example"
# Carol signs in again and again, Eve changes her password, Fay looks at her sessions; Dan has allowed the
# client everything. Ids that PostgreSQL will not soon give to somebody else.
ADA, BYSTANDER, CAROL, DAN, EVE, FAY = range(1_000_001, 1_000_007)
SCOPE = "openid profile email"
AUTHORIZATION = AUTHORIZATION_REQUEST | {
    "scope": "openid profile",
    "state": "the state",
    "nonce": "the nonce",
    "response_mode": "query",
}
OPENID = {
    "max_age": "3600",
    "login_hint": "dan@example.com",
    "acr_values": ACR_PASSWORD,
    "display": "page",
    "ui_locales": "en",
    "claims_locales": "en",
    "claims": json.dumps({"id_token": {"name": None}, "userinfo": {"email": {"essential": True}}}),
}
WITH_JWTS = {
    "access_token_format": "jwt",
    "subject_type": "pairwise",
    "id_token_signed_response_alg": "ES256",
    "userinfo_signed_response_alg": "ES256",
    "introspection_signed_response_alg": "ES256",
}
SIGNED_INTROSPECTION = "application/token-introspection+jwt"
FORGET_CONSENT = delete(Consent).where(Consent.user_id == bindparam("of_user"))
SET_PASSWORD = update(User).where(User.id == bindparam("of_user"))


def client_key():
    """What the clients that have a key sign with."""
    return jose.key_for("ES256")


def in_fractions(lifetime):
    """Times need not be whole seconds (RFC 7519 §2)."""
    return {"iat": clock.now() - 0.5, "exp": clock.now() + lifetime + 0.5}


class World:
    """An app with a person, clients of each kind, and a bystander whose tokens nobody presents."""

    def __init__(self, app, issuer, secret_key, password_hash):
        self.app = app
        self.issuer = issuer
        self.secret_key = secret_key
        self.password_hash = password_hash
        self.host = issuer.partition("://")[2].encode()
        self.cookie_name = state_of(app).home.cookie_name.encode()
        self.slots = 0
        self.browsers = {}
        self.hints = {}
        own_keys = {"jwks": jose.jwks(client_key()), "post_logout_redirect_uris": [AFTER_LOGOUT]}
        secret = state_of(app).home.keyring.client_secrets.encrypt(CLIENT_SECRET.encode(), "hmac")
        self.store(
            a_user(id=ADA),
            a_user(id=BYSTANDER, sub="sub-of-bob", email="bob@example.com", name="Bob"),
            a_user(id=CAROL, sub="sub-of-carol", email="carol@example.com", password_hash=password_hash),
            a_user(id=DAN, sub="sub-of-dan", email="dan@example.com"),
            a_user(id=EVE, sub="sub-of-eve", email="eve@example.com"),
            a_user(id=FAY, sub="sub-of-fay", email="fay@example.com"),
            a_client(scope=SCOPE, extra_metadata=own_keys),
            a_client(client_id="post", token_endpoint_auth_method="client_secret_post"),
            a_client(client_id="keys", token_endpoint_auth_method="private_key_jwt", extra_metadata=own_keys),
            a_client(
                client_id="hmac", token_endpoint_auth_method="client_secret_jwt", sealed_client_secret=secret
            ),
            a_client(client_id="jwt", scope=SCOPE, extra_metadata=WITH_JWTS),
            a_client(client_id="lax", require_pkce=False),
            a_public_client(),
            a_machine(token_endpoint_auth_method="client_secret_post", extra_metadata=WITH_JWTS),
            a_client(
                client_id="api",
                is_resource_server=True,
                grant_types=[],
                redirect_uris=[],
                extra_metadata=WITH_JWTS,
            ),
            ClientOrigin(client_id="spa", origin=SPA_ORIGIN),
            Consent(user_id=DAN, client_id="web", scope=f"{SCOPE} offline_access", granted_at=clock.now()),
        )
        self.bystander_access_token = "ost_at_" + "b" * 43
        self.bystander_refresh_token = self.refresh_token("web", BYSTANDER, self.bystander_access_token)

    def store(self, *rows):
        with self.app.app_context():
            for row in rows:
                db.session.add(row)
                db.session.flush()
            db.session.commit()

    # ---- credentials ---------------------------------------------------------------------------------------

    def code(self, client_id="web", **changed):
        code = credentials.new_authorization_code()
        openid = {
            "nonce": "the nonce",
            "acr": ACR_PASSWORD,
            "amr": ["pwd"],
            "claims": {"id_token": {"name": None}},
        }
        values = {
            "client_id": client_id,
            "user_id": ADA,
            "scope": SCOPE,
            "sealed_openid": encrypt(openid, code),
        }
        self.store(a_code(code, **values | changed))
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
                scope=SCOPE,
                access_token_scope=SCOPE,
                openid={"acr": ACR_PASSWORD, "amr": ["pwd"]},
                access_token_digest=credentials.digest(access_token),
                # a long run takes longer than the usual ten minutes
                access_token_expires_at=clock.now() + 3_600,
            )
        )
        return refresh_token

    def access_token(self, client_id="web"):
        access_token = credentials.new_access_token() if client_id != "jwt" else self.signed_access_token()
        self.refresh_token(client_id, access_token=access_token)
        return access_token

    def signed_access_token(self):
        return self.sign({"client_id": "jwt", "jti": credentials.random_text(16)}, "at+jwt")

    def id_token(self, user_id, client_id="web"):
        """One that was issued before: a hint, good for any number of times."""
        if (user_id, client_id) not in self.hints:
            with self.app.app_context():
                sub = db.session.get(User, (HOME, user_id)).sub
            self.hints[user_id, client_id] = self.sign(
                {"sub": sub, "aud": client_id, "auth_time": clock.now()}, "JWT"
            )
        return self.hints[user_id, client_id]

    def sign(self, claims, typ):
        """By the server's own key; those that it has not made yet are made."""
        with self.app.app_context():
            signed = state_of(self.app).home.keyring.sign({"iss": self.issuer} | claims, "ES256", typ)
            db.session.commit()
        return signed

    def assertion(self, client_id):
        claims = jose.assertion_claims(client_id, aud=self.issuer) | in_fractions(60)
        if client_id == "hmac":
            return jose.sign(claims, jose.secret_key(CLIENT_SECRET), "HS256")
        return jose.sign(claims, client_key())

    def request_object(self):
        claims = AUTHORIZATION | {"iss": "web", "aud": self.issuer} | in_fractions(600)
        return jose.sign(claims, client_key())

    def browser(self, *user_ids):
        """A browser that has been here, with nobody signed in or these people.

        It stays the same: nobody signs out with it.
        """
        if user_ids not in self.browsers:
            self.browsers[user_ids] = self.new_browser(*user_ids)
        return self.browsers[user_ids]

    def new_browser(self, *user_ids):
        values = [credentials.random_text() for _ in user_ids]
        session_ids = [self.session(user_id, value) for user_id, value in zip(user_ids, values, strict=True)]
        cookies = cookies_of(self.app, self.issuer, *values)
        return Browser(cookies.header.encode(), cookies.csrf_token, cookies.browser_id, session_ids)

    def session(self, user_id, cookie_value):
        """The id of a session that this value stands for."""
        row = a_session(id=None, session_digest=credentials.digest(cookie_value), user_id=user_id)
        with self.app.app_context():
            db.session.add(row)
            db.session.commit()
            return row.id

    def ticket(self, browser):
        """A pending request of this browser, which Ada will be asked about: she has allowed nothing."""
        ticket = credentials.random_text()
        session_id = browser.session_ids[0] if browser.session_ids else None
        digest = credentials.digest(browser.id)
        with self.app.app_context():
            db.session.execute(FORGET_CONSENT, {"of_user": ADA})
            store.tickets.add(ticket, digest, "web", AUTHORIZATION | OPENID, clock.now(), session_id)
            db.session.commit()
        return ticket

    # ---- parts of requests ---------------------------------------------------------------------------------

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
    session_ids: list[int]


@dataclass(frozen=True)
class Case:
    """A caller at a route: `query` and `form` name the parameters under test, `status` is what the right
    request is answered.
    """

    name: str
    parts: Callable[[World], Parts]
    status: int = 200
    query: tuple[str, ...] = ()
    form: tuple[str, ...] = ()

    def __repr__(self):
        return self.name

    def parameters(self):
        return [("query", name.encode()) for name in self.query] + [
            ("form", name.encode()) for name in self.form
        ]


def basic(client_id):
    return "Basic " + b64encode(f"{client_id}:{CLIENT_SECRET}".encode()).decode()


AUTHORIZATION_PARAMETERS = (*AUTHORIZATION, "ticket")
OPENID_PARAMETERS = (*OPENID, "scope", "prompt", "id_token_hint", "request", "request_uri", "ticket")
PKCE_PARAMETERS = (
    "ticket",
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "code_challenge",
    "code_challenge_method",
)
ASSERTION_PARAMETERS = ("client_assertion", "client_assertion_type")
CLIENT_PARAMETERS = ("client_id", "client_secret", *ASSERTION_PARAMETERS)
CODE_PARAMETERS = ("grant_type", "code", "redirect_uri", "code_verifier", "scope", *CLIENT_PARAMETERS)
REFRESH_PARAMETERS = ("grant_type", "refresh_token", "scope", *CLIENT_PARAMETERS)
MACHINE_PARAMETERS = ("grant_type", "scope", *CLIENT_PARAMETERS)
TOKEN_PARAMETERS = ("token", "token_type_hint", *CLIENT_PARAMETERS)
CONSENT_PARAMETERS = ("csrf_token", "ticket", "client_id", "decision", "account")
LOGOUT_PARAMETERS = (
    "id_token_hint",
    "client_id",
    "post_logout_redirect_uri",
    "state",
    "logout_hint",
    "ui_locales",
)
UNKNOWN = ("unknown",)  # where nothing is read, that is what is proved


# ---- callers -----------------------------------------------------------------------------------------------


def allowed_before(**changed):
    return lambda world: world.get(
        b"/oauth/authorize", AUTHORIZATION | changed, Cookie=world.browser(DAN).cookie
    )


def to_be_asked_about(world):
    browser = world.browser(ADA)
    world.ticket(browser)
    return world.get(b"/oauth/authorize", AUTHORIZATION, Cookie=browser.cookie)


def one_of_two_people(world):
    """Ada is present; the client names Dan, who has allowed it."""
    query = AUTHORIZATION | OPENID | {"prompt": "none", "id_token_hint": world.id_token(DAN)}
    return world.get(b"/oauth/authorize", query, Cookie=world.browser(ADA, DAN).cookie)


def signed_request(world):
    query = {
        "client_id": "web",
        "response_type": "code",
        "scope": "openid",
        "request": world.request_object(),
    }
    return world.get(b"/oauth/authorize", query, Cookie=world.browser(DAN).cookie)


def pending(world):
    browser = world.browser(ADA)
    return world.get(b"/oauth/authorize", {"ticket": world.ticket(browser)}, Cookie=browser.cookie)


def consent_of(*user_ids):
    def consent(world):
        browser = world.browser(*user_ids)
        form = {"csrf_token": browser.csrf_token, "ticket": world.ticket(browser), "decision": "allow"}
        return world.post(b"/oauth/authorize", form, Cookie=browser.cookie, Origin=world.issuer)

    return consent


# How a client proves who it is: the form and the headers for it.


def by_header(world, client_id):
    return {}, {"Authorization": basic(client_id)}


def by_name(world, client_id):
    return {"client_id": client_id}, {}


def by_secret(world, client_id):
    return {"client_id": client_id, "client_secret": CLIENT_SECRET}, {}


def by_assertion(world, client_id):
    return jose.with_assertion(world.assertion(client_id)), {}


def code_of(owner, prove=by_header):
    """An exchange of a live code of the client `owner`."""

    def exchange(world):
        form, headers = prove(world, owner)
        return world.post(
            b"/oauth/token", code_request(world.code(owner), scope="profile", **form), **headers
        )

    return exchange


def refresh_of(owner, prove=by_header, scope="profile"):
    def refresh(world):
        form, headers = prove(world, owner)
        request = refresh_request(world.refresh_token(owner), scope=scope, **form)
        return world.post(b"/oauth/token", request, Origin=SPA_ORIGIN, **headers)

    return refresh


def machine(world):
    form, _headers = by_secret(world, "robot")
    return world.post(b"/oauth/token", {"grant_type": "client_credentials", "scope": "read", **form})


def with_token(path, owner="web"):
    """A resource asked for with a token in the header."""
    return lambda world: world.get(
        path, Authorization="Bearer " + world.access_token(owner), Origin=SPA_ORIGIN
    )


def with_token_in_form(world):
    return world.post(b"/oauth/userinfo", {"access_token": world.access_token()})


def about_a_token(path, client_id, kind, prove=by_header, **headers):
    def ask(world):
        form, proof = prove(world, client_id)
        token = world.access_token() if kind == "access_token" else world.refresh_token(client_id)
        return world.post(path, {"token": token, "token_type_hint": kind, **form}, **proof, **headers)

    return ask


def page_form(path, form, *user_ids):
    """A form of ours, sent with its CSRF token by a browser that asked for the page."""

    def send(world):
        browser = world.browser(*user_ids)
        query = {"next": "/oauth/authorize?ticket=" + world.ticket(browser)}
        return world.post(path, form | {"csrf_token": browser.csrf_token}, query, Cookie=browser.cookie)

    return send


def page_with_next(path, *user_ids, **query):
    def show(world):
        browser = world.browser(*user_ids)
        ways_on = {"next": "/oauth/authorize?ticket=" + world.ticket(browser)}
        return world.get(path, query | ways_on, Cookie=browser.cookie)

    return show


def choice_of_account(world):
    browser = world.new_browser(ADA, DAN)
    form = {"csrf_token": browser.csrf_token, "account": str(browser.session_ids[1])}
    return world.post(b"/accounts", form, {"next": "/"}, Cookie=browser.cookie)


def sign_out(world):
    browser = world.new_browser(ADA, DAN)
    form = {"csrf_token": browser.csrf_token, "who": "present", "ticket": world.ticket(browser)}
    return world.post(b"/logout", form, Cookie=browser.cookie)


def logout_wish(world):
    return {"client_id": "web", "post_logout_redirect_uri": AFTER_LOGOUT, "state": "the state"}


def sent_to_sign_out(world):
    """By a client, with a hint that says who: one of two people here."""
    query = logout_wish(world) | {"id_token_hint": world.id_token(DAN)}
    return world.get(b"/oauth/logout", query, Cookie=world.new_browser(ADA, DAN).cookie)


def sent_to_be_asked(world):
    return world.get(b"/oauth/logout", logout_wish(world), Cookie=world.browser(ADA, DAN).cookie)


def sent_by_form(world):
    return world.post(b"/oauth/logout", logout_wish(world) | {"id_token_hint": world.id_token(DAN)})


def signed_out_as_asked(world):
    browser = world.new_browser(ADA, DAN)
    form = logout_wish(world) | {"csrf_token": browser.csrf_token, "who": "present"}
    return world.post(b"/oauth/logout", form, Cookie=browser.cookie, Origin=world.issuer)


def stranger(method, path, form=None, query=None):
    return lambda world: world.get(path, query) if method == "GET" else world.post(path, form or {}, query)


def preflight(path):
    headers = {
        "Origin": SPA_ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,traceparent",
    }
    return lambda world: replace(world.get(path, **headers), method=b"OPTIONS")


def page_of(path, *user_ids, **query):
    return lambda world: world.get(path, query, Cookie=world.browser(*user_ids).cookie)


def end_of_sessions(world):
    """All that Fay has elsewhere."""
    browser = world.browser(FAY)
    world.session(FAY, credentials.random_text())
    form = {"csrf_token": browser.csrf_token, "end": "others"}
    return world.post(b"/account/sessions", form, Cookie=browser.cookie)


def end_of_access(world):
    """Ada's consent, which is there."""
    browser = world.browser(ADA)
    world.ticket(browser)  # her consent is forgotten
    world.store(Consent(user_id=ADA, client_id="web", scope=SCOPE, granted_at=clock.now()))
    form = {"csrf_token": browser.csrf_token, "client": "web"}
    return world.post(b"/account/applications", form, Cookie=browser.cookie)


def new_password(world):
    """Eve's, who had the usual one before."""
    with world.app.app_context():
        db.session.execute(SET_PASSWORD, {"of_user": EVE, "password_hash": world.password_hash})
        db.session.commit()
    browser = world.new_browser(EVE)
    form = {"csrf_token": browser.csrf_token, "password": PASSWORD, "new_password": "another " + PASSWORD}
    return world.post(b"/account/password", form, Cookie=browser.cookie)


SIGN_IN = {"email": "carol@example.com", "password": PASSWORD, "keep": "on"}
SIGN_UP = {
    "name": "Eve",
    "email": "ada@example.com",
    "password": PASSWORD,
    "keep": "on",
}  # of an account that exists: nothing is stored
INTROSPECT, REVOKE, USERINFO, JWKS = (
    b"/oauth/introspect",
    b"/oauth/revoke",
    b"/oauth/userinfo",
    b"/oauth/jwks",
)
METADATA = b"/.well-known/oauth-authorization-server"
OPENID_METADATA = b"/.well-known/openid-configuration"
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
    Case("OpenID metadata", stranger("GET", OPENID_METADATA), 200, UNKNOWN),
    Case("public keys", stranger("GET", JWKS), 200, UNKNOWN),
    Case("healthz", stranger("GET", b"/healthz"), 200, UNKNOWN),
    Case("readyz", stranger("GET", b"/readyz"), 200, UNKNOWN),
    Case("me of a stranger", stranger("GET", b"/api/me"), 401, ("access_token",)),
    Case("userinfo of a stranger", stranger("POST", USERINFO, {}), 401, ("access_token",), ("access_token",)),
    Case(
        "an authorization",
        stranger("GET", b"/oauth/authorize", query=AUTHORIZATION),
        303,
        AUTHORIZATION_PARAMETERS,
    ),
    Case(
        "an OpenID one",
        stranger("GET", b"/oauth/authorize", query=AUTHORIZATION | OPENID),
        303,
        OPENID_PARAMETERS,
    ),
    Case("one without PKCE", stranger("GET", b"/oauth/authorize", query=WITHOUT_PKCE), 303, PKCE_PARAMETERS),
    Case(
        "one by POST",
        stranger("POST", b"/oauth/authorize", AUTHORIZATION),
        303,
        (),
        ("client_id", "redirect_uri", "scope", "state", "ticket"),
    ),
    Case("one that was allowed before", allowed_before(), 303, AUTHORIZATION_PARAMETERS),
    Case("one of two people", one_of_two_people, 303, OPENID_PARAMETERS),
    Case("a signed one", signed_request, 303, ("request", "client_id", "scope", "state", "ticket")),
    Case(
        "one to be answered by a form",
        allowed_before(response_mode="form_post"),
        200,
        ("response_mode", "state", "prompt", "ticket"),
    ),
    Case("one to be asked about", to_be_asked_about, 200, AUTHORIZATION_PARAMETERS),
    Case("a pending one", pending, 200, ("ticket", "client_id")),
    Case("consent", consent_of(ADA), 303, (), CONSENT_PARAMETERS),
    Case("consent of a stranger", consent_of(), 303, (), CONSENT_PARAMETERS),
    Case(
        "a stranger's code", stranger("POST", b"/oauth/token", STRANGER_WITH_A_CODE), 401, (), CODE_PARAMETERS
    ),
    Case("a code", code_of("web"), 200, (), CODE_PARAMETERS),
    Case("a code, public client", code_of("spa", by_name), 200, (), CODE_PARAMETERS),
    Case("a code, secret in the body", code_of("post", by_secret), 200, (), CODE_PARAMETERS),
    Case(
        "a code, signed", code_of("keys", by_assertion), 200, (), ("grant_type", "code", *CLIENT_PARAMETERS)
    ),
    Case(
        "a code, signed with the secret",
        code_of("hmac", by_assertion),
        200,
        (),
        ("grant_type", *ASSERTION_PARAMETERS),
    ),
    Case("a code for a JWT", code_of("jwt"), 200, (), ("grant_type", "code", "scope")),
    Case("a refresh", refresh_of("web", scope=SCOPE), 200, (), REFRESH_PARAMETERS),
    Case("a refresh, public client", refresh_of("spa", by_name), 200, (), REFRESH_PARAMETERS),
    Case(
        "a refresh, signed",
        refresh_of("keys", by_assertion),
        200,
        (),
        ("grant_type", "refresh_token", "client_id", *ASSERTION_PARAMETERS),
    ),
    Case("a preflight", preflight(b"/oauth/token"), 204, UNKNOWN),
    Case("a preflight of the keys", preflight(b"/oauth/jwks"), 204, UNKNOWN),
    Case("a machine", machine, 200, (), MACHINE_PARAMETERS),
    Case(
        "introspection, stranger",
        stranger("POST", INTROSPECT, STRANGER_WITH_A_TOKEN),
        401,
        (),
        TOKEN_PARAMETERS,
    ),
    Case("introspection", about_a_token(INTROSPECT, "api", "access_token"), 200, (), TOKEN_PARAMETERS),
    Case(
        "introspection, to be signed",
        about_a_token(INTROSPECT, "api", "access_token", Accept=SIGNED_INTROSPECTION),
        200,
        (),
        ("token", "token_type_hint"),
    ),
    Case(
        "introspection by the client",
        about_a_token(INTROSPECT, "web", "refresh_token"),
        200,
        (),
        TOKEN_PARAMETERS,
    ),
    Case("revocation, stranger", stranger("POST", REVOKE, STRANGER_WITH_A_TOKEN), 401, (), TOKEN_PARAMETERS),
    Case("revocation", about_a_token(REVOKE, "web", "refresh_token"), 200, (), TOKEN_PARAMETERS),
    Case(
        "revocation, signed",
        about_a_token(REVOKE, "keys", "refresh_token", by_assertion),
        200,
        (),
        ASSERTION_PARAMETERS,
    ),
    Case("me", with_token(b"/api/me"), 200, ("access_token",)),
    Case("userinfo", with_token(USERINFO), 200, ("access_token",)),
    Case("userinfo, signed", with_token(USERINFO, "jwt"), 200, ("access_token",)),
    Case("userinfo by POST", with_token_in_form, 200, ("access_token",), ("access_token",)),
    Case("home", page_of(b"/", ADA), 200, UNKNOWN),
    Case("sign-in page, stranger", stranger("GET", b"/login", query={"next": "/"}), 200, ("next", "again")),
    Case("sign-in page", page_with_next(b"/login", ADA, again="1"), 200, ("next", "again")),
    Case(
        "sign-in without a cookie",
        stranger("POST", b"/login", SIGN_IN),
        400,
        ("next", "again"),
        ("csrf_token", "keep", *SIGN_IN),
    ),
    Case("sign-in", page_form(b"/login", SIGN_IN), 303, ("next", "again"), ("csrf_token", "keep", *SIGN_IN)),
    Case("sign-up page", page_with_next(b"/signup", ADA), 200, ("next",)),
    Case("sign-up", page_form(b"/signup", SIGN_UP), 400, ("next",), ("csrf_token", "keep", *SIGN_UP)),
    Case("choice of an account, stranger", stranger("GET", b"/accounts"), 303, ("next",)),
    Case("choice of an account", page_with_next(b"/accounts", ADA, DAN), 200, ("next",)),
    Case("account chosen", choice_of_account, 303, ("next",), ("csrf_token", "account")),
    Case("sign-out page", page_of(b"/logout", ADA, DAN), 200, UNKNOWN),
    Case("sign-out", sign_out, 303, (), ("csrf_token", "who", "ticket")),
    Case(
        "sign-out of a stranger",
        page_form(b"/logout", {"ticket": "x"}),
        303,
        (),
        ("csrf_token", "who", "ticket"),
    ),
    Case("sign-out by a client", sent_to_sign_out, 303, LOGOUT_PARAMETERS),
    Case("sign-out by a client, to be asked", sent_to_be_asked, 200, LOGOUT_PARAMETERS),
    Case("sign-out by a client's form", sent_by_form, 303, (), (*LOGOUT_PARAMETERS, "who")),
    Case(
        "sign-out as asked",
        signed_out_as_asked,
        303,
        (),
        ("csrf_token", "who", "client_id", "post_logout_redirect_uri", "state"),
    ),
    Case("account of a stranger", stranger("GET", b"/account/"), 303, UNKNOWN),
    Case("account", page_of(b"/account/", ADA, DAN), 200, UNKNOWN),
    Case("sessions", page_of(b"/account/sessions", FAY), 200, UNKNOWN),
    Case("end of a session", end_of_sessions, 303, (), ("csrf_token", "end")),
    Case("sign-outs", page_of(b"/account/sign-outs", FAY), 200, UNKNOWN),
    Case("applications", page_of(b"/account/applications", DAN), 200, UNKNOWN),
    Case("end of access", end_of_access, 303, (), ("csrf_token", "client")),
    Case("password page", page_of(b"/account/password", ADA), 200, UNKNOWN),
    Case("new password", new_password, 303, (), ("csrf_token", "password", "new_password")),
    Case("where passwords are changed", stranger("GET", b"/.well-known/change-password"), 303, UNKNOWN),
]

# One caller of each method of each route, the one who gets furthest: for what is not a parameter.
BEFORE = (  # of the same routes, but not as far
    "home of a stranger",
    "me of a stranger",
    "userinfo of a stranger",
    "an authorization",
    "an OpenID one",
    "one without PKCE",
    "one by POST",
    "one of two people",
    "a signed one",
    "one to be answered by a form",
    "one to be asked about",
    "a pending one",
    "consent of a stranger",
    "a stranger's code",
    "a code, public client",
    "a code, secret in the body",
    "a code, signed",
    "a code, signed with the secret",
    "a code for a JWT",
    "a refresh",
    "a refresh, public client",
    "a refresh, signed",
    "a machine",
    "introspection, stranger",
    "introspection",
    "introspection by the client",
    "revocation, stranger",
    "revocation, signed",
    "userinfo, signed",
    "sign-in page, stranger",
    "sign-in without a cookie",
    "choice of an account, stranger",
    "sign-out of a stranger",
    "sign-out by a client, to be asked",
    "sign-out by a client's form",
    "account of a stranger",
)
FURTHEST = [case for case in CASES if case.name not in BEFORE]
