"""`private_key_jwt` and `client_secret_jwt`: what an assertion must be, whose key has to sign it, and that it
is good once.
"""

import hmac
import json
import logging
import time
from itertools import count
from urllib.parse import urlencode

import pytest
from joserfc.jwk import RSAKey
from sqlalchemy import func

from app import create_app
from config import Settings
from crypto import jwt
from crypto.encryption import Cipher
from database.tenancy import HOME
from models import Client, SpentAssertion, Throttle, Token, db
from outbound import document_cache, http_client
from protocol import clock
from protocol.client_assertion import digest_of_jti
from protocol.parameters import JWT_BEARER
from services.current import state_of
from store.spent_assertions import SHARE
from tests.builders import (
    CLIENT_SECRET,
    ISSUER,
    SECRET_KEY,
    a_client,
    a_code,
    a_machine,
    a_public_client,
    a_refresh_token,
    a_token,
    a_user,
    basic,
    code_request,
    refresh_request,
)
from tests.jose import (
    assertion_claims,
    jwks,
    key_for,
    public,
    roca_key,
    secret_key,
    segment,
    sign,
    with_assertion,
)
from tests.statements import select, update
from tests.web import WebServer, http_answer, json_answer

CODE = "ost_ac_" + "c" * 43
TOKEN_ENDPOINT = f"{ISSUER}/oauth/token"
KEY = key_for("ES256")
OTHER_KEY = key_for("ES256", "b")
VAULT = Cipher([SECRET_KEY], "client secrets")


@pytest.fixture(scope="module")
def settings():
    return Settings(
        issuer=ISSUER,
        database_url="sqlite://",
        secret_key=SECRET_KEY,
        allow_private_addresses=True,
        signup="open",
    )


def with_keys(*keys, **members):
    """The columns of a client that signs with these."""
    if keys:
        members["jwks"] = jwks(*keys)
    return {
        "token_endpoint_auth_method": "private_key_jwt",
        "client_secret_digest": None,
        "extra_metadata": members,
    }


def with_secret(client_id="robot", secret=CLIENT_SECRET, vault=VAULT, **members):
    return {
        "token_endpoint_auth_method": "client_secret_jwt",
        "client_secret_digest": None,
        "sealed_client_secret": vault.encrypt(secret.encode(), client_id),
        "extra_metadata": members,
    }


@pytest.fixture
def present(http):
    """Ask for a machine's token with an assertion: a token, or the claims of one that KEY signs."""

    def present(assertion=None, /, path="/oauth/token", body=None, **changed):
        if not isinstance(assertion, str):
            assertion = sign(assertion_claims(**changed) if assertion is None else assertion, KEY)
        body = {"grant_type": "client_credentials"} if body is None else body
        return http.post(path, data=with_assertion(assertion, **body))

    return present


@pytest.fixture
def robot(seed):
    seed(a_machine(**with_keys(KEY)))


def check_refused(answer):
    """One answer for all that can be wrong with an assertion."""
    assert (answer.status_code, answer.json) == (
        401,
        {"error": "invalid_client", "error_description": "client authentication failed"},
    )
    assert "WWW-Authenticate" not in answer.headers


SPENT = select(func.count()).select_from(SpentAssertion)
TOKENS = select(func.count()).select_from(Token)


# ---- what works --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alg", jwt.ASYMMETRIC)
def test_a_client_signs_with_its_key(present, seed, alg):
    seed(a_machine(**with_keys(key_for(alg))))
    assert present(sign(assertion_claims(), key_for(alg), alg)).status_code == 200


OCTETS = {"HS256": 32, "HS384": 48, "HS512": 64}  # RFC 7518 §3.2


@pytest.mark.parametrize("alg", jwt.SYMMETRIC)
def test_a_client_signs_with_its_secret(present, seed, alg):
    secret = "s" * OCTETS[alg]
    seed(a_machine(**with_secret(secret=secret)))
    assert present(sign(assertion_claims(), secret_key(secret), alg)).status_code == 200


@pytest.mark.threat("T130")
@pytest.mark.parametrize("alg", jwt.SYMMETRIC)
@pytest.mark.parametrize("is_registered", [True, False])
def test_a_secret_that_is_shorter_than_the_hash(present, seed, alg, is_registered):
    secret = "s" * (OCTETS[alg] - 1)
    members = {"token_endpoint_auth_signing_alg": alg} if is_registered else {}
    seed(a_machine(**with_secret(secret=secret, **members)))
    check_refused(present(sign(assertion_claims(), secret_key(secret), alg)))


