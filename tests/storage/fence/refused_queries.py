"""Queries that the fence refuses: a criterion is missing, or does not hold what it should."""

from sqlalchemy import (
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    union,
    update,
)

from database.tenancy import HOME, TENANT, own
from tests.storage.fence.models import (
    OTHER,
    Good,
    Shop,
    any_alias,
    good_of_shop,
    goods,
    others,
    plains,
    shop_ids,
    shops,
    stamps,
)
from tests.storage.fence.sending import sending

WITHOUT_CRITERION = {
    "select": sending(lambda: select(shops)),
    "select one column": sending(lambda: select(shops.c.name)),
    "select by key": sending(lambda: select(shops).where(shops.c.id == 3)),
    "select an alias": sending(lambda: select(others)),
    "select an alias, with the criterion of another": sending(
        lambda: select(others).where(own(shops), others.c.name == shops.c.name)
    ),
    "select an anonymous alias": sending(
        lambda: select(any_alias).where(own(shops), any_alias.shop_id == shops.c.id)
    ),
    "select a model": sending(lambda: select(Shop)),
    "select a model's column": sending(lambda: select(Shop.name).where(Shop.id == 3)),
    "legacy query": lambda session: session.query(Shop).all(),
    "legacy count": lambda session: session.query(Shop).count(),
    "count": sending(lambda: select(func.count()).select_from(shops)),
    "by digest": sending(lambda: select(stamps).where(stamps.c.digest == "d2")),
    "lock": sending(lambda: select(shops).where(shops.c.id == 3).with_for_update()),
    "update": sending(lambda: update(shops).values(visits=1)),
    "update a model": sending(lambda: update(Shop).where(Shop.id == 3).values(visits=1)),
    "delete": sending(lambda: delete(goods)),
    "delete a model": sending(lambda: delete(Good).where(Good.id == 1)),
    "get": lambda session: session.get(Shop, (OTHER, 3)),
    "whole row as a value": sending(lambda: select(func.json(shops.table_valued()))),
    "sample": sending(lambda: select(shops.tablesample(50).c.id)),
}

FORGOTTEN_INSIDE = {
    "IN": sending(lambda: select(shops).where(own(shops), shops.c.id.in_(shop_ids))),
    "NOT IN": sending(lambda: delete(shops).where(own(shops), shops.c.id.not_in(shop_ids))),
    "EXISTS": sending(lambda: select(shops).where(own(shops), exists().where(good_of_shop))),
    "a scalar": sending(lambda: select(shops.c.id, shop_ids.limit(1).scalar_subquery()).where(own(shops))),
    "ORDER BY": sending(
        lambda: select(shops).where(own(shops)).order_by(shop_ids.limit(1).scalar_subquery())
    ),
    "LIMIT": sending(lambda: select(shops).where(own(shops)).limit(shop_ids.limit(1).scalar_subquery())),
    "HAVING": sending(lambda: select(func.count(shops.c.id)).where(own(shops)).having(shop_ids.exists())),
    "CASE in a function": sending(lambda: select(func.abs(case((shop_ids.exists(), 1), else_=2)))),
    "a CTE": sending(lambda: select(shop_ids.cte("some"))),
    "a CTE beside": sending(lambda: select(shops).where(own(shops)).add_cte(shop_ids.cte("some"))),
    "half of a UNION": sending(lambda: union(select(shops.c.id).where(own(shops)), shop_ids)),
    "FROM": sending(lambda: select(shop_ids.subquery())),
    "FROM of FROM": sending(lambda: select(select(shop_ids.subquery()).subquery())),
    "FROM, held outside": sending(
        lambda: select(rows := select(goods).subquery()).where(rows.c.tenant_id == TENANT)
    ),
    "half of a self-join": sending(
        lambda: select(shops).join(others, others.c.name == shops.c.name).where(own(shops))
    ),
    "a joined table": sending(lambda: select(shops).join(goods, good_of_shop).where(own(shops))),
    "a second table in FROM": sending(lambda: select(shops, goods).where(own(shops), good_of_shop)),
    "an outer join": sending(lambda: select(shops).outerjoin(goods, good_of_shop).where(own(shops))),
    "the left side, with its criterion in ON": sending(
        lambda: select(shops).outerjoin(goods, and_(own(shops), own(goods), good_of_shop))
    ),
    "RETURNING": sending(
        lambda: (
            delete(stamps)
            .where(own(stamps))
            .returning(select(func.count()).select_from(shops).scalar_subquery())
        )
    ),
    "SET": sending(
        lambda: (
            update(shops).where(own(shops)).values(visits=select(goods.c.price).limit(1).scalar_subquery())
        )
    ),
    "VALUES": sending(
        lambda: insert(shops).values(name="n", visits=select(goods.c.price).limit(1).scalar_subquery())
    ),
    "the SELECT of an INSERT": sending(
        lambda: insert(plains).from_select(["id", "word"], select(shops.c.id, shops.c.name))
    ),
    "UPDATE by another table": sending(
        lambda: update(shops).where(own(shops), good_of_shop).values(visits=1)
    ),
    "any()": sending(lambda: select(Shop).where(Shop.goods.any(Good.price == 1))),
    "a name that hides another": sending(
        lambda: select(plains).where(
            own(outer := shops.alias("s")),
            outer.c.id == plains.c.id,
            select(inner := goods.alias("S")).where(inner.c.tenant_id == outer.c.tenant_id).exists(),
        )
    ),
    "a made-up name that hides another": sending(
        lambda: select(plains).where(
            own(outer := shops.alias("good_1")),
            outer.c.id == plains.c.id,
            select(inner := goods.alias()).where(inner.c.tenant_id == outer.c.tenant_id).exists(),
        )
    ),
}

