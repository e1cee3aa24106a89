"""Two tenants whose rows have the same names: what one does finds, counts and changes nothing of the other's.

The same on each engine. Each test is one transaction, which is undone. `test_each_own.py` learns here which
statement has which `own(…)`: every one of the product is sent.
"""

import pytest

import my_oauth
import store.client_secrets
import store.client_sessions
import store.clients
import store.codes
import store.consents
import store.demo
import store.form_answers
import store.logout_notices
import store.scopes
import store.signing_keys
import store.spent_assertions
import store.tenants
import store.throttles
import store.tickets
import store.tokens
import store.user_sessions
import store.users
from crypto.credentials import digest
from database.tenancy import HOME, entered
from models import (
    SpentAssertion,
    Throttle,
    Token,
    db,
)
from protocol.throttle import Bucket
from store.user_sessions import SignIn
from tests.builders import (
    a_public_client,
    a_token,
)
from tests.statements import select
from tests.storage.two_tenants import BUCKET, JTI, NOW, ORIGIN, OTHER

pytestmark = pytest.mark.usefixtures("two_tenants")


def rows_of(tenant):
    return {
        name: db.session.execute(
            select(table).where(table.c.tenant_id == tenant).order_by(*table.primary_key)
        ).all()
        for name, table in db.metadata.tables.items()
        if name != "tenant"
    }


def signed_in(tenant):
    with entered(tenant):
        return store.user_sessions.find_signed_in(f"session {tenant}", NOW)


# ---- by what only one of them has --------------------------------------------------------------------------

BROWSER = [digest("browser")]
AGAIN = SignIn("another session", NOW, "pwd")

