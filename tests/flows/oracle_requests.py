"""The requests that both servers are sent, by name: nearly all are wrong somewhere, some are right in an
unusual way.

Enters: a `Side`. Leaves: its answer. Each request makes what it needs anew: codes, tokens, assertions. Where
a value depends on the side it is a function of it.
"""

from urllib.parse import urlencode

from protocol import clock, pkce
from tests.builders import REDIRECT_URI, VERIFIER
from tests.flows.browser_journey import EMAIL
from tests.flows.oracle import EVE, GOODBYE, KEY, code_request
from tests.jose import assertion_claims, key_for, secret_key, segment, sign, with_assertion

ANOTHER_KEY = key_for("ES256", "another")
SAML_BEARER = "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"


def resolved(side, value):
    return value(side) if callable(value) else value


# ---- the authorization endpoint ----------------------------------------------------------------------------


def pairs(side, parameters):
    """A list of values is a parameter that is given so often."""
    for name, value in parameters.items():
        for each in value if isinstance(value, list) else [value]:
            yield name, resolved(side, each)


def ask(name="web", by="Ada", method="GET", **changed):
    """An authorization request, by Ada who is signed in, or by nobody."""

    def send(side):
        parameters = side.request(name, **{key: resolved(side, value) for key, value in changed.items()})
        query = urlencode(list(pairs(side, parameters)))
        return side.open(method, "authorization", query, side.browser if by == "Ada" else None)

    return send


def ask_with_object(name="signer", outside=None, **changed):
    """The same with a request object; `outside` is what stands beside it."""

    def send(side):
        inside = {key: resolved(side, value) for key, value in changed.items()}
        beside = {"request": side.request_object(name, **inside)} | (outside or {})
        return ask(name, **beside)(side)

    return send


def only_object(name="signer", **changed):
    """Nothing beside the object but what RFC 9101 §5 demands."""

    def send(side):
        query = urlencode({"client_id": side.id_of(name), "request": side.request_object(name, **changed)})
        return side.open("GET", "authorization", query, side.browser)

    return send


def id_token(name="web", by=None):
    return lambda side: side.tokens(name, by and side.signed_in(by))["id_token"]


def bent(text):
    """The same token with a signature that is not right."""
    head, _dot, signature = text.rpartition(".")
    return f"{head}.{signature[:-9]}{'A' if signature[-9] != 'A' else 'B'}{signature[-8:]}"


def of_nobody(side):
    """An ID token that somebody else has signed."""
    now = clock.now()
    claims = {
        "iss": side.issuer,
        "aud": side.id_of("web"),
        "sub": "x",
        "auth_time": now,
        "iat": now,
        "exp": now + 60,
    }
    return sign(claims, ANOTHER_KEY)


def unsigned(side):
    claims = side.request("signer") | {"iss": side.id_of("signer"), "aud": side.issuer}
    return f"{segment({'alg': 'none', 'typ': 'oauth-authz-req+jwt'})}.{segment(claims)}."


def by_secret(side):
    secret = side.clients["signer"]["client_secret"]
    return side.request_object("signer", secret_key(secret), "HS256")


def claims_not_allowed(side):
    """The client has been allowed `openid email`, and asks for the name."""
    side.code("partly", scope="openid email")
    return ask("partly", scope="openid email", claims='{"userinfo": {"name": null}}', prompt="none")(side)


