"""Small models behind the fence, made for its tests. Rows of two tenants are equal but for the tenant."""

from sqlalchemy import (
    BigInteger,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    String,
    UniqueConstraint,
    column,
    select,
    table,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, aliased, mapped_column, relationship

from database.tenancy import EVERY_TENANT, current_tenant

OTHER = 2


class Base(DeclarativeBase):
    metadata = MetaData()


class Shop(Base):
    """A table of tenants, whose session key is wider than its primary key."""

    __tablename__ = "shop"
    __table_args__ = (UniqueConstraint("tenant_id", "id"), UniqueConstraint("tenant_id", "name"))
    __mapper_args__ = {"primary_key": ["tenant_id", "id"]}

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    tenant_id: Mapped[int] = mapped_column(Integer, default=current_tenant)
    name: Mapped[str] = mapped_column(String(40))
    visits: Mapped[int] = mapped_column(Integer, default=0)
    goods: Mapped[list["Good"]] = relationship(back_populates="shop", order_by="Good.id")


class Good(Base):
    """A child of a shop, of the same tenant."""

    __tablename__ = "good"
    __table_args__ = (ForeignKeyConstraint(["tenant_id", "shop_id"], ["shop.tenant_id", "shop.id"]),)

    tenant_id: Mapped[int] = mapped_column(
        Integer, primary_key=True, autoincrement=False, default=current_tenant
    )
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    shop_id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"))
    price: Mapped[int] = mapped_column(Integer, default=0)
    shop: Mapped[Shop] = relationship(back_populates="goods")


class Stamp(Base):
    """A table of tenants whose key is random, so that it has no tenant in it."""

    __tablename__ = "stamp"
    __mapper_args__ = {"primary_key": ["tenant_id", "digest"]}

    digest: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[int] = mapped_column(Integer, default=current_tenant)
    count: Mapped[int] = mapped_column(Integer, default=0)


class Plain(Base):
    """A table without tenants."""

    __tablename__ = "plain"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    word: Mapped[str] = mapped_column(String(40), default="")


shops, goods, stamps, plains = (model.__table__ for model in (Shop, Good, Stamp, Plain))
stand_in = table("shop", column("id"), column("name"), column("tenant_id"))

# What the statements of several files read.
good_of_shop = goods.c.shop_id == shops.c.id
shop_ids = select(goods.c.shop_id)
others = shops.alias("others")
newer = goods.alias("newer")
any_alias = aliased(Good)


def fill(connection):
    """Make the tables, and rows of two tenants; the goods of both have the same ids."""
    Base.metadata.create_all(connection)
    for tenant, first in ((1, 1), (OTHER, 3)):
        connection.execute(
            shops.insert(),
            [
                {"id": first, "tenant_id": tenant, "name": "a"},
                {"id": first + 1, "tenant_id": tenant, "name": "b"},
            ],
        )
        connection.execute(
            goods.insert(),
            [
                {"id": number, "tenant_id": tenant, "shop_id": first + number % 2, "price": 10 * tenant}
                for number in range(1, 7)
            ],
        )
        connection.execute(stamps.insert(), {"digest": f"d{tenant}", "tenant_id": tenant, "count": 1})
    connection.execute(plains.insert(), {"id": 1, "word": "x"})


def all_rows(connection):
    """Return all rows of all tenants."""
    return [
        connection.execute(
            select(rows)
            .order_by(*rows.primary_key)
            .execution_options(**{EVERY_TENANT: "the test compares them"})
        ).all()
        for rows in (shops, goods, stamps, plains)
    ]