# What `tenant` has, found or changed.
BY_ITS_OWN_VALUE = {
    "a code": lambda tenant: store.codes.find_and_lock_user(digest(f"code {tenant}")),
    "a code, claimed": lambda tenant: store.codes.claim(digest(f"code {tenant}")),
    "a code, guessed at": lambda tenant: store.codes.count_failure(digest(f"code {tenant}")),
    "the codes of a user": lambda tenant: store.codes.delete_pending(user_id=tenant),
    "the codes of a session": lambda tenant: store.codes.delete_of_sids(tenant, [f"sid {tenant}"]),
    "an access token": lambda tenant: store.tokens.find_by_access_token(digest(f"at {tenant}")),
    "an access token, revoked": lambda tenant: store.tokens.revoke_access_token(digest(f"at {tenant}")),
    "an access token, replaced": lambda tenant: store.tokens.replace_access_token(tenant, acr="2"),
    "an access token, used": lambda tenant: store.tokens.mark_used(tenant, NOW, 0),
    "a refresh token": lambda tenant: store.tokens.find_family(digest(f"family {tenant}")),
    "a refresh token, locked": lambda tenant: store.tokens.find_family_and_lock_user(
        digest(f"family {tenant}")
    ),
    "a refresh token with its user": lambda tenant: store.tokens.find_by_family(digest(f"family {tenant}")),
    "a refresh token, revoked": lambda tenant: store.tokens.revoke_family(digest(f"family {tenant}")),
    "a refresh token, presented": lambda tenant: store.tokens.note_presentation(tenant, NOW),
    "a refresh token, replaced": lambda tenant: db.session.scalars(
        my_oauth.DELETE_THE_PRESENTED, {"token_id": tenant, "current_digest": digest(f"rt {tenant}")}
    ).all(),
    "a spent code": lambda tenant: store.tokens.find_of_code(digest(f"spent code {tenant}"), "web"),
    "a spent code, revoked": lambda tenant: store.tokens.revoke_of_code(digest(f"spent code {tenant}")),
    "the tokens of a user": lambda tenant: store.tokens.count_of_user(tenant),
    "the tokens of a user, revoked": lambda tenant: store.tokens.revoke_of_user(tenant),
    "the tokens of a user at a client": lambda tenant: store.tokens.revoke_of_user(tenant, "web"),
    "the tokens of a session": lambda tenant: store.tokens.revoke_of_sids(tenant, [f"sid {tenant}"]),
    "the tokens of a user, but for the newest": lambda tenant: db.session.execute(
        my_oauth.DELETE_ALL_BUT_THE_NEWEST, {"client_id": "web", "user_id": tenant, "keep": 0}
    ).all(),
    "the tokens of other sessions": lambda tenant: store.tokens.revoke_of_other_sessions(tenant, 9),
    "their digests": lambda tenant: store.tokens.access_token_digests("web", tenant),
    "a ticket": lambda tenant: store.tickets.find(f"ticket {tenant}", BROWSER, NOW),
    "a ticket, claimed": lambda tenant: store.tickets.claim(f"ticket {tenant}"),
    "a ticket, assigned": lambda tenant: store.tickets.assign(f"ticket {tenant}", BROWSER, tenant),
    "an answer": lambda tenant: store.form_answers.find(f"form {tenant}", BROWSER, NOW),
    "a session": lambda tenant: store.user_sessions.find_signed_in(f"session {tenant}", NOW),
    "a session, locked": lambda tenant: store.user_sessions.find_among([f"session {tenant}"], tenant, NOW),
    "several sessions": lambda tenant: store.user_sessions.find_all_signed_in([f"session {tenant}"], NOW),
    "an expired session": lambda tenant: store.user_sessions.find_expired(10 + tenant, NOW),
    "the session of a device": lambda tenant: store.user_sessions.find_older(
        tenant, digest(f"device {tenant}"), NOW
    )[0],
    "the sessions of a user": lambda tenant: store.user_sessions.of_user(tenant, NOW),
    "their number": lambda tenant: store.users.count_sessions(tenant, NOW),
    "other sessions of a user": lambda tenant: store.user_sessions.others_of_user(tenant, tenant),
    "a session, renewed": lambda tenant: store.user_sessions.renew(tenant, AGAIN),
    "a session, used": lambda tenant: store.user_sessions.record_use(signed_in(tenant), NOW),
    "the sessions of a user, ended": lambda tenant: store.user_sessions.delete_of_user(tenant),
    "one session of a user, ended": lambda tenant: store.user_sessions.delete_of_user(tenant, [tenant]),
    "a sid": lambda tenant: store.client_sessions.find(f"sid {tenant}"),
    "the clients of a session": lambda tenant: store.client_sessions.sessions_with("web", [tenant]),
    "the clients of a user": lambda tenant: store.client_sessions.of_user(tenant),
    "their names": lambda tenant: store.client_sessions.names_of_user(tenant),
    "consent": lambda tenant: store.consents.find_scope(tenant, "web"),
    "consent of several": lambda tenant: store.consents.scopes_of([tenant], "web"),
    "consents of a user": lambda tenant: store.consents.of_user(tenant),
    "consent, withdrawn": lambda tenant: store.consents.withdraw(tenant, "web"),
    "receipts of a user": lambda tenant: store.logout_notices.of_user(tenant),
    "their numbers": lambda tenant: store.logout_notices.newest_ids(tenant, 9),
    "receipts": lambda tenant: store.logout_notices.find_recent([tenant], 0),
    "an attempt": lambda tenant: store.logout_notices.record(tenant, 0, "delivered", delivered_at=NOW),
    "a user": lambda tenant: store.users.find(tenant),
    "a user, locked": lambda tenant: store.users.lock(tenant),
    "a user, afresh": lambda tenant: store.users.find_afresh(tenant),
    "a user's password": lambda tenant: store.users.set_password_hash(tenant, "new"),
    "a user, disabled": lambda tenant: store.users.set_disabled(tenant, NOW),
    "a user, removed": lambda tenant: store.users.remove(tenant),
    "a signing key, presented": lambda tenant: store.signing_keys.note_presentation(f"kid {tenant}", NOW),
    "a signing key, prepared": lambda tenant: store.signing_keys.set_active_from(f"kid {tenant}", 1),
    "a signing key, sealed": lambda tenant: store.signing_keys.set_sealed_private_key(f"kid {tenant}", b"1"),
    "a signing key, removed": lambda tenant: store.signing_keys.remove([f"kid {tenant}"]),
}


@pytest.mark.threat("T196")
@pytest.mark.parametrize("tenant", [HOME, OTHER])
@pytest.mark.parametrize("do", BY_ITS_OWN_VALUE.values(), ids=BY_ITS_OWN_VALUE)
def test_what_one_has_is_nothing_to_the_other(do, tenant):
    before = rows_of(HOME), rows_of(OTHER)
    with entered(HOME + OTHER - tenant):
        assert not do(tenant)
    assert (rows_of(HOME), rows_of(OTHER)) == before
    with entered(tenant):
        assert do(tenant) or (rows_of(HOME), rows_of(OTHER)) != before


