"""What an authorization request asks of the sign-in (OpenID Connect Core §3.1.2.1), and several accounts in
one browser.

Nobody is ever answered for by accident: a client that names a person gets that person or an error.
"""

import json
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import func

from models import AuthorizationCode, Consent, UserSession
from tests.builders import PASSWORD, a_public_client, a_user
from tests.openid import (
    SCOPE,
    an_openid_client,
    answer_of,
    authorize,
    id_token_of,
    sign_in_at_client,
    tokens_for,
    verified,
)
from tests.pages.steps import (
    answer_to_client,
    ask,
    authorization_path,
    follow,
    go,
    page,
    press,
    sign_in,
    sign_out,
    ticket_of,
)
from tests.statements import select

COUNT_CODES = select(func.count()).select_from(AuthorizationCode)
BO = "bo@example.com"


@pytest.fixture
def people(http, seed, sleep):
    """Two people with accounts, one client, a clock that stands still."""
    seed(
        a_user(), a_user(id=2, sub="sub-of-bo", email=BO, name="Bo"), an_openid_client(client_name="Notebook")
    )
    return http


@pytest.fixture
def ada(people):
    sign_in(people)
    return people


@pytest.fixture
def remembered(ada):
    """Ada has allowed the client everything that these tests ask for."""
    authorize(ada)
    return ada


@pytest.fixture
def both(remembered):
    """Bo signs in beside Ada, allows the client too, and is the present account."""
    sign_in(remembered, email=BO)
    authorize(remembered)
    return remembered


def error_of(http, **parameters):
    answer = answer_to_client(http.get(authorization_path(**{"scope": SCOPE} | parameters)))
    assert "code" not in answer
    return answer["error"][0]


def sub_of(http, answer):
    return id_token_of(http, tokens_for(http, answer["code"]))["sub"]


def silently(http, **parameters):
    """The code of a request that must not ask anything."""
    answer = answer_of(http.get(authorization_path(**{"scope": SCOPE, "prompt": "none"} | parameters)))
    return sub_of(http, answer)


# ---- prompt ------------------------------------------------------------------------------------------------


@pytest.mark.threat("T109")
def test_none_without_a_session(people, rows):
    assert error_of(people, prompt="none") == "login_required"
    assert rows(COUNT_CODES) == [(0,)]


@pytest.mark.threat("T109")
def test_none_without_consent(ada, rows):
    assert (
        error_of(ada, prompt="none") == "login_required"
    )  # as if nobody were here: see `test_a_stranger_learns_nothing`
    authorize(ada, scope="openid")
    assert error_of(ada, prompt="none") == "consent_required"
    assert silently(ada, scope="openid") == "sub-of-ada"


@pytest.mark.threat("T109")
@pytest.mark.parametrize("prompt", ["none login", "none consent", "login none", "ask", "LOGIN"])
def test_what_cannot_be_meant(remembered, prompt):
    assert error_of(remembered, prompt=prompt) == "invalid_request"


@pytest.mark.threat("T110")
def test_login_asks_again_and_says_so(remembered, sleep, rows):
    sleep(5)
    shown = ask(remembered, scope=SCOPE, prompt="login")
    assert page(shown).headings == ["Sign in"]
    assert "asks you to sign in again" in page(shown).text
    assert page(shown).forms[0].fields["email"] == "ada@example.com"
    before = rows(COUNT_CODES)
    assert page(follow(remembered, remembered.get(page(shown).url))).headings == [
        "Sign in"
    ]  # going round does not help
    assert rows(COUNT_CODES) == before
    answer = follow(remembered, press(remembered, shown, "Sign in", password=PASSWORD))
    said = id_token_of(remembered, tokens_for(remembered, answer_of(answer)["code"]))
    assert said["auth_time"] == said["iat"]  # now, and not when the session began


@pytest.mark.threat("T110")
def test_a_wrong_password_in_between_changes_nothing(remembered, rows):
    before = rows(COUNT_CODES)
    shown = ask(remembered, scope=SCOPE, prompt="login")
    shown = press(remembered, shown, "Sign in", password="wrong wrong wrong")
    assert shown.status_code == 400
    ticket_page = remembered.get(page(shown).url)
    assert page(ticket_page).headings == ["Sign in"] and rows(COUNT_CODES) == before


