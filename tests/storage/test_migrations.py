"""Migrations start from empty and end at the models, on each engine."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask_migrate import downgrade, upgrade
from sqlalchemy import inspect

import store.migration_state
from app import create_app
from config import Settings
from models import db
from tests.builders import ISSUER, SECRET_KEY
from tests.statements import text
from unit_of_work import migration, transaction

pytestmark = pytest.mark.long_on("mariadb")


@pytest.fixture
def app(database_url):
    app = create_app(Settings(issuer=ISSUER, database_url=database_url, secret_key=SECRET_KEY))
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()


def differences():
    connection = db.session.connection()
    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "compare_server_default": True}
    )
    return [change for change in compare_metadata(context, db.metadata)]


def test_migrations_from_empty_equal_the_models(app):
    assert not store.migration_state.is_migrated()
    db.session.remove()
    upgrade()
    assert store.migration_state.is_migrated()
    assert differences() == []


def test_primary_keys_are_never_used_twice_on_sqlite(app):
    """The comparison does not see AUTOINCREMENT, and a table that a migration rebuilds in a batch
    loses it.
    """
    upgrade()
    if db.engine.dialect.name == "sqlite":
        made = dict(tuple(row) for row in db.session.execute(text("SELECT name, sql FROM sqlite_master")))
        assert all("AUTOINCREMENT" in made[table] for table in ("token", "end_user"))


def test_the_comparison_sees_a_difference(app):
    upgrade()
    db.session.execute(text("DROP TABLE consent"))
    assert differences() != []


def test_down_to_nothing_and_up_again(app):
    upgrade()
    downgrade(revision="base")
    assert set(inspect(db.session.connection()).get_table_names()) <= {"alembic_version"}
    db.session.remove()
    upgrade()
    assert store.migration_state.is_migrated()


def test_a_newer_database_is_ready_for_an_older_version(app):
    """In a rolling upgrade the first new node migrates, and the old ones go on."""
    upgrade()
    with transaction():
        db.session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert store.migration_state.is_migrated()


def test_a_migration_may_take_longer_than_a_request(app):
    if db.engine.dialect.name == "postgresql":
        with migration() as connection:
            assert connection.scalar(text("SHOW statement_timeout")) == "0"
    assert db.session.scalar(text("SELECT 1")) == 1
    if db.engine.dialect.name == "postgresql":
        assert db.session.scalar(text("SHOW statement_timeout")) == "5s"


def test_the_scopes_of_openid_exist_from_the_start(app):
    upgrade()
    names = db.session.execute(text("SELECT name FROM scope ORDER BY name")).scalars().all()
    assert names == ["address", "email", "groups", "openid", "phone", "profile"]


def test_an_upgrade_that_was_cut_off_goes_on(app):
    """MariaDB keeps what a migration did before it failed."""
    upgrade(revision="0004")
    for statement in (
        "ALTER TABLE client ADD COLUMN refresh_leeway INTEGER",
        "INSERT INTO scope (name, description) VALUES ('groups', 'our own words')",
    ):
        with transaction():
            db.session.execute(text(statement))
    upgrade()
    assert differences() == []
    assert db.session.scalar(text("SELECT description FROM scope WHERE name = 'groups'")) == "our own words"


def test_what_was_there_is_there_after_the_upgrade(app):
    """With its consents and codes: nothing that refers to a person goes by the way."""
    upgrade(revision="0002")
    for statement in (
        "INSERT INTO end_user (id, sub, email, name, is_admin, created_at) VALUES (1, 's',"
        " 'a@example.com', 'Ada', false, 1)",
        "INSERT INTO client (client_id, client_name, client_id_issued_at, token_endpoint_auth_method,"
        " grant_types, redirect_uris,"
        " scope, is_resource_server, require_pkce, rotate_refresh_tokens, extra_metadata)"
        " VALUES ('c', 'C', 1, 'none', '[]', '[]', '', false, true, true, '{}')",
        "INSERT INTO consent (user_id, client_id, scope, granted_at) VALUES (1, 'c', 'email', 1)",
        "INSERT INTO scope (name, description) VALUES ('openid', 'our own words')",
    ):
        with transaction():
            db.session.execute(text(statement))
    upgrade()
    count = (
        "SELECT count(*) FROM consent c JOIN end_user u ON u.id = c.user_id WHERE"
        " length(u.pairwise_secret) = 32"
    )
    assert db.session.scalar(text(count)) == 1
    assert db.session.scalar(text("SELECT description FROM scope WHERE name = 'openid'")) == "our own words"
