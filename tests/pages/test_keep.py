"""How long somebody is signed in: the box "Keep me signed in on this device", what use does, and a device's
next sign-in.
"""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import pytest
from sqlalchemy import func

from models import ClientSession, LogoutNotice, UserSession, db
from protocol import clock
from store.user_sessions import KEPT_SECONDS, PER_USER, SEEN_SECONDS, UNKEPT_SECONDS
from tests.builders import PASSWORD, a_client, a_client_session, a_session, a_token, a_user
from tests.pages.steps import EMAIL, ask, page, press, sign_in, sign_out
from tests.services.test_sessions import a_notified_client
from tests.statements import select, update

BO = "bo@example.com"
COOKIE = "__Host-ostiary"
KEPT = select(UserSession.user_id, UserSession.is_kept).order_by(UserSession.user_id)
COUNT_SESSIONS = select(func.count()).select_from(UserSession)
HOUR = 3600


@pytest.fixture
def keep(http, seed):
    """Ada signs in, with the box ticked or not; returns the answer."""
    seed(a_user(), a_user(id=2, sub="b", email=BO, name="Bo"))

    def keep(is_kept, email=EMAIL):
        box = {"keep": "on"} if is_kept else {}
        answer = press(http, http.get("/login"), "Sign in", email=email, password=PASSWORD, **box)
        assert answer.status_code == 303
        return answer

    return keep


def session_cookie(answer):
    """The attributes of the session's cookie by name; None where the answer does not set it."""
    for cookie in answer.headers.getlist("Set-Cookie"):
        first, *attributes = cookie.split("; ")
        if first.startswith(f"{COOKIE}="):
            return dict(attribute.partition("=")[::2] for attribute in attributes)
    return None


def is_signed_in(http):
    return "You are signed in" in page(http.get("/")).text


def close_browser(http):
    """What has no end of its own is gone then."""
    http.delete_cookie(COOKIE, domain="op.example")


# ---- the box -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/login", "/signup"])
def test_the_box_is_there_and_off(http, path):
    shown = page(http.get(path))
    [box] = [attributes for attributes in shown.all("input") if attributes["name"] == "keep"]
    assert box["type"] == "checkbox"
    assert "checked" not in box
    assert "Keep me signed in on this device" in shown.text


def test_the_box_stays_as_it_was_on_a_form_that_comes_back(http, keep):
    shown = press(http, http.get("/login"), "Sign in", email=EMAIL, password="wrong", keep="on")
    [box] = [attributes for attributes in page(shown).all("input") if attributes["name"] == "keep"]
    assert "checked" in box


def test_whoever_is_asked_to_sign_in_again_stays_kept(http, keep):
    keep(True)
    [box] = [field for field in page(http.get("/login?again=1")).all("input") if field["name"] == "keep"]
    assert "checked" in box
    [box] = [field for field in page(http.get("/login")).all("input") if field["name"] == "keep"]
    assert "checked" not in box


def test_kept_the_cookie_and_the_row_live_thirty_days(keep, rows):
    until = parsedate_to_datetime(session_cookie(keep(True))["Expires"])
    assert abs(until - datetime.now(UTC) - timedelta(days=30)) < timedelta(minutes=1)
    [(expires_at, is_kept)] = rows(select(UserSession.expires_at, UserSession.is_kept))
    assert abs(expires_at - clock.now() - KEPT_SECONDS) < 60
    assert is_kept


def test_not_kept_the_cookie_ends_with_the_browser(keep, rows):
    assert session_cookie(keep(False)).keys() == {"Secure", "HttpOnly", "Path", "SameSite"}
    assert [(1, False)] == rows(KEPT)


def test_who_signs_up_may_stay_signed_in(http, rows):
    fields = {"name": "Cy", "email": "cy@example.com", "password": "a long new password", "keep": "on"}
    assert "Expires" in session_cookie(press(http, http.get("/signup"), "Create account", **fields))
    assert rows(select(UserSession.is_kept)) == [(True,)]


def test_each_account_has_a_keep_of_its_own_and_the_cookie_outlives_the_browser_with_one(http, keep, rows):
    keep(True)
    assert "Expires" in session_cookie(keep(False, email=BO))
    assert rows(KEPT) == [(1, True), (2, False)]
    [ada] = [words for words in page(http.get("/accounts")).forms[0].buttons if words.startswith("Ada")]
    assert "Expires" in session_cookie(press(http, http.get("/accounts"), ada))
    shown = page(http.get("/logout"))
    [only_ada] = [words for words in shown.forms[0].buttons if EMAIL in words or "only" in words.lower()][
        :1
    ] or [None]
    if only_ada is not None:
        assert "Expires" not in session_cookie(press(http, http.get("/logout"), only_ada))