@pytest.mark.parametrize(
    "settings",
    [
        Settings(
            issuer=ISSUER,
            database_url="sqlite://",
            secret_key="n" * 32,
            old_secret_keys=("o" * 32, SECRET_KEY),
        )
    ],
)
def test_a_secret_that_was_sealed_under_an_old_key(present, seed):
    seed(a_machine(**with_secret()))
    assert present(sign(assertion_claims(), secret_key(CLIENT_SECRET), "HS256")).status_code == 200


@pytest.mark.parametrize("typ", [None, "JWT", "jwt", "application/jwt", "client-authentication+jwt"])
def test_types_that_an_assertion_may_have(present, robot, typ):
    assert present(sign(assertion_claims(), KEY, typ=typ)).status_code == 200


def test_several_keys_and_one_without_a_name(present, seed):
    nameless = key_for("ES256", None)
    seed(a_machine(**with_keys(OTHER_KEY, key_for("RS256"), nameless)))
    assert present(sign(assertion_claims(), OTHER_KEY)).status_code == 200
    assert present(sign(assertion_claims(), nameless)).status_code == 200


def test_the_client_may_name_itself_in_the_body_too(present, robot):
    assert present(body={"grant_type": "client_credentials", "client_id": "robot"}).status_code == 200


@pytest.mark.parametrize("method", ["private_key_jwt", "client_secret_jwt"])
def test_it_works_at_every_endpoint(present, seed, rows, method):
    columns = with_keys(KEY) if method == "private_key_jwt" else with_secret("web")
    refresh_token = a_refresh_token()
    seed(a_user(), a_client(**columns), a_code(CODE), a_token(refresh_token))

    def assertion():
        claims = assertion_claims("web")
        if method == "private_key_jwt":
            return sign(claims, KEY)
        return sign(claims, secret_key(CLIENT_SECRET), "HS256")

    assert (
        present(assertion(), path="/oauth/introspect", body={"token": refresh_token}).json["active"] is True
    )
    assert present(assertion(), body=refresh_request(refresh_token)).status_code == 200
    pair = present(assertion(), body=code_request(CODE))
    assert pair.status_code == 200
    assert (
        present(assertion(), path="/oauth/revoke", body={"token": pair.json["access_token"]}).status_code
        == 200
    )
    assert rows(TOKENS) == [(0,)]


def test_it_is_advertised_where_it_works(http):
    metadata = http.get("/.well-known/oauth-authorization-server").json
    for endpoint in ("token", "introspection", "revocation"):
        methods = metadata[f"{endpoint}_endpoint_auth_methods_supported"]
        assert {"private_key_jwt", "client_secret_jwt"} <= set(methods)


# ---- who ---------------------------------------------------------------------------------------------------


@pytest.mark.threat("T056")
@pytest.mark.parametrize(
    "changed",
    [
        {"sub": None},
        {"iss": None},
        {"iss": None, "sub": None},
        {"sub": "other"},
        {"iss": "other"},
        {"iss": "nobody", "sub": "nobody"},
        {"iss": "", "sub": ""},
        {"iss": "ROBOT", "sub": "ROBOT"},
        {"iss": "robot\0", "sub": "robot\0"},
        {"iss": "\ud800", "sub": "\ud800"},
        {"iss": "r" * 300, "sub": "r" * 300},
    ],
)
def test_it_names_one_client_twice(present, seed, changed):
    seed(a_machine(**with_keys(KEY)), a_machine(client_id="other", **with_keys(KEY)))
    check_refused(present(**changed))


