"""Two servers that are asked the same: a live Ostiary, and npm's oidc-provider with the same clients as an
oracle.

Enters: a request, as a function of a `Side`. Leaves: what came of it, in a few words: status, registered
error, who gets the answer, whether there is a challenge. What only one of the servers could say (its words,
its pages) is left out.
"""

import json
import os
import re
import subprocess
import threading
from contextlib import contextmanager
from subprocess import PIPE
from urllib.parse import parse_qsl, urlencode, urlsplit

import requests

from tests.builders import CHALLENGE, REDIRECT_URI, VERIFIER
from tests.flows.browser_journey import EMAIL, PATIENCE_SECONDS, Browser, add_client, add_person
from tests.flows.judges import NODE_FOLDER
from tests.jose import assertion_claims, jwks, key_for, sign
from tests.live import free_port

EVE = "eve@example.com"
ACCOUNTS = {EMAIL: "Ada", EVE: "Eve"}
GOODBYE = "https://app.example/goodbye"
SCOPE = "openid profile email"
KEY = key_for("ES256", "mine")
# Nothing is repeatable, and nobody has to wait: the oracle knows neither.
EQUAL_SETTINGS = {
    "refresh_leeway": 0,
    "public_refresh_leeway": 0,
    "refresh_retry_lifetime": 0,
    "failed_client_authentications_per_client": 1_000_000,
    "failed_client_authentications_per_address": 1_000_000,
}
OWN_MEMBERS = {
    "client_id_issued_at",
    "is_resource_server",
    "require_pkce",
    "rotate_refresh_tokens",
    "assertion_audience",
}


# ---- the clients, registered once --------------------------------------------------------------------------


def options(*more, redirect_uri=(REDIRECT_URI,), auth_method="client_secret_basic", scope=SCOPE, **members):
    """Of `flask clients add`, for a client of a person."""
    given = [("--auth-method", auth_method), ("--post-logout-redirect-uri", GOODBYE)]
    given += [("--redirect-uri", uri) for uri in redirect_uri] + [("--scope", word) for word in scope.split()]
    given += [("--set", f"{name}={json.dumps(value)}") for name, value in members.items()]
    return [*more, *(argument for option in given for argument in option)]


def machine(*more, auth_method="client_secret_basic", **members):
    given = ["--grant-type", "client_credentials", "--scope", "read", "--auth-method", auth_method, *more]
    return given + [
        argument for name, value in members.items() for argument in ("--set", f"{name}={json.dumps(value)}")
    ]


REGISTRATIONS = {
    "web": options(),
    "other": options(),
    "post": options(auth_method="client_secret_post"),
    "spa": options(auth_method="none"),
    "exempted": options("--no-pkce"),
    "two": options(redirect_uri=(REDIRECT_URI, "https://app.example/other")),
    "narrow": options(scope="openid email"),
    "native": options(auth_method="none", redirect_uri=("http://127.0.0.1/cb",), application_type="native"),
    "stranger": options(),
    "partly": options(),
    "pairwise": options(subject_type="pairwise"),
    "without-refresh": options("--grant-type", "authorization_code"),
    "signer": options(jwks=jwks(KEY)),
    "must-sign": options(
        jwks=jwks(KEY), request_object_signing_alg="ES256", require_signed_request_object=True
    ),
    "by-key": options(auth_method="private_key_jwt", jwks=jwks(KEY)),
    "by-secret-jwt": options(auth_method="client_secret_jwt", token_endpoint_auth_signing_alg="HS256"),
    "machine": machine(),
    "machine-by-key": machine(auth_method="private_key_jwt", jwks=jwks(KEY)),
    "machine-by-secret-jwt": machine(auth_method="client_secret_jwt"),
    "api": ["--resource-server"],
}
EXEMPTED = ("exempted",)


def register(server):
    """The registrations by name, as Ostiary tells them."""
    for email, name in ACCOUNTS.items():
        add_person(server, email, name)
    server.flask("scopes", "add", "read", "--description", "Read your notes")
    return {name: add_client(server, name, *given) for name, given in REGISTRATIONS.items()}


def as_the_oracle_takes_it(registration):
    return {name: value for name, value in registration.items() if name not in OWN_MEMBERS and value != ""}