def test_the_same_ticket_is_not_answered_by_a_sign_in_for_another(remembered):
    """Two tabs: the sign-in for one request does not count for the other."""
    first, second = (ask(remembered, scope=SCOPE, prompt="login", state=state) for state in ("1", "2"))
    press(remembered, first, "Sign in", password=PASSWORD)
    assert page(follow(remembered, remembered.get(page(second).url))).headings == ["Sign in"]


def test_consent_is_asked_though_it_was_given(remembered):
    shown = ask(remembered, scope=SCOPE, prompt="consent")
    assert page(shown).headings == ["Notebook asks for access"]
    assert "code" in answer_of(press(remembered, shown, "Allow"))


def test_login_and_consent(remembered):
    shown = ask(remembered, scope=SCOPE, prompt="login consent")
    assert page(shown).headings == ["Sign in"]
    shown = follow(remembered, press(remembered, shown, "Sign in", password=PASSWORD))
    assert page(shown).headings == ["Notebook asks for access"]
    assert sub_of(remembered, answer_of(press(remembered, shown, "Allow"))) == "sub-of-ada"


def test_select_account_shows_the_chooser(remembered):
    shown = ask(remembered, scope=SCOPE, prompt="select_account")
    assert page(shown).headings == ["Choose an account"]
    answer = follow(remembered, press(remembered, shown, "Ada ada@example.com"))
    assert sub_of(remembered, answer_of(answer)) == "sub-of-ada"


def test_select_account_with_nobody_there(people):
    assert page(ask(people, prompt="select_account")).headings == ["Sign in"]


def test_create_leads_to_the_sign_up(people):
    shown = ask(people, scope=SCOPE, prompt="create")
    assert page(shown).headings == ["Create an account"]
    shown = press(people, shown, "Create account", name="Cy", email="cy@example.com", password=PASSWORD)
    shown = follow(people, shown)
    assert page(shown).headings == ["Notebook asks for access"] and "cy@example.com" in page(shown).text
    assert "code" in answer_of(press(people, shown, "Allow"))


# ---- max_age -----------------------------------------------------------------------------------------------


@pytest.mark.threat("T110")
def test_max_age(remembered, sleep):
    sleep(2)
    assert silently(remembered, max_age="2") == "sub-of-ada"
    assert error_of(remembered, max_age="1", prompt="none") == "login_required"
    shown = ask(remembered, scope=SCOPE, max_age="1")
    assert page(shown).headings == ["Sign in"]
    answer = follow(remembered, press(remembered, shown, "Sign in", password=PASSWORD))
    said = id_token_of(remembered, tokens_for(remembered, answer_of(answer)["code"]))
    assert said["auth_time"] == said["iat"]


@pytest.mark.threat("T116")
def test_an_age_of_zero_means_now(remembered):
    assert error_of(remembered, max_age="0", prompt="none") == "login_required"
    shown = ask(remembered, scope=SCOPE, max_age="0")
    assert page(shown).headings == ["Sign in"]
    assert "code" in answer_of(follow(remembered, press(remembered, shown, "Sign in", password=PASSWORD)))


@pytest.mark.threat("T116")
def test_a_registered_age_of_zero_means_now_too(people, seed):
    seed(an_openid_client(client_id="bank", extra_metadata={"default_max_age": 0}))
    sign_in(people)
    authorize(people, client_id="bank", max_age="100")
    assert error_of(people, client_id="bank", prompt="none") == "login_required"
    assert "code" in answer_to_client(
        people.get(authorization_path(client_id="bank", scope=SCOPE, max_age="100"))
    )


@pytest.mark.parametrize("age", ["-1", "1.5", "x", "１", "99999999999999999999"])
def test_no_age(remembered, age):
    answer = remembered.get(authorization_path(max_age=age))
    assert answer.status_code == 400 or answer_to_client(answer)["error"] == ["invalid_request"]


# ---- hints -------------------------------------------------------------------------------------------------


