"""What was shown is what is granted: the registration is changed between the page and Allow, member by
member.

What the client has lost is refused, what it has won needs another request; never is anything else granted
than the page said.
"""

import json

import pytest
from sqlalchemy import func

from models import AuthorizationCode, Client, Consent, db
from tests.builders import PASSWORD, REDIRECT_URI, a_user
from tests.openid import an_openid_client, answer_of, id_token_of, tokens_for
from tests.pages.steps import EMAIL, ask, follow, page, press, sign_in
from tests.statements import select, update
from unit_of_work import transaction

OTHER = "https://app.example/other"
WISHES = json.dumps({"id_token": {"email": None}})
SHOWN = {"address": REDIRECT_URI, "scope": "openid profile", "sub": "sub-of-ada", "email": None}
A_PAGE = "a page"


def extra(**members):
    return {"extra_metadata": members}


# By member: the registration that was shown, what the client asked for, the registration at Allow, and what
# becomes of it: an error that the client is told, a page, or what is granted otherwise than `SHOWN`.
CHANGES = {
    "scope, narrowed": ({}, {}, {"scope": "openid"}, "invalid_scope"),
    "scope, widened": ({"scope": "openid profile"}, {"scope": None}, {"scope": "openid profile email"}, {}),
    "scope, none and then some": (
        {"scope": ""},
        {"scope": None},
        {"scope": "profile"},
        {"scope": None, "sub": None},
    ),
    "redirect_uris, another": ({}, {}, {"redirect_uris": [OTHER]}, A_PAGE),
    "redirect_uris, another, none was named": (
        {},
        {"redirect_uri": None},
        {"redirect_uris": [OTHER]},
        A_PAGE,
    ),
    "redirect_uris, one more": ({}, {"redirect_uri": None}, {"redirect_uris": [OTHER, REDIRECT_URI]}, {}),
    "claims, narrowed": ({}, {"claims": WISHES}, {"scope": "openid profile"}, "invalid_scope"),
    "claims, widened": (
        {"scope": "openid profile"},
        {"claims": WISHES},
        {"scope": "openid profile email"},
        {},
    ),
    "claims, as they were": ({}, {"claims": WISHES}, {}, {"email": EMAIL}),
    "default_max_age, where there was none": ({}, {}, extra(default_max_age=0), {}),
    "default_max_age, lowered": (extra(default_max_age=600), {}, extra(default_max_age=0), {}),
    "default_acr_values": (extra(default_acr_values=["a"]), {}, extra(default_acr_values=["b"]), {}),
    "require_auth_time": ({}, {}, extra(require_auth_time=True), {}),
    "subject_type, pairwise": ({}, {}, extra(subject_type="pairwise"), "invalid_request"),
    "subject_type, public": (extra(subject_type="pairwise"), {}, {}, "invalid_request"),
    "the sector of its subjects": (
        extra(subject_type="pairwise"),
        {},
        extra(subject_type="pairwise", sector_identifier_uri="https://other.example/sector"),
        "invalid_request",
    ),
    "grant_types": ({}, {}, {"grant_types": ["client_credentials"]}, "unauthorized_client"),
    "require_pkce": (
        {"require_pkce": False},
        {"code_challenge": None, "code_challenge_method": None},
        {"require_pkce": True},
        "invalid_request",
    ),
    "client_name": ({}, {}, {"client_name": "Another"}, {}),
    "id_token_signed_response_alg": ({}, {}, extra(id_token_signed_response_alg="ES256"), {}),
    "require_signed_request_object": ({}, {}, extra(require_signed_request_object=True), {}),
    "max_sessions": ({}, {}, {"max_sessions": 2}, {}),
}
COLUMNS = sorted(
    {name for shown, _asked, at_allow, _outcome in CHANGES.values() for name in shown | at_allow}
)


@pytest.fixture
def register(app, seed, rows):
    """A function that registers the client anew, with all that a test does not name as it was."""

    seed(a_user(), an_openid_client())
    (columns,) = rows(select(*(getattr(Client, name) for name in COLUMNS)))

    def register(**changed):
        with app.app_context(), transaction():
            db.session.execute(update(Client).values(dict(zip(COLUMNS, columns, strict=True)) | changed))

    return register


def what_is_granted(http, answer):
    code = answer_of(answer)["code"]
    tokens = tokens_for(http, code)
    said = id_token_of(http, tokens) if "id_token" in tokens else {}
    address = answer.headers["Location"].partition("?")[0]
    return {
        "address": address,
        "scope": tokens.get("scope"),
        "sub": said.get("sub"),
        "email": said.get("email"),
    }


@pytest.mark.threat("T024", "T184")
@pytest.mark.parametrize(("shown", "asked", "at_allow", "outcome"), CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("before", ["the page", "the sign-in"])
def test_a_registration_that_changes_before_allow(
    http, register, rows, before, shown, asked, at_allow, outcome
):
    register(**shown)
    asked = {"scope": "openid profile"} | asked
    if before == "the page":
        sign_in(http)
        answer = ask(http, **asked)
        assert page(answer).headings == ["Web asks for access"]
        register(**at_allow)
        answer = press(http, answer, "Allow")
    else:
        answer = ask(http, **asked)
        register(**at_allow)
        answer = follow(http, press(http, answer, "Sign in", email=EMAIL, password=PASSWORD))
        if isinstance(outcome, dict):
            assert ("See your email address" in page(answer).text) is ("email" in outcome)
            answer = press(http, answer, "Allow")
    if isinstance(outcome, dict):
        assert what_is_granted(http, answer) == SHOWN | outcome
        return
    if outcome is A_PAGE:
        assert answer.status_code == 400 and "Location" not in answer.headers
    else:
        assert answer_of(answer)["error"] == outcome
    assert rows(select(func.count()).select_from(AuthorizationCode)) == [(0,)]
    assert rows(select(func.count()).select_from(Consent)) == [(0,)]


@pytest.mark.threat("T184")
def test_a_lost_default_age_still_counts_for_what_was_asked_under_it(http, register, sleep):
    register(**extra(default_max_age=3))
    sign_in(http)
    sleep(1)
    shown = ask(http, scope="openid profile")
    sleep(5)
    register()
    shown = follow(http, press(http, shown, "Allow"))
    assert page(shown).headings == ["Sign in"]


@pytest.mark.threat("T184")
def test_what_was_decided_is_not_the_clients_to_say(http, register):
    """The words that a kept request has beside its parameters count from nowhere else."""
    sign_in(http)
    answer = press(http, ask(http, scope="openid", sector="https://other.example"), "Allow")
    assert id_token_of(http, tokens_for(http, answer_of(answer)["code"]))["sub"] == "sub-of-ada"
