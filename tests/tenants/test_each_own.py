"""What an issuer publishes and shows is its own: keys, metadata, scopes, applications, sessions."""

import pytest
from joserfc import jwt as joserfc_jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from crypto import jwt
from models import ClientOrigin, UserSession, db
from services import scopes
from tests.builders import PASSWORD, a_public_client
from tests.openid import ALGORITHMS, AllNames
from tests.pages.steps import EMAIL, follow, page, press
from tests.statements import select
from tests.tenants.issuers import SCOPE, pairs

DOCUMENTS = ["oauth-authorization-server", "openid-configuration"]


def keys_of(issuer):
    return issuer.get("/oauth/jwks").json


@pytest.mark.threat("T202")
@pytest.mark.parametrize("document", DOCUMENTS)
def test_metadata(issuers, document):
    """Both forms of a path: RFC 8414 §3.1 puts it behind the name, OpenID Connect Discovery §4 before it."""
    for issuer in issuers:
        program = issuer.browser()
        answers = [program.exactly(f"{issuer.path}/.well-known/{document}")]
        answers.append(program.exactly(f"/.well-known/{document}{issuer.path}"))
        assert [answer.status_code for answer in answers] == [200, 200]
        assert answers[0].json == answers[1].json
        said = answers[0].json
        assert said["issuer"] == issuer.address
        addresses = [value for name, value in said.items() if name.endswith(("_endpoint", "_uri"))]
        assert len(addresses) >= 7
        assert all(address.startswith(f"{issuer.address}/oauth/") for address in addresses)
        for answer in answers:
            assert answer.headers["Cache-Control"].startswith("public")


@pytest.mark.threat("T202")
@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_metadata_of_one_at_another(issuers, document):
    home, acme, beta = issuers
    for path in (f"/.well-known/{document}/t/acme", f"/t/acme/.well-known/{document}"):
        assert beta.browser().exactly(path).status_code == 404
    for name in ("beta", "home"):
        for path in (f"/.well-known/{document}/t/{name}", f"/t/{name}/.well-known/{document}"):
            answer = home.browser().exactly(path)
            assert (answer.status_code, answer.mimetype) == (404, "application/json")


@pytest.mark.threat("T202")
def test_keys(issuers):
    """Each signs with keys of its own, which verify nothing of another."""
    tokens = {issuer: issuer.tokens(client_id="jwt") for issuer in issuers}
    kids = [key["kid"] for issuer in issuers for key in keys_of(issuer)["keys"]]
    assert len(set(kids)) == len(kids) >= len(issuers)
    for one, other in pairs(issuers):
        for name in ("access_token", "id_token"):
            for issuer in (one, other):
                is_own, keys = issuer is one, KeySet.import_key_set(keys_of(issuer))
                assert is_verified(tokens[one][name], keys) == is_own
    for issuer in issuers:
        claims = jwt.read_unverified(tokens[issuer]["id_token"])
        assert (claims["iss"], claims["aud"]) == (issuer.address, "jwt")
        claims = jwt.read_unverified(tokens[issuer]["access_token"])
        assert (claims["iss"], claims["aud"]) == (issuer.address, issuer.address)


def is_verified(text, keys):
    try:
        joserfc_jwt.decode(text, keys, registry=AllNames(algorithms=ALGORITHMS))
    except JoseError:
        return False
    return True


@pytest.mark.threat("T202")
def test_iss_of_each_authorization_response(issuers):
    """RFC 9207: of a code, and of an error; in each response mode."""
    for issuer in issuers:
        browser = issuer.browser().sign_in()
        for mode in ("query", "form_post"):
            assert browser.authorize(response_mode=mode)["iss"] == issuer.address
            answer = browser.authorize(response_mode=mode, scope="nonsense")
            assert (answer["error"], answer["iss"]) == ("invalid_scope", issuer.address)


def test_scopes(issuers):
    """A scope that is added at one is unknown to the others."""
    home, acme, beta = issuers
    acme.run(lambda: scopes.add("boats", "See your boats"))
    known = {i: i.get("/.well-known/openid-configuration").json["scopes_supported"] for i in issuers}
    assert [("boats" in known[issuer]) for issuer in issuers] == [False, True, False]


def test_applications_and_their_removal(issuers):
    tokens = {issuer: issuer.tokens()["access_token"] for issuer in issuers}
    for issuer in issuers[1:]:
        browser = issuer.browser().sign_in()
        shown = browser.get("/account/applications")
        press(browser, shown, button_of(shown, "Remove access"))
        assert issuer.with_token(tokens.pop(issuer)).status_code == 401
        for other, token in tokens.items():
            assert other.with_token(token).status_code == 200