@pytest.mark.threat("T113")
def test_a_hint_of_somebody_else(both):
    """The present account is Bo's; the hint finds Ada's, and never takes Bo for her."""
    sign_in(both)
    hint_of_ada = sign_in_at_client(both, prompt="consent")["id_token"]
    sign_in(both, email=BO)
    assert silently(both, id_token_hint=hint_of_ada) == "sub-of-ada"
    sign_out_only_ada(both)
    assert error_of(both, prompt="none", id_token_hint=hint_of_ada) == "login_required"
    shown = ask(both, scope=SCOPE, id_token_hint=hint_of_ada)
    assert page(shown).headings == ["Sign in"]
    answer = follow(both, press(both, shown, "Sign in", email=BO, password=PASSWORD))
    assert answer_of(answer)["error"] == "login_required"


def sign_out_only_ada(http):
    shown = press(http, http.get("/accounts"), "Ada ada@example.com")
    assert shown.status_code == 303
    assert press(http, http.get("/logout"), "Sign out only Ada").status_code == 303
    assert "Hello, Bo" in page(http.get("/")).headings


def test_a_hint_may_have_expired(remembered, sleep):
    hint = sign_in_at_client(remembered)["id_token"]
    sleep(11 * 3600)
    assert silently(remembered, id_token_hint=hint) == "sub-of-ada"


@pytest.mark.threat("T113", "T135")
def test_what_is_no_hint(remembered, seed):
    seed(an_openid_client(client_id="other"))
    foreign = sign_in_at_client(remembered, client_id="other")
    unsigned = foreign["id_token"].rpartition(".")[0] + "."
    for hint in (foreign["id_token"], foreign["access_token"], unsigned, "x", "a.b.c"):
        assert error_of(remembered, id_token_hint=hint) == "invalid_request"


def test_a_login_hint_fills_in_the_address(people):
    assert page(ask(people, login_hint=BO)).forms[0].fields["email"] == BO


def test_a_login_hint_never_takes_somebody_else(both):
    assert silently(both, login_hint="ada@example.com") == "sub-of-ada"
    assert silently(both, login_hint="BO@example.com ") == "sub-of-bo"
    assert error_of(both, prompt="none", login_hint="cy@example.com") == "login_required"
    shown = ask(both, scope=SCOPE, login_hint="cy@example.com")
    assert page(shown).headings == ["Sign in"] and page(shown).forms[0].fields["email"] == "cy@example.com"
    answer = follow(both, press(both, shown, "Sign in", email=BO, password=PASSWORD))
    # it was only a hint, and Bo has just said who he is
    assert sub_of(both, answer_of(answer)) == "sub-of-bo"


def test_a_sub_that_the_client_insists_on(both):
    def wanting(sub):
        return json.dumps({"id_token": {"sub": {"value": sub}}})

    assert silently(both, claims=wanting("sub-of-ada")) == "sub-of-ada"
    assert silently(both, claims=wanting("sub-of-bo")) == "sub-of-bo"
    assert error_of(both, prompt="none", claims=wanting("nobody")) == "login_required"


def test_nobody_decides_before_it_is_their_turn(both, rows):
    """A decision that is posted without its page: Bo has signed in for a request that names Ada."""
    sign_in(both)
    hint_of_ada = sign_in_at_client(both, prompt="consent")["id_token"]
    shown = ask(both, scope=SCOPE, id_token_hint=hint_of_ada, prompt="login", state="named")
    answer = press(both, shown, "Sign in", email=BO, password=PASSWORD)
    ticket = answer.headers["Location"].rpartition("ticket=")[2]
    before = rows(COUNT_CODES)
    form = {
        "ticket": ticket,
        "decision": "allow",
        "csrf_token": page(both.get("/accounts")).forms[0].fields["csrf_token"],
    }
    assert answer_of(both.post("/oauth/authorize", data=form))["error"] == "login_required"
    assert rows(COUNT_CODES) == before


# ---- what a client learns of people who have not allowed it ------------------------------------------------


def insisting(member="id_token", **wishes):
    return json.dumps({member: {name: {"essential": True, "value": value} for name, value in wishes.items()}})


