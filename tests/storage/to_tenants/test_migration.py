"""The migration to tenants: every row is there before and after, on each engine, and so is what guards it.

What is stored here is stored with SQL: the models know only the tables of today.
"""

import time
from contextlib import contextmanager
from itertools import count, cycle, islice

import pytest
from flask_migrate import downgrade, upgrade
from sqlalchemy import Engine, event, inspect
from sqlalchemy.exc import IntegrityError

from commands.transaction import CommandError
from database.tenancy import HOME
from models import db
from tests.live import new_database
from tests.statements import text
from tests.storage.to_tenants import old_writes
from tests.storage.to_tenants.migrating import BEFORE, TENANTS, all_rows, new_app, revision, schema, values_of
from tests.storage.to_tenants.old_rows import (
    ROWS,
    a_notice,
    a_session,
    a_token,
    a_user,
    digest,
    execute,
    fill,
    insert,
)
from unit_of_work import transaction

pytestmark = pytest.mark.long_on("mariadb")

COUNTED = ("end_user", "user_session", "logout_notice", "token")  # they number their rows


@pytest.mark.threat("T206")
def test_every_row_is_homes(app):
    upgrade(revision=BEFORE)
    fill()
    before = all_rows()
    assert all(before[table] for table in ROWS) and set(before) == set(ROWS)
    upgrade(revision=TENANTS)
    assert all_rows() == before
    for table in ROWS:
        assert values_of("DISTINCT tenant_id", table) == [HOME], table


def test_the_first_tenant_is_home(app):
    upgrade(revision=BEFORE)
    started_at = int(time.time())
    upgrade(revision=TENANTS)
    [row] = db.session.execute(text("SELECT * FROM tenant")).mappings()
    assert started_at <= row["created_at"] <= time.time()
    assert (row["id"], row["name"], row["issuer"], row["disabled_at"]) == (HOME, "home", None, None)
    assert row["settings"] in ({}, "{}") and row["branding"] in ({}, "{}")
    add_tenant()
    assert db.session.scalar(text("SELECT id FROM tenant WHERE name = 'acme'")) == HOME + 1


def test_the_tables_are_those_of_the_models(app, request, tmp_path, servers):
    """By hand too: Alembic compares neither primary keys nor what a database does with children."""
    upgrade()
    migrated = schema()
    engine = request.node.callspec.params["database_url"]
    (tmp_path / "other").mkdir()
    with new_app(new_database(engine, tmp_path / "other", servers)).app_context():
        db.create_all()
        assert migrated == schema()
        db.engine.dispose()


def test_no_number_is_used_twice(app):
    """Also where the newest rows were gone before the tables were copied, or all."""
    upgrade(revision=BEFORE)
    fill()
    execute(
        "DELETE FROM token WHERE id = 50",
        "DELETE FROM logout_notice",
        "DELETE FROM user_session WHERE id = 30",
    )
    for step in (upgrade, lambda: downgrade(revision=BEFORE), upgrade):
        step()
    later = {"token": a_token(51), "logout_notice": a_notice(41, 3), "user_session": a_session(31, 3)}
    for table, row in {**later, "end_user": a_user(22)}.items():
        del row["id"]
        with transaction():
            insert(table, [row])
    newest = {table: values_of("max(id)", table)[0] for table in COUNTED}
    expected = {"end_user": 21, "user_session": 30, "logout_notice": 40, "token": 50}
    assert {table: number - 1 for table, number in newest.items()} == expected


def add_tenant():
    execute("INSERT INTO tenant (name, settings, branding, created_at) VALUES ('acme', '{}', '{}', 1)")


@pytest.mark.threat("T195")
def test_a_row_of_one_tenant_has_no_parent_of_another(app):
    upgrade(revision=BEFORE)
    fill()
    upgrade(revision=TENANTS)
    add_tenant()
    children = {table: dict(rows[0]) for table, rows in ROWS.items()}
    without_parents = ["end_user", "scope", "signing_key", "form_answer", "throttle", "spent_assertion"]
    for table in ["client", *without_parents]:
        del children[table]
    assert len(children) == 9
    for number, (table, row) in enumerate(children.items(), 100):
        fresh = {"id": number, "sid": str(number), "session_id": 6}
        fresh |= {name: digest(number) for name in row if name.endswith("_digest")}
        changed = row | {name: value for name, value in fresh.items() if row.get(name) is not None}
        with pytest.raises(IntegrityError, match=r"(?i)foreign key"), transaction():
            insert(table, [changed | {"tenant_id": 2}])
    for table in without_parents:
        with pytest.raises(IntegrityError, match=r"(?i)foreign key"), transaction():
            insert(table, [ROWS[table][0] | {"tenant_id": 3, **fresh_key(table)}])


def fresh_key(table):
    """The key of a row that is not there."""
    keys = {"form_answer": "form_digest", "throttle": "bucket_digest", "spent_assertion": "jti_digest"}
    if table in keys:
        return {keys[table]: digest(500)}
    return {"end_user": {"id": 500}, "scope": {}, "signing_key": {"kid": "500"}}[table]


