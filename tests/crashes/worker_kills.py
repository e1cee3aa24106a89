"""Requests that a worker dies of: one for each way to a token and back, at each point of its transaction.

Enters: a server of several workers whose failpoint is a file. A scenario prepares a person, has the worker
killed that serves them, and looks at the rows and at what the person or the client gets who asks again.
Before COMMIT nothing has happened, after COMMIT everything has; the next request is served at once, by
another worker.
"""

import http.client
import time
from contextlib import contextmanager
from functools import partial
from urllib.parse import urlencode

from sqlalchemy import func

from crypto import credentials
from models import (
    AuthorizationCode,
    AuthorizationTicket,
    Consent,
    SpentAssertion,
    Token,
    User,
    UserSession,
    db,
)
from protocol import clock
from testing import failpoints
from testing.races.workers import Call
from tests.builders import (
    AUTHORIZATION_REQUEST,
    PASSWORD,
    a_client_session,
    a_machine,
    a_refresh_token,
    a_token,
)
from tests.crashes.report import Report
from tests.flows.browser_journey import Browser
from tests.flows.driving import (
    PATIENCE_SECONDS,
    Driver,
    exchange,
    machine_call,
    refresh,
    revoke,
    send,
)
from tests.jose import assertion_claims, jwks, key_for, sign, with_assertion
from tests.live import PROJECT, LiveServer
from tests.statements import select

WORKERS = 4
FORKED_FROM_A_LOADED_ONE = "--preload"  # a new worker in no time
KEY = key_for("ES256")
AT_ONCE_SECONDS = 2.0


@contextmanager
def server_to_kill(database_url, folder, **options):
    """A live server that is armed, and in `failpoint` the file for its orders."""
    orders = folder / "failpoint"
    server = LiveServer(database_url, folder, workers=WORKERS, **options)
    server.factory = "tests.armed:create_app()"
    server.environment["GUNICORN_CMD_ARGS"] = FORKED_FROM_A_LOADED_ONE
    server.environment["FAILPOINT_ORDERS"] = str(orders)
    server.environment["PYTHONPATH"] = str(PROJECT)  # behind `source`, which may have no tests
    server.failpoint = orders
    try:
        yield server.start()
    finally:
        server.kill()


class KillTestbed(Driver):
    """People, clients and codes on a server whose workers die. Each request has a connection of its own."""

    def __init__(self, server, report):
        super().__init__(server)
        self.report = report
        self.point = None

    def send(self, call):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=PATIENCE_SECONDS)
        try:
            return send(connection, call)
        finally:
            connection.close()

    def kill(self, request):
        """Let the worker die that serves `request()`. Returns whether it had committed."""
        self.server.failpoint.write_text(f"{self.point}:kill")
        try:
            request()
        except (OSError, http.client.HTTPException):
            assert not self.server.failpoint.exists(), "the connection broke, but no worker was told to die"
        else:
            self.server.failpoint.unlink(missing_ok=True)
            raise AssertionError("the request was answered: it never came to this point")
        self.report.kills += 1
        start = time.monotonic()
        assert self.server.is_ready(), "nobody serves"
        self.report.served_after(time.monotonic() - start)
        return self.point == "after-commit"

    def count(self, column, *conditions):
        with self.app.app_context():
            return db.session.scalar(select(func.count(column)).where(*conditions))

    def one(self, column, *conditions):
        with self.app.app_context():
            return db.session.scalars(select(column).where(*conditions)).one()

    def browser(self, user_id=None):
        """A person's browser; signed in, if there is a person."""
        browser = Browser(self.server.issuer)
        if user_id is not None:
            self.sign_in_with(browser, user_id)
        return browser

    def sign_in_with(self, browser, user_id):
        browser.open(f"{self.server.issuer}/login").sign_in(self.email(user_id), PASSWORD)
        assert browser.status == 200

    def email(self, user_id):
        return self.one(User.email, User.id == user_id)

    def has_only(self, client_id, user_id, access_token):
        """This token is the pair's one row, and works."""
        rows = self.token_digests(client_id, user_id)
        assert rows == [credentials.digest(access_token)], (
            f"{len(rows)} rows, and not just the one that there must be"
        )
        if user_id is not None:
            assert self.is_live(access_token), "a token with a row does not work"

    def is_refused(self, call):
        answer = self.send(call)
        assert (answer.status, answer.error) == (400, "invalid_grant"), answer


def press(browser, button, **fields):
    """The button of the page that is shown; it stays shown when the server dies of it."""
    page = browser.page
    try:
        return browser.press(button, **fields)
    except OSError:
        browser.page = page
        raise


# ---- the scenarios -----------------------------------------------------------------------------------------