CLIENT_AND_ADDRESS = {
    "a valid request": ask(),
    "no client_id": ask(client_id=None),
    "an empty client_id": ask(client_id=""),
    "an unknown client_id": ask("nobody"),
    "a client_id of unusual letters": ask("näh\x01"),
    "client_id twice": ask(client_id=[lambda side: side.id_of("web")] * 2),
    "a client without the code grant": ask(client_id=lambda side: side.id_of("machine")),
    "a resource server": ask(client_id=lambda side: side.id_of("api")),
    "no redirect_uri, one registered": ask(redirect_uri=None),
    "no redirect_uri, two registered": ask("two", redirect_uri=None),
    "an empty redirect_uri": ask(redirect_uri=""),
    "a redirect_uri that is not registered": ask(redirect_uri="https://evil.example/cb"),
    "a redirect_uri with a slash more": ask(redirect_uri=f"{REDIRECT_URI}/"),
    "a redirect_uri with a query more": ask(redirect_uri=f"{REDIRECT_URI}?a=b"),
    "a redirect_uri in other letters": ask(redirect_uri="https://app.example/CB"),
    "a redirect_uri with a host in other letters": ask(redirect_uri="https://APP.example/cb"),
    "a redirect_uri with a fragment": ask(redirect_uri=f"{REDIRECT_URI}#a"),
    "a redirect_uri with the default port": ask(redirect_uri="https://app.example:443/cb"),
    "a redirect_uri with a path that goes up": ask(redirect_uri="https://app.example/cb/../cb"),
    "a redirect_uri with a user name": ask(redirect_uri="https://app.example@evil.example/cb"),
    "a redirect_uri by http": ask(redirect_uri="http://app.example/cb"),
    "a redirect_uri that is a script": ask(redirect_uri="javascript:alert(1)"),
    "redirect_uri twice": ask(redirect_uri=[REDIRECT_URI, REDIRECT_URI]),
    "two redirect_uris": ask(redirect_uri=[REDIRECT_URI, "https://evil.example/cb"]),
    "a loopback address with another port": ask("native", redirect_uri="http://127.0.0.1:5000/cb"),
    "a loopback address with another path": ask("native", redirect_uri="http://127.0.0.1:5000/other"),
    "localhost where 127.0.0.1 is registered": ask("native", redirect_uri="http://localhost:5000/cb"),
    "an error for an address that is not registered": ask(
        redirect_uri="https://evil.example/cb", response_type="token"
    ),
}
RESPONSE = {
    "no response_type": ask(response_type=None),
    "an empty response_type": ask(response_type=""),
    "an unknown response_type": ask(response_type="unknown"),
    "response_type token": ask(response_type="token"),
    "response_type id_token": ask(response_type="id_token"),
    "response_type code id_token": ask(response_type="code id_token"),
    "response_type none": ask(response_type="none"),
    "response_type code twice in one": ask(response_type="code code"),
    "response_type in other letters": ask(response_type="CODE"),
    "response_type twice": ask(response_type=["code", "code"]),
    "response_mode query": ask(response_mode="query"),
    "response_mode fragment": ask(response_mode="fragment"),
    "response_mode form_post": ask(response_mode="form_post"),
    "response_mode form_post, an error": ask(response_mode="form_post", scope="openid read"),
    "response_mode query.jwt": ask(response_mode="query.jwt"),
    "response_mode web_message": ask(response_mode="web_message"),
    "an unknown response_mode": ask(response_mode="unknown"),
    "response_mode twice": ask(response_mode=["query", "query"]),
}
SCOPE_AND_STATE = {
    "no scope": ask(scope=None, nonce=None),
    "an empty scope": ask(scope="", nonce=None),
    "a blank scope": ask(scope=" ", nonce=None),
    "an unknown scope": ask(scope="openid unknown"),
    "only an unknown scope": ask(scope="unknown", nonce=None),
    "a scope of other clients": ask(scope="openid read"),
    "a scope that another client has": ask("narrow", scope="openid profile"),
    "a scope with letters that it cannot have": ask(scope='openid "email"'),
    "a scope of openid twice": ask(scope="openid openid"),
    "a scope without openid": ask(scope="email", nonce=None),
    "a scope without openid, with a nonce": ask(scope="email"),
    "a scope without openid, with max_age": ask(scope="email", nonce=None, max_age="600"),
    "scope twice": ask(scope=["openid", "email"]),
    "offline_access without asking for consent": ask(scope="openid offline_access"),
    "offline_access with prompt consent": ask(scope="openid offline_access", prompt="consent"),
    "no state": ask(state=None, scope="openid read"),
    "state twice": ask(state=["a", "b"]),
    "a state of 4,000 letters": ask(state="s" * 4_000),
    "a state in other letters": ask(state="žluťoučký 🐎"),
    "an unknown parameter": ask(unknown="a"),
    "an unknown parameter twice": ask(unknown=["a", "b"]),
    "a parameter without a name": ask(**{"": "a"}),
    "no nonce": ask(nonce=None),
    "nonce twice": ask(nonce=["a", "b"]),
    "a resource": ask(resource="https://api.example"),
}
PROMPTS = {
    "prompt none": ask(prompt="none"),
    "prompt login": ask(prompt="login"),
    "prompt consent": ask(prompt="consent"),
    "prompt select_account": ask(prompt="select_account"),
    "prompt login consent": ask(prompt="login consent"),
    "prompt create": ask(prompt="create"),
    "prompt none login": ask(prompt="none login"),
    "an unknown prompt": ask(prompt="unknown"),
    "an unknown prompt beside a known one": ask(prompt="login unknown"),
    "an empty prompt": ask(prompt=""),
    "prompt twice": ask(prompt=["login", "consent"]),
    "nobody is signed in": ask(by="nobody"),
    "nobody is signed in, prompt none": ask(by="nobody", prompt="none"),
    "nobody is signed in, prompt none, form_post": ask(by="nobody", prompt="none", response_mode="form_post"),
    "never allowed": ask("stranger"),
    "never allowed, prompt none": ask("stranger", prompt="none"),
    "max_age 0": ask(max_age="0"),
    "max_age 0, prompt none": ask(max_age="0", prompt="none"),
    "max_age 10000": ask(max_age="10000"),
    "a negative max_age": ask(max_age="-1"),
    "a max_age that is no number": ask(max_age="abc"),
    "a max_age with a fraction": ask(max_age="1.5"),
    "a max_age beyond all ages": ask(max_age="9" * 30),
    "an empty max_age": ask(max_age=""),
    "max_age twice": ask(max_age=["1", "1"]),
    "an unknown display": ask(display="unknown"),
    "odd ui_locales": ask(ui_locales="xx-unknown ?"),
    "an unknown acr_values": ask(acr_values="unknown"),
    "a login_hint of nobody": ask(login_hint="nobody@example.com"),
    "a login_hint of somebody else": ask(login_hint=EVE),
    "a login_hint of somebody else, prompt none": ask(login_hint=EVE, prompt="none"),
    "a login_hint of who is here": ask(login_hint=EMAIL, prompt="none"),
}
CLAIMS = {
    "claims that are no JSON": ask(claims="{"),
    "claims that are a list": ask(claims="[]"),
    "claims that are a text": ask(claims='"x"'),
    "claims without members": ask(claims="{}"),
    "claims with an unknown member": ask(claims='{"other": {}}'),
    "claims with a list inside": ask(claims='{"id_token": []}'),
    "claims with a text inside": ask(claims='{"id_token": {"email": "x"}}'),
    "claims with a member that is null": ask(claims='{"id_token": {"email": null}}'),
    "claims with an unknown claim": ask(claims='{"id_token": {"unknown": {"essential": true}}}'),
    "claims with essential that is no truth value": ask(
        claims='{"id_token": {"email": {"essential": "yes"}}}'
    ),
    "claims with a sub of nobody": ask(claims='{"id_token": {"sub": {"value": "nobody"}}}', prompt="none"),
    "claims with an essential acr that there is not": ask(
        claims='{"id_token": {"acr": {"essential": true, "value": "unknown"}}}', prompt="none"
    ),
    "claims with an acr that there is not": ask(
        claims='{"id_token": {"acr": {"value": "unknown"}}}', prompt="none"
    ),
    "claims of a scope that was not allowed, prompt none": claims_not_allowed,
    "claims twice": ask(claims=["{}", "{}"]),
}
HINTS = {
    "an id_token_hint": ask(id_token_hint=id_token()),
    "an id_token_hint, prompt none": ask(id_token_hint=id_token(), prompt="none"),
    "an id_token_hint of somebody else": ask(id_token_hint=id_token(by=EVE)),
    "an id_token_hint of somebody else, prompt none": ask(id_token_hint=id_token(by=EVE), prompt="none"),
    "an id_token_hint that is none": ask(id_token_hint="garbage"),
    "an id_token_hint with a wrong signature": ask(id_token_hint=lambda side: bent(id_token()(side))),
    "an id_token_hint that somebody else signed": ask(id_token_hint=of_nobody),
    "an id_token_hint of another client": ask(id_token_hint=id_token("other"), prompt="none"),
    "an id_token_hint that is an access token": ask(
        id_token_hint=lambda side: side.tokens("web")["access_token"]
    ),
    "id_token_hint twice": ask(id_token_hint=["a", "a"]),
}
PKCE = {
    "no code_challenge": ask(code_challenge=None, code_challenge_method=None),
    "no code_challenge, but a method": ask(code_challenge=None),
    "no code_challenge, a client that is exempted": ask(
        "exempted", code_challenge=None, code_challenge_method=None
    ),
    "no code_challenge, but a method, a client that is exempted": ask("exempted", code_challenge=None),
    "a public client without code_challenge": ask("spa", code_challenge=None, code_challenge_method=None),
    "no code_challenge_method": ask(code_challenge_method=None),
    "code_challenge_method plain": ask(code_challenge_method="plain", code_challenge=VERIFIER),
    "an unknown code_challenge_method": ask(code_challenge_method="S512"),
    "a code_challenge that is too short": ask(code_challenge="a" * 42),
    "a code_challenge that is too long": ask(code_challenge="a" * 44),
    "a code_challenge in other letters": ask(code_challenge="!" * 43),
    "a code_challenge with padding": ask(code_challenge=f"{pkce.s256(VERIFIER)}="),
    "code_challenge twice": ask(code_challenge=["a" * 43, "b" * 43]),
}
REQUEST_OBJECTS = {
    "a request object": ask_with_object(),
    "a request object and nothing beside it": only_object(),
    "a request object with the type of RFC 9101": ask_with_object(header={"typ": "oauth-authz-req+jwt"}),
    "a request object with another type": ask_with_object(header={"typ": "at+jwt"}),
    "a request object without a signature": ask("signer", request=unsigned),
    "a request object that is none": ask("signer", request="garbage"),
    "an empty request object": ask("signer", request=""),
    "a request object with a wrong signature": ask(
        "signer", request=lambda side: bent(side.request_object("signer"))
    ),
    "a request object signed by somebody else": ask_with_object(key=ANOTHER_KEY),
    "a request object alone, signed by somebody else": only_object(key=ANOTHER_KEY),
    "a request object by the client's secret": ask("signer", request=by_secret),
    "a request object of a client without keys": ask_with_object("web"),
    "a request object for another server": ask_with_object(aud="https://other.example"),
    "a request object without an audience": ask_with_object(aud=None),
    "a request object for several servers": ask_with_object(
        aud=lambda side: [side.issuer, "https://other.example"]
    ),
    "a request object of another issuer": ask_with_object(iss="another"),
    "a request object without an issuer": ask_with_object(iss=None),
    "a request object of another client": ask_with_object(client_id="another"),
    "a request object without a client_id": ask_with_object(client_id=None),
    "a request object that has expired": ask_with_object(exp=clock.now() - 100),
    "a request object that never expires": ask_with_object(exp=None),
    "a request object of the future": ask_with_object(nbf=clock.now() + 600),
    "a request object issued in the future": ask_with_object(iat=clock.now() + 600, exp=clock.now() + 700),
    "a request object in a request object": ask_with_object(request="x"),
    "a request_uri in a request object": ask_with_object(request_uri="https://app.example/r"),
    "a request object that looks like an assertion": ask_with_object(sub=lambda side: side.id_of("signer")),
    "a request object with a redirect_uri that is not registered": ask_with_object(
        redirect_uri="https://evil.example/cb"
    ),
    "a request object with another response_type": ask_with_object(response_type="token"),
    "a request object with a response_type that there is not": only_object(response_type="token"),
    "a request object alone, with a redirect_uri that is not registered": only_object(
        redirect_uri="https://evil.example/cb"
    ),
    "a request object alone, without a client_id": only_object(client_id=None),
    "a request object alone, that has expired": only_object(exp=clock.now() - 100),
    "a request object alone, refused, with a response_mode": only_object(
        key=ANOTHER_KEY, response_mode="form_post"
    ),
    "a request object with a scope it may not have": only_object(scope="openid read"),
    "a request object with a max_age that is a number": ask_with_object(max_age=600),
    "a request object with a max_age that is a list": ask_with_object(max_age=[600]),
    "a request object with a scope that is a list": ask_with_object(scope=["openid"]),
    "a request object with claims that are an object": ask_with_object(claims={"id_token": {"email": None}}),
    "a request object with another state": ask_with_object(state="another"),
    "a request object and a parameter beside it": ask_with_object(outside={"prompt": "login"}),
    "a request object and another state beside it": ask_with_object(outside={"state": "another"}),
    "a request object and another scope beside it": ask_with_object(outside={"scope": "openid read"}),
    "a request object and another redirect_uri beside it": ask_with_object(
        outside={"redirect_uri": "https://evil.example/cb"}
    ),
    "request twice": ask("signer", request=["a", "a"]),
    "a request_uri": ask("signer", request_uri="https://app.example/request"),
    "request and request_uri": ask_with_object(outside={"request_uri": "https://app.example/request"}),
    "nothing signed where it must be": ask("must-sign"),
    "signed where it must be": ask_with_object("must-sign"),
    "signed with an alg that is not the registered one": ask_with_object(
        "must-sign", key=key_for("RS256"), alg="RS256"
    ),
}
AUTHORIZATION_METHODS = {
    "POST of a valid request": ask(method="POST"),
    "POST with an unknown client_id": ask("nobody", method="POST"),
    "PUT": ask(method="PUT"),
    "DELETE": ask(method="DELETE"),
}


