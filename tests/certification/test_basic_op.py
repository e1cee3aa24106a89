"""The modules of `oidcc-basic-certification-test-plan`, one test each, in the plan's order.

`RelyingParty.sign_in` makes the checks that the suite makes in every module; here stands what is the module's
own. Where the suite asks for a screenshot, the page itself is looked at; where it forbids to ask the person,
there must be none.
"""

import json

import pytest

from tests.builders import CHALLENGE, ISSUER, VERIFIER
from tests.certification import conditions
from tests.certification.relying_party import CALLBACK, code_grant, random_text
from tests.jose import segment
from tests.pages.steps import EMAIL

PERSONAL = set().union(*conditions.SCOPE_CLAIMS.values()) - {"sub"}


@pytest.mark.certification("oidcc-server")
def test_oidcc_server(client):
    signed_in = client.sign_in()
    assert signed_in.authorization.headings == ["Sign in", "client asks for access"]
    assert not signed_in.claims.keys() & PERSONAL


@pytest.mark.certification("oidcc-response-type-missing")
def test_oidcc_response_type_missing(client):
    answered = client.authorize(response_type=None)
    conditions.check_error_response(answered, {"invalid_request", "unsupported_response_type"})


@pytest.mark.certification("oidcc-idtoken-signature")
def test_oidcc_idtoken_signature(client):
    header = client.sign_in().header
    assert header["alg"] == "RS256" and header["kid"]


@pytest.mark.certification("oidcc-idtoken-unsigned")
def test_oidcc_idtoken_unsigned(client, flask):
    """Not supported, and said so: it is not announced, and no client can be registered for it."""
    assert "none" not in client.metadata["id_token_signing_alg_values_supported"]
    unsigned = ("--set", 'id_token_signed_response_alg="none"')
    refused = flask("clients", "add", "Unsigned", "--redirect-uri", CALLBACK, *unsigned)
    assert refused.exit_code == 1 and "an ID token that is not signed proves nothing" in refused.stderr


# ---- userinfo ----------------------------------------------------------------------------------------------


@pytest.mark.certification("oidcc-userinfo-get")
def test_oidcc_userinfo_get(client):
    signed_in = client.sign_in()
    conditions.check_userinfo_response(client.call_userinfo(signed_in.tokens), signed_in.claims)


@pytest.mark.certification("oidcc-userinfo-post-header")
def test_oidcc_userinfo_post_header(client):
    signed_in = client.sign_in()
    header = {"Authorization": f"Bearer {signed_in.tokens['access_token']}"}
    answer = client.http.post(client.metadata["userinfo_endpoint"], headers=header)
    conditions.check_userinfo_response(answer, signed_in.claims)


@pytest.mark.certification("oidcc-userinfo-post-body")
def test_oidcc_userinfo_post_body(client):
    signed_in = client.sign_in()
    body = {"access_token": signed_in.tokens["access_token"]}
    answer = client.http.post(client.metadata["userinfo_endpoint"], data=body)
    conditions.check_userinfo_response(answer, signed_in.claims)


# ---- what is asked for -------------------------------------------------------------------------------------


@pytest.mark.certification("oidcc-ensure-request-without-nonce-succeeds-for-code-flow")
def test_oidcc_ensure_request_without_nonce_succeeds_for_code_flow(client):
    assert "nonce" not in client.sign_in(nonce=None).claims


def check_scope(client, scope, **more):
    """Everything that the scopes stand for comes at userinfo, nothing else, and none of it in the ID token
    (§5.4).
    """
    assert set(scope.split()) <= set(client.metadata["scopes_supported"])
    signed_in = client.sign_in(scope=scope, **more)
    userinfo = conditions.check_userinfo_response(client.call_userinfo(signed_in.tokens), signed_in.claims)
    assert userinfo.keys() == set().union(*(conditions.SCOPE_CLAIMS[word] for word in scope.split()))
    assert not signed_in.claims.keys() & PERSONAL


@pytest.mark.certification("oidcc-scope-profile")
def test_oidcc_scope_profile(client):
    check_scope(client, "openid profile")


@pytest.mark.certification("oidcc-scope-email")
def test_oidcc_scope_email(client):
    check_scope(client, "openid email")


@pytest.mark.certification("oidcc-scope-address")
def test_oidcc_scope_address(client):
    check_scope(client, "openid address")


@pytest.mark.certification("oidcc-scope-phone")
def test_oidcc_scope_phone(client):
    check_scope(client, "openid phone")


@pytest.mark.certification("oidcc-scope-all")
def test_oidcc_scope_all(client):
    check_scope(client, "openid email phone address profile")


@pytest.mark.certification("oidcc-alternate-happy-flow")
def test_oidcc_alternate_happy_flow(client):
    check_scope(client, "email openid", reverse=True)