# ---- by a name that both have, or of its own -------------------------------------------------------------

ADA = "ada@example.com"


def keep_one(_tenant):
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(store.tickets, "PER_BROWSER", 1)
        store.tickets.add("another ticket", BROWSER[0], "web", {}, NOW)


def answer_again(tenant):
    store.form_answers.add("old form", BROWSER[0], {}, NOW - 100)
    expired = store.form_answers.find("old form", BROWSER, NOW)
    store.form_answers.add("old form", BROWSER[0], {}, NOW, expired)


# What `tenant` changes.
CHANGES = {
    "a client's tokens, revoked": lambda _: store.tokens.revoke_of_client("web"),
    "a client's own tokens, expired": lambda _: db.session.execute(
        my_oauth.DELETE_EXPIRED_CLIENT_TOKENS, {"client_id": "web", "now": NOW}
    ),
    "a client's codes, deleted": lambda _: store.codes.delete_pending(client_id="web"),
    "a client, removed": lambda _: store.clients.remove(store.clients.find("web")),
    "a client's secret, used": lambda _: store.client_secrets.note_use("web", 1, NOW),
    "a client's secret, forgotten": lambda _: store.client_secrets.forget_uses_before("web", 2),
    "a client's origins": lambda _: store.clients.set_origins(a_public_client(client_id="web")),
    "a client of a session": lambda tenant: store.client_sessions.find_or_make_sid(10 + tenant, "web", NOW),
    "a scope, removed": lambda _: store.scopes.remove(store.scopes.find("read")),
    "a scope, added": lambda _: store.scopes.add("write", "Write"),
    "a user, added": lambda _: store.users.add("grace@example.com", "Grace", "hash"),
    "a session, started": lambda tenant: store.user_sessions.start(tenant, AGAIN),
    "consent to more": lambda tenant: store.consents.remember(tenant, "web", "email", NOW),
    "a notice": lambda tenant: store.logout_notices.add(
        tenant, NOW, [{"client_id": "web", "sub": "ada", "sid": "another"}]
    ),
    "too many tickets": keep_one,
    "an answer in place of an expired one": answer_again,
    "a failure": lambda _: store.throttles.count_failure([BUCKET], NOW),
    "a place": lambda _: store.throttles.claim(BUCKET, NOW),
    "all rows, removed": lambda _: store.tenants.remove_rows(),
}


@pytest.mark.threat("T196")
@pytest.mark.parametrize("tenant", [HOME, OTHER])
@pytest.mark.parametrize("do", CHANGES.values(), ids=CHANGES)
def test_a_change_leaves_the_rows_of_the_other(do, tenant):
    before = {number: rows_of(number) for number in (HOME, OTHER)}
    with entered(tenant):
        do(tenant)
        db.session.flush()
    other = HOME + OTHER - tenant
    assert rows_of(other) == before[other]
    assert rows_of(tenant) != before[tenant]


@pytest.mark.parametrize("tenant", [HOME, OTHER])
def test_a_sign_in_takes_the_smallest_slot_of_its_own_tenant(tenant):
    with entered(HOME + OTHER - tenant):
        db.session.add_all(a_token(id=90 + slot, user_id=tenant, slot=slot) for slot in (1, 2))
        db.session.flush()
    row = {"client_id": "web", "user_id": tenant, "scope": "", "access_token_scope": "", "issued_at": 1}
    row |= {"access_token_digest": digest("new"), "access_token_expires_at": NOW + 60}
    with entered(tenant):
        db.session.execute(my_oauth.INSERT_TOKEN_IN_A_FREE_SLOT, my_oauth.EMPTY_ROW | row)
    slots = select(Token.slot).where(Token.access_token_digest == digest("new"))
    assert db.session.scalar(slots) == 1


