"""What the version before tenants writes, as its SQL: nodes of it go on while others have the new tables.

`work` does all of it once, for a user and a client of its own, and removes them again. Each statement is that
version's, with its keys in ON CONFLICT, and must do what it did there.
"""

# ruff: noqa: S608 - what is put into SQL here is our own

from functools import partial

import pytest
from sqlalchemy.exc import IntegrityError

from models import db
from tests.statements import text
from tests.storage.to_tenants.old_rows import (
    a_client,
    a_code,
    a_notice,
    a_session,
    a_token,
    a_user,
    digest,
    insert,
)
from unit_of_work import transaction

NUMBER, CLIENT = 99, "new"
KEYS = {
    "client_session": "session_id, client_id",
    "client_secret_use": "client_id, number",
    "throttle": "bucket_digest",
    "spent_assertion": "jti_digest",
}
OF_PAIR = "client_id = :client_id AND user_id = :user_id"
NEWEST = (
    f"SELECT newest.id FROM (SELECT id FROM token WHERE {OF_PAIR}"
    " ORDER BY issued_at DESC, id DESC LIMIT :keep) AS newest"
)
FREE_SLOT = (
    "SELECT min(candidates.slot) FROM (SELECT 0 AS slot UNION ALL SELECT token.slot + 1 FROM token"
    " WHERE token.client_id = :client_id AND token.user_id = :user_id) AS candidates"
    " WHERE NOT EXISTS (SELECT taken.id FROM token AS taken WHERE taken.client_id = :client_id"
    " AND taken.user_id = :user_id AND taken.slot = candidates.slot)"
)


def changed(sql, **values):
    """How many rows a statement changed."""
    with transaction():
        return db.session.execute(text(sql), values).rowcount


def returned(sql, **values):
    """What a statement returned: one value, or None."""
    with transaction():
        return db.session.execute(text(sql), values).scalar_one_or_none()


def upsert(table, change, row, returning=""):
    """INSERT … ON CONFLICT, as each engine spells it."""
    names, values = ", ".join(row), ", ".join(f":{name}" for name in row)
    if db.engine.dialect.name == "mariadb":
        on_conflict = f"ON DUPLICATE KEY UPDATE {change.replace('excluded.expires_at', 'VALUES(expires_at)')}"
    else:
        on_conflict = f"ON CONFLICT ({KEYS[table]}) DO UPDATE SET {change}"
    return f"INSERT INTO {table} ({names}) VALUES ({values}) {on_conflict} {returning}"


def is_refused(table, row):
    """Whether a second row with the same key is."""
    with pytest.raises(IntegrityError), transaction():
        insert(table, [row])
    return True


def stored(table, row):
    with transaction():
        insert(table, [row])
    return row


def work():
    """Write all of it, in the order of a user's life. There is no row of it before, and none after."""
    register()
    sign_in()
    allow()
    tokens_of_a_user()
    tokens_of_a_client()
    on_any_request()
    sign_out_and_remove()


def register():
    client, user = stored("client", a_client(CLIENT)), stored("end_user", a_user(NUMBER))
    assert is_refused("client", client)
    assert is_refused("end_user", a_user(NUMBER) | {"id": 100, "email": "other@example.com"})
    assert is_refused("end_user", a_user(NUMBER) | {"id": 100, "sub": "other"})
    of_client = {"client_id": CLIENT}
    assert (
        changed("UPDATE client SET client_secret_number = 4 WHERE client_id = :client_id", **of_client) == 1
    )
    for origin in ("https://one.example", "https://two.example"):
        changed("DELETE FROM client_origin WHERE client_id = :client_id", **of_client)
        stored("client_origin", {**of_client, "origin": origin})
    assert changed("UPDATE end_user SET password_hash = 'x' WHERE id = :id", id=user["id"]) == 1


def sign_in():
    values = a_session(NUMBER, NUMBER)
    del values["id"]
    names = ", ".join(values)
    session_id = returned(
        f"INSERT INTO user_session ({names}) VALUES ({', '.join(f':{name}' for name in values)})"
        " RETURNING id",
        **values,
    )
    renewed = "UPDATE user_session SET session_digest = :new, auth_time = 2 WHERE id = :id"
    assert changed(renewed, new=digest(1099), id=session_id) == 1
    used = "UPDATE user_session SET last_seen_at = 3 WHERE id = :id AND session_digest = :digest"
    assert changed(used, id=session_id, digest=digest(1099)) == 1
    add = partial(upsert, "client_session", "sid = client_session.sid", returning="RETURNING sid")
    for sid in ("sid-of-old", "another"):  # the second time it keeps the first
        row = {"sid": sid, "session_id": session_id, "client_id": CLIENT, "created_at": 1}
        assert returned(add(row), **row) == "sid-of-old"


