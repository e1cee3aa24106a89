"""A `CompiledOnce` has all that any other statement of the session has, but for the long way."""

import pytest
from sqlalchemy import bindparam, delete, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, IntegrityError, StatementError

from database.session import EXECUTES_COMPILED, CompiledOnce
from database.tables import table
from database.tenancy import HOME, entered, own
from errors import UnfencedError
from models import Scope, db

scopes = table(Scope)
NAMES = CompiledOnce(select(scopes.c.name).where(own(scopes)).order_by(scopes.c.name))
ADD = CompiledOnce(insert(scopes), ["tenant_id", "name", "description"])
REMOVE = CompiledOnce(delete(scopes).where(own(scopes), scopes.c.name == bindparam("name")))


@pytest.fixture(autouse=True)
def in_app(app):
    with app.app_context():
        db.session.execute(CompiledOnce(delete(scopes).where(own(scopes))))
        yield


def add(*names):
    for name in names:
        db.session.execute(ADD, {"tenant_id": HOME, "name": name, "description": name})


def test_it_is_part_of_the_transaction():
    driver = db.session.connection().connection.driver_connection
    add("read", "write")
    assert db.session.scalars(NAMES).all() == ["read", "write"]
    assert db.session.execute(REMOVE, {"name": "read"}).rowcount == 1
    assert driver.in_transaction
    db.session.rollback()
    assert "write" not in db.session.scalars(NAMES).all()


def test_it_is_held_to_the_current_tenant():
    add("read")
    with entered(2):
        assert db.session.scalars(NAMES).all() == []
        with pytest.raises(UnfencedError):
            add("write")
    assert db.session.scalars(NAMES).all() == ["read"]


def test_one_that_forgets_the_tenant_is_refused_each_time():
    forgets = CompiledOnce(select(scopes.c.name))
    for _ in range(2):
        with pytest.raises(UnfencedError):
            db.session.scalars(forgets)


def test_its_errors_are_those_of_sqlalchemy():
    add("read")
    with pytest.raises(IntegrityError):
        add("read")
    with pytest.raises(StatementError, match="bind parameter 'name'"):
        db.session.execute(REMOVE, {})


def test_listeners_hear_of_it(statements):
    add("read")
    assert [sql for sql in statements if sql.startswith("INSERT INTO scope")]


def test_options_of_one_execution_are_refused():
    """They would count for nothing: another compiled form may need them."""
    with pytest.raises(ArgumentError):
        db.session.execute(NAMES, execution_options={"yield_per": 1})


@pytest.mark.skipif(not EXECUTES_COMPILED, reason="this SQLAlchemy executes no compiled form")
def test_it_is_compiled_once_for_a_dialect():
    one, other = sqlite.dialect(), postgresql.dialect()
    form = NAMES.compiled(one)
    assert NAMES.compiled(one) is form
    assert NAMES.compiled(other) is not form
    assert str(NAMES.compiled(one)) == str(form)


def test_a_model_is_found_without_a_look_at_its_table():
    assert db.session.get_bind(Scope) is db.session.get_bind() is db.engine
    with db.engine.connect() as other:
        assert db.session.get_bind(Scope, bind=other) is other
