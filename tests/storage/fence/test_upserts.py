"""An upsert keeps to rows of the current tenant."""

import pytest
from sqlalchemy.dialects import mysql, postgresql, sqlite

import database
from database.tenancy import HOME, Checker, own
from errors import UnfencedError
from tests.storage.fence.models import OTHER, Base, all_rows, shop_ids, shops, stamps
from tests.storage.fence.sending import assert_refused, sending

UPSERTS = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def upserted(engine, rows, values, key, where=False, **changes):
    new = UPSERTS[engine.dialect.name](rows).values(values)
    return new.on_conflict_do_update(index_elements=key, set_=changes, where=own(rows) if where else None)


def test_an_upsert_names_the_tenant_or_holds_the_row_that_it_meets(memory):
    by_name, theirs = ["tenant_id", "name"], {"digest": "d2"}
    right = [
        upserted(memory, shops, {"name": "a"}, by_name, visits=shops.c.visits + 1),
        upserted(memory, stamps, theirs, ["digest"], where=True, count=9),
        UPSERTS["sqlite"](stamps).values(theirs).on_conflict_do_nothing(index_elements=["digest"]),
        database.upsert("sqlite", shops, by_name, lambda new: {"visits": new.visits}).values(name="a"),
        database.upsert("sqlite", stamps, "digest", lambda new: {"count": new.count}).values(theirs),
        database.insert_or_ignore("sqlite", stamps, "digest").values(theirs),
    ]
    for statement in right:
        with memory.connect() as connection:
            before = [row for row in all_rows(connection)[2] if row.tenant_id == OTHER]
            connection.execute(statement)
            assert [row for row in all_rows(connection)[2] if row.tenant_id == OTHER] == before
            connection.rollback()
    wrong = [
        upserted(memory, stamps, theirs, ["digest"], count=9),
        upserted(memory, shops, {"name": "a"}, ["id"], visits=1),
        upserted(memory, shops, {"name": "a"}, by_name, tenant_id=OTHER),
        upserted(memory, shops, {"name": "a", "tenant_id": OTHER}, by_name, visits=1),
        upserted(memory, shops, {"name": "a"}, by_name, visits=shop_ids.limit(1).scalar_subquery()),
        UPSERTS["sqlite"](shops).values(name="a").on_conflict_do_nothing(index_elements=["name"]),
    ]
    for statement in wrong:
        assert_refused(memory, sending(lambda statement=statement: statement))


def test_on_mariadb_an_upsert_may_not_move_a_row():
    checker = Checker(Base.metadata)
    new = mysql.insert(shops).values(name="a")
    for changes, is_right in (({"visits": new.inserted.visits}, True), ({"tenant_id": HOME}, False)):
        compiled = new.on_duplicate_key_update(changes).compile(dialect=mysql.dialect())
        row = compiled.construct_params() | {"tenant_id": HOME}
        if is_right:
            checker.check(compiled, [row])
        else:
            with pytest.raises(UnfencedError):
                checker.check(compiled, [row])
