"""Account Linking with Google, the client that this server was first made for, by its recipe in the docs.

Google's side is `google.py`. Through the test client on a file that the recipe's own commands prepared; then
live on each engine, with a person's browser, and with many of Google's clusters at once.
"""

import re
import shutil
from collections import Counter
from dataclasses import replace
from functools import partial
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import func

from app import create_app
from config import Settings
from models import Token, db
from testing.races.scenarios import the_one_pair
from testing.races.workers import Call
from tests.builders import CHALLENGE, ISSUER, VERIFIER
from tests.flows.browser_journey import EMAIL, PASSWORD, Browser, add_person
from tests.flows.driving import Driver, me, race_server
from tests.flows.google import PRODUCTION, SANDBOX, STATE, Google, follow_recipe, register_google
from tests.flows.races import refresh_and_use, without_trouble
from tests.live import ENGINES, SECRET_KEY, LiveServer, new_database
from tests.pages.steps import follow, page, press, sign_in
from tests.statements import select

pytestmark = pytest.mark.long

COUNT_TOKENS = select(func.count()).select_from(Token)
LEEWAY_SECONDS = 10
TEN_YEARS = 10 * 365 * 24 * 3600
WARNING = "Warning: without PKCE a stolen code can be used"
CLUSTERS = 16
GOOGLE_ACCOUNTS = 5


# ---- the test client, on a file that the recipe prepared ---------------------------------------------------


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A database with Ada and the recipe's client, and what the recipe printed."""
    folder = tmp_path_factory.mktemp("recipe")
    path = folder / "ostiary.sqlite3"
    server = LiveServer(f"sqlite:///{path}", folder)
    server.flask("db", "upgrade")
    add_person(server)
    return path, register_google(server)


@pytest.fixture
def registration(prepared):
    return prepared[1]


@pytest.fixture
def google(registration):
    return Google(registration["client_id"], registration["client_secret"])


@pytest.fixture
def site(prepared, tmp_path):
    """A copy of that database for one test; a server that is not started, for its commands."""
    path = shutil.copy(prepared[0], tmp_path)
    return LiveServer(f"sqlite:///{path}", tmp_path)


@pytest.fixture
def settings(site):
    return Settings(issuer=ISSUER, database_url=site.database_url, secret_key=SECRET_KEY)