def allow():
    ticket = {
        "ticket_digest": digest(NUMBER),
        "browser_digest": digest(NUMBER),
        "client_id": CLIENT,
        "sealed_parameters": b"sealed",
        "requested_at": 1,
        "expires_at": 2**40,
    }
    stored("authorization_ticket", ticket)
    assign = "UPDATE authorization_ticket SET session_id = 5 WHERE ticket_digest = :ticket"
    assert changed(f"{assign} AND browser_digest IN (:ticket)", ticket=digest(NUMBER)) == 1
    claim = "DELETE FROM authorization_ticket WHERE ticket_digest = :ticket RETURNING ticket_digest"
    assert [returned(claim, ticket=digest(NUMBER)) for _ in range(2)] == [digest(NUMBER), None]
    consent = {"user_id": NUMBER, "client_id": CLIENT, "scope": "", "granted_at": 1}
    stored("consent", consent)
    assert is_refused("consent", consent)
    more = "UPDATE consent SET scope = 'email' WHERE user_id = :user_id AND client_id = :client_id"
    assert changed(more, user_id=NUMBER, client_id=CLIENT) == 1
    code = stored("authorization_code", a_code(NUMBER, NUMBER) | {"client_id": CLIENT, "failures": 0})
    guess = "UPDATE authorization_code SET failures = failures + 1 WHERE code_digest = :digest"
    assert changed(guess, digest=code["code_digest"]) == 1
    claim = "DELETE FROM authorization_code WHERE code_digest = :digest RETURNING code_digest"
    assert [returned(claim, digest=code["code_digest"]) for _ in range(2)] == [code["code_digest"], None]


def tokens_of_a_user():
    pair = {"client_id": CLIENT, "user_id": NUMBER}
    for number in (990, 991, 992):  # three sign-ins, of which two are kept
        freed = returned(
            f"DELETE FROM token WHERE {OF_PAIR} AND id NOT IN ({NEWEST}) RETURNING slot", **pair, keep=1
        )
        row = a_token(number, CLIENT, NUMBER) | {"code_digest": digest(number)}
        del row["id"], row["slot"]
        if freed is None:
            in_free_slot = f"INSERT INTO token (slot, {', '.join(row)}) SELECT ({FREE_SLOT}), {of(row)}"
            assert changed(in_free_slot, **row) == 1
        else:
            stored("token", row | {"slot": freed})
    assert slots() == [0, 1]
    assert is_refused("token", a_token(993, CLIENT, NUMBER, 1))
    presented = {"digest": digest(992)}
    used = "UPDATE token SET used_at = 5 WHERE access_token_digest = :digest AND used_at IS NULL"
    assert [changed(used, **presented) for _ in range(2)] == [1, 0]
    claim = "DELETE FROM token WHERE access_token_digest = :digest RETURNING slot"
    slot = returned(claim, **presented)
    assert returned(claim, **presented) is None
    refreshed = a_token(994, CLIENT, NUMBER, slot) | {
        "family_digest": digest(992),
        "code_digest": digest(992),
    }
    stored("token", refreshed)
    assert slots() == [0, 1]
    assert changed("DELETE FROM token WHERE family_digest = :digest", **presented) == 1
    assert changed("DELETE FROM token WHERE code_digest = :digest", digest=digest(991)) == 1
    assert slots() == []


def of(row):
    """The parameters of a row in a SELECT list, where PostgreSQL asks for their types."""
    kinds = {"digest": "BYTEA", "_at": "BIGINT", "user_id": "INTEGER"}
    if db.engine.dialect.name != "postgresql":
        return ", ".join(f":{name}" for name in row)
    kind_of = {
        name: next((kind for end, kind in kinds.items() if name.endswith(end)), "VARCHAR") for name in row
    }
    kind_of["openid"] = "JSON"
    return ", ".join(f"CAST(:{name} AS {kind})" for name, kind in kind_of.items())


def slots():
    found = text(f"SELECT slot FROM token WHERE {OF_PAIR} ORDER BY slot")
    with transaction():
        return db.session.scalars(found, {"client_id": CLIENT, "user_id": NUMBER}).all()