@pytest.mark.threat("T133")
@pytest.mark.parametrize("name", ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"])
@pytest.mark.parametrize(
    "value", [["robot"], [ISSUER], {}, {"a": 1}, True, False, 7.5, "9999999999", [9999999999]]
)
def test_claims_of_another_kind(present, robot, name, value):
    if (name, value) not in (("nbf", 7.5), ("iat", 7.5), ("jti", "9999999999")):
        check_refused(present(**{name: value}))


@pytest.mark.threat("T133")
@pytest.mark.parametrize(
    "value", ["1e400", "NaN", "Infinity", "-Infinity", "null", "[1]", '"x"', "{}", "1" * 400]
)
def test_times_that_are_no_numbers(present, robot, value):
    for name in ("exp", "nbf", "iat"):
        claims = json.dumps(assertion_claims(**{name: "?"}))
        check_refused(present(sign(claims.replace('"?"', value), KEY)))


@pytest.mark.threat("T051")
def test_another_client_id_in_the_body(present, seed):
    seed(a_machine(**with_keys(KEY)), a_machine(client_id="other", **with_keys(KEY)))
    check_refused(present(body={"grant_type": "client_credentials", "client_id": "other"}))


# ---- when --------------------------------------------------------------------------------------------------


@pytest.mark.threat("T057")
@pytest.mark.usefixtures("sleep")
@pytest.mark.parametrize(
    ("changed", "good"),
    [
        ({"exp": 1}, True),
        ({"exp": 600}, True),
        ({"exp": 0.5}, True),
        ({"exp": 0}, False),
        ({"exp": -1}, False),
        ({"exp": -300}, False),
        ({"exp": 601}, False),
        ({"exp": 3600}, False),
        ({"nbf": 8}, True),
        ({"iat": 8}, True),
        ({"nbf": 60}, True),
        ({"nbf": 61}, False),
        ({"iat": 61}, False),
        ({"iat": -500, "nbf": -500}, True),
        ({"exp": None}, False),
        ({"iat": None, "nbf": None}, True),
    ],
)
def test_it_is_good_for_a_short_while(present, robot, changed, good):
    times = {name: value if value is None else clock.now() + value for name, value in changed.items()}
    answer = present(**times)
    if good:
        assert answer.status_code == 200
    else:
        check_refused(answer)


# ---- for whom ----------------------------------------------------------------------------------------------


FOREIGN = [
    TOKEN_ENDPOINT,
    f"{ISSUER}/oauth/par",
    f"{ISSUER}/",
    f"{ISSUER}/.well-known/oauth-authorization-server",
    "https://evil.example",
    "https://op.example.evil.example",
    ISSUER.upper(),
    "",
    [ISSUER],
    [ISSUER, "https://evil.example"],
    [TOKEN_ENDPOINT],
    [],
    {ISSUER: ISSUER},
    None,
]


@pytest.mark.threat("T058")
@pytest.mark.parametrize("audience", FOREIGN)
def test_it_is_for_this_server_alone(present, robot, audience):
    check_refused(present(aud=audience))


@pytest.mark.threat("T058")
@pytest.mark.parametrize("audience", FOREIGN)
def test_the_token_endpoint_for_who_cannot_do_otherwise(present, seed, audience):
    seed(a_machine(**with_keys(KEY, assertion_audience="token_endpoint")))
    assert present().status_code == 200
    answer = present(aud=audience)
    if audience == TOKEN_ENDPOINT:
        assert answer.status_code == 200
    else:
        check_refused(answer)


# ---- with what ---------------------------------------------------------------------------------------------


@pytest.mark.threat("T059")
@pytest.mark.parametrize(
    "registered",
    [
        [],
        [public(OTHER_KEY)],
        [public(OTHER_KEY, kid="a")],
        [public(KEY, use="enc")],
        [public(KEY, alg="ES384")],
        [public(KEY, key_ops=["encrypt"])],
        [public(KEY, kid="another")],
        [KEY.as_dict(private=True)],
        [{"kty": "EC"}],
        [{"kty": "oct", "k": "AAAA"}],
        ["no key"],
    ],
)
def test_another_key_than_a_registered_one(present, seed, registered):
    seed(a_machine(**with_keys() | {"extra_metadata": {"jwks": {"keys": registered}}}))
    check_refused(present())


@pytest.mark.threat("T059")
def test_an_assertion_under_another_clients_key_is_refused(present, seed):
    seed(a_machine(**with_keys(KEY)), a_machine(client_id="other", **with_keys(OTHER_KEY)))
    check_refused(present(sign(assertion_claims("other"), KEY)))
    check_refused(present(sign(assertion_claims(), OTHER_KEY)))
    check_refused(present(sign(assertion_claims(), OTHER_KEY, kid="a")))


@pytest.mark.threat("T059")
def test_a_key_that_was_taken_back(present, robot, app):
    assert present().status_code == 200
    with app.app_context():
        db.session.execute(update(Client).values(extra_metadata={"jwks": jwks(OTHER_KEY)}))
        db.session.commit()
    check_refused(present())
    assert present(sign(assertion_claims(), OTHER_KEY)).status_code == 200


@pytest.mark.parametrize("jwks", [None, [], {}, "x", {"keys": None}, {"keys": {}}, {"keys": [None, 1, []]}])
def test_keys_that_are_none(present, seed, jwks):
    seed(a_machine(**with_keys() | {"extra_metadata": {"jwks": jwks}}))
    check_refused(present())


@pytest.mark.threat("T060", "T123")
@pytest.mark.parametrize("registered", ["RS256", "PS256", "ES256"])
@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES256", "RS512", "PS512"])
def test_the_registered_algorithm_and_no_other(present, seed, registered, alg):
    seed(
        a_machine(**with_keys(key_for("RS256"), key_for("ES256"), token_endpoint_auth_signing_alg=registered))
    )
    answer = present(sign(assertion_claims(), key_for("ES256" if alg == "ES256" else "RS256"), alg))
    if alg == registered:
        assert answer.status_code == 200
    else:
        check_refused(answer)


@pytest.mark.threat("T060", "T122")
@pytest.mark.parametrize("alg", ["RS256", "ES256", "EdDSA"])
def test_the_public_key_is_no_secret(present, seed, alg):
    key = key_for(alg)
    seed(a_machine(**with_keys(key)))
    texts = [
        key.as_pem(private=False),
        key.as_der(private=False),
        str(public(key)),
        public(key).get("n", "x" * 40),
    ]
    for text in texts:
        for symmetric in jwt.SYMMETRIC:
            check_refused(present(sign(assertion_claims(), secret_key(text), symmetric, kid="a")))


@pytest.mark.threat("T060", "T121")
@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", "HS256", "ES256"])
def test_nothing_is_good_without_a_signature(present, seed, alg):
    seed(a_machine(**with_keys(KEY)), a_machine(client_id="other", **with_secret("other")))
    for client_id in ("robot", "other"):
        text = f"{segment({'alg': alg, 'kid': 'a'})}.{segment(assertion_claims(client_id))}"
        for assertion in (f"{text}.", text, f"{text}.AAAA", f"..{segment('x')}", ".."):
            check_refused(present(assertion))


def test_the_method_is_the_registered_one(present, seed, rows):
    """A client that signs with its key gets nowhere with a secret, nor the other way round."""
    seed(
        a_machine(
            **with_keys(KEY) | {"sealed_client_secret": VAULT.encrypt(CLIENT_SECRET.encode(), "robot")}
        ),
        a_machine(client_id="other", **with_secret("other", jwks=jwks(KEY))),
        a_machine(client_id="third", extra_metadata={"jwks": jwks(KEY)}),
        a_public_client(client_id="fourth", extra_metadata={"jwks": jwks(KEY)}),
    )
    check_refused(present(sign(assertion_claims(), secret_key(CLIENT_SECRET), "HS256")))
    for client_id in ("other", "third", "fourth"):
        check_refused(present(sign(assertion_claims(client_id), KEY)))
    assert rows(SPENT) == [(0,)]


@pytest.mark.parametrize("secret", ["", "short", CLIENT_SECRET[:-1], CLIENT_SECRET + "x"])
@pytest.mark.threat("T130")
@pytest.mark.filterwarnings("ignore:Key size should be")
def test_an_assertion_under_another_secret_is_refused(present, seed, secret):
    seed(a_machine(**with_secret()))
    if secret:
        check_refused(present(sign(assertion_claims(), secret_key(secret), "HS256")))
    text = f"{segment({'alg': 'HS256'})}.{segment(assertion_claims())}"
    check_refused(present(f"{text}.{segment(bytes(32))}"))


@pytest.mark.threat("T130")
@pytest.mark.filterwarnings("ignore:Key size should be")
def test_a_short_secret_is_of_no_use_even_where_it_is_the_right_one(present, seed):
    seed(
        a_machine(**with_secret(secret="8 octets")), a_machine(client_id="other", **with_secret("other", ""))
    )
    check_refused(present(sign(assertion_claims(), secret_key("8 octets"), "HS256")))
    text = f"{segment({'alg': 'HS256'})}.{segment(assertion_claims('other'))}"
    check_refused(present(f"{text}.{segment(hmac.digest(b'', text.encode(), 'sha256'))}"))


@pytest.mark.parametrize(
    "columns",
    [
        {"sealed_client_secret": None},
        with_secret("other"),
        with_secret(vault=Cipher(["x" * 32], "client secrets")),
    ],
)
def test_a_secret_that_does_not_open(present, seed, columns):
    seed(a_machine(**with_secret() | columns))
    check_refused(present(sign(assertion_claims(), secret_key(CLIENT_SECRET), "HS256")))


@pytest.mark.threat("T135")
@pytest.mark.parametrize(
    "typ",
    ["oauth-authz-req+jwt", "at+jwt", "logout+jwt", "dpop+jwt", "secevent+jwt", "JWS", "", "x", 7, ["JWT"]],
)
def test_another_kind_of_token(present, robot, typ):
    check_refused(present(sign(assertion_claims(), KEY, typ=typ)))


@pytest.mark.threat("T124")
def test_keys_in_the_header_are_not_used(present, robot):
    for name, value in {
        "jwk": public(OTHER_KEY),
        "jku": "https://evil.example/jwks",
        "x5u": "https://evil.example/x5u",
        "x5c": ["AAAA"],
    }.items():
        check_refused(present(sign(assertion_claims(), OTHER_KEY, kid=None, **{name: value})))


# ---- the keys that a client publishes ----------------------------------------------------------------------


@pytest.fixture
def publisher(integration, seed):
    with WebServer(json_answer(jwks(KEY))) as server:
        seed(a_machine(**with_keys(jwks_uri=server.url)))
        yield server


@pytest.fixture
def later(monkeypatch):
    """The clock of the documents stands still, but for the seconds that a test lets pass."""
    started, passed = time.monotonic(), [0]

    class Clock:
        @staticmethod
        def monotonic():
            return started + passed[0]

    def later(seconds):
        passed[0] += seconds

    monkeypatch.setattr(document_cache, "time", Clock)
    return later


def test_published_keys_are_fetched_once(present, publisher):
    assert [present().status_code for _time in range(3)] == [200] * 3
    assert len(publisher.requests) == 1


def test_a_new_key_is_found_when_it_is_first_named(present, publisher, later):
    assert present().status_code == 200
    publisher.answer = json_answer(jwks(OTHER_KEY))
    check_refused(present(sign(assertion_claims(), OTHER_KEY)))  # asked a moment ago
    later(60)
    assert present(sign(assertion_claims(), OTHER_KEY)).status_code == 200
    check_refused(present())
    check_refused(present(sign(assertion_claims(), key_for("ES256", "third"))))
    assert len(publisher.requests) == 2


def test_nothing_is_fetched_for_what_is_refused_anyway(present, publisher):
    check_refused(present(aud="https://evil.example"))
    check_refused(present(exp=1))
    check_refused(present(jti=None))
    assert publisher.requests == []


POST_QUANTUM = {"kty": "AKP", "alg": "ML-DSA-65", "kid": "a", "use": "sig", "pub": "AAAA"}


@pytest.mark.parametrize("where", ["jwks", "jwks_uri"])
def test_a_key_of_a_kind_not_known_here_is_passed_over(present, seed, publisher, where):
    """Even where it has the same kid (RFC 7517 §4.5, §5)."""
    others = [
        POST_QUANTUM,
        {"kty": "EC", "crv": "secp256k1", "kid": "a"},
        public(KEY, use="tls"),
        public(KEY, alg="X"),
    ]
    publisher.answer = json_answer(jwks(*others, KEY))
    if where == "jwks":
        seed(a_machine(client_id="inline", **with_keys(*others, KEY)))
    client_id = "inline" if where == "jwks" else "robot"
    assert present(sign(assertion_claims(client_id), KEY)).status_code == 200
    assert present(sign(assertion_claims(client_id), KEY, kid=None)).status_code == 200


def test_a_key_that_is_named_is_found_however_far_down(present, publisher):
    others = [public(OTHER_KEY, kid=f"another {number}") for number in range(4_000)]
    answer = json_answer(jwks(*others, KEY))
    assert len(answer) < http_client.MAXIMUM_SIZE
    publisher.answer = answer
    assert present().status_code == 200
    assert len(publisher.requests) == 1
    check_refused(present(sign(assertion_claims(), KEY, kid=None)))  # nobody tries them all


@pytest.mark.threat("T130")
@pytest.mark.parametrize("where", ["jwks", "jwks_uri"])
def test_a_key_that_anybody_can_compute(present, seed, publisher, caplog, where):
    """CVE-2017-15361: also where it was registered before anybody looked."""
    weak = roca_key()
    publisher.answer = json_answer(jwks(weak, KEY))
    if where == "jwks":
        seed(a_machine(client_id="inline", **with_keys(weak, KEY)))
    client_id = "inline" if where == "jwks" else "robot"
    for _time in range(2):
        check_refused(present(sign(assertion_claims(client_id), weak, "RS256")))
    assert caplog.text.count("CVE-2017-15361") == 1
    assert present(sign(assertion_claims(client_id), KEY)).status_code == 200


@pytest.mark.threat("T063")
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        http_answer(b"not found", "404 Not Found"),
        json_answer(jwks(KEY), content_type="text/html"),
        http_answer(b" " * 10_000_000),
        http_answer(b"{"),
        http_answer(b"[]"),
        http_answer(b'{"keys": 7}'),
        http_answer(b"", "302 Found", Location="/jwks2"),
        json_answer({"keys": [{"kty": "EC"}] * 10_000}),
        lambda connection: time.sleep(1),
    ],
)
def test_keys_that_cannot_be_had(present, publisher, monkeypatch, answer):
    monkeypatch.setattr(http_client, "SECONDS", 0.5)
    publisher.answer = answer
    started = time.monotonic()
    for _time in range(10):
        check_refused(present())
    assert time.monotonic() - started < 4  # the first waits for half a second, the others for nothing
    assert len(publisher.requests) == 1