@pytest.fixture
def app(stopped_clock, settings):
    app = create_app(settings)
    yield app
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def command(app):
    """Run `flask …` in this process; it must succeed."""

    def command(*arguments):
        done = app.test_cli_runner().invoke(args=arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.stderr

    return command


@pytest.fixture
def without_pkce(google, command):
    """A project that sends no challenge and is exempted."""
    command("clients", "set", google.client_id, "--no-pkce")
    return replace(google, pkce=False)


@pytest.fixture
def pass_time(stopped_clock):
    """Let so many seconds go by."""
    return stopped_clock.sleep


@pytest.fixture
def token(http):
    """Google's servers at the token endpoint: the answer to a body."""
    return lambda body: http.post("/oauth/token", data=body)


@pytest.fixture
def revoke(http):
    return lambda body: http.post("/oauth/revoke", data=body)


@pytest.fixture
def whose(http):
    """What /api/me answers to an access token, None when it does not work."""

    def whose(access_token):
        answer = http.get("/api/me", headers={"Authorization": f"Bearer {access_token}"})
        assert answer.status_code in (200, 401)
        return answer.json if answer.status_code == 200 else None

    return whose


@pytest.fixture
def allow(http):
    """Ada's browser, sent by Google: she signs in and allows where she is asked; the answer that goes back to
    Google.
    """

    def allow(google, **changed):
        shown = follow(http, http.get(google.authorization_path(**changed)))
        if "Location" not in shown.headers and page(shown).title.startswith("Sign in"):
            shown = follow(http, press(http, shown, "Sign in", email=EMAIL, password=PASSWORD))
        return shown if "Location" in shown.headers else press(http, shown, "Allow")

    return allow


@pytest.fixture
def get_code(allow):
    return lambda google, **changed: answer_to_google(allow(google, **changed), google)["code"][0]


@pytest.fixture
def link(get_code, token):
    """Link a Google account to Ada's; the pair that Google keeps."""

    def link(google):
        answer = token(google.exchange(get_code(google)))
        assert answer.status_code == 200, answer.text
        return answer.json

    return link


def answer_to_google(answer, google):
    """The members of an authorization response that goes to this project's redirect URI and nowhere else."""
    address, _question_mark, query = answer.headers["Location"].partition("?")
    assert (answer.status_code, address) == (303, google.redirect_uri)
    return parse_qs(query)


def error_of(answer):
    return answer.status_code, answer.json["error"]


# ---- the recipe --------------------------------------------------------------------------------------------


def test_the_recipe_registers_what_google_needs(registration):
    expected = {
        "client_name": "Google",
        "redirect_uris": [PRODUCTION, SANDBOX],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "scope": "profile email notes.read",
        "token_endpoint_auth_method": "client_secret_post",
        "require_pkce": True,
        "rotate_refresh_tokens": False,
        "max_sessions": GOOGLE_ACCOUNTS,
        "access_token_lifetime": 3600,
        "refresh_token_idle_lifetime": "never",
        "refresh_token_lifetime": "never",
    }
    assert {name: registration[name] for name in expected} == expected


def test_the_sandbox_can_be_taken_away(site, google, http):
    follow_recipe(site, '"$CLIENT_ID" --redirect-uri', CLIENT_ID=google.client_id)
    sign_in(http)
    refused = http.get(replace(google, redirect_uri=SANDBOX).authorization_path())
    assert (refused.status_code, page(refused).headings) == (400, ["This link does not work"])
    assert page(http.get(google.authorization_path())).headings == ["Google asks for access"]


# ---- linking -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("redirect_uri", [PRODUCTION, SANDBOX])
def test_consent_shows_what_is_registered(http, google, redirect_uri):
    """Google names no scope; the person still sees what is granted, and where the answer goes."""
    sign_in(http)
    shown = page(http.get(replace(google, redirect_uri=redirect_uri).authorization_path()))
    assert shown.headings == ["Google asks for access"]
    for words in (
        "See your name",
        "See your email address",
        "Read your notes",
        urlsplit(redirect_uri).hostname,
    ):
        assert words in shown.text


@pytest.mark.parametrize("redirect_uri", [PRODUCTION, SANDBOX])
def test_a_link(google, redirect_uri, get_code, token, whose):
    """Each member that Google's reference asks of the token response, and the resource behind it."""
    google = replace(google, redirect_uri=redirect_uri)
    answer = token(google.exchange(get_code(google)))
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert answer.headers["Cache-Control"] == "no-store"
    pair = answer.json
    assert pair.keys() == {"token_type", "access_token", "expires_in", "refresh_token", "scope"}
    assert (pair["token_type"], pair["expires_in"]) == ("Bearer", 3600)
    assert "." not in pair["access_token"]  # Google takes no JWT
    person = whose(pair["access_token"])
    assert (person["email"], person["name"], person["scope"]) == (EMAIL, "Ada", "profile email notes.read")


@pytest.mark.parametrize("state", [STATE, "a+b/c==", "a%2Bb &c=d", "ÄÖ \u2028", "s" * 4_000])
def test_the_state_comes_back_as_it_was(google, allow, state):
    assert answer_to_google(allow(google, state=state), google)["state"] == [state]


def test_the_usual_state_comes_back_byte_for_byte(google, allow):
    assert f"&state={STATE}&" in allow(google).headers["Location"]


def test_google_may_ask_for_less(google, get_code, token, whose):
    pair = token(google.exchange(get_code(google, scope="notes.read"))).json
    assert whose(pair["access_token"]).keys() == {"sub", "client_id", "scope"}


def test_what_is_not_registered_goes_back_as_an_error(google, allow):
    members = answer_to_google(allow(google, scope="notes.write"), google)
    assert (members["error"], members["state"]) == (["invalid_scope"], [STATE])


def test_a_person_who_says_no(http, google):
    sign_in(http)
    members = answer_to_google(press(http, http.get(google.authorization_path()), "Deny"), google)
    assert (members["error"], members["state"]) == (["access_denied"], [STATE])


def test_another_project_gets_nothing(http, google):
    """A page, and no redirect to a stranger's project at Google."""
    sign_in(http)
    refused = http.get(google.authorization_path(redirect_uri=PRODUCTION + "-2"))
    assert (refused.status_code, page(refused).headings) == (400, ["This link does not work"])


# ---- refreshing --------------------------------------------------------------------------------------------


def test_a_refresh_keeps_the_refresh_token(google, link, token, whose, pass_time):
    pair = link(google)
    for _ in range(3):
        pass_time(3601)
        assert whose(pair["access_token"]) is None
        renewed = token(google.refresh(pair["refresh_token"])).json
        assert (renewed["token_type"], renewed["expires_in"]) == ("Bearer", 3600)
        assert renewed["access_token"] != pair["access_token"]
        assert renewed["refresh_token"] == pair["refresh_token"]
        assert whose(renewed["access_token"])["email"] == EMAIL
        pair = renewed


def test_a_link_lasts(google, link, token, whose, pass_time):
    refresh_token = link(google)["refresh_token"]
    pass_time(TEN_YEARS)
    assert whose(token(google.refresh(refresh_token)).json["access_token"])["email"] == EMAIL


def test_a_late_refresh_replaces_the_access_token(google, link, token, whose, pass_time):
    """The limit that the recipe names: within the leeway both clusters get one token, after it the last one
    gets the only one.
    """
    refresh_token = link(google)["refresh_token"]
    first, second = (token(google.refresh(refresh_token)).json["access_token"] for _ in range(2))
    assert first == second
    pass_time(LEEWAY_SECONDS)
    third = token(google.refresh(refresh_token)).json["access_token"]
    assert third != first
    assert whose(first) is None
    assert whose(third)["email"] == EMAIL


# ---- refusals: Google asks the person to link again on 400 invalid_grant alone -----------------------------


def test_a_wrong_code(google, token):
    assert error_of(token(google.exchange("ost_ac_wrong"))) == (400, "invalid_grant")


def test_an_expired_code(google, get_code, token, pass_time):
    code = get_code(google)
    pass_time(60)
    assert error_of(token(google.exchange(code))) == (400, "invalid_grant")


def test_a_code_of_the_sandbox_at_production(google, get_code, token):
    code = get_code(replace(google, redirect_uri=SANDBOX))
    assert error_of(token(google.exchange(code))) == (400, "invalid_grant")


def test_a_code_that_comes_again_ends_the_link(google, get_code, token, whose):
    exchange = google.exchange(get_code(google))
    pair = token(exchange).json
    assert error_of(token(exchange)) == (400, "invalid_grant")
    assert whose(pair["access_token"]) is None
    assert error_of(token(google.refresh(pair["refresh_token"]))) == (400, "invalid_grant")


@pytest.mark.parametrize("refresh_token", ["wrong", "ost_rt_" + "x" * 77])
def test_a_wrong_refresh_token(google, link, token, refresh_token):
    """What Google's validation tool tries."""
    link(google)
    assert error_of(token(google.refresh(refresh_token))) == (400, "invalid_grant")


def test_an_expired_refresh_token(google, command, link, token, pass_time):
    """For whoever registers it without the two `never`."""
    command("clients", "set", google.client_id, "--refresh-token-idle-lifetime", "60")
    refresh_token = link(google)["refresh_token"]
    pass_time(60)
    assert error_of(token(google.refresh(refresh_token))) == (400, "invalid_grant")


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/revoke"])
def test_a_wrong_secret(http, google, link, token, path):
    """Refused, and nothing ends."""
    pair = link(google)
    stranger = replace(google, client_secret="ost_cs_wrong")
    body = stranger.refresh(pair["refresh_token"]) | stranger.unlink(pair["refresh_token"], "refresh_token")
    assert error_of(http.post(path, data=body)) == (401, "invalid_client")
    assert token(google.refresh(pair["refresh_token"])).status_code == 200


def test_the_secret_in_the_header(http, google, link):
    """The switch in Google's console that the recipe leaves off."""
    body = google.refresh(link(google)["refresh_token"])
    client = (body.pop("client_id"), body.pop("client_secret"))
    assert error_of(http.post("/oauth/token", data=body, auth=client)) == (401, "invalid_client")


@pytest.mark.parametrize("intent", ["check", "get", "create"])
def test_streamlined_linking_is_refused_in_words_that_google_knows(google, token, intent):
    body = {
        "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "intent": intent,
        "assertion": "e30.e30.e30",
    }
    assert error_of(token(google.authentication | body)) == (400, "unsupported_grant_type")


# ---- PKCE --------------------------------------------------------------------------------------------------


def test_without_a_challenge_google_is_told(google, allow, caplog):
    """And the log says what the recipe tells the operator to look for."""
    with caplog.at_level("INFO", "ostiary.events"):
        members = answer_to_google(allow(replace(google, pkce=False)), google)
    assert (members["error"], members["state"]) == (["invalid_request"], [STATE])
    assert "code_challenge is missing" in caplog.text


def test_an_exempted_project_links_without_pkce(site, google, link, token, whose):
    """The recipe's command exempts it, and warns."""
    assert WARNING in follow_recipe(site, "--no-pkce", CLIENT_ID=google.client_id).stderr
    without_pkce = replace(google, pkce=False)
    pair = link(without_pkce)
    assert whose(pair["access_token"])["email"] == EMAIL
    assert token(without_pkce.refresh(pair["refresh_token"])).status_code == 200


@pytest.mark.parametrize("sent", [{}, {"code_verifier": "w" * 43}])
def test_a_challenge_is_enforced_whether_demanded_or_not(google, without_pkce, get_code, token, sent):
    """A code that was asked for with a challenge is not given to whoever leaves the verifier out,
    or guesses.
    """
    code = get_code(google)
    assert error_of(token(without_pkce.exchange(code) | sent)) == (400, "invalid_grant")
    assert token(google.exchange(code)).status_code == 200


def test_a_verifier_without_a_challenge_is_refused(without_pkce, get_code, token):
    """Somebody stripped the challenge from the request on its way (RFC 9700 §4.8.2)."""
    code = get_code(without_pkce)
    stripped = without_pkce.exchange(code) | {"code_verifier": VERIFIER}
    assert error_of(token(stripped)) == (400, "invalid_grant")


@pytest.mark.parametrize(
    "sent",
    [
        {"code_challenge": CHALLENGE},
        {"code_challenge": CHALLENGE, "code_challenge_method": "plain"},
        {"code_challenge_method": "S256"},
    ],
)
def test_half_a_challenge_is_no_way_around_pkce(without_pkce, allow, sent):
    assert answer_to_google(allow(without_pkce, **sent), without_pkce)["error"] == ["invalid_request"]


def test_pkce_can_be_demanded_again(without_pkce, command, allow):
    command("clients", "set", without_pkce.client_id, "--pkce")
    assert answer_to_google(allow(without_pkce), without_pkce)["error"] == ["invalid_request"]


# ---- several links, and their ends -------------------------------------------------------------------------


def test_a_sixth_link_replaces_the_oldest(google, link, token, rows):
    pairs = [link(google) for _ in range(GOOGLE_ACCOUNTS + 1)]
    answers = [token(google.refresh(pair["refresh_token"])) for pair in pairs]
    assert error_of(answers[0]) == (400, "invalid_grant")
    assert [answer.status_code for answer in answers[1:]] == [200] * GOOGLE_ACCOUNTS
    assert rows(COUNT_TOKENS) == [(GOOGLE_ACCOUNTS,)]


def test_the_oldest_is_the_one_that_was_refreshed_longest_ago(google, link, token):
    pairs = [link(google) for _ in range(GOOGLE_ACCOUNTS)]
    token(google.refresh(pairs[0]["refresh_token"]))
    link(google)
    statuses = [token(google.refresh(pair["refresh_token"])).status_code for pair in pairs]
    assert statuses == [200, 400, 200, 200, 200]


def test_a_second_link_asks_nothing(http, google, link):
    """A limit that the recipe names: who has allowed Google once is sent straight back."""
    link(google)
    assert "code" in answer_to_google(follow(http, http.get(google.authorization_path())), google)


@pytest.mark.parametrize("hint", ["refresh_token", "access_token", "something else"])
@pytest.mark.parametrize("sent", ["refresh_token", "access_token"])
def test_unlinking_at_google(google, link, token, revoke, whose, sent, hint):
    """One link ends, whichever token is sent; the same person's other link goes on."""
    ended, kept = link(google), link(google)
    for _ in range(2):
        assert revoke(google.unlink(ended[sent], hint)).status_code == 200
    assert whose(ended["access_token"]) is None
    assert error_of(token(google.refresh(ended["refresh_token"]))) == (400, "invalid_grant")
    assert whose(kept["access_token"])["email"] == EMAIL
    assert token(google.refresh(kept["refresh_token"])).status_code == 200


def test_unlinking_what_was_never_linked(google, revoke):
    assert revoke(google.unlink("ost_rt_never", "refresh_token")).status_code == 200


def test_unlinking_here(site, google, link, token, whose):
    """The recipe's command ends all of a person's links, and linking again makes a new one."""
    pairs = [link(google), link(google)]
    ended = follow_recipe(site, "tokens revoke", CLIENT_ID=google.client_id)
    assert "2 tokens" in ended.stderr
    for pair in pairs:
        assert whose(pair["access_token"]) is None
        assert error_of(token(google.refresh(pair["refresh_token"]))) == (400, "invalid_grant")
    assert whose(link(google)["access_token"])["email"] == EMAIL


def test_a_disabled_person_has_no_link(google, command, link, token, whose):
    pair = link(google)
    command("users", "disable", EMAIL)
    assert whose(pair["access_token"]) is None
    assert error_of(token(google.refresh(pair["refresh_token"]))) == (400, "invalid_grant")


# ---- live --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=ENGINES)
def server(request, tmp_path_factory, postgres):
    """Two processes that both take part, with Ada and the recipe's client."""
    folder = tmp_path_factory.mktemp("google")
    with race_server(new_database(request.param, folder, postgres), folder) as server:
        add_person(server)
        server.google = register_google(server)
        yield server
        assert "Traceback" not in server.log()


@pytest.fixture
def live_google(server):
    return Google(server.google["client_id"], server.google["client_secret"])


@pytest.fixture
def driver(server):
    with Driver(server) as driver:
        yield driver


@pytest.fixture
def live_link(server, driver):
    """Link a Google account in a browser of its own."""

    def live_link(google):
        with Browser(server.issuer) as browser:
            browser.open(server.issuer + google.authorization_path()).sign_in()
            if browser.left_for is None:
                assert browser.page.headings == ["Google asks for access"]
                browser.press("Allow")
            address, _question_mark, query = browser.left_for.partition("?")
        members = parse_qs(query)
        assert (address, members["state"]) == (google.redirect_uri, [STATE])
        return driver.pair(to_token(google.exchange(members["code"][0])))

    return live_link


def to_token(body):
    return Call("POST", "/oauth/token", form=body)


def to_revoke(body):
    return Call("POST", "/oauth/revoke", form=body)


def test_a_link_from_its_beginning_to_its_end(server, driver, live_google, live_link):
    """With PKCE in the sandbox, without it in production: linked, used, refreshed, one of the two
    unlinked.
    """
    sandbox = replace(live_google, redirect_uri=SANDBOX)
    ended = live_link(sandbox)
    assert WARNING in follow_recipe(server, "--no-pkce", CLIENT_ID=live_google.client_id).stderr
    kept = live_link(replace(live_google, pkce=False))
    for pair in (ended, kept):
        renewed = driver.pair(to_token(live_google.refresh(pair.refresh_token)))
        assert renewed.refresh_token == pair.refresh_token
        assert driver.send(me(renewed.access_token)).json["email"] == EMAIL
        assert not driver.is_live(pair.access_token)
    assert driver.send(to_revoke(live_google.unlink(ended.refresh_token, "refresh_token"))).status == 200
    refused = driver.send(to_token(live_google.refresh(ended.refresh_token)))
    assert (refused.status, refused.error) == (400, "invalid_grant")
    assert driver.pair(to_token(live_google.refresh(kept.refresh_token)))
    server.flask("clients", "set", live_google.client_id, "--pkce")


@pytest.mark.parametrize("rounds", [5, pytest.param(60, id="60-long", marks=pytest.mark.long)])
def test_clusters_refresh_at_the_same_moment(server, driver, live_google, live_link, rounds):
    """The access tokens of two links have run out, and all clusters notice: each gets one that works, both
    links go on.
    """
    ((user_id,),) = server.rows("SELECT id FROM end_user")
    refresh_tokens = [live_link(live_google).refresh_token for _ in range(2)]
    clusters = [
        to_token(live_google.refresh(refresh_token)) for refresh_token in refresh_tokens * (CLUSTERS // 2)
    ]
    start = len(server.log())
    issued = set()
    with without_trouble(server):
        for _ in range(rounds):
            driver.expire_access_tokens(user_id)
            answers = driver.meet([partial(refresh_and_use, cluster) for cluster in clusters])
            pairs = [the_one_pair(answers[link::2]) for link in range(2)]
            assert [pair.refresh_token for pair in pairs] == refresh_tokens
            issued |= {pair.access_token for pair in pairs}
    assert len(issued) == 2 * rounds
    answered = Counter(re.findall("process=(.*)", server.log()[start:]))
    assert len(answered) == server.workers
