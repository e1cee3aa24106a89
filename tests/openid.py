"""An OpenID Connect client in the test client: through the pages to a code, to tokens, and to claims that are
verified.

Verification is joserfc's, with the keys of the JWKS: none of the server's own code looks at what it signed.
"""

from urllib.parse import parse_qs, urlsplit

from joserfc import jwt
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from tests.builders import ISSUER, a_client, basic, code_request, refresh_request
from tests.pages.steps import ask, page, press

SCOPE = "openid profile email"
ALGORITHMS = ["RS256", "ES256", "EdDSA"]


class AllNames(JWSRegistry):
    """joserfc warns of the name EdDSA, by which clients know Ed25519."""

    def get_alg(self, name):
        assert name in self.allowed
        return self.algorithms[name]


def an_openid_client(**changed):
    """A confidential web client called "web" with the scopes of a person.

    Members without a column go by `extra_metadata`.
    """
    return a_client(**{"scope": f"{SCOPE} address phone groups", "extra_metadata": {}} | changed)


def authorize(http, **parameters):
    """The parameters of the authorization response, after Allow where that is asked.

    Somebody is signed in.
    """
    answer = ask(http, **{"scope": SCOPE} | parameters)
    if answer.status_code == 200:
        answer = press(http, answer, "Allow")
    return answer_of(answer)


def answer_of(answer):
    """The authorization response, from the redirect or from the form that is posted."""
    if answer.status_code == 200:
        form = next(form for form in page(answer).forms if "iss" in form.fields)
        return form.fields
    return {name: value for name, (value,) in parse_qs(urlsplit(answer.headers["Location"]).query).items()}


def tokens_for(http, code, client_id="web", **changed):
    answer = http.post("/oauth/token", data=code_request(code, **changed), auth=basic(client_id))
    assert answer.status_code == 200, answer.json
    return answer.json


def sign_in_at_client(http, client_id="web", **parameters):
    """From the authorization request to the token response."""
    return tokens_for(http, authorize(http, client_id=client_id, **parameters)["code"], client_id)


def refresh(http, tokens, client_id="web", **changed):
    answer = http.post(
        "/oauth/token", data=refresh_request(tokens["refresh_token"], **changed), auth=basic(client_id)
    )
    assert answer.status_code == 200, answer.json
    return answer.json


def verified(http, text, typ="JWT"):
    """Header and claims of what the server signed, verified with the keys that it publishes."""
    keys = KeySet.import_key_set(http.get("/oauth/jwks").json)
    token = jwt.decode(text, keys, registry=AllNames(algorithms=ALGORITHMS))
    assert token.claims.get("iss", ISSUER) == ISSUER
    assert token.header["typ"] == typ
    return token.header, token.claims


def id_token_of(http, tokens):
    return verified(http, tokens["id_token"])[1]


def userinfo(http, tokens, **arguments):
    return http.get(
        "/oauth/userinfo", headers={"Authorization": f"Bearer {tokens['access_token']}"}, **arguments
    )
