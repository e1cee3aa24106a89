"""Changes that the fence refuses: a row of another tenant's, or one that moves to another tenant."""

from sqlalchemy import insert, literal, select, update

from database.tenancy import HOME, own
from tests.storage.fence.models import OTHER, Shop, plains, shops
from tests.storage.fence.sending import flushing, sending


def moving(session):
    session.get(Shop, (HOME, 1)).tenant_id = OTHER
    session.flush()


CHANGES = {
    "INSERT of another's row": sending(lambda: insert(shops).values(name="n", tenant_id=OTHER)),
    "INSERT of another's row by parameter": sending(lambda: insert(shops), {"name": "n", "tenant_id": OTHER}),
    "one of several rows": sending(
        lambda: insert(shops), [{"name": "n", "tenant_id": HOME}, {"name": "m", "tenant_id": OTHER}]
    ),
    "one of several rows, returned": sending(
        lambda: insert(shops).returning(shops.c.id),
        [{"name": "n", "tenant_id": HOME}, {"name": "m", "tenant_id": OTHER}],
    ),
    "one of several VALUES": sending(
        lambda: insert(shops).values([{"name": "n"}, {"name": "m", "tenant_id": OTHER}])
    ),
    "a new object": flushing(lambda: Shop(name="n", tenant_id=OTHER)),
    "one of several new objects": flushing(
        lambda: Shop(id=91, name="n"), lambda: Shop(id=92, name="m", tenant_id=OTHER)
    ),
    "FROM SELECT of a number": sending(
        lambda: insert(shops).from_select(["tenant_id", "name"], select(literal(OTHER), literal("n")))
    ),
    "FROM SELECT of a column": sending(
        lambda: insert(shops).from_select(
            ["tenant_id", "name"], select(plains.c.id, plains.c.word).select_from(plains)
        )
    ),
    "FROM SELECT without the tenant": sending(
        lambda: insert(shops).from_select(["name"], select(literal("n")), include_defaults=False)
    ),
    "an expression": sending(lambda: insert(shops).values(name="n", tenant_id=literal(1) + 1)),
    "a row that replaces": sending(lambda: insert(shops).prefix_with("OR REPLACE").values(name="n")),
    "a row that moves": moving,
    "SET of the tenant": sending(lambda: update(shops).where(own(shops)).values(tenant_id=OTHER)),
    "SET of the tenant to itself": sending(lambda: update(Shop).where(own(Shop)).values(tenant_id=HOME)),
    "SET by parameter": sending(lambda: update(shops).where(own(shops)), {"tenant_id": OTHER}),
    "UPDATE of several by key": sending(
        lambda: update(Shop),
        [{"tenant_id": HOME, "id": 1, "visits": 5}, {"tenant_id": OTHER, "id": 3, "visits": 5}],
    ),
}