def button_of(shown, words):
    """The button that begins so."""
    return next(name for form in page(shown).forms for name in form.buttons if name.startswith(words))


def test_sessions(issuers):
    """Each shows its own sessions; to end all of them at one ends none of another."""
    browsers = {issuer: [issuer.browser().sign_in() for _ in range(2)] for issuer in issuers}
    acme = issuers[1]
    here = browsers[acme][0]
    shown = here.get("/account/sessions")
    press(here, shown, "Sign out everywhere")
    for issuer, two in browsers.items():
        if issuer is not acme:
            assert all(browser.is_signed_in() for browser in two), issuer.name
    assert not browsers[acme][1].is_signed_in()


def test_the_number_of_a_session_elsewhere_is_none_here(issuers):
    browsers = {issuer: issuer.browser().sign_in() for issuer in issuers}
    numbers = [str(number) for (number,) in issuers[0].rows(select(UserSession.id))]
    assert len(numbers) == len(issuers)
    here = browsers[issuers[1]]
    for number in numbers:
        form = page(here.get("/account/sessions")).form("Sign out everywhere")
        here.post(form.url, data=form.filled("Sign out everywhere") | {"end": number})
        if not here.is_signed_in():
            here.sign_in()
    for issuer in (issuers[0], issuers[2]):
        assert browsers[issuer].is_signed_in()


@pytest.mark.threat("T202")
def test_every_address_on_a_page_is_of_its_issuer(issuers):
    for issuer in issuers:
        browser = issuer.browser().sign_in()
        for address in ("/", "/login", "/signup", "/logout", "/account/", "/account/sessions", "/nowhere"):
            for _tag, attributes in page(browser.get(address)).elements:
                for target in (attributes[name] for name in ("href", "src", "action") if name in attributes):
                    below = issuer.path + "/"
                    is_own = target.startswith((below, f"{issuer.address}/")) or target[0] in "?#"
                    assert is_own or target == issuer.path, (issuer.name, address, target)


@pytest.mark.threat("T201")
def test_cookies_have_names_of_their_own(issuers):
    """One that is named after a path could be another's; those of tenants have a number."""
    names = []
    for issuer in issuers:
        browser = issuer.browser()
        follow(browser, browser.get(f"/oauth/authorize?client_id=web&response_type=code&scope={SCOPE}"))
        browser.sign_in()
        names += [name.rpartition("browser-")[0] or name for name in browser.cookies()]
        assert all(name.startswith(issuer.cookie) for name in browser.cookies())
    assert len(set(names)) == 3 * len(issuers)


@pytest.mark.threat("T201")
def test_next_leads_to_no_other_issuer(issuers):
    """They may share an origin; a sign-in page must not lead into another's."""
    foreign = [
        *("/t/other/login", "/t/other", "/t/", "/%74/other/login", "/t%2Fother/login", "/x/../t/other/login"),
        *("/t/acme/../other/login", "/t/acme/%2e%2E/other/login", "/t/acme/.%2e/other", "/t/acme2/login"),
    ]
    home, acme, beta = issuers
    for issuer, others in ((home, ["/t/acme/account/"]), (acme, ["/account/", "/"])):
        for target in foreign + others:
            assert after_sign_in(issuer, target) == f"{issuer.path}/", target
    for issuer in issuers:
        for target in ("/account/sessions?a=/t/x", "/account/x..y/", "/"):
            assert after_sign_in(issuer, issuer.path + target) == issuer.path + target


def after_sign_in(issuer, target):
    """Where it leads from the page with this `next`."""
    browser = issuer.browser()
    shown = browser.get("/login", query_string={"next": target})
    return press(browser, shown, "Sign in", email=EMAIL, password=PASSWORD).headers["Location"]


def test_pages_of_public_clients(issuers):
    """An origin that a client of one has registered reads nothing at another."""
    origin = "https://spa.example"
    home, acme, beta = issuers

    def add():
        db.session.add(a_public_client())
        db.session.flush()
        db.session.add(ClientOrigin(client_id="spa", origin=origin))

    acme.run(add)
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    for issuer in issuers:
        answers = [
            issuer.open("/oauth/token", method="OPTIONS", headers=asked),
            issuer.post("/oauth/token", headers={"Origin": origin}),
            issuer.get("/oauth/userinfo", headers={"Origin": origin}),
        ]
        allowed = {answer.headers.get("Access-Control-Allow-Origin") for answer in answers}
        assert allowed == ({origin} if issuer is acme else {None}), issuer.name
