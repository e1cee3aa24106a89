"""The fence lets pass what is held to the current tenant, and what reads no row of a tenant."""

import pytest
from sqlalchemy import func, insert, inspect, literal, select, text, true, update
from sqlalchemy.orm import subqueryload

from database.tenancy import HOME, TENANT, own
from tests.storage.fence.models import Base, Good, Shop, goods, plains, shops
from tests.storage.fence.sending import assert_refused, run, sending
from tests.storage.fence.shapes import SHAPES


class Taker:
    """`own`, but for one call of it, which holds nothing."""

    def __init__(self, taken=None):
        self.taken, self.calls = taken, 0

    def __call__(self, rows):
        self.calls += 1
        return true() if self.calls - 1 == self.taken else own(rows)


def assert_shape(engine, make):
    """Assert that a right statement passes, and that each of its criteria is needed."""
    whole = Taker()
    run(engine, sending(lambda: make(whole)))
    assert whole.calls
    for number in range(whole.calls):
        assert_refused(engine, sending(lambda number=number: make(Taker(number))))


@pytest.mark.threat("T193")
@pytest.mark.parametrize("make", SHAPES.values(), ids=SHAPES.keys())
def test_a_right_statement_passes_and_needs_each_of_its_criteria(memory, make):
    assert_shape(memory, make)


@pytest.mark.threat("T193")
def test_on_a_server_right_statements_pass_and_need_each_of_their_criteria(on_server):
    for make in SHAPES.values():
        assert_shape(on_server, make)


def work(session):
    """Let a session do all that it does by itself."""
    shop = session.get(Shop, (HOME, 1))
    session.refresh(shop, with_for_update=True)
    session.get(Shop, (HOME, 1), populate_existing=True)
    shop.visits = 5
    session.add(Shop(id=90, name="new", goods=[Good(id=50), Good(id=51)]))
    session.flush()
    session.expire_all()
    names = [good.shop.name for good in session.scalars(select(Good).where(own(Good)))]
    session.delete(session.get(Good, (HOME, 50)))
    session.merge(Shop(tenant_id=HOME, id=2, name="merged"))
    session.flush()
    session.execute(update(Shop), [{"tenant_id": HOME, "id": 1, "visits": 6}])
    loaded = session.scalars(select(Shop).where(own(Shop)).options(subqueryload(Shop.goods))).all()
    return len(names), sorted(len(shop.goods) for shop in loaded)


def test_what_a_session_sends_by_itself_passes(memory):
    assert run(memory, work) == (8, [1, 3, 3])


def test_on_a_server_what_a_session_sends_by_itself_passes(on_server):
    assert run(on_server, work) == (8, [1, 3, 3])


INSERTS = {
    "values": sending(lambda: insert(shops).values(name="n")),
    "parameters": sending(lambda: insert(shops), {"name": "n"}),
    "rows": sending(lambda: insert(shops), [{"name": "n"}, {"name": "m"}]),
    "VALUES": sending(lambda: insert(shops).values([{"name": "n"}, {"name": "m"}])),
    "the tenant in VALUES": sending(lambda: insert(shops).values([{"name": "n", "tenant_id": TENANT}])),
    "the tenant": sending(lambda: insert(shops).values(name="n", tenant_id=TENANT)),
    "the number": sending(lambda: insert(shops).values(name="n", tenant_id=HOME)),
    "a model": sending(lambda: insert(Shop), [{"name": "n"}, {"name": "m"}]),
    "from a row of one's own": sending(
        lambda: insert(shops).from_select(
            ["tenant_id", "name"], select(goods.c.tenant_id, literal("n")).where(own(goods), goods.c.id == 1)
        )
    ),
    "from SELECT": sending(lambda: insert(shops).from_select(["name"], select(literal("n")))),
}


@pytest.mark.parametrize("send", INSERTS.values(), ids=INSERTS.keys())
def test_an_insert_gets_the_current_tenant(memory, send):
    def sent(session):
        send(session)
        return session.scalars(select(func.count()).select_from(shops).where(own(shops))).one()

    assert run(memory, sent) > 2


WITHOUT_TENANTS = {
    "a table without tenants": sending(lambda: select(plains)),
    "FULL JOIN of such tables": sending(
        lambda: select(plains).join(rest := plains.alias("rest"), rest.c.id == plains.c.id, full=True)
    ),
    "SELECT 1": sending(lambda: text("SELECT 1")),
    "the schema": sending(lambda: text("SELECT count(*) FROM sqlite_master")),
    "PRAGMA": lambda session: session.connection().exec_driver_sql("PRAGMA table_info(shop)"),
    "columns": lambda session: inspect(session.connection()).get_columns("shop"),
    "CREATE": lambda session: Base.metadata.create_all(session.connection()),
}


@pytest.mark.parametrize("send", WITHOUT_TENANTS.values(), ids=WITHOUT_TENANTS.keys())
def test_what_reads_no_row_of_a_tenant_passes(memory, send):
    run(memory, send)


def test_on_a_server_the_schema_can_be_read(on_server):
    run(on_server, WITHOUT_TENANTS["columns"])
    run(on_server, WITHOUT_TENANTS["CREATE"])
