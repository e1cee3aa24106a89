"""Each reason of the closed list is reached by a request, and says in the log what the answer keeps to
itself.

`tests/refusal_lines.py` looks at every answer of every other test: one line each, and no reason in the
answer.
"""

import io
import logging

import pytest
from flask import abort

from config import Settings
from crypto import credentials
from middleware.logs import LineFormatter, RequestId
from models import Consent, Token, User, db
from protocol import clock
from services.current import state_of
from services.event_log import REASONS, Reason, log, set_reason
from tests.builders import (
    PASSWORD,
    REDIRECT_URI,
    SECRET_KEY,
    a_client,
    a_code,
    a_machine,
    a_public_client,
    a_refresh_token,
    a_token,
    a_user,
    basic,
    code_request,
    refresh_request,
)
from tests.jose import assertion_claims, jwks, key_for, sign, with_assertion
from tests.pages.steps import ask, authorization_path, page, press, sign_in, sign_out
from tests.refusal_lines import one_line_a_refusal
from tests.statements import update
from tests.test_unit_of_work import busy

CODE, LATE_CODE, ACCESS_TOKEN = "ost_ac_" + "c" * 43, "ost_ac_" + "l" * 43, "ost_at_" + "a" * 43
LOOPBACK = Settings(issuer="http://127.0.0.1:8000", database_url="sqlite://", secret_key=SECRET_KEY)
REFRESH_TOKEN, MACHINE = a_refresh_token(), {"grant_type": "client_credentials"}
KEY = key_for("ES256")
KEYS_ELSEWHERE = {"jwks_uri": "https://client.example/jwks"}
# tests/flows/test_log_live.py, test_slow_clients.py, tests/tenants/test_addresses.py
ELSEWHERE = {Reason.MALFORMED, Reason.TOO_SLOW, Reason.TENANT_UNAVAILABLE}


@pytest.fixture
def browser(http, seed):
    """Of nobody yet, at a server with a person, one who was disabled, clients, a code and tokens."""
    own_keys = {"jwks": jwks(KEY)}
    seed(
        a_user(),
        a_user(id=2, sub="sub-of-bob", email="bob@example.com", disabled_at=clock.now()),
        a_client(scope="openid profile email", extra_metadata=own_keys),
        a_public_client(),
        a_machine(),
        a_client(client_id="keys", token_endpoint_auth_method="private_key_jwt", extra_metadata=own_keys),
        a_client(
            client_id="far", token_endpoint_auth_method="private_key_jwt", extra_metadata=KEYS_ELSEWHERE
        ),
        Consent(user_id=1, client_id="web", scope="openid", granted_at=clock.now()),
        Consent(user_id=2, client_id="web", scope="openid", granted_at=clock.now()),
        a_code(CODE),
        a_code(LATE_CODE, expires_at=clock.now()),
        a_token(
            REFRESH_TOKEN,
            access_token_digest=credentials.digest(ACCESS_TOKEN),
            scope="openid profile email",
            access_token_scope="profile",
        ),
    )
    return Asked(http)


class Asked:
    def __init__(self, http):
        self.http = http

    def token(self, body, auth=None):
        return self.http.post("/oauth/token", data=body, auth=auth)

    def change(self, statement):
        with self.http.application.app_context():
            db.session.execute(statement)
            db.session.commit()

    def authorize(self, **changed):
        return self.http.get(authorization_path(**changed))

    def sign_in(self, email="ada@example.com", password="wrong horse battery"):
        return press(self.http, self.http.get("/login"), "Sign in", email=email, password=password)

    def bearer(self, token, path="/api/me"):
        return self.http.get(path, headers={"Authorization": f"Bearer {token}"})

    def sign_up(self, email):
        return press(
            self.http, self.http.get("/signup"), "Create account", name="A", email=email, password=PASSWORD
        )


def presented_twice(browser):
    assert browser.token(code_request(CODE), basic()).status_code == 200
    return browser.token(code_request(CODE), basic())


def reused(browser):
    later = browser.token(refresh_request(REFRESH_TOKEN), basic()).json["refresh_token"]
    assert browser.token(refresh_request(later), basic()).status_code == 200
    return browser.token(refresh_request(REFRESH_TOKEN), basic())


def where_many_wait(browser):
    state_of(browser.http.application).documents._free_slots = 0
    return browser.token(with_assertion(sign(assertion_claims("far"), KEY), **MACHINE))


