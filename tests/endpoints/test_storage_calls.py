"""Each storage call of each request fails, one at a time: the rollback is whole, the answer is right, no
token is unstored.

A request is played once to learn its calls: BEGIN, every statement, COMMIT. Then it is played again for each
of them, on the same rows, and just that call raises what the driver raises. The list of requests below is all
that writes on the way of a token.
"""

import sqlite3
from collections import Counter
from typing import NamedTuple

import pytest

import unit_of_work
from app import create_app
from config import Settings
from crypto import credentials
from models import Token, db
from protocol import clock
from services.current import state_of
from services.signing_keys import Keyring
from testing import failpoints
from tests.builders import (
    CLIENT_SECRET,
    ISSUER,
    REDIRECT_URI,
    SECRET_KEY,
    a_client,
    a_client_session,
    a_code,
    a_machine,
    a_refresh_token,
    a_token,
    a_user,
    basic,
    code_request,
    refresh_request,
)
from tests.conftest import Browser
from tests.jose import assertion_claims, jwks, key_for, sign, with_assertion
from tests.pages import steps
from tests.statements import select
from tests.stopped_clock import stop_clock

CODE = "ost_ac_" + "c" * 43
KEY = key_for("ES256")


class Call(NamedTuple):
    """A request that can be sent again and again: it holds the cookies that it began with."""

    path: str
    form: dict
    auth: tuple | None = None
    headers: dict | None = None
    cookies: dict = {}

    def send(self, app):
        browser = Browser(app, Browser(app).response_wrapper)
        for name, value in self.cookies.items():
            browser.set_cookie(name, value, domain="op.example", secure=True)
        return browser.post(self.path, data=self.form, auth=self.auth, headers=self.headers)


# ---- the requests ------------------------------------------------------------------------------------------
# Each stores what it needs and returns its call. Whatever it does beforehand over HTTP succeeds.


def token_call(form, auth=None):
    return Call("/oauth/token", form, auth or basic())


def first_exchange(seed, http):
    seed(a_user(), a_client(), a_code(CODE))
    return token_call(code_request(CODE))


def exchange_that_replaces_a_pair(seed, http):
    seed(a_user(), a_client(), a_code(CODE), a_token(a_refresh_token()))
    return token_call(code_request(CODE))


def exchange_with_an_id_token(seed, http):
    seed(a_user(), a_client(scope="openid profile email"), a_code(CODE, scope="openid profile"))
    http.get("/oauth/jwks")  # makes the keys, which takes longer than all the rest
    return token_call(code_request(CODE))


def replay_of_a_code(seed, http):
    call = first_exchange(seed, http)
    assert call.send(http.application).status_code == 200
    return call


def exchange_with_a_wrong_verifier(seed, http):
    seed(a_user(), a_client(), a_code(CODE))
    return token_call(code_request(CODE, code_verifier="w" * 43))


def refresh(seed, http):
    presented = a_refresh_token()
    seed(a_user(), a_client(), a_token(presented))
    return token_call(refresh_request(presented))


def repeated_refresh(seed, http):
    call = refresh(seed, http)
    assert call.send(http.application).status_code == 200
    return call


def theft(seed, http):
    call = refresh(seed, http)
    second = call.send(http.application).json["refresh_token"]
    assert token_call(refresh_request(second)).send(http.application).status_code == 200
    return call


def refresh_with_too_wide_a_scope(seed, http):
    presented = a_refresh_token()
    seed(a_user(), a_client(), a_token(presented, scope="profile", access_token_scope="profile"))
    return token_call(refresh_request(presented, scope="profile email"))


def machine_token(seed, http):
    expired = {"user_id": None, "slot": None, "auth_time": None, "access_token_expires_at": clock.now() - 1}
    seed(a_machine(), a_token(client_id="robot", **expired))
    return token_call({"grant_type": "client_credentials"}, basic("robot"))


def machine_token_by_assertion(seed, http):
    by_key = {"token_endpoint_auth_method": "private_key_jwt", "extra_metadata": {"jwks": jwks(KEY)}}
    seed(a_machine(client_secret_digest=None, **by_key))
    form = with_assertion(sign(assertion_claims(), KEY), grant_type="client_credentials")
    return Call("/oauth/token", form)


def failed_client_authentication(seed, http):
    seed(a_user(), a_client(), a_code(CODE))
    return token_call(code_request(CODE), basic(secret="ost_cs_" + "w" * 43))


def revocation_of_a_family(seed, http):
    presented = a_refresh_token()
    seed(a_user(), a_client(), a_token(presented))
    return Call("/oauth/revoke", {"token": presented}, basic())


def revocation_of_a_machine_token(seed, http):
    call = machine_token(seed, http)
    return Call("/oauth/revoke", {"token": call.send(http.application).json["access_token"]}, call.auth)


def introspection_first_use(seed, http):
    access_token = exchange_that_replaces_a_pair(seed, http).send(http.application).json["access_token"]
    return Call("/oauth/introspect", {"token": access_token}, basic())