def check_is_asked_to_sign_in(client, **parameters):
    """With no session: the sign-in page is shown, and the flow goes on to its end.

    Returns the sign-in page.
    """
    authorization = client.sign_in(**parameters).authorization
    assert authorization.headings[0] == "Sign in"
    return authorization.pages[0]


@pytest.mark.certification("oidcc-display-page")
def test_oidcc_display_page(client):
    check_is_asked_to_sign_in(client, display="page")


@pytest.mark.certification("oidcc-display-popup")
def test_oidcc_display_popup(client):
    check_is_asked_to_sign_in(client, display="popup")


# ---- who is signed in --------------------------------------------------------------------------------------


@pytest.mark.certification("oidcc-prompt-login")
def test_oidcc_prompt_login(client, sleep):
    first = client.sign_in()
    sleep(1)
    second = client.sign_in(prompt="login")
    assert second.authorization.headings == ["Sign in"]
    assert second.claims["auth_time"] > first.claims["auth_time"]


@pytest.mark.certification("oidcc-prompt-none-not-logged-in")
def test_oidcc_prompt_none_not_logged_in(client):
    answered = client.authorize(prompt="none", state=random_text(128))
    conditions.check_error_response(answered, conditions.NEEDS_A_PAGE)
    assert answered.headings == []


def check_same_sign_in(first, second):
    assert second.claims["auth_time"] == first.claims["auth_time"]
    assert second.claims["sub"] == first.claims["sub"]


@pytest.mark.certification("oidcc-prompt-none-logged-in")
def test_oidcc_prompt_none_logged_in(client, sleep):
    first = client.sign_in()
    sleep(1)
    check_same_sign_in(first, client.sign_in_silently(prompt="none"))


@pytest.mark.certification("oidcc-max-age-1")
def test_oidcc_max_age_1(client, sleep):
    first = client.sign_in()
    sleep(2)
    second = client.sign_in(max_age="1")
    assert second.authorization.headings == ["Sign in"]
    assert second.claims["auth_time"] > first.claims["auth_time"]
    assert second.claims["iat"] - second.claims["auth_time"] <= 1


@pytest.mark.certification("oidcc-max-age-10000")
def test_oidcc_max_age_10000(client, sleep):
    first = client.sign_in(max_age="15000")
    sleep(1)
    check_same_sign_in(first, client.sign_in_silently(max_age="10000"))


@pytest.mark.certification("oidcc-ensure-request-with-unknown-parameter-succeeds")
def test_oidcc_ensure_request_with_unknown_parameter_succeeds(client):
    client.sign_in(extra="foobar")


@pytest.mark.certification("oidcc-id-token-hint")
def test_oidcc_id_token_hint(client, sleep):
    first = client.sign_in()
    sleep(1)
    second = client.sign_in_silently(prompt="none", id_token_hint=first.tokens["id_token"])
    check_same_sign_in(first, second)


@pytest.mark.certification("oidcc-login-hint")
@pytest.mark.parametrize("hint", ["buffy@op.example", EMAIL])  # the suite's own, and one that is configured
def test_oidcc_login_hint(client, hint):
    shown = check_is_asked_to_sign_in(client, login_hint=hint)
    assert shown.form("Sign in").fields["email"] == hint


@pytest.mark.certification("oidcc-ui-locales")
@pytest.mark.parametrize("locale", ["se", "en"])  # the suite's own, and one that is configured
def test_oidcc_ui_locales(client, locale):
    shown = check_is_asked_to_sign_in(client, ui_locales=locale)
    assert client.metadata["ui_locales_supported"] == [shown.all("html")[0]["lang"]] == ["en"]


@pytest.mark.certification("oidcc-claims-locales")
def test_oidcc_claims_locales(client):
    client.sign_in(claims_locales="se")


@pytest.mark.certification("oidcc-ensure-request-with-acr-values-succeeds")
def test_oidcc_ensure_request_with_acr_values_succeeds(client):
    values = client.metadata["acr_values_supported"]
    assert client.sign_in(acr_values=" ".join(values)).claims["acr"] in values


# ---- codes and redirect URIs -------------------------------------------------------------------------------


def sign_in_and_keep_the_code(client):
    authorization = client.authorize()
    conditions.check_authorization_response(authorization)
    return client.exchange(authorization), code_grant(authorization)


@pytest.mark.certification("oidcc-codereuse")
def test_oidcc_codereuse(client):
    _signed_in, same_request = sign_in_and_keep_the_code(client)
    conditions.check_refused(client.ask_for_tokens(**same_request), "invalid_grant")


@pytest.mark.certification("oidcc-codereuse-30seconds")
def test_oidcc_codereuse_30seconds(client, sleep):
    signed_in, same_request = sign_in_and_keep_the_code(client)
    sleep(30)
    assert client.call_userinfo(signed_in.tokens).status_code == 200
    conditions.check_refused(client.ask_for_tokens(**same_request), "invalid_grant")
    answer = client.call_userinfo(signed_in.tokens)
    assert (answer.status_code, answer.json["error"]) == (401, "invalid_token")


