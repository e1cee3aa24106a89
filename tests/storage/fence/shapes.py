"""Right statements, made with the `own` that they are given: each kind that the product has, and more."""

from sqlalchemy import (
    and_,
    delete,
    exists,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    text,
    union,
    union_all,
    update,
)
from sqlalchemy.orm import contains_eager, joinedload

from database.tenancy import TENANT
from tests.storage.fence.models import (
    Good,
    Shop,
    any_alias,
    good_of_shop,
    goods,
    newer,
    others,
    plains,
    shop_ids,
    shops,
)


def delete_all_but_the_newest(own):
    newest = select(goods.c.id).where(own(goods)).order_by(goods.c.id.desc()).limit(2).subquery("newest")
    return delete(goods).where(own(goods), goods.c.id.not_in(select(newest.c.id)))


def insert_in_a_free_place(own):
    candidates = union_all(
        select(literal(0).label("place")), select(goods.c.id + 1).where(own(goods))
    ).subquery("candidates")
    is_taken = select(newer.c.id).where(own(newer), newer.c.id == candidates.c.place).exists()
    free = select(func.min(candidates.c.place)).where(~is_taken).scalar_subquery()
    return insert(goods).from_select(
        ["tenant_id", "id", "shop_id", "price"],
        select(TENANT, free, literal(1), literal(0)),
        include_defaults=False,
    )


def lock_by_a_subquery(own):
    of_good = select(goods.c.shop_id).where(own(goods), goods.c.id == 1).scalar_subquery()
    return select(Shop.id).where(own(Shop), Shop.id == of_good).with_for_update()


def trim(own):
    older = (
        select(goods.c.id).where(own(goods)).order_by(goods.c.id.desc()).offset(2).limit(1).subquery("older")
    )
    oldest = select(older.c.id).scalar_subquery()
    return delete(goods).where(
        or_(and_(own(goods), goods.c.price > 0, goods.c.id <= oldest), and_(own(goods), goods.c.id == 0))
    )


def chain(own):
    first = select(goods.c.id).where(own(goods), goods.c.id == 1).cte("chain", recursive=True)
    next_one = select(newer.c.id).where(own(newer), newer.c.id == first.c.id + 1)
    return select(first.union_all(next_one))


SHAPES = {
    "select": lambda own: select(shops).where(own(shops), shops.c.id == 1),
    "a model": lambda own: select(Shop).where(own(Shop)).order_by(Shop.name),
    "an alias": lambda own: select(others.c.name).where(own(others)),
    "an alias of a model": lambda own: select(any_alias).where(own(any_alias)),
    "an inner join": lambda own: select(shops.c.name).join(goods, good_of_shop).where(own(shops), own(goods)),
    "an outer join": lambda own: (
        select(shops.c.name, goods.c.id)
        .select_from(shops)
        .outerjoin(goods, and_(own(goods), good_of_shop))
        .where(own(shops))
    ),
    "an inner join and an outer one": lambda own: (
        select(shops.c.name, newer.c.id)
        .join_from(shops, goods, good_of_shop)
        .outerjoin(newer, and_(own(newer), newer.c.id > goods.c.id))
        .where(own(shops), own(goods))
    ),
    "EXISTS": lambda own: select(shops.c.id).where(own(shops), exists().where(own(goods), good_of_shop)),
    "IN": lambda own: select(shops.c.id).where(own(shops), shops.c.id.in_(shop_ids.where(own(goods)))),
    "a CTE": lambda own: select(shop_ids.where(own(goods)).cte("some")),
    "a recursive CTE": chain,
    "UNION": lambda own: union(select(shops.c.id).where(own(shops)), select(goods.c.id).where(own(goods))),
    "nobody there": lambda own: select(
        or_(select(shops.c.id).where(own(shops)).exists(), select(goods.c.id).where(own(goods)).exists())
    ),
    "count": lambda own: select(func.count()).select_from(Shop).where(own(Shop)),
    "a lambda": lambda own: select(shops).where(own(shops)).where(lambda: shops.c.id > 0),
    "UPDATE": lambda own: update(shops).where(own(shops), shops.c.id == 1).values(visits=shops.c.visits + 1),
    "UPDATE of a model": lambda own: update(Shop).where(own(Shop), Shop.id == 1).values(name="n"),
    "SET of a subquery": lambda own: (
        update(shops)
        .where(own(shops))
        .values(visits=select(func.max(goods.c.price)).where(own(goods)).scalar_subquery())
    ),
    "DELETE": lambda own: delete(goods).where(own(goods), goods.c.id == 1),
    "all but the newest": delete_all_but_the_newest,
    "trim": trim,
    "INSERT FROM SELECT": insert_in_a_free_place,
    "a lock": lock_by_a_subquery,
    "eager loads": lambda own: select(Shop).where(own(Shop)).options(joinedload(Shop.goods)),
    "eager loads of some": lambda own: select(Shop).where(own(Shop)).options(joinedload(Shop.goods)).limit(1),
    "eager loads of a join": lambda own: (
        select(Shop)
        .join(Good, and_(Good.shop_id == Shop.id, own(Good)))
        .where(own(Shop))
        .options(contains_eager(Shop.goods))
    ),
    "FROM of another": lambda own: select(select(shops.c.name).where(own(shops)).subquery("names")),
    "texts that change no criterion": lambda own: (
        select(literal_column("1"), literal_column("'a word'"), func.count(), shops.c.visits.op("&")(1))
        .where(own(shops), shops.c.name.op("NOT LIKE")("x"))
        .group_by(shops.c.visits)
        .order_by(text("visits DESC"), text("2"))
        .prefix_with("/*+ MAX_EXECUTION_TIME(9) */", dialect="mysql")
        .with_hint(shops, "USE INDEX (PRIMARY)", "mysql")
    ),
    "a plain table beside": lambda own: select(shops, plains).where(own(shops), plains.c.id == shops.c.id),
}