@pytest.mark.threat("T063")
def test_it_works_again_a_minute_later(present, publisher, later):
    publisher.answer = b""
    check_refused(present())
    publisher.answer = json_answer(jwks(KEY))
    later(59)
    check_refused(present())
    later(1)
    assert present().status_code == 200


def test_keys_at_a_place_where_nobody_may_call(present, seed):
    seed(a_machine(**with_keys(jwks_uri="file:///etc/passwd")))
    check_refused(present())


@pytest.fixture
def no_place(app, monkeypatch):
    """As many requests wait for the network as may."""
    monkeypatch.setattr(state_of(app).documents, "_free_slots", 0)


@pytest.mark.threat("T063")
@pytest.mark.usefixtures("no_place")
def test_nobody_is_kept_waiting_where_others_wait_already(
    present, publisher, rows, statements, monkeypatch, app
):
    """At once, with a registered word and a time to come back; nothing is spent or counted, so the same
    assertion does then.
    """
    assertion = sign(assertion_claims(), KEY)
    for path in ("/oauth/token", "/oauth/introspect", "/oauth/revoke"):
        statements.clear()
        answer = present(assertion, path, {"grant_type": "client_credentials", "token": "x"})
        assert (answer.status_code, answer.json["error"]) == (503, "temporarily_unavailable")
        assert int(answer.headers["Retry-After"]) >= 1
        assert [sql.split()[0] for sql in statements if sql != "COMMIT"] == ["SELECT", "ROLLBACK"]
    assert publisher.requests == []
    assert rows(SPENT) == rows(select(func.count()).select_from(Throttle)) == [(0,)]
    monkeypatch.setattr(state_of(app).documents, "_free_slots", 1)
    assert present(assertion).status_code == 200