WITH_A_WRONG_CRITERION = {
    "under OR": sending(lambda: select(shops).where(or_(own(shops), shops.c.id == 3))),
    "under OR, in all sides but the last": sending(
        lambda: select(shops).where(
            or_(and_(own(shops), shops.c.id == 1), and_(own(shops), shops.c.id == 2), shops.c.id == 3)
        )
    ),
    "under OR, another's number in one side": sending(
        lambda: select(shops).where(or_(own(shops), and_(shops.c.tenant_id == OTHER, shops.c.id == 1)))
    ),
    "under NOT": sending(lambda: select(shops).where(~own(shops))),
    "not equal": sending(lambda: select(shops).where(shops.c.tenant_id != TENANT)),
    "at least": sending(lambda: select(shops).where(shops.c.tenant_id >= TENANT)),
    "under CASE": sending(lambda: select(shops).where(case((own(shops), 1), else_=1) == 1)),
    "a list of tenants": sending(lambda: select(shops).where(shops.c.tenant_id.in_([HOME, OTHER]))),
    "a list of one": sending(lambda: select(shops).where(shops.c.tenant_id.in_([HOME]))),
    "a calculation": sending(lambda: select(shops).where(shops.c.tenant_id + 0 == TENANT)),
    "its own column": sending(lambda: select(shops).where(shops.c.tenant_id == shops.c.tenant_id)),
    "in HAVING": sending(lambda: select(shops.c.id).group_by(shops.c.id).having(own(shops))),
    "another's number": sending(lambda: select(shops).where(shops.c.tenant_id == OTHER)),
    "another's number as a model": sending(lambda: select(Shop).where(Shop.tenant_id == OTHER)),
    "another's number in a parameter": sending(lambda: select(shops).where(own(shops)), {"of_tenant": OTHER}),
    "two numbers": sending(lambda: select(shops).where(own(shops), shops.c.tenant_id == OTHER)),
    "no number": sending(lambda: select(shops).where(own(shops)), {"of_tenant": None}),
    "a number in the text of the statement": sending(
        lambda: select(shops).where(shops.c.tenant_id == literal_column("1"))
    ),
    "a number that is written into the statement": sending(
        lambda: select(shops).where(shops.c.tenant_id == bindparam("of", HOME, literal_execute=True))
    ),
    "an outer join, in WHERE": sending(
        lambda: select(shops).outerjoin(goods, good_of_shop).where(own(shops), own(goods))
    ),
    "an outer join, in ON and WHERE": sending(
        lambda: select(shops).outerjoin(goods, and_(own(goods), good_of_shop)).where(own(shops), own(goods))
    ),
    "FULL JOIN": sending(
        lambda: select(shops).join(goods, and_(own(goods), good_of_shop), full=True).where(own(shops))
    ),
    "one beside, in FROM": sending(
        lambda: select(shops).where(
            own(shops), select(goods).where(goods.c.tenant_id == others.c.tenant_id).exists()
        )
    ),
}