PROBES = {
    "nothing": {},
    "an address that is here": {"login_hint": "ada@example.com"},
    "an address that is not": {"login_hint": "cy@example.com"},
    "a sub that is here": {"claims": insisting(sub="sub-of-ada")},
    "a sub that is not": {"claims": insisting(sub="nobody")},
    "a sub for userinfo": {"claims": insisting("userinfo", sub="sub-of-bo")},
    "a sub that is none": {"claims": insisting(sub=1)},
    "an acr that is not met": {"claims": insisting(acr="phr")},
    "an age": {"max_age": "0"},
    "no hint": {"id_token_hint": "x"},
    "less": {"scope": "openid"},
    "no openid": {"scope": "profile"},
}
WHO = {"nobody": [], "Ada": ["ada@example.com"], "Ada and Bo": ["ada@example.com", BO]}


def told(http, **parameters):
    """All that the client gets to know of a request that must not ask anything."""
    answer = http.get(
        authorization_path(**{"scope": SCOPE, "prompt": "none", "client_id": "curious"} | parameters)
    )
    return answer.status_code, answer_to_client(answer)


@pytest.mark.threat("T109", "T181")
@pytest.mark.parametrize("probe", PROBES.values(), ids=PROBES)
@pytest.mark.parametrize("who", WHO.values(), ids=WHO)
def test_a_stranger_learns_nothing(people, seed, probe, who):
    """Whoever is signed in, a client that nobody here has allowed gets one answer, to the letter."""
    seed(an_openid_client(client_id="curious", client_name="Curious"))
    expected = told(people)
    assert expected[1]["error"] == ["login_required"]
    for email in who:
        sign_in(people, email=email)
        authorize(people)  # another client, which they have allowed
    assert told(people, **probe) == expected


@pytest.mark.threat("T181")
def test_nor_by_a_hint_of_its_own(people, seed):
    """Of a person who allowed the client once and took it back."""
    seed(an_openid_client(client_id="curious", client_name="Curious"))
    expected = told(people)
    sign_in(people)
    hint = sign_in_at_client(people, client_id="curious")["id_token"]
    assert "code" in told(people, id_token_hint=hint)[1]
    press(people, people.get("/account/applications"), "Remove access of Curious")
    assert told(people, id_token_hint=hint) == told(people) == expected


@pytest.mark.threat("T181")
@pytest.mark.parametrize("probe", PROBES.values(), ids=PROBES)
def test_whom_one_of_two_has_allowed_learns_nothing_of_the_other(people, seed, probe):
    """Ada has allowed it. Whether Bo, who has not, is signed in beside her makes no difference."""
    seed(an_openid_client(client_id="curious", client_name="Curious"))
    sign_in(people)
    authorize(people, client_id="curious")
    probe = probe | ({"login_hint": BO} if "login_hint" in probe else {})

    def answer():
        status, members = told(people, **probe)
        return status, {name: value for name, value in members.items() if name != "code"}, "code" in members

    alone = answer()
    sign_in(people, email=BO)
    assert answer() == alone


@pytest.mark.threat("T181")
@pytest.mark.parametrize(
    ("probe", "error"),
    [
        ({"id_token_hint": "x"}, "invalid_request"),
        ({"claims": insisting(acr="phr")}, "unmet_authentication_requirements"),
    ],
)
def test_what_can_never_be_answered_is_refused_before_anybody_signs_in(people, probe, error):
    """With a page for some and an error for others, the client would know who is here."""
    assert error_of(people, **probe) == error
    sign_in(people)
    assert error_of(people, **probe) == error


@pytest.mark.parametrize(
    "wish",
    [
        {"id_token": {"sub": {"value": "sub-of-ada"}}, "userinfo": {"sub": {"value": "sub-of-bo"}}},
        {"id_token": {"sub": {"values": [["sub-of-ada"], 1]}}},
    ],
)
def test_a_sub_that_nobody_can_have(both, wish):
    assert error_of(both, prompt="none", claims=json.dumps(wish)) == "login_required"


# ---- several accounts --------------------------------------------------------------------------------------


