"""`grant_type=refresh_token` (RFC 6749 §6): rotation, the safe repeat, and theft (RFC 9700 §4.14.2)."""

from datetime import timedelta

import pytest
from sqlalchemy import func

from crypto.credentials import RefreshToken, digest
from models import Token, db
from protocol import clock
from protocol.registered_client import NEVER
from services.current import state_of
from tests.builders import (
    SECRET_KEY,
    a_client,
    a_public_client,
    a_refresh_token,
    a_token,
    a_user,
    basic,
    refresh_request,
)
from tests.statements import delete, select, update
from tokens.bearer import require_oauth

COUNT_TOKENS = select(func.count()).select_from(Token)
LEEWAY = timedelta(seconds=10)


@pytest.fixture
def refresh(http):
    """Present a refresh token as "web"; the answer."""

    def refresh(refresh_token, auth=None, **changed):
        return http.post("/oauth/token", data=refresh_request(refresh_token, **changed), auth=auth or basic())

    return refresh


@pytest.fixture
def works(http):
    """Whether an access token opens /api/me."""
    return lambda access_token: (
        http.get("/api/me", headers={"Authorization": f"Bearer {access_token}"}).status_code == 200
    )


@pytest.fixture
def age(app):
    """Make the one family older: everything in its row happened `seconds` earlier."""

    def age(seconds):
        with app.app_context():
            db.session.execute(
                update(Token).values(
                    issued_at=Token.issued_at - seconds * clock.MICROSECONDS,
                    used_at=Token.used_at - seconds,
                    access_token_expires_at=Token.access_token_expires_at - seconds,
                    refresh_token_expires_at=Token.refresh_token_expires_at - seconds,
                    family_expires_at=Token.family_expires_at - seconds,
                )
            )
            db.session.commit()

    return age


@pytest.fixture
def presented(seed):
    """The current refresh token of user 1 at "web"."""
    token = a_refresh_token()
    seed(a_user(), a_client(), a_token(token))
    return token


# ---- rotation ----------------------------------------------------------------------------------------------


def test_refresh_replaces_the_pair_in_one_transaction(refresh, presented, rows, statements):
    statements.clear()
    answer = refresh(presented)
    assert answer.status_code == 200
    sent = [sql for sql in statements if sql != "COMMIT"]
    assert len(sent) <= 4
    assert statements.count("COMMIT") == 1
    assert sum(sql.startswith("DELETE FROM token") for sql in sent) == 1
    assert rows(
        select(Token.access_token_digest, Token.refresh_token_digest, Token.previous_refresh_token_digest)
    ) == [(digest(answer.json["access_token"]), digest(answer.json["refresh_token"]), digest(presented))]


def test_the_family_goes_on(refresh, presented):
    first = RefreshToken.parse(presented)
    second = RefreshToken.parse(refresh(presented).json["refresh_token"])
    assert second.family == first.family
    assert second.secret != first.secret


def test_a_refresh_keeps_its_slot_and_leaves_other_devices_alone(refresh, seed, rows):
    tokens = [a_refresh_token() for _ in range(3)]
    seed(
        a_user(), a_client(max_sessions=3), *(a_token(token, slot=slot) for slot, token in enumerate(tokens))
    )
    assert refresh(tokens[1]).status_code == 200
    assert sorted(rows(select(Token.slot))) == [(0,), (1,), (2,)]
    assert all(refresh(token).status_code == 200 for token in tokens)


@pytest.mark.threat("T085")
def test_a_narrower_scope_does_not_shrink_the_grant(refresh, presented, rows):
    answer = refresh(presented, scope="email")
    assert answer.json["scope"] == "email"
    assert rows(select(Token.scope, Token.access_token_scope)) == [("profile email", "email")]
    assert refresh(answer.json["refresh_token"]).json["scope"] == "profile email"


@pytest.mark.threat("T085")
def test_a_wider_scope_is_refused_and_ends_nothing(refresh, presented):
    assert refresh(presented, scope="profile email read").json["error"] == "invalid_scope"
    assert refresh(presented).status_code == 200


def test_a_public_client_refreshes(http, seed):
    token = a_refresh_token()
    seed(a_user(), a_public_client(), a_token(token, client_id="spa"))
    answer = http.post("/oauth/token", data=refresh_request(token, client_id="spa"))
    assert answer.status_code == 200


@pytest.mark.threat("T082")
def test_the_token_of_another_client_is_refused_and_stays(refresh, presented, seed):
    seed(a_client(client_id="other"))
    assert refresh(presented, auth=basic("other")).json["error"] == "invalid_grant"
    assert refresh(presented).status_code == 200


