"""The client that the certification suite is, and the person in front of the browser that it opens.

`RelyingParty` knows the server by its metadata alone and sends what the suite sends: no PKCE, a fresh `state`
and `nonce` in each request, the parameters in alphabetical order. Whatever a module is about, each answer
goes through `conditions.py`.
"""

import secrets
import string
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import parse_qsl, quote_plus, urlencode, urlsplit

from werkzeug.test import TestResponse

from tests.builders import ISSUER, PASSWORD
from tests.certification import conditions
from tests.pages.page import Page
from tests.pages.steps import EMAIL, follow, page, press

CALLBACK = "https://rp.example/callback"
SIGNED_OUT = "https://rp.example/post_logout_redirect"
DISCOVERY_URL = f"{ISSUER}/.well-known/openid-configuration"
URL_SAFE = "-._~"
MAXIMUM_PAGES = 5

# By the heading of a page: the button that the person presses, and what they type.
ANSWERS = {
    "Sign in": ("Sign in", {"email": EMAIL, "password": PASSWORD}),
    "Sign out?": ("Sign out", {}),
    "asks for access": ("Allow", {}),
}


def random_text(length):
    """As the suite makes `state` and `nonce`: a long one ends in what is safe in a URL besides letters and
    digits.
    """
    tail = URL_SAFE if length > 10 else ""
    return (
        "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(length - len(tail)))
        + tail
    )


@dataclass(frozen=True)
class Visit:
    """What the browser showed, page by page, and the last answer that it got: a page, or a redirect to the
    client.
    """

    pages: list[Page]
    answer: TestResponse

    @property
    def headings(self):
        return [" ".join(page.headings[0].split()) for page in self.pages]

    @property
    def destination(self):
        """Where the browser is sent, without the query."""
        return self.answer.headers["Location"].partition("?")[0]

    @property
    def parameters(self):
        """What the client gets in the query: each parameter once, and nothing in a fragment."""
        parts = urlsplit(self.answer.headers["Location"])
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        assert parts.fragment == "" and len(dict(pairs)) == len(pairs)
        return dict(pairs)


def walk(http, answer):
    """Follow an answer as a person does who signs in, allows and confirms, until there is nothing left to
    press.
    """
    pages = []
    answer = follow(http, answer)
    while answer.status_code == 200:
        pages.append(page(answer))
        assert len(pages) <= MAXIMUM_PAGES
        known = [entry for heading, entry in ANSWERS.items() if pages[-1].headings[0].endswith(heading)]
        if not known:
            break
        button, typed = known[0]
        answer = follow(http, press(http, answer, button, **typed))
    if answer.status_code >= 400:
        pages.append(page(answer))
    return Visit(pages, answer)


@dataclass(frozen=True)
class Authorization(Visit):
    """An authorization request that was answered, at the client or by a page."""

    sent: dict[str, str]


@dataclass(frozen=True)
class SignedIn:
    """A whole flow, and what the client knows after it."""

    authorization: Authorization
    tokens: dict
    header: dict  # of the ID token
    claims: dict  # of the ID token
    userinfo: dict


class RelyingParty:
    """A client that is registered already: `credentials` is what its registration printed."""

    def __init__(self, http, credentials, scope="openid"):
        self.http = http
        self.client_id = credentials["client_id"]
        self.secret = credentials["client_secret"]
        self.auth_method = credentials["token_endpoint_auth_method"]
        self.scope = scope

    @cached_property
    def metadata(self):
        return conditions.check_server(self.http.get(DISCOVERY_URL), self)

    @cached_property
    def jwks(self):
        return conditions.check_keys(self.http.get(self.metadata["jwks_uri"]))

    # ---- the authorization endpoint ------------------------------------------------------------------------

    def request(self, **changed):
        """The parameters of an authorization request. A value of None leaves one out."""
        parameters = {
            "client_id": self.client_id,
            "redirect_uri": CALLBACK,
            "response_type": "code",
            "scope": self.scope,
            "state": random_text(10),
            "nonce": random_text(10),
        }
        return {name: value for name, value in sorted((parameters | changed).items()) if value is not None}

    def authorize(self, reverse=False, by_post=False, **changed):
        """Send the person there, and wait until they come back or stand before a page that leads nowhere."""
        assert self.jwks
        sent = self.request(**changed)
        pairs = sorted(sent.items(), reverse=reverse)
        address = self.metadata["authorization_endpoint"]
        if by_post:
            answer = self.http.post(address, data=dict(pairs))
        else:
            answer = self.http.get(f"{address}?{urlencode(pairs)}")
        visit = walk(self.http, answer)
        return Authorization(visit.pages, visit.answer, sent)

    def sign_in(self, verifier=None, **changed):
        """The whole flow, with every check that the suite makes in each of its modules."""
        authorization = self.authorize(**changed)
        conditions.check_authorization_response(authorization)
        return self.exchange(authorization, code_verifier=verifier)

    def sign_in_silently(self, **changed):
        """The whole flow, in which no page may be shown."""
        signed_in = self.sign_in(**changed)
        assert signed_in.authorization.headings == []
        return signed_in

    # ---- the token endpoint, and what comes after it -------------------------------------------------------

    def exchange(self, authorization, **body):
        answer = self.ask_for_tokens(**code_grant(authorization), **body)
        tokens = conditions.check_token_response(answer)
        header, claims = conditions.check_id_token(self, tokens, authorization.sent.get("nonce"))
        answer = self.call_userinfo(tokens)
        assert answer.status_code == 200
        return SignedIn(authorization, tokens, header, claims, answer.json)

    def ask_for_tokens(self, **body):
        assert self.auth_method in self.metadata["token_endpoint_auth_methods_supported"]
        body = {name: value for name, value in body.items() if value is not None}
        address = self.metadata["token_endpoint"]
        if self.auth_method == "client_secret_post":
            return self.http.post(
                address, data=body | {"client_id": self.client_id, "client_secret": self.secret}
            )
        return self.http.post(address, data=body, auth=(quote_plus(self.client_id), quote_plus(self.secret)))

    def call_userinfo(self, tokens):
        header = {"Authorization": f"Bearer {tokens['access_token']}"}
        return self.http.get(self.metadata["userinfo_endpoint"], headers=header)

    # ---- logout --------------------------------------------------------------------------------------------

    def log_out(self, **parameters):
        """Send the person to the end_session_endpoint, who confirms if asked."""
        answer = self.http.get(f"{self.metadata['end_session_endpoint']}?{urlencode(parameters)}")
        return walk(self.http, answer)


def code_grant(authorization):
    """The body that a code is redeemed with, the client's proof aside."""
    code = authorization.parameters["code"]
    return {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": authorization.sent["redirect_uri"],
    }
