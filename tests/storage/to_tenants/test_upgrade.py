"""An upgrade to tenants in production: nodes of the version before go on, and so does what they issued."""

import json
import time

import pytest
from flask_migrate import downgrade, upgrade
from sqlalchemy import inspect
from sqlalchemy.exc import DBAPIError

from crypto import credentials
from database.tenancy import HOME
from models import db
from tests import builders
from tests.builders import CLIENT_SECRET, ISSUER, SECRET_KEY
from tests.cookies import cookies_of
from tests.statements import text
from tests.storage.to_tenants import old_writes
from tests.storage.to_tenants.migrating import BEFORE, TENANTS, all_rows, values_of
from tests.storage.to_tenants.old_rows import ROWS, a_client, a_session, a_token, a_user, fill, insert
from unit_of_work import transaction

pytestmark = pytest.mark.long_on("mariadb")

TOKENS = 100_000
MAXIMUM_SECONDS = 60  # on a busy machine; it takes one or two
COOKIE_VALUE = "of a browser that signed in before"


@pytest.mark.threat("T206")
def test_the_version_before_works_on(app):
    """Each kind of its writes does with the new tables what it did with the old ones."""
    upgrade(revision=BEFORE)
    fill()
    before = all_rows()
    old_writes.work()
    assert all_rows() == before
    upgrade(revision=TENANTS)
    old_writes.work()
    assert all_rows() == before
    for table in ROWS:
        assert values_of("DISTINCT tenant_id", table) == [HOME], table


def test_the_version_before_cannot_note_the_use_of_a_secret(app, dialect):
    """Its upsert names a key that two tenants with a client of one name could not have. It logs that, and
    answers all the same; on MariaDB an upsert names no key.
    """
    upgrade(revision=BEFORE)
    assert old_writes.note_use_of_a_secret() == 6
    upgrade(revision=TENANTS)
    if dialect == "mariadb":
        assert old_writes.note_use_of_a_secret() == 6
        return
    with pytest.raises(DBAPIError, match="ON CONFLICT"):
        old_writes.note_use_of_a_secret()


def stored_before(row, found):
    """A row of the version before. row: of today's model, for the values; found: the rest of its columns."""
    values = inspect(row).dict
    return found | {
        name: json.dumps(value) if isinstance(value, list | dict) else value
        for name, value in values.items()
        if not name.startswith("_")
    }


def issue_before():
    """A refresh token, an access token and a session; returns the first two."""
    access_token = credentials.new_access_token()
    refresh_token = str(credentials.RefreshTokenMaker(SECRET_KEY).new())
    token = builders.a_token(
        refresh_token, user_id=3, access_token_digest=credentials.digest(access_token), openid=None
    )
    session = builders.a_session(5, user_id=3, session_digest=credentials.digest(COOKIE_VALUE))
    insert("client", [stored_before(builders.a_client(), a_client("web"))])
    insert("end_user", [a_user(3)])
    insert("user_session", [stored_before(session, a_session(5, 3))])
    insert("token", [stored_before(token, a_token(7))])
    return refresh_token, access_token


@pytest.mark.threat("T206")
def test_what_was_issued_before_works_on(app):
    upgrade(revision=BEFORE)
    with transaction():
        refresh_token, access_token = issue_before()
    upgrade()
    client = app.test_client(use_cookies=False)
    headers = {"Authorization": f"Bearer {access_token}"}
    assert client.get("/api/me", headers=headers, base_url=ISSUER).json["sub"] == "sub-3"
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    answer = client.post("/oauth/token", data=form, auth=("web", CLIENT_SECRET), base_url=ISSUER)
    assert answer.status_code == 200
    cookie = cookies_of(app, ISSUER, COOKIE_VALUE).header
    page = client.get("/account/sessions", headers={"Cookie": cookie}, base_url=ISSUER)
    assert page.status_code == 200
    assert "Where you are signed in" in page.text


@pytest.mark.long
def test_a_hundred_thousand_tokens_take_seconds(app):
    upgrade(revision=BEFORE)
    fill({table: ROWS[table] for table in ("client", "end_user")})
    per_batch = 10_000
    for first in range(1, TOKENS, per_batch):
        with transaction():
            insert(
                "token",
                [a_token(number, user_id=3, slot=number) for number in range(first, first + per_batch)],
            )
    for step in (upgrade, lambda: downgrade(revision=BEFORE)):
        started = time.perf_counter()
        step()
        seconds = time.perf_counter() - started
        print(f"{db.engine.dialect.name}: {seconds:.2f} s")
        assert seconds < MAXIMUM_SECONDS
    assert db.session.scalar(text("SELECT count(*) FROM token")) == TOKENS