@pytest.mark.threat("T086")
def test_a_disabled_person_gets_nothing(refresh, seed, rows):
    token = a_refresh_token()
    seed(a_user(disabled_at=1), a_client(), a_token(token))
    assert refresh(token).json["error"] == "invalid_grant"
    assert rows(COUNT_TOKENS) == [(1,)]


@pytest.mark.threat("T086")
def test_idle_and_absolute_life(refresh, presented, age, rows):
    family_end = rows(select(Token.family_expires_at))[0][0]
    assert family_end is None  # the builder's family has no absolute end
    refreshed = refresh(presented).json["refresh_token"]
    age(29 * 86_400)
    refreshed = refresh(refreshed).json["refresh_token"]
    age(30 * 86_400)
    assert refresh(refreshed).json["error"] == "invalid_grant"


@pytest.mark.threat("T086")
def test_the_absolute_end_is_not_moved_by_refreshes(refresh, seed, rows):
    token = a_refresh_token()
    end = clock.now() + 100
    seed(a_user(), a_client(), a_token(token, family_expires_at=end))
    assert refresh(token).status_code == 200
    assert rows(select(Token.family_expires_at, Token.refresh_token_expires_at)) == [(end, end)]


def test_a_client_may_have_refresh_tokens_that_never_expire(refresh, seed, rows):
    token = a_refresh_token()
    seed(a_user(), a_client(refresh_token_idle_lifetime=NEVER), a_token(token))
    assert refresh(token).status_code == 200
    assert rows(select(Token.refresh_token_expires_at)) == [(None,)]


# ---- the safe repeat ---------------------------------------------------------------------------------------


def test_a_repeat_within_the_leeway_gets_the_same_pair(refresh, presented, works, age):
    first = refresh(presented).json
    assert works(first["access_token"])  # whatever was done with the successor's access token
    age(5)
    second = refresh(presented).json
    assert second["access_token"] == first["access_token"]
    assert second["refresh_token"] == first["refresh_token"]
    assert second["scope"] == first["scope"]
    assert 590 <= second["expires_in"] <= 595  # what is left
    assert works(second["access_token"])
    assert refresh(second["refresh_token"]).status_code == 200


def test_a_repeat_inserts_nothing(refresh, presented, statements):
    refresh(presented)
    statements.clear()
    assert refresh(presented).status_code == 200
    assert not [sql for sql in statements if sql.startswith("INSERT")]
    assert len([sql for sql in statements if sql != "COMMIT"]) <= 4


def test_a_repeat_after_the_leeway_gets_the_same_pair_while_the_successor_is_unused(refresh, presented, age):
    first = refresh(presented).json
    age(300)
    second = refresh(presented).json
    assert (second["access_token"], second["refresh_token"]) == (
        first["access_token"],
        first["refresh_token"],
    )
    assert 295 <= second["expires_in"] <= 300


def test_a_repeat_after_the_access_token_died_gets_a_fresh_pair(refresh, presented, age, works, rows):
    first = refresh(presented).json
    age(3_600)
    second = refresh(presented).json
    assert second["access_token"] != first["access_token"]
    assert second["expires_in"] == 600
    assert works(second["access_token"])
    assert rows(COUNT_TOKENS) == [(1,)]
    third = refresh(presented).json  # and that one is repeated like any other
    assert third["access_token"] == second["access_token"]
    # the replaced one counts as stolen now
    assert refresh(first["refresh_token"]).json["error"] == "invalid_grant"
    assert rows(COUNT_TOKENS) == [(0,)]


@pytest.mark.threat("T083")
def test_a_repeat_after_the_leeway_of_a_used_successor_is_a_theft(refresh, presented, works, age, rows):
    first = refresh(presented).json
    age(11)
    assert works(first["access_token"])
    assert rows(select(Token.sealed_pair)) == [(None,)]  # the first use after the leeway erases the seal
    assert refresh(presented).json["error"] == "invalid_grant"
    assert not works(first["access_token"])
    assert refresh(first["refresh_token"]).json["error"] == "invalid_grant"
    assert rows(COUNT_TOKENS) == [(0,)]


def test_a_use_within_the_leeway_counts_once_the_leeway_is_over(refresh, presented, works, age, rows):
    first = refresh(presented).json
    assert works(first["access_token"])
    assert rows(select(Token.sealed_pair))[0][0] is not None
    age(11)
    assert refresh(presented).json["error"] == "invalid_grant"
    assert rows(COUNT_TOKENS) == [(0,)]


