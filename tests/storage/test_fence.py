"""The fence refuses each statement that is not held to the current tenant, and lets pass those that are.

In memory, and all of it once more on PostgreSQL and MariaDB. The models are in `fenced.py`.
"""

import pytest
from sqlalchemy import (
    DDL,
    BindParameter,
    Column,
    Integer,
    MetaData,
    Table,
    and_,
    bindparam,
    case,
    column,
    create_engine,
    delete,
    event,
    exists,
    func,
    insert,
    inspect,
    lambda_stmt,
    literal,
    literal_column,
    or_,
    select,
    text,
    true,
    union,
    union_all,
    update,
)
from sqlalchemy import table as lightweight
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session, aliased, contains_eager, joinedload, selectinload, subqueryload
from sqlalchemy.schema import ExecutableDDLElement
from sqlalchemy.sql.elements import quoted_name

import database
from database import tenancy
from database.tenancy import EVERY_TENANT, HOME, TENANT, Checker, current_tenant, entered, own
from errors import UnfencedError
from models import User, db
from tests.storage.fenced import (
    OTHER,
    Base,
    Good,
    Shop,
    all_rows,
    fill,
    goods,
    plains,
    shops,
    stamps,
    stand_in,
)

UPSERTS = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


@pytest.fixture(scope="session")
def outside_memory():
    """Unlike the rest of this folder, what needs no server here stays in memory."""


@pytest.fixture(scope="module")
def memory():
    engine = create_engine("sqlite://")
    yield prepared(engine)
    engine.dispose()


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def on_server(request, servers):
    engine = create_engine(servers(request.param).new_database())
    yield prepared(engine)
    engine.dispose()


def prepared(engine):
    """Return an engine behind the fence, with rows of two tenants."""
    with engine.begin() as connection:
        fill(connection)
    tenancy.install(engine, Base.metadata)
    return engine


def run(engine, send):
    """Send a statement in a session that is undone, and return what it found."""
    with engine.connect() as connection:
        transaction = connection.begin()
        try:
            return send(Session(connection, join_transaction_mode="create_savepoint"))
        finally:
            transaction.rollback()


def assert_refused(engine, send):
    """Assert that the fence refuses a statement, and that nothing has changed."""
    with engine.connect() as connection:
        before = all_rows(connection)
        with (
            Session(connection, join_transaction_mode="create_savepoint") as session,
            pytest.raises(UnfencedError) as error,
        ):
            send(session)
        assert all_rows(connection) == before
    return str(error.value)


def sending(make, parameters=None):
    """Return a function that sends the statement which `make()` returns."""
    return lambda session: session.execute(make(), parameters)


def flushing(*new):
    def send(session):
        session.add_all(make() for make in new)
        session.flush()

    return send


def moving(session):
    session.get(Shop, (HOME, 1)).tenant_id = OTHER
    session.flush()


# ---- refused -----------------------------------------------------------------------------------------------

good_of_shop = goods.c.shop_id == shops.c.id
others = shops.alias("others")
any_alias = aliased(Good)

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