@pytest.mark.usefixtures("no_place")
def test_whoever_needs_no_document_is_served(present, publisher, seed):
    seed(a_machine(client_id="inline", **with_keys(KEY)))
    assert present(sign(assertion_claims("inline"), KEY)).status_code == 200


@pytest.mark.threat("T063")
def test_no_transaction_is_open_while_it_is_fetched(present, publisher, app, statements, later):
    """What the request did before is undone, and done again with the document at hand: it is one transaction
    still.
    """
    open_meanwhile = []

    def answer(connection):
        open_meanwhile.append(statements[-1])
        connection.sendall(json_answer(jwks(KEY, OTHER_KEY)))

    assertions = [sign(assertion_claims(jti=jti_that(sweeps=False)), KEY) for _time in range(2)]
    publisher.answer = json_answer(jwks(OTHER_KEY))
    statements.clear()
    check_refused(present(assertions[0]))  # it has no such key
    later(60)
    publisher.answer = answer
    statements.clear()
    assert present(assertions[1]).status_code == 200
    assert open_meanwhile == ["ROLLBACK"]
    first_try = ["SELECT", "SELECT", "ROLLBACK"]  # the client, its throttle
    assert [sql.split()[0] for sql in statements] == [
        *first_try,
        "SELECT",
        "INSERT",
        "DELETE",
        "INSERT",
        "COMMIT",
    ]