# ---- the endpoints of machines -----------------------------------------------------------------------------


def post(endpoint, name="web", method="POST", **changed):
    """A request of a client with its own proof. `changed`: the body."""

    def send(side):
        body = {key: resolved(side, value) for key, value in changed.items()}
        arguments = side.proven(name, {key: value for key, value in body.items() if value is not None})
        return side.send(method, side.endpoint(endpoint), **arguments)

    return send


def post_raw(endpoint, *, auth=None, headers=None, method="POST", query="", data=None, json=None):
    """A request as it stands: `auth` and `data` may be functions of the side."""

    def send(side):
        body = resolved(side, data)
        body = {key: resolved(side, value) for key, value in body.items()} if isinstance(body, dict) else body
        given = {"auth": resolved(side, auth), "headers": resolved(side, headers), "data": body, "json": json}
        return side.send(method, side.endpoint(endpoint) + query, **given)

    return send


def token(name="web", **changed):
    return post("token", name, **changed)


def exchange(name="web", by=None, request=None, **changed):
    """A fresh code of the client `by`, presented by the client `name`."""

    def send(side):
        body = code_request(side.code(by or name, **request or {}), **changed)
        return side.send("POST", side.endpoint("token"), **side.proven(name, body))

    return send


def exchange_twice(name="web", **second):
    def send(side):
        body = code_request(side.code(name))
        side.granted(name, body)
        return side.send("POST", side.endpoint("token"), **side.proven(name, body | second))

    return send


