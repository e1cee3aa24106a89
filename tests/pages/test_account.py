"""`/account/`: where a person is signed in, how they sign out there, and who was told of it."""

import pytest
from sqlalchemy import func

from models import LogoutNotice, Token, UserSession, db
from protocol import clock
from tests.builders import PASSWORD, a_client, a_client_session, a_code, a_notice, a_session, a_token, a_user
from tests.pages.steps import EMAIL, ask, follow, go, page, press, sign_in
from tests.services.test_sessions import a_notified_client
from tests.statements import delete, select, update

BO = "bo@example.com"
FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0"
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Version/17.5 Safari/604.1"
)
PATHS = ("/account/", "/account/sessions", "/account/sign-outs", "/account/applications", "/account/password")
SESSIONS = select(UserSession.id).order_by(UserSession.id)
COUNT_NOTICES = select(func.count()).select_from(LogoutNotice)


@pytest.fixture
def ada(http, seed):
    """A browser that Ada is signed in with; session 2 is another one of hers, session 3 is Bo's."""
    seed(a_user(), a_user(id=2, sub="b", email=BO, name="Bo"), a_notified_client())
    sign_in(http)
    seed(a_session(2, user_agent=SAFARI, remote_addr="2001:db8::1"), a_session(3, user_id=2))
    return http


def end(http, which):
    form = page(http.get("/account/sessions")).form("Sign out everywhere")
    return http.post(form.url, data={"csrf_token": form.fields["csrf_token"], "end": which})


# ---- who gets in -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
def test_whoever_is_not_signed_in_is_asked_to_and_comes_back(http, seed, path):
    seed(a_user())
    answer = http.get(path)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/login?next={path}")
    answer = press(http, http.get(answer.headers["Location"]), "Sign in", email=EMAIL, password=PASSWORD)
    assert answer.headers["Location"] == path
    assert http.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/account/sessions", "/account/applications", "/account/password"])
def test_a_form_of_somebody_whose_session_has_ended_leads_to_a_sign_in(ada, app, path):
    token = page(ada.get("/account/sessions")).forms[0].fields["csrf_token"]
    with app.app_context():
        db.session.execute(delete(UserSession).where(UserSession.user_id == 1))
        db.session.commit()
    answer = ada.post(path, data={"csrf_token": token, "end": "everywhere"})
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/login?next={path}")


def test_it_is_found_from_the_home_page(ada):
    shown = page(go(ada, ada.get("/"), "Your account: where you are signed in, what you allowed"))
    assert shown.headings == ["Your account"]
    for link in ("Sign-ins", "Applications", "Password", "Sign-outs"):
        [current] = [link for link in page(ada.get(shown.links[link])).all("a") if link.get("aria-current")]
        assert current["href"] == shown.links[link]


@pytest.mark.parametrize(("verified_at", "words"), [(None, "not verified"), (1, "verified")])
def test_who_a_person_is(http, seed, verified_at, words):
    seed(a_user(email_verified_at=verified_at))
    sign_in(http)
    assert f"Name Ada Email address {EMAIL} {words}" in page(http.get("/account/")).text


def test_they_are_about_the_present_account_and_say_how_to_change_it(ada):
    assert "Change account" not in page(ada.get("/account/sessions")).links
    sign_in(ada, email=BO)
    shown = ada.get("/account/sessions")
    assert f"This is the account of {BO}." in page(shown).text
    choice = go(ada, shown, "Change account")
    shown = follow(ada, press(ada, choice, f"Ada {EMAIL}"))
    assert shown.request.path == "/account/sessions"
    assert f"This is the account of {EMAIL}." in page(shown).text


# ---- where they are signed in ------------------------------------------------------------------------------