@pytest.mark.usefixtures("sleep")
def test_a_neighbour_that_fails_keeps_nobody_from_being_known(present, publisher, http):
    """Behind one address there may be many: their failures together are no reason not to fetch the keys of
    another.
    """
    wrong = [
        http.post(
            "/oauth/token", data={"grant_type": "client_credentials"}, auth=(f"other-{number}", "wrong")
        )
        for number in range(101)
    ]
    assert wrong[-1].status_code == 429
    assert present().status_code == 200


@pytest.mark.threat("T063", "T066")
def test_nothing_is_fetched_for_who_has_failed_too_often(present, publisher, later):
    statuses = [present(sign(assertion_claims(), OTHER_KEY, kid="a")).status_code for _time in range(21)]
    assert statuses == [401] * 20 + [429]
    assert len(publisher.requests) == 1
    later(3600)
    answer = present()
    assert (answer.status_code, answer.json["error"]) == (429, "invalid_client")
    assert int(answer.headers["Retry-After"]) >= 1
    assert len(publisher.requests) == 1


# ---- once --------------------------------------------------------------------------------------------------


@pytest.mark.threat("T064")
def test_it_is_good_once(present, robot, rows):
    assertion = sign(assertion_claims(), KEY)
    assert present(assertion).status_code == 200
    for _time in range(3):
        check_refused(present(assertion))
    assert rows(TOKENS) == rows(SPENT) == [(1,)]


