"""Eager loads lose no child and load none of another tenant, also where both have children of one number.

The last part is a test of the tests: a list that drops the children of others while they are loaded loses
right ones. SQLAlchemy tells apart by their addresses what it has loaded; a dropped child is freed, and the
next one gets its address.
"""

import gc
from contextlib import contextmanager

import pytest
from sqlalchemy import ForeignKey, Integer, and_, create_engine, insert, select
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    foreign,
    joinedload,
    mapped_column,
    relationship,
    subqueryload,
)

from database import tenancy
from database.tenancy import HOME, current_tenant, entered, own
from tests.storage.fence.models import OTHER, Base, Shop, fill


class Mixed(DeclarativeBase):
    """Models behind the fence whose foreign key does not keep tenants apart: there is none."""


class Jar(Mixed):
    """A child of a shelf of its tenant."""

    __tablename__ = "jar"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    tenant_id: Mapped[int] = mapped_column(Integer, default=current_tenant)
    shelf_id: Mapped[int] = mapped_column(Integer)


class Shelf(Mixed):
    """Each tenant has a shelf 1."""

    __tablename__ = "shelf"

    tenant_id: Mapped[int] = mapped_column(
        Integer, primary_key=True, autoincrement=False, default=current_tenant
    )
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    jars: Mapped[list[Jar]] = relationship(
        primaryjoin=lambda: and_(
            foreign(Jar.tenant_id) == Shelf.tenant_id, foreign(Jar.shelf_id) == Shelf.id
        ),
        order_by=Jar.id,
        viewonly=True,
    )


class Story(DeclarativeBase):
    """Models without the fence, as those were that this began with."""


class OwnOnly(list):
    """A list that drops the children of other tenants while they are loaded."""

    def append(self, item):
        if item.tenant_id == current_tenant():
            super().append(item)


class Box(Story):
    """A parent of children of several tenants."""

    __tablename__ = "box"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    items: Mapped[list["Item"]] = relationship(collection_class=OwnOnly, order_by="Item.id")


class Item(Story):
    """A child of any tenant."""

    __tablename__ = "item"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    box_id: Mapped[int] = mapped_column(ForeignKey("box.id"))
    tenant_id: Mapped[int] = mapped_column(Integer)


CHILDREN = 6  # of each tenant
FIND = {
    "children of one tenant": (Shop, Shop.goods),
    "children of both": (Shelf, Shelf.jars),
}
each_kind = pytest.mark.parametrize(("parent", "children"), FIND.values(), ids=FIND)
each_way = pytest.mark.parametrize("way", [joinedload, subqueryload])


@pytest.fixture(scope="session")
def outside_memory():
    """Unlike the rest of this folder, this stays in memory."""


@pytest.fixture(scope="module")
def memory():
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        fill(connection)
        Mixed.metadata.create_all(connection)
        connection.execute(insert(Shelf), [{"tenant_id": tenant, "id": 1} for tenant in (HOME, OTHER)])
        tenants = enumerate([HOME, OTHER] * CHILDREN)
        connection.execute(
            insert(Jar), [{"id": number, "tenant_id": tenant, "shelf_id": 1} for number, tenant in tenants]
        )
    for base in (Base, Mixed):
        tenancy.install(engine, base.metadata)
    yield engine
    engine.dispose()


def load(engine, parent, children, way, times):
    """Return how many children so many eager loads have lost, and how many of another tenant they had."""
    lost = leaked = 0
    find = select(parent).where(own(parent)).options(way(children))
    for number in range(times):
        tenant = HOME + number % 2
        with entered(tenant), Session(engine) as session:
            parents = session.scalars(find).unique()
            found = [child for one in parents for child in getattr(one, children.key)]
            leaked += sum(child.tenant_id != tenant for child in found)
            lost += CHILDREN - len({child.id for child in found if child.tenant_id == tenant})
    return lost, leaked


@contextmanager
def collecting_at_every_allocation():
    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@pytest.mark.threat("T198")
@each_kind
@each_way
def test_eager_loads_lose_nothing_and_leak_nothing(memory, parent, children, way):
    assert load(memory, parent, children, way, 100) == (0, 0)
    with collecting_at_every_allocation():
        assert load(memory, parent, children, way, 4) == (0, 0)


@pytest.mark.threat("T198")
@pytest.mark.long
@pytest.mark.timeout(1800)
@each_kind
def test_100_000_eager_loads_lose_nothing_and_leak_nothing(memory, parent, children):
    assert load(memory, parent, children, joinedload, 100_000) == (0, 0)


@pytest.mark.threat("T198")
@pytest.mark.long
@pytest.mark.timeout(1800)
@each_kind
def test_nor_do_they_where_memory_is_collected_at_every_allocation(memory, parent, children):
    with collecting_at_every_allocation():
        assert load(memory, parent, children, joinedload, 1_000) == (0, 0)


def lost_by_a_list_that_drops(times):
    """Return in how many eager loads a list class that drops others' children has lost right ones."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        Story.metadata.create_all(connection)
        connection.execute(insert(Box), {"id": 1})
        items = [
            {"id": number, "box_id": 1, "tenant_id": HOME if number % 3 else OTHER} for number in range(12)
        ]
        connection.execute(insert(Item), items)
    count = 0
    for _ in range(times):
        with Session(engine) as session:
            [box] = session.scalars(select(Box).options(joinedload(Box.items))).unique()
            assert all(item.tenant_id == HOME for item in box.items)
            count += len(box.items) < 8
    engine.dispose()
    return count


def test_a_list_class_that_drops_the_children_of_others_loses_right_ones():
    assert lost_by_a_list_that_drops(100) == 100


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_list_class_that_drops_the_children_of_others_loses_right_ones_each_time():
    assert lost_by_a_list_that_drops(20_000) == 20_000