def refresh(name="web", by=None, **changed):
    """A fresh refresh token of the client `by`, presented by the client `name`."""

    def send(side):
        body = {"grant_type": "refresh_token", "refresh_token": side.tokens(by or name)["refresh_token"]}
        return side.send("POST", side.endpoint("token"), **side.proven(name, body | changed))

    return send


def refresh_again(side):
    """A refresh token that was used already."""
    body = {"grant_type": "refresh_token", "refresh_token": side.tokens("web")["refresh_token"]}
    side.granted("web", body)
    return side.send("POST", side.endpoint("token"), **side.proven("web", body))


def refresh_after_theft(side):
    """The refresh token that came of one that was then used again."""
    body = {"grant_type": "refresh_token", "refresh_token": side.tokens("web")["refresh_token"]}
    second = side.granted("web", body)
    side.send("POST", side.endpoint("token"), **side.proven("web", body))
    return side.send(
        "POST",
        side.endpoint("token"),
        **side.proven("web", body | {"refresh_token": second["refresh_token"]}),
    )


def refresh_after_revocation(side):
    tokens = side.tokens("web")
    side.send("POST", side.endpoint("revocation"), **side.proven("web", {"token": tokens["refresh_token"]}))
    body = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    return side.send("POST", side.endpoint("token"), **side.proven("web", body))


MACHINE = {"grant_type": "client_credentials"}


def secret(side, name="machine"):
    return side.clients[name]["client_secret"]


def basic(name="machine", password=None):
    return lambda side: (side.id_of(name), secret(side, name) if password is None else password)


def as_machine(auth=None, **changed):
    return post_raw("token", auth=auth, data=MACHINE | changed)


def client_id(name):
    return lambda side: side.id_of(name)