def with_places_taken(browser):
    slots = state_of(browser.http.application).password_hashes
    taken = [slots.acquire() for _ in range(100)]
    entered = []
    try:
        for place in taken:
            place.__enter__()
            entered.append(place)
    except Exception:  # noqa: BLE001, S110 - all are taken
        pass
    try:
        return browser.sign_in()
    finally:
        for place in entered:
            place.__exit__(None, None, None)


def denied(browser):
    sign_in(browser.http)
    return press(browser.http, ask(browser.http), "Deny")


def broken(browser):
    def fail():
        raise RuntimeError("secret words")

    browser.http.application.view_functions["home.home"] = fail
    return browser.http.get("/")


def throttled(browser):
    for _ in range(200):
        answer = browser.sign_in()
        if answer.status_code == 429:
            return answer
    raise AssertionError


def several_people(browser):
    browser.change(update(User).where(User.id == 2).values(disabled_at=None))
    sign_in(browser.http)
    sign_in(browser.http, "bob@example.com")
    return browser.authorize(prompt="none", scope="openid")


def not_allowed_yet(browser):
    sign_in(browser.http)
    return browser.authorize(prompt="none", scope="openid email")


def insisting(browser):
    sign_in(browser.http)
    return browser.authorize(
        scope="openid", claims='{"id_token":{"acr":{"essential":true,"value":"urn:gold"}}}'
    )


def assertion(**changed):
    return MACHINE | with_assertion(sign(assertion_claims("keys", **changed), KEY))


def out_of_date(browser):
    shown = browser.http.get("/login")
    sign_in(browser.http)
    return press(browser.http, shown, "Sign in", email="ada@example.com", password=PASSWORD)


def without_cookies(browser):
    form = page(browser.http.get("/login")).form("Sign in")
    other = browser.http.application.test_client(use_cookies=False)
    return other.post("/login", data=form.filled("Sign in", email="ada@example.com", password=PASSWORD))


def denied_twice(browser):
    sign_in(browser.http)
    asked = ask(browser.http)
    return [press(browser.http, asked, "Deny") for _time in range(2)]