@contextmanager
def oracle(node, clients, folder):
    """Starts it; gives its issuer. It ends with its stdin."""
    issuer = f"http://127.0.0.1:{free_port()}"
    keys = [
        key_for(alg, f"oracle {alg}").as_dict(private=True) | {"alg": alg}
        for alg in ("RS256", "ES256", "EdDSA")
    ]
    given = {
        "issuer": issuer,
        "clients": [as_the_oracle_takes_it(client) for client in clients.values()],
        "exempted": [clients[name]["client_id"] for name in EXEMPTED],
        "accounts": ACCOUNTS,
        "scopes": [*SCOPE.split(), "offline_access", "read"],
        "jwks": {"keys": keys},
    }
    log = folder / "oracle.log"
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            [node, "--import", "./old-node.mjs", "oracle.mjs", json.dumps(given)],
            cwd=NODE_FOLDER,
            env={"PATH": os.environ["PATH"]},
            text=True,
            stdin=PIPE,
            stdout=PIPE,
            stderr=stderr,
        ) as process,
    ):
        guard = threading.Timer(PATIENCE_SECONDS, process.kill)
        guard.start()
        try:
            assert process.stdout.readline() == "ready\n", log.read_text()
            guard.cancel()
            yield issuer
        finally:
            guard.cancel()
            process.kill()
    complaints = [line for line in log.read_text().splitlines() if line and "WARNING" not in line]
    assert complaints == []


# ---- a server, its people and its tokens -------------------------------------------------------------------


class Side:
    """One of the two servers, with the same people and clients.

    `browser` is Ada's, signed in; `http` is nobody's.
    """

    def __init__(self, issuer, clients):
        self.issuer = issuer
        self.clients = clients
        self.http = requests.Session()
        self.http.trust_env = False
        self.metadata = self.send("GET", "/.well-known/openid-configuration").json()
        self.browser = self.signed_in(EMAIL)

    def close(self):
        self.browser.session.close()
        self.http.close()

    def id_of(self, name):
        return self.clients[name]["client_id"] if name in self.clients else name

    def endpoint(self, name):
        return self.metadata[f"{name}_endpoint" if name != "jwks" else "jwks_uri"]

    def send(self, method, url, session=None, **arguments):
        """`url` may be a path, and is of this side always. No redirect is followed."""
        url = url if url.startswith("http") else self.issuer + url
        return (session or self.http).request(
            method, url, allow_redirects=False, timeout=PATIENCE_SECONDS, **arguments
        )

    def open(self, method, endpoint, parameters, browser=None):
        """As a browser does it: parameters in the URL or in a form.

        A form may come back as a GET of the same address.
        """
        url, headers = self.endpoint(endpoint), {"Accept": "text/html"}
        session = browser.session if browser else None
        if method != "POST":
            return self.send(method, f"{url}?{parameters}" if parameters else url, session, headers=headers)
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        answer = self.send("POST", url, session, data=parameters, headers=headers)
        target = answer.headers.get("Location", "")
        return self.send("GET", target, session) if target.startswith(f"{urlsplit(url).path}?") else answer

    # ---- people --------------------------------------------------------------------------------------------

    def signed_in(self, email):
        """A new browser in which somebody has signed in and has allowed "web" all there is."""
        browser = Browser(self.issuer)
        self.code("web", browser, login_hint=email)
        return browser

    def code(self, name, browser=None, **changed):
        """A fresh code for this client, of whoever the browser belongs to; all is allowed."""
        browser = browser or self.browser
        browser.open(f"{self.endpoint('authorization')}?{urlencode(self.request(name, **changed))}")
        if browser.page and browser.page.title.startswith("Sign in"):
            browser.sign_in(changed.get("login_hint", EMAIL))
        if browser.page:
            browser.press("Allow")
        assert browser.left_for, f"{name}: stuck at {browser.page.title!r}"
        answer = dict(parse_qsl(urlsplit(browser.left_for).query))
        assert "code" in answer, answer
        return answer["code"]

    def tokens(self, name, browser=None, **changed):
        """What a fresh code becomes."""
        [redirect_uri, *_others] = self.clients[name]["redirect_uris"]
        return self.granted(
            name, code_request(self.code(name, browser, **changed), redirect_uri=redirect_uri)
        )

    def granted(self, name, body):
        answer = self.send("POST", self.endpoint("token"), **self.proven(name, body))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def machine_token(self):
        return self.granted("machine", {"grant_type": "client_credentials"})["access_token"]

    # ---- requests ------------------------------------------------------------------------------------------

    def request(self, name, **changed):
        """A valid authorization request. A value of None leaves the parameter out."""
        parameters = {
            "response_type": "code",
            "client_id": self.id_of(name),
            "redirect_uri": self.clients[name]["redirect_uris"][0] if name in self.clients else REDIRECT_URI,
            "scope": self.clients[name]["scope"] if name in self.clients else SCOPE,
            "state": "the state",
            "nonce": "a nonce",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }
        return {key: value for key, value in (parameters | changed).items() if value is not None}

    def request_object(self, name, key=KEY, alg="ES256", header=None, **changed):
        """An authorization request, signed. A claim of None is left out."""
        claims = self.request(name) | {"iss": self.id_of(name), "aud": self.issuer} | times()
        return sign({k: v for k, v in (claims | changed).items() if v is not None}, key, alg, **header or {})

    def assertion(self, name, key=KEY, alg="ES256", header=None, **changed):
        claims = assertion_claims(self.id_of(name), **{"aud": self.issuer} | changed)
        return sign(claims, key, alg, **header or {})

    def proven(self, name, body):
        """The arguments of a request with this client's own proof."""
        client = self.clients[name]
        method = client["token_endpoint_auth_method"]
        if method == "client_secret_basic":
            return {"data": body, "auth": (client["client_id"], client["client_secret"])}
        if method == "none":
            return {"data": body | {"client_id": client["client_id"]}}
        assert method == "client_secret_post"
        return {"data": body | {"client_id": client["client_id"], "client_secret": client["client_secret"]}}