def userinfo_first_use(seed, http):
    access_token = exchange_with_an_id_token(seed, http).send(http.application).json["access_token"]
    return Call("/oauth/userinfo", {}, headers={"Authorization": f"Bearer {access_token}"})


def cookies_of(http):
    return {cookie.key: cookie.value for cookie in http._cookies.values()}


def pressed(http, page, button, **fields):
    """The call that pressing a button of this page is."""
    form = steps.page(page).form(button)
    return Call(form.url, form.filled(button, **fields), cookies=cookies_of(http))


def sign_in(seed, http):
    seed(a_user(), a_client())
    return pressed(http, steps.ask(http), "Sign in", email=steps.EMAIL, password="correct horse battery")


def failed_sign_in(seed, http):
    seed(a_user())
    return pressed(http, http.get("/login"), "Sign in", email=steps.EMAIL, password="wrong horse battery")


def consent(seed, http):
    seed(a_user(), a_client())
    steps.sign_in(http)
    return pressed(http, steps.ask(http), "Allow")


def denial(seed, http):
    seed(a_user(), a_client())
    steps.sign_in(http)
    return pressed(http, steps.ask(http), "Deny")


def sign_out(seed, http):
    """With a token that ends with the session, and a client that is told."""
    told = {"backchannel_logout_uri": "https://app.example/logout"}
    seed(a_user(), a_client(scope="openid", extra_metadata=told))
    steps.sign_in(http)
    scope = {"scope": "openid", "access_token_scope": "openid"}
    seed(a_client_session(), a_token(a_refresh_token(), sid="sid-1", **scope), a_code(CODE, sid="sid-1"))
    return pressed(http, http.get("/logout"), "Sign out")


REQUESTS = {
    first_exchange: 200,
    exchange_that_replaces_a_pair: 200,
    exchange_with_an_id_token: 200,
    replay_of_a_code: 400,
    exchange_with_a_wrong_verifier: 400,
    refresh: 200,
    repeated_refresh: 200,
    theft: 400,
    refresh_with_too_wide_a_scope: 400,
    machine_token: 200,
    machine_token_by_assertion: 200,
    failed_client_authentication: 401,
    revocation_of_a_family: 200,
    revocation_of_a_machine_token: 200,
    introspection_first_use: 200,
    userinfo_first_use: 200,
    sign_in: 303,
    failed_sign_in: 400,
    consent: 303,
    denial: 303,
    sign_out: 303,
}


# ---- what goes wrong ---------------------------------------------------------------------------------------


def away():
    return sqlite3.OperationalError("disk I/O error")


def busy():
    """A lost race."""
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return error


def bug():
    return sqlite3.ProgrammingError("incorrect statement with the secret input in it")


class Storage:
    """The database of the app under test: watched, failing on demand, and put back to where it was."""

    def __init__(self, app):
        self.app = app
        self.reached = None  # points since `play` began
        self.fails_at = lambda number: False
        self.error = None
        with app.app_context():
            failpoints.listen(db.engine, self.at)

    def at(self, point, connection):
        if self.reached is None:
            return
        self.reached.append(point)
        if self.fails_at(len(self.reached) - 1):
            raise self.error()

    def keep(self):
        """From now on every play begins with the rows of this moment."""
        with self.app.app_context(), db.engine.connect() as connection:
            self.kept = connection.connection.driver_connection.serialize()
        return self.kept

    def put_back(self, rows):
        with self.app.app_context(), db.engine.connect() as connection:
            connection.connection.driver_connection.deserialize(rows)
        state_of(self.app).home.keyring = Keyring(state_of(self.app).settings)  # it remembers rows
        state_of(self.app).client_cache.clear()  # so does this

    def play(self, call, fails_at=lambda number: False, error=None):
        """The answer to the call, whose points are in `reached`, while storage fails at those of these
        numbers.
        """
        self.put_back(self.kept)
        self.reached, self.fails_at, self.error = [], fails_at, error
        answer = call.send(self.app)
        self.points, self.reached = self.reached, None
        return answer

    def rows(self):
        """All rows of all tables. Read past SQLAlchemy, which would take longer than the request."""
        with self.app.app_context(), db.engine.connect() as connection:
            read = connection.connection.driver_connection.execute
            return {table: sorted(map(repr, read(f"SELECT * FROM {table}"))) for table in db.metadata.tables}  # noqa: S608

    def holds(self, access_token):
        digest = credentials.digest(access_token)
        with self.app.app_context():
            return db.session.scalar(select(Token.id).where(Token.access_token_digest == digest)) is not None


class Known(NamedTuple):
    """A call, the answer's status, its points, and the rows before it and after it."""

    call: Call
    status: int
    points: list
    kept: bytes
    before: dict
    after: dict

    def calls(self):
        """The numbers of its storage calls: all of its points, but that the COMMIT is one and not two."""
        return [number for number, point in enumerate(self.points) if point != "after-commit"]

    def commits(self):
        return [number for number, point in enumerate(self.points) if point == "after-commit"]