def test_two_accounts_are_never_taken_silently(both):
    """Without a hint nobody knows who is meant, so the page that names the account is shown,
    consent or not.
    """
    shown = ask(both, scope=SCOPE)
    assert page(shown).headings == ["Notebook asks for access"] and "Your account Bo" in page(shown).text
    shown = go(both, shown, "Use another account")
    assert page(shown).headings == ["Choose an account"]
    answer = follow(both, press(both, shown, "Ada ada@example.com"))
    assert sub_of(both, answer_of(answer)) == "sub-of-ada"


@pytest.mark.threat("T109")
def test_none_with_two_accounts_that_the_client_knows(both):
    assert error_of(both, prompt="none") == "account_selection_required"


def test_none_with_two_accounts_of_which_the_client_knows_one(remembered):
    sign_in(remembered, email=BO)
    assert silently(remembered) == "sub-of-ada"


def test_nobody_chooses_an_account_that_is_not_here(both, new_people=(0, 99, "x", "")):
    form = page(both.get("/accounts")).form("Ada ada@example.com").filled("Ada ada@example.com")
    for account in new_people:
        assert both.post("/accounts", data=form | {"account": account}).status_code == 400


def test_a_consent_page_is_of_the_session_that_it_was_shown_to(both, rows):
    """The other account becomes the present one in another tab; the page's decision is still Bo's."""
    shown = ask(both, scope=SCOPE, prompt="consent")
    assert "Your account Bo" in page(shown).text
    other_tab = both.get("/accounts")
    press(both, other_tab, "Ada ada@example.com")
    assert press(both, shown, "Allow").status_code == 400  # its CSRF token went with the change
    again = both.get(f"/oauth/authorize?ticket={page(shown).forms[0].fields['ticket']}")
    assert "Your account Bo" in page(again).text
    assert sub_of(both, answer_of(press(both, again, "Allow"))) == "sub-of-bo"


def test_signing_out_everybody(both):
    press(both, both.get("/logout"), "Sign out everybody")
    assert page(both.get("/accounts", follow_redirects=True)).headings == ["Sign in"]
    assert error_of(both, prompt="none") == "login_required"


def test_at_most_eight_accounts(http, seed, rows):
    seed(*(a_user(id=n, sub=f"s{n}", email=f"p{n}@example.com", name=f"P{n}") for n in range(1, 11)))
    for n in range(1, 11):
        sign_in(http, email=f"p{n}@example.com")
    names = list(page(http.get("/accounts")).forms[0].buttons)
    assert names == [f"P{n} p{n}@example.com" for n in range(10, 2, -1)]
    assert rows(select(func.count()).select_from(UserSession)) == [(8,)]  # those without a place have ended


def test_a_page_that_shows_one_account_never_decides_for_another(both, rows):
    """Ada's session ends while her page is open, and another tab has made the request Bo's."""
    press(both, both.get("/accounts"), "Ada ada@example.com")
    shown = ask(both, scope=SCOPE, prompt="consent")
    assert "Your account Ada" in page(shown).text
    before = rows(COUNT_CODES)
    form = page(shown).form("Allow").filled("Allow")
    again = both.post("/oauth/authorize", data=form | {"account": "999"})
    assert again.status_code == 303 and again.headers["Location"].startswith(
        "/oauth/authorize?client_id=web&ticket="
    )
    assert rows(COUNT_CODES) == before


@pytest.mark.threat("T110")
def test_a_choice_is_no_sign_in(people, sleep):
    """A session that began after the request, but for something else, does not satisfy `prompt=login` by
    being chosen.
    """
    shown = ask(people, scope=SCOPE, prompt="login")
    sleep(5)
    sign_in(people)
    request = parse_qs(urlsplit(page(shown).url).query)["next"][0]
    shown = people.get("/accounts", query_string={"next": request})
    answer = follow(people, press(people, shown, "Ada ada@example.com"))
    assert page(answer).headings == ["Sign in"]


# ---- acr, display, locales, claims -------------------------------------------------------------------------


def test_an_acr_that_is_wished_for_is_no_demand(remembered):
    tokens = sign_in_at_client(remembered, acr_values="phr phrh 1", prompt="none")
    assert id_token_of(remembered, tokens)["acr"] == "urn:ostiary:acr:password"