def asserted(name="machine-by-key", body=None, **changed):
    """With a client assertion; `changed` are its claims, `key`, `alg` and `header`."""

    def send(side):
        claims = {key: resolved(side, value) for key, value in changed.items()}
        given = with_assertion(side.assertion(name, **claims), **MACHINE) | (body or {})
        return side.send(
            "POST", side.endpoint("token"), data={k: v for k, v in given.items() if v is not None}
        )

    return send


def asserted_by_secret(alg="HS256", key=None, **changed):
    def send(side):
        signer = secret_key(key or secret(side, "machine-by-secret-jwt"))
        return asserted("machine-by-secret-jwt", key=signer, alg=alg, **changed)(side)

    return send


def asserted_twice(side):
    data = with_assertion(side.assertion("machine-by-key"), **MACHINE)
    side.send("POST", side.endpoint("token"), data=data)
    return side.send("POST", side.endpoint("token"), data=data)


def unsigned_assertion(side):
    claims = assertion_claims(side.id_of("machine-by-key"), aud=side.issuer)
    data = with_assertion(f"{segment({'alg': 'none'})}.{segment(claims)}.", **MACHINE)
    return side.send("POST", side.endpoint("token"), data=data)


def token_endpoint(side):
    return side.endpoint("token")


CLIENT_AUTHENTICATION = {
    "a valid machine": as_machine(basic()),
    "no client authentication": as_machine(),
    "an unknown client": as_machine(("nobody", "secret")),
    "an unknown client in the body": as_machine(client_id="nobody", client_secret="secret"),
    "a wrong secret in the header": as_machine(basic(password="wrong")),
    "an empty secret in the header": as_machine(basic(password="")),
    "a wrong secret in the body": post_raw(
        "token",
        data={
            "grant_type": "refresh_token",
            "refresh_token": "x",
            "client_id": client_id("post"),
            "client_secret": "x",
        },
    ),
    "an empty secret in the body": as_machine(client_id=client_id("machine"), client_secret=""),
    "only a client_id of a confidential client": as_machine(client_id=client_id("machine")),
    "a secret in the body that belongs into the header": as_machine(
        client_id=client_id("machine"), client_secret=secret
    ),
    "a secret in the header that belongs into the body": post_raw(
        "token", auth=basic("post"), data={"grant_type": "refresh_token", "refresh_token": "x"}
    ),
    "a secret in header and body": as_machine(basic(), client_id=client_id("machine"), client_secret=secret),
    "another client_id in the body": as_machine(basic(), client_id="another"),
    "the same client_id in the body": as_machine(basic(), client_id=client_id("machine")),
    "a header that is not base64": post_raw("token", headers={"Authorization": "Basic %"}, data=MACHINE),
    "a header without a colon": post_raw(
        "token", headers={"Authorization": "Basic bm9jb2xvbg=="}, data=MACHINE
    ),
    "an empty header": post_raw("token", headers={"Authorization": ""}, data=MACHINE),
    "a header with another scheme": post_raw("token", headers={"Authorization": "Bearer x"}, data=MACHINE),
    "a public client with a secret": post_raw(
        "token",
        data={
            "grant_type": "refresh_token",
            "refresh_token": "x",
            "client_id": client_id("spa"),
            "client_secret": "x",
        },
    ),
    "a public client in the header": post_raw(
        "token",
        auth=lambda side: (side.id_of("spa"), ""),
        data={"grant_type": "refresh_token", "refresh_token": "x"},
    ),
    "a public client with a grant that is not its own": as_machine(client_id=client_id("spa")),
    "client_id twice in the body": post_raw(
        "token",
        data=lambda side: [
            ("grant_type", "refresh_token"),
            ("refresh_token", "x"),
            *[("client_id", side.id_of("spa"))] * 2,
        ],
    ),
    "an assertion": asserted(),
    "an assertion beside its client_id": asserted(body={"client_id": None}),
    "an assertion with another client_id": asserted(body={"client_id": "another"}),
    "an assertion without its type": asserted(body={"client_assertion_type": None}),
    "an assertion of another type": asserted(body={"client_assertion_type": SAML_BEARER}),
    "the type of an assertion without one": asserted(body={"client_assertion": None}),
    "an assertion that is none": asserted(body={"client_assertion": "garbage"}),
    "an assertion without a signature": unsigned_assertion,
    "an assertion for the token endpoint": asserted(aud=token_endpoint),
    "an assertion for another server": asserted(aud="https://other.example"),
    "an assertion for several servers": asserted(aud=lambda side: [side.issuer, "https://other.example"]),
    "an assertion without an audience": asserted(aud=None),
    "an assertion that has expired": asserted(exp=clock.now() - 100),
    "an assertion that never expires": asserted(exp=None),
    "an assertion that lives for a day": asserted(exp=clock.now() + 86_400),
    "an assertion of the future": asserted(nbf=clock.now() + 600),
    "an assertion without a jti": asserted(jti=None),
    "an assertion that was used before": asserted_twice,
    "an assertion with another sub": asserted(sub="another"),
    "an assertion with another iss": asserted(iss="another"),
    "an assertion without a sub": asserted(sub=None),
    "an assertion by another key": asserted(key=ANOTHER_KEY),
    "an assertion by the public key as a secret": asserted(
        key=secret_key(KEY.as_pem(private=False)), alg="HS256", header={"kid": KEY.kid}
    ),
    "an assertion beside a header": post_raw(
        "token", auth=basic(), data=lambda side: with_assertion(side.assertion("machine-by-key"), **MACHINE)
    ),
    "an assertion beside a secret": asserted(body={"client_secret": "x"}),
    "an assertion of a client that has a secret": asserted("machine"),
    "an assertion of an unknown client": asserted("nobody"),
    "an assertion by the secret": asserted_by_secret(),
    "an assertion by another secret": asserted_by_secret(key="x" * 64),
    "an assertion by the secret with another alg": asserted_by_secret(alg="HS512"),
}
GRANT_TYPES = {
    "no grant_type": token(),
    "an empty grant_type": token(grant_type=""),
    "an unknown grant_type": token(grant_type="unknown"),
    "grant_type password": token(grant_type="password", username="ada", password="x"),
    "grant_type implicit": token(grant_type="implicit"),
    "grant_type in other letters": token(grant_type="Refresh_Token", refresh_token="x"),
    "grant_type twice": post_raw(
        "token",
        auth=basic(),
        data=[("grant_type", "client_credentials"), ("grant_type", "client_credentials")],
    ),
    "a grant that is not the client's": token(grant_type="client_credentials"),
    "a code of a machine": token(
        "machine", grant_type="authorization_code", code="x", redirect_uri=REDIRECT_URI
    ),
    "a refresh token of a machine": token("machine", grant_type="refresh_token", refresh_token="x"),
    "a grant of a resource server": token("api", grant_type="client_credentials"),
    "parameters in JSON": post_raw("token", auth=basic(), json=MACHINE),
    "parameters in the URL": post_raw("token", auth=basic(), query="?grant_type=client_credentials"),
    "a parameter in the URL beside the body": post_raw(
        "token", auth=basic(), query="?scope=read", data=MACHINE
    ),
    "parameters without a content type": post_raw(
        "token", auth=basic(), headers={"Content-Type": ""}, data="grant_type=client_credentials"
    ),
    "no body": post_raw("token", auth=basic()),
    "an unknown parameter of the token endpoint": post_raw(
        "token", auth=basic(), data=MACHINE | {"unknown": "x"}
    ),
    "GET of the token endpoint": post_raw(
        "token", auth=basic(), method="GET", query="?grant_type=client_credentials"
    ),
    "PUT of the token endpoint": post_raw("token", auth=basic(), method="PUT", data=MACHINE),
    "a machine asks for an unknown scope": token("machine", **MACHINE, scope="unknown"),
    "a machine asks for a scope of people": token("machine", **MACHINE, scope="openid"),
    "a machine asks for its scope": token("machine", **MACHINE, scope="read"),
}
CODES = {
    "a code": exchange(),
    "no code": token(grant_type="authorization_code", redirect_uri=REDIRECT_URI, code_verifier=VERIFIER),
    "an empty code": token(
        grant_type="authorization_code", code="", redirect_uri=REDIRECT_URI, code_verifier=VERIFIER
    ),
    "an invented code": token(**code_request("invented")),
    "a code in unusual letters": token(**code_request("näh")),
    "code twice": post_raw(
        "token", auth=basic("web"), data=lambda side: [*code_request("x").items(), ("code", "y")]
    ),
    "a code of another client": exchange("other", by="web"),
    "a code of another client, a public one": exchange("spa", by="web"),
    "a code that was used before": exchange_twice(),
    "a code that was used before, with another verifier": exchange_twice(code_verifier="w" * 43),
    "another redirect_uri": exchange(redirect_uri="https://app.example/other"),
    "no redirect_uri": exchange(redirect_uri=None),
    "no redirect_uri in both requests": exchange(request={"redirect_uri": None}, redirect_uri=None),
    "a redirect_uri only at the token endpoint": exchange(request={"redirect_uri": None}),
    "no redirect_uri, a client that is exempted": exchange(
        "exempted",
        request={"code_challenge": None, "code_challenge_method": None},
        redirect_uri=None,
        code_verifier=None,
    ),
    "no code_verifier": exchange(code_verifier=None),
    "an empty code_verifier": exchange(code_verifier=""),
    "another code_verifier": exchange(code_verifier="w" * 43),
    "a code_verifier that is too short": exchange(code_verifier="v" * 42),
    "a code_verifier that is too long": exchange(code_verifier="v" * 129),
    "a code_verifier in other letters": exchange(code_verifier="!" * 43),
    "a code_verifier where there was no challenge": exchange(
        "exempted", request={"code_challenge": None, "code_challenge_method": None}
    ),
    "no code_verifier, a client that is exempted and sent a challenge": exchange(
        "exempted", code_verifier=None
    ),
    "a client that is exempted": exchange(
        "exempted", request={"code_challenge": None, "code_challenge_method": None}, code_verifier=None
    ),
    "a scope at the exchange": exchange(scope="openid read"),
}
REFRESH_TOKENS = {
    "a refresh token": refresh(),
    "no refresh_token": token(grant_type="refresh_token"),
    "an invented refresh_token": token(grant_type="refresh_token", refresh_token="invented"),
    "refresh_token twice": post_raw(
        "token",
        auth=basic("web"),
        data=[("grant_type", "refresh_token"), ("refresh_token", "x"), ("refresh_token", "y")],
    ),
    "a refresh token of another client": refresh("other", by="web"),
    "a refresh token of a confidential client by a public one": refresh("spa", by="web"),
    "a refresh token of a public client by another one": refresh("spa", by="native"),
    "a refresh token that was used before": refresh_again,
    "a refresh token whose ancestor was stolen": refresh_after_theft,
    "a refresh token that was revoked": refresh_after_revocation,
    "an access token as refresh token": token(
        grant_type="refresh_token", refresh_token=lambda side: side.tokens("web")["access_token"]
    ),
    "a narrower scope": refresh(scope="openid"),
    "a wider scope": refresh("narrow", scope="openid email profile"),
    "an unknown scope at the refresh": refresh(scope="openid unknown"),
    "a blank scope at the refresh": refresh(scope=" "),
    "a client that is not registered for it": token(
        "without-refresh", grant_type="refresh_token", refresh_token="x"
    ),
}