@pytest.mark.threat("T083")
def test_a_repeat_after_the_retry_lifetime_is_a_theft(refresh, presented, age, rows):
    refresh(presented)
    age(24 * 3_600)
    assert refresh(presented).json["error"] == "invalid_grant"
    assert rows(COUNT_TOKENS) == [(0,)]


def test_a_use_that_is_refused_is_a_use(http, refresh, seed, presented, app, age, rows):
    """403 at a resource rolls back, and yet the holder has shown the token."""

    @app.get("/api/picky")
    def picky():
        with require_oauth.acquire("read"):
            return "never"

    first = refresh(presented).json
    answer = http.get("/api/picky", headers={"Authorization": f"Bearer {first['access_token']}"})
    assert answer.status_code == 403
    assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]
    assert rows(select(Token.used_at))[0][0] is not None


def test_a_repeat_that_asks_for_another_scope_is_refused_and_ends_nothing(refresh, presented, works):
    first = refresh(presented, scope="email").json
    assert refresh(presented).json["error"] == "invalid_scope"
    assert refresh(presented, scope="email").json["access_token"] == first["access_token"]
    assert works(first["access_token"])


def test_a_repeat_with_another_way_of_authentication_is_refused_and_ends_nothing(
    http, refresh, presented, app, rows
):
    from models import Client

    first = refresh(presented).json
    with app.app_context():
        db.session.execute(update(Client).values(token_endpoint_auth_method="client_secret_post"))
        db.session.commit()
    body = refresh_request(presented, client_id="web", client_secret=basic()[1])
    answer = http.post("/oauth/token", data=body)
    assert (answer.status_code, answer.json["error"]) == (401, "invalid_client")
    assert rows(select(Token.access_token_digest)) == [(digest(first["access_token"]),)]


# ---- theft -------------------------------------------------------------------------------------------------


@pytest.mark.threat("T083")
@pytest.mark.parametrize("later", [0, 5, 11, 3_600])
def test_an_ancestor_ends_the_family_whenever_it_comes(refresh, presented, works, age, rows, later):
    """The thief refreshed, and refreshed again: then the owner's token is an ancestor, within the leeway and
    after it.
    """
    stolen = refresh(presented).json
    thiefs = refresh(stolen["refresh_token"]).json
    age(later)
    assert refresh(presented).json["error"] == "invalid_grant"
    assert not works(thiefs["access_token"])
    assert refresh(thiefs["refresh_token"]).json["error"] == "invalid_grant"
    assert rows(COUNT_TOKENS) == [(0,)]


@pytest.mark.threat("T083")
def test_any_ancestor_is_recognised(refresh, presented, rows):
    current = presented
    for _ in range(5):
        current = refresh(current).json["refresh_token"]
    assert refresh(presented).json["error"] == "invalid_grant"
    assert rows(COUNT_TOKENS) == [(0,)]


def test_only_a_right_tag_ends_a_family(refresh, presented, rows):
    current = refresh(presented).json["refresh_token"]
    known = RefreshToken.parse(current)
    for forged in (
        known._replace(secret="x" * 43),
        known._replace(tag="x" * 12),
        known._replace(secret=RefreshToken.parse(presented).secret),
    ):
        assert refresh(str(forged)).json["error"] == "invalid_grant"
    assert rows(COUNT_TOKENS) == [(1,)]
    assert refresh(current).status_code == 200


def test_an_ancestor_at_another_client_ends_nothing(refresh, presented, seed, rows):
    seed(a_client(client_id="other"))
    refresh(refresh(presented).json["refresh_token"])
    assert refresh(presented, auth=basic("other")).json["error"] == "invalid_grant"
    assert rows(COUNT_TOKENS) == [(1,)]


def test_a_token_of_an_earlier_sign_in_does_not_end_the_newer_one(refresh, presented, seed, app, rows):
    with app.app_context():
        db.session.execute(delete(Token))
        db.session.commit()
    seed(a_token(a_refresh_token()))
    assert refresh(presented).json["error"] == "invalid_grant"
    assert rows(COUNT_TOKENS) == [(1,)]


@pytest.mark.parametrize(
    "text", ["", "x", "ost_rt_", "ost_rt_" + "a" * 77, "ost_rt_" + "é" * 77, "ost_at_" + "a" * 43]
)
def test_what_was_never_a_refresh_token_is_refused(refresh, presented, text):
    assert refresh(text).status_code == 400
    assert refresh(presented).status_code == 200