def test_a_change_of_the_password_keeps_what_is_kept(http, keep, rows):
    keep(True)
    form = {"password": PASSWORD, "new_password": "another long password"}
    assert "Expires" in session_cookie(press(http, http.get("/account/password"), "Change password", **form))
    assert rows(KEPT) == [(1, True)]


# ---- use ---------------------------------------------------------------------------------------------------


@pytest.mark.threat("T190")
@pytest.mark.parametrize(("is_kept", "seconds"), [(True, KEPT_SECONDS), (False, UNKEPT_SECONDS)])
def test_it_ends_so_long_after_the_last_use(http, keep, sleep, is_kept, seconds):
    """Also where the browser still has its cookie: browsers restore those."""
    keep(is_kept)
    sleep(seconds - 1)
    assert is_signed_in(http)
    sleep(seconds - 1)  # it was renewed by that use
    assert is_signed_in(http)
    sleep(seconds)
    assert not is_signed_in(http)


def test_a_use_is_written_once_an_hour_and_the_cookie_goes_with_it(http, keep, sleep, statements, rows):
    keep(True)
    http.get("/account/sessions")  # the form's token is in the cookie from now on
    for seconds, writes in [(SEEN_SECONDS - 1, 0), (1, 1), (1, 0), (SEEN_SECONDS - 2, 0), (1, 1)]:
        sleep(seconds)
        statements.clear()
        answer = http.get("/account/sessions")
        assert answer.status_code == 200
        assert len([sql for sql in statements if sql.startswith("UPDATE user_session")]) == writes
        assert len([sql for sql in statements if sql not in ("COMMIT", "ROLLBACK")]) == 3 + writes
        assert (session_cookie(answer) is not None) is (writes == 1)
        if writes:
            assert "Expires" in session_cookie(answer)
    assert rows(select(UserSession.last_seen_at, UserSession.expires_at - KEPT_SECONDS)) == [
        (clock.now(), clock.now())
    ]


def test_the_write_is_the_last_statement(http, keep, seed, sleep, statements):
    """So nothing waits for a lock that it holds, and no password is hashed meanwhile."""
    keep(False)
    seed(a_session(7))
    shown = http.get("/account/sessions")
    sleep(SEEN_SECONDS)
    statements.clear()
    assert press(http, shown, "Sign out everywhere else").status_code == 303
    writes = [at for at, sql in enumerate(statements) if sql.startswith("UPDATE user_session")]
    assert [statements[at + 1] for at in writes] == ["COMMIT"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nowhere"),
        ("GET", "/healthz"),
        ("GET", "/.well-known/openid-configuration"),
        ("POST", "/account/sessions"),  # without its CSRF token
        ("GET", "/oauth/authorize?client_id=nobody"),
    ],
)
def test_nothing_is_written_for_what_is_refused_or_asks_for_nobody(
    http, keep, sleep, statements, method, path
):
    keep(True)
    http.get("/account/sessions")  # its form brings the token that the page after a refusal has as well
    sleep(SEEN_SECONDS)
    statements.clear()
    answer = http.open(path, method=method)
    assert session_cookie(answer) is None
    assert not [sql for sql in statements if sql.startswith("UPDATE user_session")]


def test_of_two_at_once_one_writes_and_sends_the_cookie(app, http, keep, sleep):
    """Both have read that it is due; the second finds it done, and its cookie must not overtake a
    newer one.
    """
    keep(True)
    sleep(SEEN_SECONDS)

    view = app.view_functions["account.overview"]

    def overtaken():
        answer = view()
        db.session.execute(update(UserSession).values(last_seen_at=clock.now()))
        return answer

    app.view_functions["account.overview"] = overtaken
    answer = http.get("/account/")
    assert (answer.status_code, session_cookie(answer)) == (200, None)


def test_a_sign_in_without_a_browser_at_it_counts_as_use(http, keep, seed, sleep, rows):
    """A client that sends its people here again and again, where nothing has to be asked."""
    seed(a_client())
    keep(False)
    press(http, ask(http), "Allow")
    sleep(UNKEPT_SECONDS - 1)
    assert ask(http).location.startswith("https://app.example/cb?code=")
    assert rows(select(UserSession.last_seen_at)) == [(clock.now(),)]