@pytest.mark.threat("T064")
def test_so_is_its_jti(present, robot):
    assert present(jti="x").status_code == 200
    check_refused(present(jti="x", exp=clock.now() + 600))


@pytest.mark.threat("T064")
def test_the_same_jti_of_another_client_is_another(present, seed):
    seed(a_machine(**with_keys(KEY)), a_machine(client_id="other", **with_keys(KEY)))
    assert present(sign(assertion_claims(jti="x"), KEY)).status_code == 200
    assert present(sign(assertion_claims("other", jti="x"), KEY)).status_code == 200


@pytest.mark.threat("T064")
@pytest.mark.parametrize("jti", [None, "", "x" * 257])
def test_a_jti_is_a_short_text(present, robot, jti):
    assert present(jti="x" * 256).status_code == 200
    assert present(jti="é\0").status_code == 200
    check_refused(present(jti=jti))


@pytest.mark.threat("T064")
def test_a_refused_request_has_spent_its_assertion_too(present, robot, rows):
    assertion = sign(assertion_claims(), KEY)
    refused = present(assertion, body={"grant_type": "client_credentials", "scope": "nothing"})
    assert refused.json["error"] == "invalid_scope"
    assert rows(SPENT) == [(1,)]
    check_refused(present(assertion))


@pytest.mark.threat("T064")
def test_what_proves_nothing_spends_nothing(present, robot, rows):
    check_refused(present(sign(assertion_claims(jti="x"), OTHER_KEY, kid="a")))
    check_refused(present(jti="x", aud="https://evil.example"))
    assert rows(SPENT) == [(0,)]
    assert present(jti="x").status_code == 200


@pytest.mark.threat("T064")
def test_it_is_remembered_for_as_long_as_anybody_takes_it(present, robot, rows, sleep):
    assertion = sign(assertion_claims(exp=clock.now() + 600), KEY)
    assert present(assertion).status_code == 200
    for seconds in (300, 299, 1, 59):
        sleep(seconds)
        check_refused(present(assertion))
    assert rows(select(SpentAssertion.expires_at)) == [(clock.now() + 1,)]


@pytest.mark.integration
@pytest.mark.threat("T064")
def test_a_restart_forgets_nothing(tmp_path):
    settings = Settings(issuer=ISSUER, database_url=f"sqlite:///{tmp_path / 'file'}", secret_key=SECRET_KEY)
    assertion = sign(assertion_claims(), KEY)
    statuses = []
    for _start in range(2):
        app = create_app(settings)
        with app.app_context():
            db.create_all()
            if db.session.get(Client, (HOME, "robot")) is None:
                db.session.add(a_machine(**with_keys(KEY)))
                db.session.commit()
        body = with_assertion(assertion, grant_type="client_credentials")
        statuses.append(app.test_client().post("/oauth/token", data=body, base_url=ISSUER).status_code)
        with app.app_context():
            db.engine.dispose()
    assert statuses == [200, 401]


def jti_that(sweeps):
    """One that sweeps, as one in sixteen does, or one that does not."""
    jtis = (f"a jti {number}" for number in count())
    return next(
        jti for jti in jtis if (digest_of_jti({"iss": "robot", "jti": jti})[0] % SHARE == 0) is sweeps
    )


def test_one_in_sixteen_drops_expired_ones_for_the_others(present, robot, seed, rows):
    seed(
        *(
            SpentAssertion(jti_digest=bytes([number]) * 32, expires_at=clock.now() - 1)
            for number in range(100)
        )
    )
    assert present(jti=jti_that(sweeps=False)).status_code == 200
    assert rows(SPENT) == [(101,)]
    assert present(jti=jti_that(sweeps=True)).status_code == 200
    assert rows(SPENT) == [(102 - 4 * SHARE,)]