def test_an_ancestor_ends_the_family_after_its_refresh_tokens_expired_too(
    refresh, presented, works, rows, app
):
    """An expired family may still hold a live access token: the thief's."""
    thiefs = refresh(refresh(presented).json["refresh_token"]).json
    with app.app_context():
        db.session.execute(update(Token).values(refresh_token_expires_at=clock.now() - 1))
        db.session.commit()
    assert works(thiefs["access_token"])
    assert refresh(thiefs["refresh_token"]).json["error"] == "invalid_grant"
    assert rows(COUNT_TOKENS) == [(1,)]
    assert refresh(presented).json["error"] == "invalid_grant"
    assert rows(COUNT_TOKENS) == [(0,)]


def test_a_refused_presentation_of_the_successor_counts(refresh, presented, rows):
    """Whoever asked too much with it has it: the token before it is not given the same pair any more."""
    first = refresh(presented).json
    assert refresh(first["refresh_token"], scope="profile email read").json["error"] == "invalid_scope"
    assert rows(select(Token.sealed_pair)) == [(None,)]
    assert refresh(presented).json["error"] == "invalid_grant"
    assert rows(COUNT_TOKENS) == [(0,)]


def test_scopes_are_written_in_one_way(refresh, presented, rows):
    assert refresh(presented, scope="email  email   profile").json["scope"] == "email profile"
    assert rows(select(Token.access_token_scope)) == [("email profile",)]


def test_a_damaged_seal_opens_nothing_and_ends_nothing(refresh, presented, app, rows):
    refresh(presented)
    with app.app_context():
        db.session.execute(update(Token).values(sealed_pair=b"x"))
        db.session.commit()
    assert refresh(presented).json["error"] == "invalid_grant"
    assert rows(COUNT_TOKENS) == [(1,)]


class TestStrict:
    """Both durations at 0: a token is good for one use, as without any of this."""

    @pytest.fixture
    def settings(self, settings):
        return settings.model_copy(
            update={"refresh_leeway": timedelta(0), "refresh_retry_lifetime": timedelta(0)}
        )

    def test_a_repeat_is_a_theft(self, refresh, presented, rows):
        assert refresh(presented).status_code == 200
        assert rows(select(Token.sealed_pair)) == [(None,)]
        assert refresh(presented).json["error"] == "invalid_grant"
        assert rows(COUNT_TOKENS) == [(0,)]


class TestWithoutRotation:
    """A confidential client may keep its refresh token; then a burst of refreshes gets one access token."""

    def test_a_dead_access_token_is_not_given_again(self, refresh, presented, app):
        first = refresh(presented).json
        with app.app_context():
            db.session.execute(update(Token).values(access_token_expires_at=clock.now()))
            db.session.commit()
        second = refresh(presented).json
        assert second["access_token"] != first["access_token"]
        assert second["expires_in"] == 600

    def test_a_public_client_rotates_whatever_its_row_says(self, http, seed):
        token = a_refresh_token()
        seed(a_user(), a_public_client(rotate_refresh_tokens=False), a_token(token, client_id="spa"))
        answer = http.post("/oauth/token", data=refresh_request(token, client_id="spa"))
        assert answer.json["refresh_token"] != token

    @pytest.fixture
    def presented(self, seed):
        token = a_refresh_token()
        seed(a_user(), a_client(rotate_refresh_tokens=False), a_token(token))
        return token

    def test_the_refresh_token_stays(self, refresh, presented, age):
        first = refresh(presented).json
        assert first["refresh_token"] == presented
        second = refresh(presented).json
        assert second["access_token"] == first["access_token"]
        age(11)
        third = refresh(presented).json
        assert third["access_token"] != first["access_token"]
        assert third["refresh_token"] == presented

    def test_use_of_the_access_token_changes_nothing(self, refresh, presented, works, age):
        first = refresh(presented).json
        assert works(first["access_token"])
        age(11)
        second = refresh(presented).json
        assert works(second["access_token"])
        assert not works(first["access_token"])


def test_tags_of_an_old_secret_key_still_count(app, http, seed):
    from pydantic import SecretStr

    from app import create_app

    with app.app_context():
        settings = state_of(app).settings
    renewed = settings.model_copy(
        update={"secret_key": SecretStr("n" * 32), "old_secret_keys": (SecretStr(SECRET_KEY),)}
    )
    other = create_app(renewed)
    token = RefreshToken.parse(a_refresh_token())
    assert state_of(other).home.refresh_tokens.has_valid_tag(token)
    without_old_keys = create_app(renewed.model_copy(update={"old_secret_keys": ()}))
    assert not state_of(without_old_keys).home.refresh_tokens.has_valid_tag(token)