@pytest.mark.certification("oidcc-ensure-registered-redirect-uri")
def test_oidcc_ensure_registered_redirect_uri(client):
    conditions.check_is_no_redirect(client.authorize(redirect_uri=f"{CALLBACK}/{random_text(10)}"))


@pytest.mark.certification("oidcc-ensure-post-request-succeeds")
def test_oidcc_ensure_post_request_succeeds(client):
    client.sign_in(by_post=True)


@pytest.mark.certification("oidcc-server-client-secret-post")
def test_oidcc_server_client_secret_post(party):
    client = party("client_secret_post")
    assert client.auth_method == "client_secret_post"
    client.sign_in()


# ---- request objects ---------------------------------------------------------------------------------------


def without_signature(**claims):
    """A request object; `state` and `nonce` are in it alone."""
    return f"{segment({'alg': 'none'})}.{segment(claims)}."


@pytest.mark.certification("oidcc-request-uri-unsigned-supported-correctly-or-rejected-as-unsupported")
def test_oidcc_request_uri_unsigned_supported_correctly_or_rejected_as_unsupported(client):
    assert client.metadata["request_uri_parameter_supported"] is False
    where = f"https://rp.example/requests/{random_text(10)}#{random_text(10)}"
    answered = client.authorize(state=None, nonce=None, request_uri=where)
    conditions.check_error_response(answered, {"request_uri_not_supported"}, state=False)
    assert answered.headings == []


@pytest.mark.certification("oidcc-unsigned-request-object-supported-correctly-or-rejected-as-unsupported")
@pytest.mark.parametrize("is_complete", [False, True])
def test_oidcc_unsigned_request_object_supported_correctly_or_rejected_as_unsupported(client, is_complete):
    """Signed ones are supported, so that it is wrong as it is unsigned, and not because there is one (RFC
    9101 §6.2).
    """
    assert "none" not in client.metadata["request_object_signing_alg_values_supported"]
    more = {"iss": client.client_id, "aud": ISSUER} if is_complete else {}
    text = without_signature(**client.request(), **more)
    answered = client.authorize(state=None, nonce=None, request=text)
    conditions.check_error_response(answered, {"invalid_request_object"}, state=False)
    assert answered.headings == []


@pytest.mark.certification("oidcc-ensure-request-object-with-redirect-uri")
def test_oidcc_ensure_request_object_with_redirect_uri(client):
    """What is not signed says nothing, so the address outside counts; it is not registered, and nobody is
    sent anywhere.
    """
    text = without_signature(**client.request())
    answered = client.authorize(state=None, nonce=None, request=text, redirect_uri=f"{CALLBACK}_invalid")
    conditions.check_is_no_redirect(answered)


# ---- the rest ----------------------------------------------------------------------------------------------


@pytest.mark.certification("oidcc-claims-essential")
def test_oidcc_claims_essential(client):
    signed_in = client.sign_in(claims=json.dumps({"userinfo": {"name": {"essential": True}}}))
    userinfo = conditions.check_userinfo_response(client.call_userinfo(signed_in.tokens), signed_in.claims)
    assert userinfo.keys() == {"sub", "name"}
    assert "name" not in signed_in.claims


def check_refresh(client, sleep, **body):
    """A refreshed pair, and an ID token that speaks of the same sign-in (OpenID Connect Core §12.2).

    Returns the new tokens.
    """
    assert {"offline_access", "openid"} <= set(client.metadata["scopes_supported"])
    assert "refresh_token" in client.metadata["grant_types_supported"]
    first = client.sign_in(prompt="consent")
    assert first.authorization.headings[-1].endswith("asks for access")
    sleep(1)
    answer = client.ask_for_tokens(
        grant_type="refresh_token", refresh_token=first.tokens["refresh_token"], **body
    )
    tokens = conditions.check_token_response(answer)
    assert tokens["access_token"] != first.tokens["access_token"]
    _header, claims = conditions.check_id_token(client, tokens, nonce=None)
    for name in ("iss", "sub", "aud", "azp", "auth_time"):
        assert claims[name] == first.claims[name]
    assert claims["iat"] > first.claims["iat"]
    assert client.call_userinfo(tokens).status_code == 200
    return tokens


@pytest.mark.certification("oidcc-refresh-token")
def test_oidcc_refresh_token(party, sleep):
    first, second = (party(name, scope="openid offline_access") for name in ("client", "client2"))
    check_refresh(first, sleep, scope=first.scope)
    tokens = check_refresh(second, sleep)
    foreign = first.ask_for_tokens(grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    conditions.check_refused(foreign, "invalid_grant")
    assert second.call_userinfo(tokens).status_code == 200


@pytest.mark.certification("oidcc-ensure-request-with-valid-pkce-succeeds")
def test_oidcc_ensure_request_with_valid_pkce_succeeds(client):
    client.sign_in(code_challenge=CHALLENGE, code_challenge_method="S256", verifier=VERIFIER)