def test_an_assertion_costs_two_statements_beside_the_token(present, robot, statements):
    statements.clear()
    assert present(jti=jti_that(sweeps=False)).status_code == 200
    # client; this assertion; expired tokens, the new one
    sent = [sql for sql in statements if sql != "COMMIT"]
    assert [sql.split()[0] for sql in sent] == ["SELECT", "INSERT", "DELETE", "INSERT"]
    assert statements.count("COMMIT") == 1


# ---- a request as a whole ----------------------------------------------------------------------------------


@pytest.fixture
def post(http, robot):
    def post(*pairs, **rest):
        body = [("grant_type", "client_credentials"), *pairs]
        return http.post(
            "/oauth/token", content_type="application/x-www-form-urlencoded", data=urlencode(body), **rest
        )

    return post


TYPE = ("client_assertion_type", JWT_BEARER)


def an_assertion():
    return ("client_assertion", sign(assertion_claims(), KEY))


@pytest.mark.threat("T062")
@pytest.mark.parametrize(
    "pairs",
    [
        lambda: [an_assertion()],
        lambda: [an_assertion(), ("client_assertion_type", "")],
        lambda: [an_assertion(), ("client_assertion_type", "jwt-bearer")],
        lambda: [an_assertion(), ("client_assertion_type", JWT_BEARER.replace("jwt", "saml2"))],
        lambda: [an_assertion(), ("client_assertion_type", JWT_BEARER.upper())],
        lambda: [an_assertion(), TYPE, TYPE],
        lambda: [an_assertion(), an_assertion(), TYPE],
        lambda: [TYPE],
        lambda: [TYPE, ("client_assertion", "")],
        lambda: [TYPE, ("client_assertion", "a" * 16_385)],
        lambda: [TYPE, ("client_assertion", "é")],
    ],
)
def test_a_malformed_request_is_refused_and_spends_nothing(post, pairs, rows):
    answer = post(*pairs())
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")
    assert rows(SPENT) == [(0,)]


@pytest.mark.threat("T050")
def test_two_ways_at_once(post, rows):
    for answer in (
        post(an_assertion(), TYPE, ("client_secret", CLIENT_SECRET)),
        post(an_assertion(), TYPE, auth=basic("robot")),
        post(an_assertion(), TYPE, headers={"Authorization": "Bearer x"}),
    ):
        assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")
    assert rows(SPENT) == [(0,)]


def test_a_public_client_proves_nothing_by_an_assertion(http, seed):
    seed(a_user(), a_public_client(), a_code(CODE, client_id="spa"))
    body = with_assertion("a.b.c", **code_request(CODE), client_id="spa")
    check_refused(http.post("/oauth/token", data=body))


@pytest.mark.threat("T054")
def test_an_assertion_in_the_address(http, robot):
    name, assertion = an_assertion()
    answer = http.post(
        f"/oauth/token?{name}={assertion}", data=dict([TYPE, ("grant_type", "client_credentials")])
    )
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    "assertion", ["x", "a.b.c", "....", "e30.e30.e30", "{}", "eyJhbGciOiJub25lIn0.e30.", "A" * 16_384]
)
def test_what_is_no_assertion(present, robot, assertion):
    check_refused(present(assertion))


@pytest.mark.threat("T066")
def test_failures_are_counted_for_the_client_that_is_named(present, seed, sleep):
    seed(a_machine(**with_keys(KEY)), a_machine(client_id="other", **with_keys(OTHER_KEY)))
    wrong = [present(sign(assertion_claims(), OTHER_KEY)).status_code for _time in range(21)]
    assert wrong == [401] * 20 + [429]
    assert present(sign(assertion_claims("other"), KEY)).status_code == 401
    assert present().status_code == 200


def test_nothing_of_it_is_logged(present, robot, caplog):
    caplog.set_level(logging.DEBUG)
    assertions = [sign(assertion_claims(aud=aud), KEY) for aud in (ISSUER, "https://evil.example")]
    for assertion in (*assertions, assertions[0]):
        present(assertion)
    assert 'detail="it was used before"' in caplog.text
    assert 'detail="the aud is not this server alone"' in caplog.text
    assert not [part for assertion in assertions for part in assertion.split(".") if part in caplog.text]


@pytest.mark.filterwarnings("ignore:Key size should be")
def test_a_weak_key_is_passed_over(present, seed):
    weak = RSAKey.generate_key(1024, {"kid": "weak"})
    seed(a_machine(**with_keys(weak, KEY)))
    check_refused(present(sign(assertion_claims(), weak, "RS256")))
    assert present().status_code == 200