some = select(goods.c.shop_id)
FORGOTTEN_INSIDE = {
    "IN": sending(lambda: select(shops).where(own(shops), shops.c.id.in_(some))),
    "NOT IN": sending(lambda: delete(shops).where(own(shops), shops.c.id.not_in(some))),
    "EXISTS": sending(lambda: select(shops).where(own(shops), exists().where(good_of_shop))),
    "a scalar": sending(lambda: select(shops.c.id, some.limit(1).scalar_subquery()).where(own(shops))),
    "ORDER BY": sending(lambda: select(shops).where(own(shops)).order_by(some.limit(1).scalar_subquery())),
    "LIMIT": sending(lambda: select(shops).where(own(shops)).limit(some.limit(1).scalar_subquery())),
    "HAVING": sending(lambda: select(func.count(shops.c.id)).where(own(shops)).having(some.exists())),
    "CASE in a function": sending(lambda: select(func.abs(case((some.exists(), 1), else_=2)))),
    "a CTE": sending(lambda: select(some.cte("some"))),
    "a CTE beside": sending(lambda: select(shops).where(own(shops)).add_cte(some.cte("some"))),
    "half of a UNION": sending(lambda: union(select(shops.c.id).where(own(shops)), some)),
    "FROM": sending(lambda: select(some.subquery())),
    "FROM of FROM": sending(lambda: select(select(some.subquery()).subquery())),
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

REFUSED = {
    f"{group}: {name}": send
    for group, cases in {
        "without criterion": WITHOUT_CRITERION,
        "forgotten inside": FORGOTTEN_INSIDE,
        "wrong criterion": WITH_A_WRONG_CRITERION,
        "text": TEXTS,
        "text beside": TEXTS_BESIDE,
        "unknown": UNKNOWN,
        "change": CHANGES,
    }.items()
    for name, send in cases.items()
}


@pytest.mark.threat("T193")
@pytest.mark.parametrize("send", REFUSED.values(), ids=REFUSED.keys())
def test_a_statement_that_is_not_held_to_the_tenant_is_refused(memory, send):
    assert_refused(memory, send)


@pytest.mark.threat("T193")
def test_on_a_server_such_statements_are_refused_too(on_server):
    for name, send in REFUSED.items():
        if is_written(on_server, name):
            assert_refused(on_server, send)


def is_written(engine, name):
    """Return whether the SQL of a case can be written for a database at all."""
    if engine.dialect.name == "postgresql":
        return name != "text: a hint"
    return not name.endswith((": sample", ": FULL JOIN", "one of several rows, returned"))


def test_a_refusal_says_what_is_missing_and_where(memory):
    newest = select(goods.c.id).order_by(goods.c.id).limit(2).subquery("newest")
    sentences = {
        "select": "the table shop is not held to a tenant in WHERE of the SELECT: add own(shop) there",
        "alias": "the alias others of shop is not held to a tenant in WHERE of the SELECT: add own(others)"
        " there",
        "outer join": "the table good is not held to a tenant in ON of an outer join in the SELECT: add"
        " own(good) there",
        "subquery": "the table good is not held to a tenant in WHERE of the subquery in FROM of a subquery in"
        " WHERE of the DELETE: add own(good) there",
        "insert": "the INSERT does not fill tenant_id of the table shop with one number: leave it to the"
        " column's default, or pass TENANT",
        "set": "SET of the UPDATE has tenant_id: a row stays with its tenant",
        "text": "WHERE of the SELECT has a text that could change what the criteria mean, as OR does: write"
        " it with SQLAlchemy's functions and operators",
    }
    statements = {
        "select": select(shops),
        "alias": select(others),
        "outer join": select(shops).outerjoin(goods, good_of_shop).where(own(shops)),
        "subquery": delete(goods).where(own(goods), goods.c.id.not_in(select(newest.c.id))),
        "insert": insert(shops).values(name="secret", tenant_id=literal(1) + 1),
        "set": update(shops).where(own(shops)).values(tenant_id=OTHER),
        "text": select(shops).where(own(shops), text(either)),
    }
    found = {
        name: assert_refused(memory, sending(lambda made=made: made)) for name, made in statements.items()
    }
    assert found == sentences


# ---- upserts -----------------------------------------------------------------------------------------------


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
        upserted(memory, shops, {"name": "a"}, by_name, visits=some.limit(1).scalar_subquery()),
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


# ---- right -------------------------------------------------------------------------------------------------


newer = goods.alias("newer")


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
    "IN": lambda own: select(shops.c.id).where(own(shops), shops.c.id.in_(some.where(own(goods)))),
    "a CTE": lambda own: select(some.where(own(goods)).cte("some")),
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


# ---- which tenant ------------------------------------------------------------------------------------------


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