# ---- userinfo, introspection, revocation -------------------------------------------------------------------


def bearer(find, method="GET", **more):
    """At userinfo, with a token in the header."""

    def send(side):
        headers = {"Authorization": f"Bearer {resolved(side, find)}"}
        return side.send(method, side.endpoint("userinfo"), headers=headers, **more)

    return send


def access_token(name="web", **changed):
    return lambda side: side.tokens(name, **changed)["access_token"]


def refresh_token(name="web"):
    return lambda side: side.tokens(name)["refresh_token"]


def machine_token(side):
    return side.machine_token()


def revoked(side):
    tokens = side.tokens("web")
    side.send("POST", side.endpoint("revocation"), **side.proven("web", {"token": tokens["access_token"]}))
    return tokens["access_token"]


def header_and_form(side):
    value = access_token()(side)
    headers = {"Authorization": f"Bearer {value}"}
    return side.send("POST", side.endpoint("userinfo"), headers=headers, data={"access_token": value})


USERINFO = {
    "userinfo": bearer(access_token()),
    "userinfo by POST": bearer(access_token(), "POST"),
    "userinfo with the token in the form": post_raw("userinfo", data={"access_token": access_token()}),
    "userinfo with the token in the URL": lambda side: side.send(
        "GET", f"{side.endpoint('userinfo')}?access_token={access_token()(side)}"
    ),
    "userinfo with the token twice": header_and_form,
    "userinfo without a token": post_raw("userinfo", method="GET"),
    "userinfo with an empty token": bearer(""),
    "userinfo with an invented token": bearer("invented"),
    "userinfo with letters that no token has": bearer("inv,ented"),
    "userinfo with another scheme": post_raw("userinfo", method="GET", auth=basic("web")),
    "userinfo with a token that was revoked": bearer(revoked),
    "userinfo with a refresh token": bearer(refresh_token()),
    "userinfo with an ID token": bearer(id_token()),
    "userinfo without the scope openid": bearer(access_token(scope="email", nonce=None)),
    "userinfo of a machine": bearer(machine_token),
    "userinfo by PUT": bearer("x", "PUT"),
}
INTROSPECTION = {
    "introspection by a resource server": post("introspection", "api", token=access_token()),
    "introspection by the client itself": post("introspection", "web", token=access_token()),
    "introspection by another client": post("introspection", "other", token=access_token()),
    "introspection without authentication": post_raw("introspection", data={"token": "x"}),
    "introspection with a wrong secret": post_raw(
        "introspection", auth=basic("api", "wrong"), data={"token": "x"}
    ),
    "introspection by a public client": post("introspection", "spa", token=access_token("spa")),
    "introspection without a token": post("introspection", "api"),
    "introspection of an empty token": post("introspection", "api", token=""),
    "introspection of an invented token": post("introspection", "api", token="invented"),
    "introspection of a token in unusual letters": post("introspection", "api", token="näh"),
    "introspection of a refresh token by its client": post("introspection", "web", token=refresh_token()),
    "introspection of a refresh token by a resource server": post(
        "introspection", "api", token=refresh_token()
    ),
    "introspection of a token that was revoked": post("introspection", "api", token=revoked),
    "introspection of an ID token": post("introspection", "api", token=id_token()),
    "introspection with an unknown hint": post(
        "introspection", "api", token=access_token(), token_type_hint="unknown"
    ),
    "introspection with a wrong hint": post(
        "introspection", "api", token=access_token(), token_type_hint="refresh_token"
    ),
    "introspection with the token twice": post_raw(
        "introspection", auth=basic("api"), data=[("token", "x"), ("token", "y")]
    ),
    "introspection by GET": post_raw("introspection", auth=basic("api"), method="GET", query="?token=x"),
    "introspection with the token in the URL": post_raw("introspection", auth=basic("api"), query="?token=x"),
    "introspection in JSON": post_raw("introspection", auth=basic("api"), json={"token": "x"}),
}
REVOCATION = {
    "revocation of an access token": post("revocation", token=access_token()),
    "revocation of a refresh token": post("revocation", token=refresh_token()),
    "revocation of what was revoked": post("revocation", token=revoked),
    "revocation of an invented token": post("revocation", token="invented"),
    "revocation of another client's token": post("revocation", "other", token=access_token()),
    "revocation of another client's refresh token": post("revocation", "other", token=refresh_token()),
    "revocation without a token": post("revocation"),
    "revocation of an empty token": post("revocation", token=""),
    "revocation without authentication": post_raw("revocation", data={"token": "x"}),
    "revocation with a wrong secret": post_raw("revocation", auth=basic("web", "wrong"), data={"token": "x"}),
    "revocation by a public client": post("revocation", "spa", token=access_token("spa")),
    "revocation with an unknown hint": post("revocation", token=access_token(), token_type_hint="unknown"),
    "revocation with a wrong hint": post("revocation", token=access_token(), token_type_hint="refresh_token"),
    "revocation of an ID token": post("revocation", token=id_token()),
    "revocation with the token twice": post_raw(
        "revocation", auth=basic("web"), data=[("token", "x"), ("token", "y")]
    ),
    "revocation by GET": post_raw("revocation", auth=basic("web"), method="GET", query="?token=x"),
    "revocation with the token in the URL": post_raw("revocation", auth=basic("web"), query="?token=x"),
}