@pytest.mark.threat("T120")
def test_an_essential_acr_that_is_not_met(remembered, rows):
    def wanting(*values):
        return json.dumps({"id_token": {"acr": {"essential": True, "values": values}}})

    assert error_of(remembered, claims=wanting("phr", "phrh")) == "unmet_authentication_requirements"
    assert silently(remembered, claims=wanting("phr", "urn:ostiary:acr:password")) == "sub-of-ada"


@pytest.mark.threat("T120")
@pytest.mark.parametrize(
    "text",
    [
        "x",
        "[]",
        '{"id_token": []}',
        '{"id_token": {"name": 1}}',
        '{"id_token": {"name": {"essential": "yes"}}}',
        '{"id_token": {"name": {"values": {"a": [[[[[1]]]]]}}}}',
        '{"userinfo": {"name": null, "name": null}}',
        '{"userinfo": {' + ",".join(f'"c{n}": null' for n in range(101)) + "}}",
        '{"userinfo": ' + "[" * 3_000 + "]" * 3_000 + "}",
        '{"a": NaN}',
    ],
)
def test_claims_that_ask_in_no_known_way(remembered, text):
    assert error_of(remembered, claims=text) == "invalid_request"


@pytest.mark.parametrize("display", ["page", "popup", "touch", "wap"])
def test_display(ada, display):
    assert page(ask(ada, display=display)).headings == ["Notebook asks for access"]


def test_locales_that_nobody_speaks_are_no_error(ada):
    shown = ask(ada, ui_locales="tlh de-AT-1901", claims_locales="se")
    assert page(shown).headings == ["Notebook asks for access"]


# ---- response_mode -----------------------------------------------------------------------------------------


@pytest.mark.threat("T104")
def test_an_answer_by_form(remembered):
    answer = remembered.get(authorization_path(scope=SCOPE, response_mode="form_post"))
    assert answer.status_code == 200
    (form,) = page(answer).forms
    assert (form.url, form.method) == ("https://app.example/cb", "post")
    assert set(form.fields) == {"code", "state", "iss"} and form.fields["state"] == "the state"
    policy = answer.headers["Content-Security-Policy"]
    assert "form-action" not in policy and "script-src 'self'" in policy and "unsafe" not in policy
    assert answer.headers["Cache-Control"] == "no-store"
    assert verified(remembered, tokens_for(remembered, form.fields["code"])["id_token"])


def test_errors_go_by_form_too(people):
    answer = people.get(authorization_path(scope=SCOPE, response_mode="form_post", prompt="none"))
    fields = answer_of(answer)
    assert (answer.status_code, fields["error"], fields["state"]) == (200, "login_required", "the state")
    assert fields["iss"] == "https://op.example"


def test_deny_by_form(ada, rows):
    shown = ask(ada, scope=SCOPE, response_mode="form_post")
    fields = answer_of(press(ada, shown, "Deny"))
    assert fields["error"] == "access_denied"
    assert rows(select(func.count()).select_from(Consent)) == [(0,)]


def test_a_state_in_a_form_is_text(remembered):
    hostile = '"><script>alert(1)</script>'
    answer = remembered.get(authorization_path(scope=SCOPE, response_mode="form_post", state=hostile))
    assert answer_of(answer)["state"] == hostile
    assert [script["src"].partition("?")[0] for script in page(answer).all("script")] == [
        "/static/form_post.js"
    ]


# ---- the sign-in of clients that are no OpenID clients -----------------------------------------------------


def test_prompts_count_without_openid_too(people, seed):
    seed(a_public_client(scope="profile"))
    assert error_of(people, client_id="spa", scope="profile", prompt="none") == "login_required"


def test_a_pending_login_outlives_a_sign_out_and_still_wants_its_sign_in(remembered):
    shown = ask(remembered, scope=SCOPE, prompt="login")
    sign_out(remembered)
    answer = remembered.get(f"/oauth/authorize?ticket={ticket_of(shown)}")
    assert answer.headers["Location"].startswith("/login?next=")
    shown = follow(remembered, answer)
    assert "code" in answer_of(
        follow(remembered, press(remembered, shown, "Sign in", email="ada@example.com", password=PASSWORD))
    )
