"""`flask keys …`: signing keys in their order, out of it, and all that is encrypted under the secret key."""

import re

import pytest

from app import create_app
from crypto import jwt, key_schedule
from crypto.encryption import Cipher
from crypto.key_schedule import Schedule
from errors import InvalidJwtError
from models import Client, SigningKey, db
from protocol import clock
from services.current import state_of
from services.signing_keys import Keyring
from tests.builders import SECRET_KEY, a_client
from tests.commands.conftest import a_signing_key
from tests.statements import select, update

DAY = 24 * 3600
OTHER_KEY = "another secret key of a server !"
KEYS = select(SigningKey.kid, SigningKey.alg, SigningKey.generation, SigningKey.active_from).order_by(
    SigningKey.alg, SigningKey.generation
)
ALGORITHMS = ["RS256", "ES256", "EdDSA"]


@pytest.fixture
def publication_lead(settings):
    return Schedule(settings.signing_key_lifetime, settings.jwks_cache_lifetime).publication_lead


@pytest.fixture
def sign(app):
    """Sign something, as an ID token is signed; returns the `kid`."""

    def sign(alg="ES256"):
        with app.app_context():
            keyring = state_of(app).home.keyring
            keyring._snapshot = None  # half a minute later
            token = keyring.sign({"iss": "x"}, alg)
            db.session.commit()
            return jwt.read_header(token)["kid"]

    return sign


# ---- list --------------------------------------------------------------------------------------------------


def test_list_of_none_makes_none(flask, flask_json, rows):
    assert flask_json("keys", "list") == []
    done = flask("keys", "list")
    assert done.stdout.startswith("KID")
    assert "There is none yet" in done.stderr
    assert rows(KEYS) == []