# ---- the end of a session, and what is public --------------------------------------------------------------


def sign_out(by=None, method="GET", **parameters):
    """By somebody who is signed in for this alone; `by="nobody"` by nobody.

    The ID token for a hint is of the same sign-in.
    """

    def send(side):
        browser = side.signed_in(EMAIL) if by is None else None
        given = {}
        for name, value in parameters.items():
            given[name] = value(side, browser) if callable(value) else value
        return side.open(method, "end_session", urlencode(given, doseq=True), browser)

    return send


def own(side, browser):
    return side.tokens("web", browser)["id_token"]


def web(side, browser):
    return side.id_of("web")


END_SESSION = {
    "sign-out without parameters": sign_out(),
    "sign-out of nobody without parameters": sign_out("nobody"),
    "sign-out with a hint": sign_out(id_token_hint=own, post_logout_redirect_uri=GOODBYE, state="the state"),
    "sign-out with a hint and nowhere to go": sign_out(id_token_hint=own),
    "sign-out with a hint and its client_id": sign_out(
        id_token_hint=own, client_id=web, post_logout_redirect_uri=GOODBYE
    ),
    "sign-out with a client_id": sign_out(client_id=web, post_logout_redirect_uri=GOODBYE, state="the state"),
    "sign-out with an unknown client_id": sign_out(client_id="nobody", post_logout_redirect_uri=GOODBYE),
    "sign-out with an address and no client": sign_out(post_logout_redirect_uri=GOODBYE),
    "sign-out with an address that is not registered": sign_out(
        id_token_hint=own, post_logout_redirect_uri=REDIRECT_URI
    ),
    "sign-out with an address with a slash more": sign_out(
        id_token_hint=own, post_logout_redirect_uri=f"{GOODBYE}/"
    ),
    "sign-out with a client_id and an address that is not registered": sign_out(
        client_id=web, post_logout_redirect_uri="https://evil.example/"
    ),
    "sign-out with a client_id and a hint that differ": sign_out(
        id_token_hint=own,
        client_id=lambda side, browser: side.id_of("other"),
        post_logout_redirect_uri=GOODBYE,
    ),
    "sign-out with a hint that is none": sign_out(id_token_hint="garbage", post_logout_redirect_uri=GOODBYE),
    "sign-out with a hint with a wrong signature": sign_out(
        id_token_hint=lambda side, browser: bent(own(side, browser))
    ),
    "sign-out with a hint that somebody else signed": sign_out(
        id_token_hint=lambda side, browser: of_nobody(side)
    ),
    "sign-out with an access token as hint": sign_out(
        id_token_hint=lambda side, browser: side.tokens("web", browser)["access_token"]
    ),
    "sign-out with a parameter twice": sign_out(state=["a", "b"]),
    "sign-out by POST": sign_out(
        method="POST", id_token_hint=own, post_logout_redirect_uri=GOODBYE, state="the state"
    ),
    "sign-out by PUT": sign_out(method="PUT"),
}