def tokens_of_a_client():
    of_client = "client_id = :client_id AND user_id IS NULL"
    expired = f"DELETE FROM token WHERE {of_client} AND access_token_expires_at <= :now"
    for number, deleted in ((995, 0), (996, 1), (997, 1)):
        assert changed(expired, client_id=CLIENT, now=number - 1) == deleted
        stored("token", a_token(number, CLIENT))
    assert changed("DELETE FROM token WHERE access_token_digest = :digest", digest=digest(997)) == 1


def on_any_request():
    """Throttles, assertions, answers to forms, signing keys."""
    for expected in (10, 15):  # a bucket that is not empty gets more
        row = {"bucket_digest": digest(NUMBER), "expires_at": 10 if expected == 10 else 7}
        more = (
            "expires_at = CASE WHEN (throttle.expires_at > 2)"
            " THEN (throttle.expires_at + excluded.expires_at) - 2 ELSE excluded.expires_at END"
        )
        changed(upsert("throttle", more, row), **row)
        found = "SELECT expires_at FROM throttle WHERE bucket_digest = :digest"
        assert returned(found, digest=digest(NUMBER)) == expected
    spent = {"jti_digest": digest(NUMBER), "expires_at": 1}
    is_mariadb = db.engine.dialect.name == "mariadb"
    spend = (
        f"INSERT {'IGNORE ' if is_mariadb else ''}INTO spent_assertion (jti_digest, expires_at)"
        f" VALUES (:jti_digest, :expires_at){'' if is_mariadb else ' ON CONFLICT (jti_digest) DO NOTHING'}"
        " RETURNING jti_digest"
    )
    assert [returned(spend, **spent) for _ in range(2)] == [digest(NUMBER), None]
    answer = {"form_digest": digest(NUMBER), "sealed_answer": b"sealed", "expires_at": 1}
    stored("form_answer", answer)
    assert is_refused("form_answer", answer)
    for table, key in {"throttle": "bucket", "spent_assertion": "jti", "form_answer": "form"}.items():
        assert changed(f"DELETE FROM {table} WHERE {key}_digest = :digest", digest=digest(NUMBER)) == 1
    key = {"kid": "old", "alg": "ES256", "generation": NUMBER, "public_jwk": "{}", "sealed_private_key": b"x"}
    key |= {"created_at": 1, "active_from": 1}
    stored("signing_key", key)
    assert is_refused("signing_key", key | {"kid": "of another node"})
    assert changed("UPDATE signing_key SET last_presented_at = 2 WHERE kid = 'old'") == 1
    assert changed("DELETE FROM signing_key WHERE kid IN ('old')") == 1


def sign_out_and_remove():
    """The client is told of it, also when the user is gone."""
    notice = a_notice(NUMBER, NUMBER) | {"client_id": CLIENT, "sid": "sid-of-old"}
    stored("logout_notice", notice)
    tried = "UPDATE logout_notice SET attempts = attempts + 1, outcome = '500' WHERE id IN (:id)"
    assert changed(tried, id=NUMBER) == 1
    assert changed("DELETE FROM user_session WHERE user_id = :id", id=NUMBER) == 1
    for table in ("client_session", "consent"):
        left = returned(f"SELECT count(*) FROM {table} WHERE client_id = :id", id=CLIENT)
        assert left == (table == "consent")
    assert changed("DELETE FROM end_user WHERE id = :id", id=NUMBER) == 1
    told = "SELECT count(*) FROM logout_notice WHERE client_id = :id AND user_id IS NULL"
    assert returned(told, id=CLIENT) == 1
    assert changed("DELETE FROM client WHERE client_id = :id", id=CLIENT) == 1
    assert returned("SELECT count(*) FROM logout_notice WHERE client_id = :id", id=CLIENT) == 0


def note_use_of_a_secret():
    """Twice; the second time it finds the row of the first."""
    stored("client", a_client(CLIENT))
    row = {"client_id": CLIENT, "number": 1}
    try:
        for at in (5, 6):
            statement = upsert("client_secret_use", f"last_used_at = {at}", row | {"last_used_at": at})
            changed(statement, **row, last_used_at=at)
        return returned("SELECT last_used_at FROM client_secret_use WHERE client_id = :id", id=CLIENT)
    finally:
        changed("DELETE FROM client WHERE client_id = :id", id=CLIENT)