def times():
    claims = assertion_claims()
    return {name: claims[name] for name in ("exp", "iat")}


def code_request(code, **changed):
    body = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": REDIRECT_URI,
        "code_verifier": VERIFIER,
    }
    return {name: value for name, value in (body | changed).items() if value is not None}


# ---- what came of a request --------------------------------------------------------------------------------

FORM = re.compile(r'<form\b[^>]* action="(?P<action>[^"]*)"')
FIELD = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)"')


def outcome(side, answer):
    """In a few words.

    A redirect to an own page and an own page with a form are the same: the person is asked.
    """
    if "Location" in answer.headers:
        target = answer.headers["Location"]
        if target.startswith(("/", f"{side.issuer}/")):
            return signed_out_or_asked(target)
        return (
            f"{answer.status_code} to the client:"
            f" {told(parse_qsl(urlsplit(target).query or urlsplit(target).fragment))}"
        )
    if answer.headers.get("Content-Type", "").startswith("text/html"):
        return outcome_of_page(side, answer)
    words = [str(answer.status_code), error_or_content(answer)]
    if "WWW-Authenticate" in answer.headers:
        words.append("with a challenge")
    return " ".join(word for word in words if word)


def signed_out_or_asked(target):
    path = urlsplit(target).path
    return "signed out" if path in ("/logout", "/session/end/success") else "the person is asked"


def outcome_of_page(side, answer):
    """By the form on it, if there is one: who gets it, and what."""
    form = FORM.search(answer.text)
    is_own = form is not None and form["action"].startswith(("/", f"{side.issuer}/"))
    if form is None or (is_own and answer.status_code >= 400):
        return f"{answer.status_code} page"
    if is_own:
        return "the person is asked"
    return f"{answer.status_code} form to the client: {told(FIELD.findall(answer.text))}"


def told(pairs):
    """Of an authorization response: the error or what it grants, and what is missing of what
    belongs to it.
    """
    given = dict(pairs)
    said = given.get("error") or ("a code" if "code" in given else "the person")
    belongs = ("state", "iss") if said != "the person" else ("state",)
    return " ".join([said, *(f"without {name}" for name in belongs if name not in given)])


def error_or_content(answer):
    try:
        content = answer.json()
    except ValueError:
        return ""
    if "error" in content:
        return content["error"]
    if "active" in content:
        return "active" if content["active"] else "inactive"
    return "tokens" if "access_token" in content else ""