def public_document(endpoint, method="GET", query="", **headers):
    def send(side):
        url = "/.well-known/openid-configuration" if endpoint == "discovery" else side.endpoint(endpoint)
        return side.send(method, url + query, headers=headers)

    return send


PUBLIC = {
    f"{method} of {name}{words}": public_document(endpoint, method, query)
    for endpoint, name in (("discovery", "the metadata"), ("jwks", "the keys"))
    for method, query, words in (
        ("GET", "", ""),
        ("GET", "?a=b", " with a query"),
        ("HEAD", "", ""),
        ("POST", "", ""),
        ("DELETE", "", ""),
        ("GET", "/", " with a slash more"),
    )
} | {
    "GET of the metadata of RFC 8414": lambda side: side.send(
        "GET", "/.well-known/oauth-authorization-server"
    ),
    "GET of an unknown path": lambda side: side.send("GET", "/.well-known/unknown"),
}

REQUESTS = {}
for section in (
    CLIENT_AND_ADDRESS,
    RESPONSE,
    SCOPE_AND_STATE,
    PROMPTS,
    CLAIMS,
    HINTS,
    PKCE,
    REQUEST_OBJECTS,
    AUTHORIZATION_METHODS,
    CLIENT_AUTHENTICATION,
    GRANT_TYPES,
    CODES,
    REFRESH_TOKENS,
    USERINFO,
    INTROSPECTION,
    REVOCATION,
    END_SESSION,
    PUBLIC,
):
    assert not REQUESTS.keys() & section.keys(), REQUESTS.keys() & section.keys()
    REQUESTS |= section