@pytest.fixture(scope="module")
def app(request):
    """One for all tests: each puts the rows back before it begins, and the clock stands still for all."""
    app = create_app(Settings(issuer=ISSUER, database_url="sqlite://", secret_key=SECRET_KEY))
    app.config["PROPAGATE_EXCEPTIONS"] = False
    with stop_clock(request.config):
        yield app
    with app.app_context():
        db.engine.dispose()


@pytest.fixture(scope="module")
def storage(app):
    return Storage(app)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(unit_of_work, "BACKOFF_SECONDS", 0)


def counted(rows):
    return {name: len(of_table) for name, of_table in rows.items()}


@pytest.fixture(scope="module")
def all_known():
    """What was learned of a request serves all tests."""
    return {}


@pytest.fixture(params=REQUESTS, ids=lambda request: request.__name__)
def known(request, storage, first_rows, seed, http, all_known):
    if request.param not in all_known:
        storage.put_back(first_rows)
        all_known[request.param] = learn(request.param, storage, seed, http)
    storage.kept = all_known[request.param].kept
    return all_known[request.param]


def learn(request, storage, seed, http):
    call = request(seed, http)
    kept, before = storage.keep(), storage.rows()
    answer = storage.play(call)
    assert answer.status_code == REQUESTS[request], answer.text
    return Known(call, REQUESTS[request], storage.points, kept, before, storage.rows())


def check_unavailable(answer, call):
    assert answer.status_code == 503
    assert ("Retry-After" in answer.headers) == ("code" not in call.form)
    assert "ost_at_" not in answer.text + answer.headers.get("Location", "")


def check_done(storage, answer, known):
    """As if nothing had gone wrong."""
    assert answer.status_code == known.status
    assert counted(storage.rows()) == counted(known.after)
    if answer.is_json and "access_token" in answer.json:
        assert storage.holds(answer.json["access_token"])


@pytest.mark.threat("T169")
def test_storage_that_fails_is_503_and_nothing_is_half_done(storage, known):
    for number in known.calls():
        answer = storage.play(
            known.call, fails_at=lambda reached, number=number: reached == number, error=away
        )
        check_unavailable(answer, known.call)
        assert storage.rows() == known.before, known.points[number]
        assert len(storage.points) == number + 1  # and it was not tried again


def test_a_lost_race_is_run_again_and_done_once(storage, known):
    for number in known.calls():
        answer = storage.play(
            known.call, fails_at=lambda reached, number=number: reached == number, error=busy
        )
        check_done(storage, answer, known)
        assert Counter(storage.points)["begin"] > Counter(known.points)["begin"]


def test_a_race_that_is_always_lost_is_503(storage, known):
    """From this call on, whenever it is tried."""
    for number in known.calls():
        answer = storage.play(
            known.call, fails_at=lambda reached, number=number: reached >= number, error=busy
        )
        check_unavailable(answer, known.call)
        assert storage.rows() == known.before, known.points[number]
        # the tries after the first fail at their BEGIN
        assert len(storage.points) == number + unit_of_work.ATTEMPTS


def test_a_bug_is_500_and_tells_nothing(storage, known, caplog):
    for number in known.calls():
        answer = storage.play(
            known.call, fails_at=lambda reached, number=number: reached == number, error=bug
        )
        assert answer.status_code == 500
        assert "ost_at_" not in answer.text
        assert "secret input" not in answer.text + caplog.text
        assert CLIENT_SECRET not in caplog.text
        assert storage.rows() == known.before, known.points[number]


@pytest.mark.threat("T169")
def test_a_lost_answer_to_commit_is_503_and_never_run_again(storage, known):
    """Nobody knows whether it was stored. Here it was."""
    for number in known.commits():
        answer = storage.play(
            known.call, fails_at=lambda reached, number=number: reached == number, error=away
        )
        check_unavailable(answer, known.call)
        assert counted(storage.rows()) == counted(known.after)
        assert storage.points == known.points


def test_every_request_writes_and_locks_what_it_must(storage, known):
    """Otherwise the tests above would try fewer calls than there are."""
    assert known.points[0] == "begin"
    assert known.points[-2:] == ["before-commit", "after-commit"]
    assert known.before != known.after or known.call.form.get("grant_type") == "refresh_token"


def test_redirects_of_a_consent_that_failed_carry_no_code(storage, first_rows, seed, http):
    storage.put_back(first_rows)
    call = consent(seed, http)
    storage.keep()
    assert storage.play(call).headers["Location"].startswith(f"{REDIRECT_URI}?code=ost_ac_")
    numbers = [number for number, point in enumerate(storage.points) if point != "after-commit"]
    for number in numbers:
        answer = storage.play(call, fails_at=lambda reached, number=number: reached == number, error=away)
        assert "Location" not in answer.headers