COUNTS = {
    "tokens of a client": (lambda: store.clients.count_tokens("web"), 2),
    "tokens of the client itself": (lambda: len(store.tokens.access_token_digests("web", None)), 1),
    "codes of a client": (lambda: store.codes.count_of_client("web"), 1),
    "users with tokens": (lambda: len(store.tokens.users_with_tokens("web")), 1),
    "users with codes": (lambda: len(store.codes.users_with_codes("web")), 1),
    "all users, locked": (store.users.lock_all, 1),
    "users by address": (lambda: len(store.users.all_by_email()), 1),
    "clients by name": (lambda: len(store.clients.all_by_name()), 1),
    "clients with a scope": (lambda: len(store.clients.with_scope("profile")), 1),
    "scopes": (lambda: len(store.scopes.all_by_name()), 1),
    "unknown scopes": (lambda: len(store.clients.unknown_scopes(["read", "write"])), 1),
    "uses of secrets": (lambda: len(store.client_secrets.last_uses("web")), 1),
    "signing keys": (lambda: len(store.signing_keys.all_keys()), 1),
    "receipts": (lambda: len(store.logout_notices.all_recent()), 1),
}


@pytest.mark.threat("T196")
@pytest.mark.parametrize("tenant", [HOME, OTHER])
@pytest.mark.parametrize(("count", "expected"), COUNTS.values(), ids=COUNTS)
def test_each_counts_its_own(count, expected, tenant):
    with entered(tenant):
        assert count() == expected


FINDS = {
    "a client": lambda: store.clients.find("web"),
    "a client, locked": lambda: store.clients.lock("web"),
    "a user by address": lambda: store.users.find_by_email(ADA),
    "a scope": lambda: store.scopes.find("read"),
}


@pytest.mark.threat("T197")
@pytest.mark.parametrize("find", FINDS.values(), ids=FINDS)
def test_in_one_session_each_gets_its_own_row(find):
    """The session keeps rows by their key, so it must know the tenant of each."""
    found = []
    for tenant in (HOME, OTHER, HOME):
        with entered(tenant):
            found.append(find())
    assert [row.tenant_id for row in found] == [HOME, OTHER, HOME]
    assert found[0] is found[2]


@pytest.mark.threat("T196")
@pytest.mark.parametrize("tenant", [HOME, OTHER])
def test_a_client_for_readers_is_that_of_its_tenant(tenant):
    with entered(tenant):
        assert store.clients.find_read_only("web").tenant_id == tenant


@pytest.mark.parametrize("tenant", [HOME, OTHER])
def test_a_scope_is_described_by_its_own_tenant(tenant):
    with entered(tenant):
        assert store.scopes.descriptions(("read",)) == {"read": f"Read at {tenant}"}


def test_an_origin_is_that_of_a_client_of_the_tenant():
    with entered(OTHER):
        store.clients.set_origins(a_public_client(client_id="web", redirect_uris=[]))
        assert not store.clients.is_origin_of_public_client(ORIGIN)
    assert store.clients.is_origin_of_public_client(ORIGIN)


# ---- the same value twice ----------------------------------------------------------------------------------


def test_failures_at_one_do_not_hold_up_the_other():
    wide = Bucket.of(2, 3600, "sign-in", "grace@example.com")
    for _ in range(2):
        store.throttles.count_failure([wide], NOW)
    assert store.throttles.seconds_to_wait([wide], NOW) > 0
    with entered(OTHER):
        assert store.throttles.seconds_to_wait([wide], NOW) == 0
        assert [store.throttles.claim(wide, NOW) for _ in range(2)] == [0, 0]
        assert store.throttles.claim(wide, NOW) > 0


def test_an_assertion_is_spent_at_each():
    now_spent = digest("another jti")
    for tenant in (HOME, OTHER):
        with entered(tenant):
            assert store.spent_assertions.spend(now_spent, NOW + 60, NOW)
            assert not store.spent_assertions.spend(now_spent, NOW + 60, NOW)


def test_nobody_is_there_where_only_others_have_anybody():
    assert not store.demo.is_nobody_there()
    with entered(99):
        assert store.demo.is_nobody_there()


def test_home_keeps_its_keys():
    """An older version, which knows no tenants, looks for them there."""
    for column, value in ((Throttle.bucket_digest, BUCKET.digest), (SpentAssertion.jti_digest, JTI)):
        found = db.session.execute(select(column, column.class_.tenant_id)).all()
        assert [tenant for key, tenant in found if key == value] == [HOME]
        assert sorted(tenant for _key, tenant in found) == [HOME, OTHER]
