"""Texts that the fence refuses, and elements that it does not know."""

from sqlalchemy import (
    DDL,
    BindParameter,
    Column,
    Integer,
    MetaData,
    Table,
    and_,
    column,
    delete,
    insert,
    lambda_stmt,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy import table as lightweight
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import selectinload
from sqlalchemy.schema import ExecutableDDLElement
from sqlalchemy.sql.elements import quoted_name

from database.tenancy import TENANT, own
from tests.storage.fence.models import Shop, goods, plains, shops, stand_in
from tests.storage.fence.sending import sending

TEXTS = {
    "a whole statement": sending(lambda: text("SELECT * FROM shop")),
    "another spelling": sending(lambda: text('SELECT * FROM main."SHOP"')),
    "a name in numbers": sending(lambda: text(r'SELECT * FROM U&"\0073hop"')),
    "WHERE": sending(lambda: select(plains).where(text("id IN (SELECT id FROM shop)"))),
    "the columns": sending(lambda: select(literal_column("(SELECT max(id) FROM shop)"))),
    "FROM": sending(lambda: select(text("id")).select_from(text("shop"))),
    "ORDER BY": sending(lambda: select(plains).order_by(text("(SELECT max(id) FROM shop)"))),
    "a prefix": sending(lambda: select(plains).prefix_with("(SELECT max(id) FROM shop),")),
    "a suffix": sending(lambda: select(plains).suffix_with("UNION SELECT id, name FROM shop")),
    "a hint": sending(lambda: select(plains).with_hint(plains, "JOIN shop", "*")),
    "an operator": sending(lambda: select(plains.c.id.op("+ (SELECT max(id) FROM shop) +")(1))),
    "a name without quotes": sending(
        lambda: select(lightweight(quoted_name("shop AS s", quote=False), Column("id")).c.id)
    ),
    "rows of a model": lambda session: session.scalars(
        select(Shop).from_statement(text("SELECT * FROM shop"))
    ).all(),
    "SET": sending(lambda: update(plains).values(word=text("(SELECT max(name) FROM shop)"))),
    "the driver's own": lambda session: session.connection().exec_driver_sql("SELECT * FROM shop"),
    "behind a PRAGMA": lambda session: session.connection().exec_driver_sql("PRAGMA x; DELETE FROM shop"),
    "behind a CTE": sending(
        lambda: select(select(plains).cte("c").suffix_with(", d AS (SELECT id FROM shop)").c.id)
    ),
    "DDL": sending(lambda: DDL("CREATE TABLE copied AS SELECT * FROM shop")),
    "DDL of somebody else": sending(lambda: Emptied()),
}

either = "1 = 1 OR 1 = 1"
TEXTS_BESIDE = {
    "OR in WHERE": sending(lambda: select(shops).where(own(shops), text(either))),
    "OR in a column that is text": sending(lambda: select(shops).where(own(shops), literal_column(either))),
    "OR in an UPDATE": sending(lambda: update(shops).where(own(shops), text(either)).values(visits=1)),
    "OR in a DELETE": sending(lambda: delete(goods).where(own(goods), text(either))),
    "OR in ON": sending(
        lambda: select(shops).outerjoin(goods, and_(own(goods), text(either))).where(own(shops))
    ),
    "OR in a query inside": sending(
        lambda: select(plains).where(select(shops.c.id).where(own(shops), text(either)).exists())
    ),
    "OR at the end": sending(lambda: select(shops).where(own(shops)).suffix_with("OR 1 = 1")),
    "OR as an operator": sending(
        lambda: select(shops).where(own(shops), shops.c.visits.op("OR", precedence=100)(1))
    ),
    "signs for OR": sending(
        lambda: select(shops).where(own(shops), shops.c.visits.op("||", precedence=100)(1))
    ),
    "an operator that closes a parenthesis": sending(
        lambda: select(shops).where(own(shops), shops.c.visits.op("= 0) OR (1 =")(1))
    ),
    "a name without quotes": sending(
        lambda: select(shops).where(
            own(shops), shops.c.id.in_([column(quoted_name(f"1) OR ({either}", False))])
        )
    ),
    "half of BETWEEN": sending(lambda: select(shops).where(text("visits BETWEEN 0"), own(shops))),
    "a comment": sending(lambda: select(shops).where(text("1 = 1 --"), own(shops))),
    "a comment as a hint": sending(lambda: select(shops).where(own(shops)).prefix_with("/*")),
    "two columns in one": sending(
        lambda: insert(shops).from_select(["name", "tenant_id", "visits"], select(text("'n', 2"), TENANT))
    ),
    "all columns": sending(
        lambda: insert(shops).from_select(
            ["name", "tenant_id"], select(literal_column("*"), TENANT).select_from(plains)
        )
    ),
}


class Unknown(BindParameter):
    """Stands for what somebody compiles in a way of their own."""

    inherit_cache = False


class Emptied(ExecutableDDLElement):
    """Stands for a statement about a whole table that is written in a way of its own."""


@compiles(Emptied)
def compile_emptied(element, compiler, **rest):
    return "TRUNCATE TABLE shop"


@compiles(Unknown)
def compile_unknown(element, compiler, **rest):
    return "(SELECT max(id) FROM shop)"


UNKNOWN = {
    "a stand-in of a table": sending(lambda: select(stand_in).where(stand_in.c.tenant_id == TENANT)),
    "a table of another metadata": sending(lambda: select(Table("shop", MetaData(), Column("id", Integer)))),
    "a lambda": sending(lambda: lambda_stmt(lambda: select(shops))),
    "a lambda as a criterion": sending(lambda: select(shops).where(lambda: shops.c.id == 3)),
    "an element of somebody else": sending(lambda: select(Unknown("x", 1))),
    "selectinload over two columns": lambda session: session.scalars(
        select(Shop).where(own(Shop)).options(selectinload(Shop.goods))
    ).all(),
}
