"""Which tenant a statement is held to, and which statements may be about all."""

import pytest
from sqlalchemy import create_engine, delete, event, func, select
from sqlalchemy.orm import Session

from database import tenancy
from database.tenancy import EVERY_TENANT, HOME, Checker, current_tenant, entered, own
from errors import UnfencedError
from models import User, db
from tests.storage.fence.models import OTHER, Base, Good, Shop, goods, shops
from tests.storage.fence.sending import assert_refused, sending


def test_a_statement_is_about_the_tenant_that_was_entered(memory):
    find = select(shops.c.id).where(own(shops)).order_by(shops.c.id)
    with memory.connect() as connection:
        assert connection.scalars(find).all() == [1, 2]
        with entered(OTHER):
            assert current_tenant() == OTHER
            assert connection.scalars(find).all() == [3, 4]
        assert current_tenant() == HOME
        assert connection.scalars(find).all() == [1, 2]


@pytest.mark.threat("T197")
def test_a_session_hands_out_no_object_of_another_tenant(memory):
    with Session(memory) as session:
        mine = session.get(Good, (HOME, 1))
        with entered(OTHER):
            theirs = session.get(Good, (OTHER, 1))
            [found] = session.scalars(select(Good).where(own(Good), Good.id == 1))
        assert found is theirs is not mine
        assert (mine.price, theirs.price) == (10, 20)


OPTION = {EVERY_TENANT: "the test counts all"}


@pytest.mark.threat("T194")
def test_a_statement_that_says_why_may_be_about_all_tenants(memory):
    with Session(memory) as session:
        for rows in (shops, Shop):
            every = select(func.count()).select_from(rows).execution_options(**OPTION)
            assert session.scalar(every) == 4
            assert session.scalar(select(func.count()).select_from(rows).where(own(rows))) == 2
            for why in ("", " ", True, None):
                with pytest.raises(UnfencedError):
                    session.scalar(every.execution_options(**{EVERY_TENANT: why}))


@pytest.mark.threat("T194")
def test_the_option_of_a_connection_a_call_or_an_engine_counts_for_nothing(memory):
    with Session(memory) as session:
        for rows in (shops, Shop):
            with pytest.raises(UnfencedError):
                session.execute(select(rows), execution_options=OPTION)
            with Session(memory) as second, pytest.raises(UnfencedError):
                second.connection(execution_options=OPTION).execute(select(rows))
    with memory.execution_options(**OPTION).connect() as connection, pytest.raises(UnfencedError):
        connection.execute(select(shops))
    with memory.connect().execution_options(**OPTION) as connection, pytest.raises(UnfencedError):
        connection.exec_driver_sql("SELECT * FROM shop")


@pytest.mark.threat("T194")
def test_the_option_of_a_statement_inside_counts_for_nothing(memory):
    inside = select(goods.c.shop_id).execution_options(**OPTION)
    assert_refused(memory, sending(lambda: select(shops).where(own(shops), shops.c.id.in_(inside))))


def test_a_statement_that_is_sent_as_text_is_checked_before_that(memory):
    checker = Checker(Base.metadata)
    compiled = select(shops.c.id).where(own(shops)).compile(memory)
    checker.check(compiled, [compiled.construct_params()])
    for row in ({"of_tenant": OTHER}, {"of_tenant": None}):
        with pytest.raises(UnfencedError):
            checker.check(compiled, [row])
    with pytest.raises(UnfencedError):
        checker.check(select(shops.c.id).compile(memory), [{}])


def test_what_a_listener_makes_of_a_statement_is_checked():
    """A listener of the engine may change the SQL; the fence comes last."""
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    tenancy.install(engine, Base.metadata)
    held = select(shops.c.id).where(tenancy.own(shops))
    with engine.connect() as connection:
        assert connection.execute(held).all() == []
        event.listen(engine, "before_cursor_execute", let_all_pass, retval=True)
        with pytest.raises(UnfencedError):
            connection.execute(held)
    engine.dispose()


def let_all_pass(connection, cursor, sql, parameters, context, executemany):
    return sql.replace("WHERE", "WHERE 1 OR"), parameters


def test_a_statement_that_is_refused_begins_no_transaction(app):
    with app.app_context():
        driver = db.session.connection().connection.driver_connection
        with pytest.raises(UnfencedError):
            db.session.execute(delete(User))
        assert not driver.in_transaction
        db.session.execute(delete(User).where(tenancy.own(User)))
        assert driver.in_transaction