def test_list_shows_the_state_of_each_key(flask, flask_json, seed, sleep, settings):
    now = clock.now()
    seed(
        a_signing_key("old", active_from=now - 5000, created_at=now - 6000, last_presented_at=now - 60),
        a_signing_key("now", active_from=now - 100, generation=2),
        a_signing_key("next", active_from=now + 300, generation=3),
    )
    shown = flask_json("keys", "list")
    assert [(key["kid"], key["state"]) for key in shown] == [
        ("old", "retired"),
        ("now", "active"),
        ("next", "announced"),
    ]
    assert shown[0] == {
        "kid": "old",
        "alg": "RS256",
        "state": "retired",
        "created_at": now - 6000,
        "signs_from": now - 5000,
        "signs_until": now - 100,
        "published_until": now - 100 + DAY + 30,
        "last_presented_at": now - 60,
    }
    assert (shown[2]["signs_until"], shown[2]["published_until"], shown[2]["last_presented_at"]) == (
        None,
        None,
        None,
    )
    heading, old, *_others = flask("keys", "list").stdout.splitlines()
    assert heading.split() == [name.upper() for name in shown[0]]
    assert len(re.findall(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", old)) == 5


def test_list_shows_no_private_key(flask, sign):
    sign()
    for output in (flask("keys", "list").output, flask("keys", "list", "--json").output):
        assert "sealed" not in output
        assert '"d"' not in output


# ---- rotate ------------------------------------------------------------------------------------------------


@pytest.mark.threat("T136")
def test_rotate_announces_the_next_of_each(flask_json, rows, sign, sleep, publication_lead):
    active = sign()
    sleep(1000)
    announced = flask_json("keys", "rotate")
    assert [(key["alg"], key["is_new"], key["signs_from"]) for key in announced] == [
        (alg, True, clock.now() + publication_lead) for alg in ALGORITHMS
    ]
    assert [(alg, generation) for _kid, alg, generation, _from in rows(KEYS)] == [
        (alg, generation) for alg in sorted(ALGORITHMS) for generation in (1, 2)
    ]
    assert sign() == active
    sleep(publication_lead)
    assert sign() == announced[1]["kid"]


def test_rotate_of_one_algorithm(flask, flask_json, rows, sign):
    sign()
    done = flask("keys", "rotate", "--alg", "EdDSA")
    assert (done.exit_code, done.stdout) == (0, "")
    assert re.fullmatch(
        r"EdDSA: [\w-]{43} is announced, and signs from \S+Z on\.", done.stderr.splitlines()[0]
    )
    assert [alg for _kid, alg, _generation, _from in rows(KEYS)] == ["ES256", "EdDSA", "EdDSA", "RS256"]


def test_rotate_twice_changes_nothing_the_second_time(flask, flask_json, rows, sign):
    sign()
    first = flask_json("keys", "rotate")
    before = rows(KEYS)
    done = flask("keys", "rotate")
    assert done.exit_code == 0
    assert done.stderr.count("is announced already") == 3
    assert [key["is_new"] for key in flask_json("keys", "rotate")] == [False] * 3
    assert [key["kid"] for key in flask_json("keys", "rotate")] == [key["kid"] for key in first]
    assert rows(KEYS) == before


def test_of_two_at_once_the_second_finds_what_the_first_announced(app, flask_json, rows, sign, monkeypatch):
    """The unique key has the last word: the rival comes between the look and the INSERT."""
    sign()
    generate = key_schedule.generate

    def overtaken(alg):
        monkeypatch.setattr(key_schedule, "generate", generate)
        with app.app_context():
            db.session.add(a_signing_key("rival", alg="ES256", generation=2, active_from=clock.now() + 600))
            db.session.commit()
        return generate(alg)

    monkeypatch.setattr(key_schedule, "generate", overtaken)
    [announced] = flask_json("keys", "rotate", "--alg", "ES256")
    assert (announced["kid"], announced["is_new"]) == ("rival", False)
    assert [row[0] for row in rows(KEYS) if row[1:3] == ("ES256", 2)] == ["rival"]


def test_rotate_where_there_is_none_makes_those_that_sign_now(flask_json, sign):
    [made] = flask_json("keys", "rotate", "--alg", "ES256")
    assert made["signs_from"] <= clock.now()
    assert sign() == made["kid"]


def test_rotate_of_what_nobody_signs_with_is_a_usage_error(flask):
    assert flask("keys", "rotate", "--alg", "none").exit_code == 2


# ---- retire ------------------------------------------------------------------------------------------------


def test_an_active_key_is_not_taken_out_by_the_way(refused, rows, sign):
    kid = sign()
    before = rows(KEYS)
    told = refused("keys", "retire", kid)
    assert "it is the one that signs ES256 now" in told
    assert "If it has leaked, use --force" in told
    assert rows(KEYS) == before


@pytest.mark.threat("T136")
def test_by_force_another_is_made_that_signs_at_once(flask, flask_json, rows, sign, settings):
    kid = sign()
    done = flask("keys", "retire", kid, "--force")
    assert done.exit_code == 0
    assert "for up to 300 seconds" in done.stderr
    assert "sign-ins may fail meanwhile" in done.stderr
    [(successor, _alg, generation, _from)] = [row for row in rows(KEYS) if row[1] == "ES256"]
    assert (sign(), generation, successor != kid) == (successor, 2, True)
    assert successor in done.stderr


def test_by_force_the_one_that_is_announced_signs_at_once(flask_json, rows, sign, sleep):
    kid = sign()
    [announced] = flask_json("keys", "rotate", "--alg", "ES256")
    sleep(10)
    assert flask_json("keys", "retire", kid, "--force") == {
        "kid": kid,
        "alg": "ES256",
        "successor": announced["kid"],
    }
    assert [row[0] for row in rows(KEYS) if row[1] == "ES256"] == [announced["kid"]]
    assert sign() == announced["kid"]


@pytest.mark.threat("T136")
def test_what_a_retired_key_signed_is_refused(app, flask, flask_json, sign):
    kid = sign("EdDSA")
    keyring = state_of(app).home.keyring
    with app.app_context():
        token = keyring.sign({"iss": keyring.issuer}, "EdDSA")
        assert keyring.read_own(token, {"jwt"}) == {"iss": keyring.issuer}
        db.session.commit()
    flask_json("keys", "retire", kid, "--force")
    sign("EdDSA")
    with app.app_context(), pytest.raises(InvalidJwtError):
        keyring.read_own(token, {"jwt"})


def test_a_key_whose_signatures_may_be_alive_stays(refused, flask, seed, sleep):
    now = clock.now()
    seed(
        a_signing_key("old", active_from=now - 5000),
        a_signing_key("now", generation=2, active_from=now - 100),
    )
    assert "what it signed may be alive until" in refused("keys", "retire", "old")
    sleep(DAY + 30 - 101)
    assert "may be alive" in refused("keys", "retire", "old")
    sleep(1)
    done = flask("keys", "retire", "old")
    assert (done.exit_code, "signs from now on" in done.stderr) == (0, False)


def test_a_key_that_somebody_still_asks_for_stays(refused, flask_json, seed, rows):
    now = clock.now()
    seed(
        a_signing_key("old", active_from=now - 9 * DAY, last_presented_at=now - DAY + 60),
        a_signing_key("older", alg="ES256", active_from=now - 9 * DAY, last_presented_at=now - DAY),
        *(
            a_signing_key(f"now {alg}", alg=alg, generation=2, active_from=now - 5 * DAY)
            for alg in ("RS256", "ES256")
        ),
    )
    assert "resource servers still ask for it" in refused("keys", "retire", "old")
    assert flask_json("keys", "retire", "older")["successor"] is None
    assert flask_json("keys", "retire", "old", "--force")["successor"] is None
    assert [row[0] for row in rows(KEYS)] == ["now ES256", "now RS256"]


def test_one_that_is_announced_goes_without_ado(flask_json, sign, rows):
    active = sign()
    [announced] = flask_json("keys", "rotate", "--alg", "ES256")
    assert flask_json("keys", "retire", announced["kid"])["successor"] is None
    assert [row[0] for row in rows(KEYS) if row[1] == "ES256"] == [active]
    assert sign() == active


@pytest.mark.parametrize("kid", ["-key", "--key", "-f", "k y"])
def test_a_kid_is_never_read_as_an_option(flask_json, seed, kid):
    seed(a_signing_key(kid, active_from=clock.now() + 600))
    assert flask_json("keys", "retire", kid)["kid"] == kid


@pytest.mark.parametrize("kid", ["nope", "", "--forse", "\udcff"])
def test_there_is_no_such_key(refused, rows, kid):
    assert "there is no signing key" in refused("keys", "retire", kid)


# ---- rewrap ------------------------------------------------------------------------------------------------


@pytest.fixture
def with_keys(settings):
    """Run `flask …` on the same database with another secret key."""

    def with_keys(secret_key, *old_keys):
        app = create_app(
            type(settings)(**{**settings.model_dump(), "secret_key": secret_key, "old_secret_keys": old_keys})
        )

        def flask(*arguments):
            done = app.test_cli_runner().invoke(args=arguments, catch_exceptions=False)
            with app.app_context():
                db.engine.dispose()
            return done

        return flask

    return with_keys


SEALED = select(SigningKey.kid, SigningKey.sealed_private_key)
SEALED_SECRETS = select(Client.client_id, Client.sealed_client_secret)


@pytest.fixture
def sealed_things(sign, seed):
    """Three signing keys and a client's secret, under the secret key of the tests; and a client that has
    none.
    """
    sign()
    box = Cipher([SECRET_KEY], "client secrets").encrypt(b"the secret", "robot")
    seed(
        a_client(
            client_id="robot",
            token_endpoint_auth_method="client_secret_jwt",
            client_secret_digest=None,
            sealed_client_secret=box,
        ),
        a_client(),
    )


@pytest.mark.threat("T136")
def test_rewrap_encrypts_all_under_the_present_key(with_keys, sealed_things, rows):
    flask = with_keys(OTHER_KEY, SECRET_KEY)
    done = flask("keys", "rewrap")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.startswith("Encrypted again: 3 signing keys, 1 client secret.\n")
    assert "OSTIARY_OLD_SECRET_KEYS 365 days after the change" in done.stderr
    new, old = Cipher([OTHER_KEY], "signing keys"), Cipher([SECRET_KEY], "signing keys")
    for kid, box in rows(SEALED):
        assert new.decrypt(box, kid)
        assert old.decrypt(box, kid) is None
    [secret] = [box for client_id, box in rows(SEALED_SECRETS) if client_id == "robot"]
    assert Cipher([OTHER_KEY], "client secrets").decrypt(secret, "robot") == b"the secret"


def test_rewrap_again_changes_nothing(with_keys, sealed_things, rows):
    flask = with_keys(OTHER_KEY, SECRET_KEY)
    flask("keys", "rewrap")
    before = rows(SEALED), rows(SEALED_SECRETS)
    assert "Encrypted again: nothing." in flask("keys", "rewrap").stderr
    assert (rows(SEALED), rows(SEALED_SECRETS)) == before
    assert "OLD_SECRET_KEYS" not in with_keys(OTHER_KEY)("keys", "rewrap").stderr


def test_nodes_with_either_key_sign_while_it_is_changed(app, with_keys, sealed_things, settings):
    """The first node has not swapped yet: the new key is among its old ones."""
    nodes = [
        create_app(type(settings)(**{**settings.model_dump(), "secret_key": key, "old_secret_keys": [other]}))
        for key, other in ((SECRET_KEY, OTHER_KEY), (OTHER_KEY, SECRET_KEY))
    ]

    def kids():
        signed = []
        for node in nodes:
            state_of(node).home.keyring = Keyring(state_of(node).settings)  # as after a restart
            with node.app_context():
                signed.append(jwt.read_header(state_of(node).home.keyring.sign({}, "ES256"))["kid"])
        return signed

    before = kids()
    with_keys(OTHER_KEY, SECRET_KEY)("keys", "rewrap")
    assert kids() == before == [before[0]] * 2
    for node in nodes:
        with node.app_context():
            db.engine.dispose()


def test_what_no_key_opens_is_left_and_told(with_keys, sealed_things, rows):
    before = rows(SEALED), rows(SEALED_SECRETS)
    done = with_keys(OTHER_KEY, "a third secret key of this server")("keys", "rewrap", "--json")
    assert done.exit_code == 0
    assert done.stdout.split() == ["{", '"sealed_anew":', "0,", '"unreadable":', "4", "}"]
    assert "Warning: no known secret key decrypts 3 signing keys, 1 client secret" in done.stderr
    assert "may leave OSTIARY_OLD_SECRET_KEYS" not in done.stderr
    assert (rows(SEALED), rows(SEALED_SECRETS)) == before


def test_refresh_tokens_without_an_end_are_named(with_keys, sealed_things, app):
    with app.app_context():
        db.session.execute(update(Client).where(Client.client_id == "robot").values(refresh_token_lifetime=0))
        db.session.commit()
    assert "without an end: robot." in with_keys(OTHER_KEY, SECRET_KEY)("keys", "rewrap").stderr


# ---- config check ------------------------------------------------------------------------------------------


def test_config_check_says_what_is_under_an_old_key(with_keys, sealed_things):
    flask = with_keys(OTHER_KEY, SECRET_KEY)
    words = (
        "Warning: 3 signing keys, 1 client secret: encrypted under an old secret key, run `flask keys rewrap`"
    )
    assert words in flask("config", "check").stderr
    flask("keys", "rewrap")
    assert "encrypted under" not in flask("config", "check").stderr


def test_config_check_says_what_no_key_opens(with_keys, sealed_things):
    done = with_keys(OTHER_KEY)("config", "check")
    assert done.exit_code == 0
    assert "Warning: no known secret key decrypts 3 signing keys, 1 client secret" in done.stderr