def test_each_session_says_where_it_is(http, seed, sleep):
    seed(a_user(), a_client(), a_client(client_id="notes", client_name="Notes"))
    http.environ_base["HTTP_USER_AGENT"] = FIREFOX
    sign_in(http)
    sleep(3600)
    sign_in(http)
    for client_id in ("web", "notes"):
        press(http, ask(http, client_id=client_id), "Allow")
        sleep(60)
    seed(a_session(7, user_agent=SAFARI, remote_addr="2001:db8::1"), a_session(8, expires_at=clock.now()))
    shown = page(http.get("/account/sessions"))
    here = shown.text.index("Firefox on Windows This browser From 127.0.0.1 Began")
    there = shown.text.index("Safari on an iPhone From 2001:db8::1 Signed in")
    assert here < there  # though the other one is newer
    assert "Used for Web, Notes" in shown.text[here:there]
    assert shown.text.count("This browser") == 1
    assert shown.text.count("Began") == 1
    assert shown.text.count("with your password") == 2
    times = [attributes["datetime"] for attributes in shown.all("time")]
    assert len(times) == 5  # of this one when it began, too
    assert times[0].endswith("+00:00")
    assert times == sorted(times)
    assert len([words for words in shown.forms[0].buttons if words.startswith("Sign out ")]) == 4


def test_what_a_browser_says_of_itself_is_not_repeated(http, seed):
    seed(a_user())
    http.environ_base["HTTP_USER_AGENT"] = "<b>Evil</b> Firefox/1 \u202e".encode().decode("latin-1")
    sign_in(http)
    shown = http.get("/account/sessions")
    assert "Evil" not in shown.text
    assert "Firefox" in page(shown).text


def test_one_session_is_ended(ada, seed, rows):
    seed(a_client_session(session_id=2), a_token(scope="openid", sid="sid-1"), a_code("c", sid="sid-1"))
    answer = end(ada, "2")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/account/sessions")
    assert rows(SESSIONS) == [(1,), (3,)]
    assert rows(select(Token.id)) == []
    assert rows(select(LogoutNotice.client_id, LogoutNotice.sid)) == [("web", "sid-1")]
    shown = page(ada.get("/account/sessions"))
    assert "You are signed out there." in shown.text
    assert "Sign out everywhere else" not in shown.text
    assert "You are signed out there." not in page(ada.get("/account/sessions")).text  # it is said once


def test_what_works_while_the_person_is_away_goes_on(ada, seed, rows):
    seed(a_client_session(session_id=2), a_token(scope="openid offline_access", sid="sid-1"))
    end(ada, "2")
    assert rows(select(Token.sid)) == [("sid-1",)]


def test_all_others_are_ended(ada, seed, rows):
    seed(a_session(4), a_session(5, expires_at=1))
    answer = press(ada, ada.get("/account/sessions"), "Sign out everywhere else")
    assert answer.headers["Location"] == "/account/sessions"
    assert rows(SESSIONS) == [(1,), (3,)]
    assert "You are signed out everywhere else." in page(follow(ada, answer)).text


@pytest.mark.parametrize(("which", "left"), [("everywhere", [(3,)]), ("1", [(2,), (3,)])])
def test_the_session_of_this_browser_is_ended(ada, rows, which, left):
    answer = end(ada, which)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/logout")
    assert rows(SESSIONS) == left
    assert page(follow(ada, answer)).headings == ["You are signed out"]
    assert ada.get("/account/").status_code == 303


def test_other_accounts_stay_signed_in_beside(ada, rows):
    sign_in(ada, email=BO)
    answer = end(ada, "everywhere")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert rows(select(UserSession.user_id).distinct()) == [(1,)]
    assert page(follow(ada, answer)).headings == ["Hello, Ada"]


@pytest.mark.parametrize(
    "which", ["3", "999", "", "0", "-2", "2 ", "02", "x", "9" * 40, "2\0", "OTHERS", "\u0662"]
)
def test_nobody_ends_what_is_not_theirs(ada, rows, which):
    answer = end(ada, which)
    assert answer.status_code == 404
    assert page(answer).headings == ["Not signed in there"]
    assert rows(SESSIONS) == [(1,), (2,), (3,)]


def test_what_has_ended_already_says_so(ada):
    shown, in_another_tab = ada.get("/account/sessions"), ada.get("/account/sessions")
    [button] = [words for words in page(shown).forms[0].buttons if "Safari" in words]
    assert press(ada, shown, button).status_code == 303
    assert press(ada, in_another_tab, button).status_code == 404