def code_exchange(testbed):
    client_id, user_id = testbed.client(), testbed.new_user()
    old = testbed.sign_in(client_id, user_id)
    code = testbed.code(client_id, user_id)
    call = exchange(client_id, code)
    is_unspent = AuthorizationCode.code_digest == credentials.digest(code)
    if testbed.kill(partial(testbed.send, call)):
        assert testbed.count(AuthorizationCode.code_digest, is_unspent) == 0, (
            "both the code and its token are there"
        )
        digest = testbed.one(Token.code_digest, Token.client_id == client_id, Token.user_id == user_id)
        assert digest == credentials.digest(code), "the one row is not what the code issued"
        assert not testbed.is_live(old.access_token)
        testbed.is_refused(call)  # it cannot be told from a replay, so what it issued ends
        assert testbed.token_digests(client_id, user_id) == []
    else:
        assert testbed.count(AuthorizationCode.code_digest, is_unspent) == 1, (
            "the code is gone, and there is no token"
        )
        testbed.has_only(client_id, user_id, old.access_token)
        testbed.has_only(client_id, user_id, testbed.pair(call).access_token)


def token_refresh(testbed):
    client_id, user_id = testbed.client(), testbed.new_user()
    old = testbed.sign_in(client_id, user_id)
    call = refresh(client_id, old.refresh_token)
    if testbed.kill(partial(testbed.send, call)):
        stored = testbed.token_digests(client_id, user_id)
        repeated = testbed.pair(call)
        assert stored == [credentials.digest(repeated.access_token)], "the repeat did not get what was stored"
        testbed.has_only(client_id, user_id, repeated.access_token)
        assert not testbed.is_live(old.access_token), "the old token outlived its successor"
    else:
        testbed.has_only(client_id, user_id, old.access_token)
        testbed.has_only(client_id, user_id, testbed.pair(call).access_token)


def machine_token(testbed):
    """With an expired one that goes when the new one comes."""
    client_id = testbed.client(build=a_machine)
    call = machine_call(client_id)
    expired = {"user_id": None, "slot": None, "auth_time": None, "access_token_expires_at": clock.now() - 1}
    testbed.store(a_token(client_id=client_id, **expired))
    before = testbed.token_digests(client_id)
    if testbed.kill(partial(testbed.send, call)):
        stored = testbed.token_digests(client_id)
        assert len(stored) == 1, f"{len(stored)} rows: the expired one and the new one change places together"
        assert stored != before
        testbed.pair(call)
        assert len(testbed.token_digests(client_id)) == 2
    else:
        assert testbed.token_digests(client_id) == before
        testbed.has_only(client_id, None, testbed.pair(call).access_token)


def machine_token_by_assertion(testbed):
    by_key = {"token_endpoint_auth_method": "private_key_jwt", "extra_metadata": {"jwks": jwks(KEY)}}
    client_id = testbed.client(build=a_machine, client_secret_digest=None, **by_key)
    claims = assertion_claims(client_id, aud=testbed.server.issuer)
    form = with_assertion(sign(claims, KEY), grant_type="client_credentials")
    call = Call("POST", "/oauth/token", form=form)
    spent_before = testbed.count(SpentAssertion.jti_digest)
    if testbed.kill(partial(testbed.send, call)):
        assert testbed.count(SpentAssertion.jti_digest) == spent_before + 1
        assert len(testbed.token_digests(client_id)) == 1
        assert testbed.send(call).status == 401, "an assertion was good twice"
    else:
        assert testbed.count(SpentAssertion.jti_digest) == spent_before, (
            "the assertion is spent, and there is no token"
        )
        testbed.has_only(client_id, None, testbed.pair(call).access_token)


def sign_in(testbed):
    """For a request that waits for it, and is the person's from then on."""
    user_id = testbed.new_user()
    of_person = UserSession.user_id == user_id
    request = urlencode(AUTHORIZATION_REQUEST | {"client_id": testbed.client()})
    with testbed.browser() as browser:
        browser.open(f"{testbed.server.issuer}/oauth/authorize?{request}")
        fields = {"email": testbed.email(user_id), "password": PASSWORD}
        is_stored = testbed.kill(lambda: press(browser, "Sign in", **fields))
        assert testbed.count(UserSession.id, of_person) == is_stored
        browser.open(f"{testbed.server.issuer}/account/")
        assert "Sign in" in browser.page.title, "signed in by an answer that never came"
        press(browser, "Sign in", **fields)
        assert browser.status == 200
        assert testbed.count(UserSession.id, of_person) == is_stored + 1