def test_two_tenants_may_have_equal_names(app):
    upgrade(revision=BEFORE)
    fill()
    upgrade(revision=TENANTS)
    add_tenant()
    for table in ("client", "scope"):
        with transaction():
            insert(table, [row | {"tenant_id": 2} for row in ROWS[table]])
    with transaction():
        insert("end_user", [row | {"tenant_id": 2, "id": row["id"] + 100} for row in ROWS["end_user"]])
        insert(
            "signing_key", [row | {"tenant_id": 2, "kid": row["kid"] + "2"} for row in ROWS["signing_key"]]
        )
    with pytest.raises(IntegrityError), transaction():
        insert("end_user", [a_user(3) | {"tenant_id": 2, "id": 200}])
    with transaction():
        insert("token", [a_token(1000, user_id=103, slot=0) | {"tenant_id": 2}])
    execute("DELETE FROM client WHERE tenant_id = 2")
    assert db.session.scalar(text("SELECT count(*) FROM client")) == 2
    assert db.session.scalar(text("SELECT count(*) FROM token")) == len(ROWS["token"])


def test_who_removes_a_parent_removes_its_children(app):
    """Foreign keys are enforced again after the migration, which lets go of them on SQLite."""
    upgrade(revision=BEFORE)
    fill()
    upgrade(revision=TENANTS)
    execute("DELETE FROM end_user", "DELETE FROM client")
    left = {table: len(rows) for table, rows in all_rows().items() if table in ROWS and rows}
    assert set(left) == {"scope", "signing_key", "form_answer", "throttle", "spent_assertion"}


@pytest.mark.threat("T206")
def test_down_and_up_again_keeps_all_rows(app):
    upgrade(revision=BEFORE)
    tables = schema()
    fill()
    before = all_rows()
    upgrade(revision=TENANTS)
    downgrade(revision=BEFORE)
    assert all_rows() == before
    assert schema() == tables
    upgrade(revision=TENANTS)
    assert all_rows() == before


@pytest.mark.threat("T206")
def test_no_other_tenant_is_downgraded(app):
    upgrade()
    add_tenant()
    tables, rows = schema(), all_rows()
    with pytest.raises(CommandError, match="others: acme"):
        downgrade(revision=BEFORE)
    assert (schema(), all_rows(), revision()) == (tables, rows, TENANTS)


class CutOffError(Exception):
    pass


@contextmanager
def cut_off_after(statements):
    """End a migration before the next statement after so many that change something."""
    done = 0

    def stop(connection, cursor, sql, *rest):
        nonlocal done
        if sql.split()[0].upper() in ("ALTER", "CREATE", "DROP", "INSERT", "UPDATE", "DELETE"):
            if done == statements:
                raise CutOffError
            done += 1

    event.listen(Engine, "before_cursor_execute", stop)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", stop)


@pytest.mark.threat("T206")
@pytest.mark.long_on("postgresql")  # it undoes an ALTER as it does any change; SQLite copies tables
@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_migration_that_was_cut_off_is_undone_or_goes_on(app, direction, dialect):
    """On MariaDB it is cut off after nearly each statement, and the version before works in between."""
    upgrade(revision=BEFORE)
    fill()
    before = all_rows()
    if direction == "down":
        upgrade(revision=TENANTS)
    begun = revision()
    run, target = (upgrade, TENANTS) if direction == "up" else (downgrade, BEFORE)
    # What is no ALTER is stored together with the next one.
    for allowed in islice(cycle([1, 2]), 200) if dialect == "mariadb" else count(1, 12):
        try:
            with cut_off_after(allowed):
                run(revision=target)
            break
        except CutOffError:
            assert revision() == begun
            assert all_rows() == before
            if dialect != "mariadb":
                assert ("tenant" in inspect(db.engine).get_table_names()) == (direction == "down")
            old_writes.work()
    assert revision() == target
    assert all_rows() == before
    finished = schema()
    if direction == "up":
        downgrade(revision=BEFORE)
        upgrade(revision=TENANTS)
    else:
        upgrade(revision=TENANTS)
        downgrade(revision=BEFORE)
    assert schema() == finished


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_rows_without_parents_stop_a_migration(app):
    """A file that somebody has changed by hand, without foreign keys. No other engine can have such rows."""
    upgrade(revision=BEFORE)
    fill()
    with db.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        connection.execute(text("DELETE FROM client WHERE client_id = 'mobile'"))
        connection.commit()
        connection.exec_driver_sql("PRAGMA foreign_keys = ON")
    rows, tables = all_rows(), schema()
    with pytest.raises(CommandError, match=r"client_session, consent, token .* undone"):
        upgrade(revision=TENANTS)
    assert (all_rows(), schema(), revision()) == (rows, tables, BEFORE)
    assert db.session.scalar(text("PRAGMA foreign_keys")) == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_an_operator_added_to_an_sqlite_file_stays(app):
    """The other engines copy no tables."""
    upgrade(revision=BEFORE)
    execute(
        "CREATE INDEX own_index ON token (issued_at)",
        "CREATE TRIGGER own_trigger AFTER DELETE ON token BEGIN SELECT 1; END",
        "ALTER TABLE end_user ADD COLUMN own_column TEXT DEFAULT 'x'",
    )
    fill()
    before = all_rows()
    upgrade(revision=TENANTS)
    made = set(db.session.scalars(text("SELECT name FROM sqlite_master")))
    assert made > {"own_index", "own_trigger"}
    assert all_rows() == before


def test_it_can_run_in_memory():
    with new_app("sqlite://").app_context():
        upgrade(revision=BEFORE)
        fill()
        before = all_rows()
        upgrade()
        assert all_rows() == before
        assert db.session.scalar(text("PRAGMA foreign_keys")) == 1
        db.session.remove()
        db.engine.dispose()