def test_whoever_has_no_other_sessions_is_signed_out_of_them_too(http, seed, rows):
    seed(a_user())
    sign_in(http)
    assert "Sign out everywhere else" not in page(http.get("/account/sessions")).forms[0].buttons
    assert end(http, "others").status_code == 303
    assert rows(SESSIONS) == [(1,)]


# ---- who was told ------------------------------------------------------------------------------------------


def test_the_receipts_say_what_became_of_each_notice(ada, seed):
    now = clock.now()
    seed(
        a_client(client_id="notes", client_name="Notes"),
        a_client(client_id="gone", client_name="Gone"),
        a_notice(created_at=now - 60, attempts=1, delivered_at=now - 60, next_attempt_at=None),
        a_notice(client_id="notes", created_at=now - 60, attempts=2, next_attempt_at=now + 30),
        a_notice(client_id="gone", created_at=now - 60, attempts=6, next_attempt_at=None),
        a_notice(created_at=now),
        a_notice(user_id=2, created_at=now, attempts=5, next_attempt_at=now),
    )
    shown = page(ada.get("/account/sign-outs"))
    assert len(shown.all("h2")) == 2
    assert "Web not told yet" in shown.text
    assert "Gone could not be reached, 6 attempts. It may still have you signed in." in shown.text
    assert "Notes not told yet: 2 attempts so far, the next after " in shown.text
    assert "Web told " in shown.text
    states = [attributes["class"] for attributes in shown.all("li") if "class" in attributes]
    assert states == ["waiting", "undelivered", "waiting", "delivered"]
    assert "5 attempts" not in shown.text


def test_nothing_to_tell(ada):
    assert "Nobody so far." in page(ada.get("/account/sign-outs")).text


@pytest.fixture
def told(http, seed, app):
    """A browser that Ada was signed out with, one of whose clients is told; a function sets what became of
    it.
    """
    seed(a_user(), a_notified_client(), a_notified_client("quiet", backchannel_logout_uri=None))
    sign_in(http)
    for client_id in ("web", "quiet"):
        press(http, ask(http, client_id=client_id), "Allow")
    press(http, http.get("/logout"), "Sign out")

    def told(**values):
        with app.app_context():
            db.session.execute(update(LogoutNotice).values(**values))
            db.session.commit()

    return told


def test_the_page_after_the_sign_out_says_who_was_told(http, told):
    shown = http.get("/logout")
    assert "Being told Web We go on trying for an hour." in page(shown).text
    told(delivered_at=clock.now(), next_attempt_at=None)
    shown = go(http, shown, "Look again")
    assert "Applications that want to know Told Web" in page(shown).text
    assert "Look again" not in page(shown).text
    told(delivered_at=None)
    assert "Could not be reached Web" in page(http.get("/logout")).text


def test_everywhere_is_told_everywhere(ada, seed, rows):
    seed(a_client_session(session_id=2))
    end(ada, "everywhere")
    assert rows(COUNT_NOTICES) == [(1,)]
    assert "Being told Web" in page(ada.get("/logout")).text


def test_only_this_browser_learns_of_it_and_only_for_a_while(http, new_browser, told, sleep):
    assert "Applications that want to know" not in page(new_browser().get("/logout")).text
    sleep(300)
    assert "Applications that want to know" in page(http.get("/logout")).text
    sleep(1)
    assert "Applications that want to know" not in page(http.get("/logout")).text


def test_whoever_signs_in_next_does_not_learn_of_it(http, seed, told):
    seed(a_user(id=2, sub="b", email=BO))
    sign_in(http, email=BO)
    press(http, http.get("/logout"), "Sign out")
    assert page(http.get("/logout")).headings == ["You are signed out"]
    assert "Web" not in page(http.get("/logout")).text


def test_a_sign_out_that_concerns_nobody_asks_nothing_more(http, seed, statements):
    seed(a_user())
    sign_in(http)
    press(http, http.get("/logout"), "Sign out")
    statements.clear()
    assert page(http.get("/logout")).headings == ["You are signed out"]
    assert not [sql for sql in statements if "logout_notice" in sql]