REACHED_BY = {
    Reason.UNKNOWN_CLIENT: lambda browser: browser.token(MACHINE, basic("nobody")),
    Reason.CLIENT_NOT_NAMED: lambda browser: browser.token(code_request(CODE)),
    Reason.WRONG_SECRET: lambda browser: browser.token(code_request(CODE), basic(secret="wrong")),
    Reason.WRONG_ASSERTION: lambda browser: browser.token(assertion(aud="https://evil.example")),
    Reason.KEYS_NOT_AT_HAND: lambda browser: where_many_wait(browser),
    Reason.WRONG_AUTH_METHOD: lambda browser: browser.token(code_request(CODE, client_id="web")),
    Reason.WRONG_CLIENT: lambda browser: browser.token(code_request(CODE, client_id="spa")),
    Reason.UNAUTHORIZED_CLIENT: lambda browser: browser.token(MACHINE, basic()),
    Reason.REDIRECT_URI_NOT_REGISTERED: lambda browser: browser.authorize(
        redirect_uri="https://evil.example/cb"
    ),
    Reason.INVALID_REQUEST: lambda browser: browser.authorize(
        code_challenge=None, code_challenge_method=None
    ),
    Reason.INVALID_SCOPE: lambda browser: browser.authorize(scope="write"),
    Reason.INVALID_REQUEST_OBJECT: lambda browser: browser.authorize(request="x.y.z", scope="openid"),
    Reason.REQUEST_URI_NOT_SUPPORTED: lambda browser: browser.authorize(
        request_uri="https://app.example/request"
    ),
    Reason.UNSUPPORTED_RESPONSE_TYPE: lambda browser: browser.authorize(response_type="token"),
    Reason.LOGIN_REQUIRED: lambda browser: browser.authorize(prompt="none", scope="openid"),
    Reason.CONSENT_REQUIRED: not_allowed_yet,
    Reason.ACCOUNT_SELECTION_REQUIRED: several_people,
    Reason.UNMET_AUTHENTICATION_REQUIREMENTS: insisting,
    Reason.ACCESS_DENIED: denied,
    Reason.REQUEST_GONE: lambda browser: browser.http.get("/oauth/authorize?ticket=x"),
    Reason.CODE_UNKNOWN: lambda browser: browser.token(code_request("ost_ac_" + "x" * 43), basic()),
    Reason.CODE_EXPIRED: lambda browser: browser.token(code_request(LATE_CODE), basic()),
    Reason.CODE_REPLAYED: presented_twice,
    Reason.WRONG_REDIRECT_URI: lambda browser: browser.token(
        code_request(CODE, redirect_uri=REDIRECT_URI + "x"), basic()
    ),
    Reason.WRONG_VERIFIER: lambda browser: browser.token(code_request(CODE, code_verifier="w" * 43), basic()),
    Reason.REFRESH_UNKNOWN: lambda browser: browser.token(refresh_request("ost_rt_x"), basic()),
    Reason.REFRESH_ENDED: lambda browser: browser.token(refresh_request(a_refresh_token()), basic()),
    Reason.REFRESH_EXPIRED: lambda browser: (
        browser.change(update(Token).values(refresh_token_expires_at=clock.now()))
        or browser.token(refresh_request(REFRESH_TOKEN), basic())
    ),
    Reason.REFRESH_REUSED: reused,
    Reason.UNSUPPORTED_GRANT_TYPE: lambda browser: browser.token({"grant_type": "password"}, basic()),
    Reason.TOKEN_MISSING: lambda browser: browser.http.get("/api/me"),
    Reason.TOKEN_UNKNOWN: lambda browser: browser.bearer("ost_at_x"),
    Reason.TOKEN_EXPIRED: lambda browser: (
        browser.change(update(Token).values(access_token_expires_at=clock.now()))
        or browser.bearer(ACCESS_TOKEN)
    ),
    Reason.INSUFFICIENT_SCOPE: lambda browser: browser.bearer(ACCESS_TOKEN, "/oauth/userinfo"),
    Reason.WRONG_PASSWORD: lambda browser: browser.sign_in(),
    Reason.UNKNOWN_ACCOUNT: lambda browser: browser.sign_in("hunter2@example.com"),
    Reason.DISABLED: lambda browser: browser.sign_in("bob@example.com", PASSWORD),
    Reason.ACCOUNT_EXISTS: lambda browser: browser.sign_up("ada@example.com"),
    Reason.INVALID_FORM: lambda browser: browser.sign_up("no address"),
    Reason.THROTTLED: throttled,
    Reason.BUSY: with_places_taken,
    Reason.CSRF: lambda browser: browser.http.post("/login", data={"email": "ada@example.com"}),
    Reason.STALE_FORM: out_of_date,
    Reason.COOKIES_BLOCKED: without_cookies,
    Reason.WRONG_HOST: lambda browser: browser.http.get("/login", base_url="https://evil.example"),
    Reason.FOREIGN_ORIGIN: lambda browser: browser.http.post(
        "/login", headers={"Origin": "https://evil.example"}
    ),
    Reason.NOT_FOUND: lambda browser: browser.http.get("/nowhere"),
    Reason.METHOD_NOT_ALLOWED: lambda browser: browser.http.delete("/login"),
    Reason.TOO_LARGE: lambda browser: browser.http.post("/oauth/token", data={"x": "x" * 100_000}),
    Reason.STORAGE_UNAVAILABLE: lambda browser: browser.http.get("/readyz"),
    Reason.BUG: broken,
}


@pytest.fixture
def lines(app):
    with one_line_a_refusal(app) as lines:
        yield lines


@pytest.mark.threat("T192")
@pytest.mark.parametrize("reason", REACHED_BY, ids=str)
def test_each_reason_is_reached(browser, lines, reason):
    REACHED_BY[reason](browser)
    assert str(reason) in lines.reached


@pytest.mark.threat("T192")
def test_there_is_no_other_reason():
    assert set(REACHED_BY) | ELSEWHERE | {Reason.NOT_LOOPBACK} == set(Reason)
    assert len({reason.value for reason in Reason}) == len(REASONS)


@pytest.mark.parametrize(
    ("headers", "remote_addr"), [({"X-Forwarded-For": "192.0.2.1"}, "127.0.0.1"), ({}, "192.0.2.1")]
)
@pytest.mark.parametrize("settings", [LOOPBACK])
def test_a_loopback_issuer_asked_from_elsewhere(app, lines, headers, remote_addr):
    environ = {"REMOTE_ADDR": remote_addr}
    answer = app.test_client().get("/", base_url=LOOPBACK.issuer, headers=headers, environ_overrides=environ)
    assert (answer.status_code, lines.reached) == (400, {"not_loopback"})