def consent(testbed):
    client_id, user_id = testbed.client(), testbed.new_user()
    parameters = urlencode(AUTHORIZATION_REQUEST | {"client_id": client_id})
    request = f"{testbed.server.issuer}/oauth/authorize?{parameters}"

    def rows():
        """Pending requests, codes, remembered consents."""
        keys = (AuthorizationTicket.ticket_digest, AuthorizationCode.code_digest, Consent.client_id)
        return [testbed.count(key, key.class_.client_id == client_id) for key in keys]

    with testbed.browser(user_id) as browser:
        browser.open(request)
        if testbed.kill(lambda: press(browser, "Allow")):
            assert rows() == [0, 1, 1]
            assert "code=ost_ac_" in press(browser, "Allow").left_for, "the same form leads elsewhere"
            assert rows() == [0, 1, 1], "a decision counted twice"
            assert "code=ost_ac_" in browser.open(request).left_for  # the consent is remembered
        else:
            assert rows() == [1, 0, 0]
            assert "code=ost_ac_" in press(browser, "Allow").left_for
            assert rows() == [0, 1, 1]


def revocation(testbed):
    client_id, user_id = testbed.client(), testbed.new_user()
    old = testbed.sign_in(client_id, user_id)
    call = revoke(client_id, old.refresh_token)
    if not testbed.kill(partial(testbed.send, call)):
        testbed.has_only(client_id, user_id, old.access_token)
        assert testbed.send(call).status == 200
    assert testbed.token_digests(client_id, user_id) == []
    assert not testbed.is_live(old.access_token), "a token outlived its revocation"
    testbed.is_refused(refresh(client_id, old.refresh_token))


def sign_out(testbed):
    """With a client whose token ends with the session."""
    client_id, user_id = testbed.client(scope="openid"), testbed.new_user()
    sid, of_person = credentials.random_text(16), UserSession.user_id == user_id
    with testbed.browser(user_id) as browser:
        session_id = testbed.one(UserSession.id, of_person)
        testbed.store(a_client_session(sid, session_id=session_id, client_id=client_id))
        scope = {"scope": "openid", "access_token_scope": "openid"}
        testbed.store(a_token(a_refresh_token(), client_id=client_id, user_id=user_id, sid=sid, **scope))
        browser.open(f"{testbed.server.issuer}/logout")
        is_stored = testbed.kill(lambda: press(browser, "Sign out"))
        both = (testbed.count(UserSession.id, of_person), len(testbed.token_digests(client_id, user_id)))
        assert both == ((0, 0) if is_stored else (1, 1)), f"(sessions, tokens) are {both}"
        if not is_stored:
            press(browser, "Sign out")
        assert testbed.count(UserSession.id, of_person) == 0
        assert testbed.token_digests(client_id, user_id) == []


SCENARIOS = {
    code_exchange: "begin lock claim delete insert before-commit after-commit",
    token_refresh: "begin lock claim insert before-commit after-commit",
    machine_token: "begin delete insert before-commit after-commit",
    machine_token_by_assertion: "begin claim delete insert before-commit after-commit",
    sign_in: "begin lock insert update before-commit after-commit",
    consent: "begin lock claim insert before-commit after-commit",
    revocation: "begin lock delete before-commit after-commit",
    sign_out: "begin lock delete before-commit after-commit",
}


def kill_workers(database_url, folder, rounds=1, progress=None, scenarios=SCENARIOS, source=PROJECT):
    """Every scenario at each of its points, so many times. `database_url`: of an empty database. Returns a
    `Report`.

    `progress`: a function that is told each kill. `source`: perhaps a changed copy of the project, to see
    that it is noticed.
    """
    report = Report()
    with (
        server_to_kill(database_url, folder, source=source) as server,
        KillTestbed(server, report) as testbed,
    ):
        for _ in range(rounds):
            for scenario, points in scenarios.items():
                for point in points.split():
                    play(testbed, scenario, point)
                    if progress is not None:
                        progress(
                            f"{report.kills} workers killed, the last at {point} of a {scenario.__name__}"
                        )
        check_deaths(server, report)
    return report


def play(testbed, scenario, point):
    assert point in failpoints.POINTS
    testbed.point = point
    try:
        scenario(testbed)
    except AssertionError as error:
        testbed.report.violations.append(f"{scenario.__name__}, killed at {point}: {error}")


def check_deaths(server, report):
    """What the master process saw is what was counted, and nothing else went wrong."""
    died = server.log().count("was sent SIGKILL")
    if died != report.kills:
        report.violations.append(f"{died} workers died, {report.kills} were killed")
    for word in ("bug:", "Traceback"):
        if word in server.log():
            report.violations.append(f"the log says {word!r}")