def test_sessions_from_before_end_after_their_next_use(http, keep, sleep, app, rows):
    keep(False)
    with app.app_context():
        db.session.execute(
            update(UserSession).values(
                last_seen_at=None, is_kept=None, device_digest=None, expires_at=clock.now() + 20 * 24 * HOUR
            )
        )
        db.session.commit()
    sleep(10 * 24 * HOUR)
    assert is_signed_in(http)
    assert rows(select(UserSession.expires_at)) == [(clock.now() + UNKEPT_SECONDS,)]


# ---- the same device again ---------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [1, 13])
def test_a_known_device_goes_on_with_its_session(http, keep, seed, sleep, rows, hours):
    """Also where it has expired: its clients are told nothing, and know the person by the same `sid`."""
    seed(a_notified_client())
    keep(False)
    seed(a_client_session(), a_token(scope="openid", sid="sid-1"))
    close_browser(http)
    sleep(hours * HOUR)
    assert not is_signed_in(http)
    keep(True)
    assert is_signed_in(http)
    assert rows(select(UserSession.id, UserSession.is_kept)) == [(1, True)]
    assert rows(select(ClientSession.sid, ClientSession.session_id)) == [("sid-1", 1)]
    assert rows(select(LogoutNotice.id)) == []
    assert rows(select(UserSession.auth_time)) == [(clock.now(),)]


def test_the_old_cookie_opens_nothing_then(http, new_browser, keep):
    keep(False)
    old = http.get_cookie(COOKIE, domain="op.example").value
    close_browser(http)
    keep(False)
    assert not is_signed_in(new_browser(old))


def test_another_device_and_another_person_get_sessions_of_their_own(http, new_browser, keep, rows):
    keep(False)
    sign_in(new_browser())
    assert rows(COUNT_SESSIONS) == [(2,)]
    close_browser(http)
    keep(False, email=BO)
    assert rows(select(UserSession.user_id).order_by(UserSession.id)) == [(1,), (1,), (2,)]
    close_browser(http)
    keep(False)
    assert rows(COUNT_SESSIONS) == [(3,)]


def test_whoever_signed_out_begins_anew(http, keep, rows):
    keep(False)
    sign_out(http)
    keep(False)
    assert rows(select(UserSession.id)) == [(2,)]


def test_a_known_device_with_another_secret_key_is_the_same_one(http, keep, rows):
    """The digest is of the random part, which no key changes."""
    keep(False)
    [before] = rows(select(UserSession.device_digest))
    keep(False)
    assert rows(select(UserSession.device_digest)) == [before]
    assert len(before[0]) == 32


def test_what_was_unused_for_longest_goes_first(http, new_browser, keep, seed, sleep, rows):
    """A session that is kept and used every day is not pushed out by later ones that nobody used again."""
    keep(True)
    for _ in range(PER_USER + 2):
        sleep(HOUR)
        assert is_signed_in(http)
        sign_in(new_browser())
    assert is_signed_in(http)
    assert rows(COUNT_SESSIONS) == [(PER_USER,)]


def test_an_expired_session_is_remembered_for_thirty_days_and_told_of_a_sign_out(
    http, new_browser, keep, seed, sleep, rows
):
    seed(a_notified_client())
    now = clock.now()
    seed(
        a_session(7, auth_time=now, last_seen_at=now, expires_at=now + UNKEPT_SECONDS),
        a_client_session("sid-7", session_id=7),
        a_session(8, auth_time=now - HOUR, last_seen_at=now - HOUR, expires_at=now),
        a_client_session("sid-8", session_id=8),
    )
    sleep(KEPT_SECONDS - 1)
    sign_in(http)
    assert rows(select(UserSession.id).order_by(UserSession.id)) == [(7,), (9,)]
    assert rows(select(LogoutNotice.sid)) == [("sid-8",)]
    shown = page(http.get("/account/sessions"))
    assert len(shown.all("h2")) == 1  # nobody is signed in with the other one
    press(http, http.get("/account/sessions"), "Sign out everywhere")
    assert rows(select(LogoutNotice.sid).order_by(LogoutNotice.id)) == [("sid-8",), ("sid-7",)]


# ---- what the person sees ----------------------------------------------------------------------------------


def test_the_page_says_when_it_was_last_seen_and_how_long_it_lives(http, keep, seed, sleep):
    keep(True)
    seed(
        a_session(
            7, user_agent="Firefox/1", last_seen_at=clock.now() - HOUR, auth_time=clock.now() - 2 * HOUR
        )
    )
    here, there = page(http.get("/account/sessions")).text.split("This browser")[1].split("Firefox", 1)
    assert "kept on this device: 30 days after its last use" in here
    assert "12 hours after its last use" in there
    assert here.count("Last seen") == there.count("Last seen") == 1