# ---- what a line says, and what it does not ----------------------------------------------------------------


@pytest.fixture
def said(app, caplog):
    """The fields of the lines since the last call."""
    caplog.set_level(logging.INFO, "ostiary.events")

    def said():
        fields = [record.fields for record in caplog.records if record.name == "ostiary.events"]
        caplog.clear()
        return fields

    return said


def test_a_line_says_which_client_and_which_grant(browser, said):
    browser.token(code_request(CODE, code_verifier="w" * 43), basic())
    [line] = said()
    assert line == {
        "event": "refused",
        "reason": "wrong_verifier",
        "status": 400,
        "error": "invalid_grant",
        "client_id": "web",
        "client_known": True,
        "grant_type": "authorization_code",
        "route": "/oauth/token",
        "detail": "code_verifier does not match the authorization request",
        "remote_addr": "127.0.0.1",
    }


def test_a_line_about_a_decision_says_which_client(browser, said):
    """Also where its form arrived twice."""
    denied_twice(browser)
    for line in said()[-2:]:
        assert (line["reason"], line["error"], line["client_id"]) == ("access_denied", "access_denied", "web")


@pytest.mark.parametrize(
    ("sent", "written"),
    [
        ("nobody", "nobody"),
        ("x" * 1_000, "x" * 64),
        ("a\nevent=sign_in \x1b[2J\u202e", "a?event=sign_in ?[2J?"),
        ("ost_cs_" + "s" * 43, "ost_cs_..."),
    ],
)
def test_an_unknown_client_is_named_in_part(browser, said, sent, written):
    browser.token(MACHINE, basic(sent))
    [line] = said()
    assert (line["client_id"], line["client_known"], line["reason"]) == (written, False, "unknown_client")


@pytest.mark.threat("T192")
def test_what_was_typed_is_not_written(browser, said):
    browser.sign_in("hunter2@example.com", "a secret of mine")
    browser.sign_in("ada@example.com", "another secret")
    unknown, known = said()
    assert (unknown["reason"], known["reason"], known["sub"]) == (
        "unknown_account",
        "wrong_password",
        "sub-of-ada",
    )
    assert "sub" not in unknown
    assert not [word for word in ("hunter2", "secret", "ada@") if word in f"{unknown} {known}"]


@pytest.mark.threat("T192")
def test_the_number_on_the_page_is_in_the_log(browser):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter())
    handler.addFilter(RequestId())
    log.addHandler(handler)
    try:
        answers = [
            REACHED_BY[reason](browser)
            for reason in (Reason.NOT_FOUND, Reason.FOREIGN_ORIGIN, Reason.REQUEST_GONE)
        ]
    finally:
        log.removeHandler(handler)
    for answer, line in zip(answers, stream.getvalue().splitlines(), strict=True):
        assert f"<code>{line.rpartition('request_id=')[2]}</code>" in answer.text


def test_a_refusal_that_was_tried_twice_has_one_line(app, browser, said):
    """The first try loses a race; what it noted is forgotten."""
    tries = []

    def view():
        tries.append(1)
        if len(tries) == 1:
            set_reason(Reason.WRONG_VERIFIER)
            raise busy()
        abort(404)

    app.view_functions["home.home"] = view
    browser.http.get("/")
    assert [line["reason"] for line in said()] == ["not_found"]
    assert len(tries) == 2


# ---- people who come and go --------------------------------------------------------------------------------


def test_a_sign_in_and_a_sign_out_have_a_line(browser, said):
    sign_in(browser.http)
    sign_out(browser.http)
    came, left = said()
    assert came == {"event": "sign_in", "sub": "sub-of-ada", "amr": "pwd", "remote_addr": "127.0.0.1"}
    assert left == {"event": "sign_out", "sub": "sub-of-ada", "sessions": 1, "remote_addr": "127.0.0.1"}


def test_a_sign_up_and_a_new_password_have_a_line(browser, said):
    browser.sign_up("eve@example.com")
    answer = browser.http.get("/account/password")
    press(browser.http, answer, "Change password", password=PASSWORD, new_password="another horse battery")
    events = said()
    assert [line["event"] for line in events] == ["sign_up", "sign_in", "sign_in", "password_changed"]
    assert len({line["sub"] for line in events}) == 1
