"""The fence refuses each statement that is not held to the current tenant, and says what is missing."""

import pytest
from sqlalchemy import delete, insert, literal, select, text, update

from database.tenancy import own
from tests.storage.fence import refused_changes, refused_queries, refused_texts
from tests.storage.fence.models import OTHER, good_of_shop, goods, others, shops
from tests.storage.fence.refused_texts import either
from tests.storage.fence.sending import assert_refused, sending

REFUSED = {
    f"{group}: {name}": send
    for group, cases in {
        "without criterion": refused_queries.WITHOUT_CRITERION,
        "forgotten inside": refused_queries.FORGOTTEN_INSIDE,
        "wrong criterion": refused_queries.WITH_A_WRONG_CRITERION,
        "text": refused_texts.TEXTS,
        "text beside": refused_texts.TEXTS_BESIDE,
        "unknown": refused_texts.UNKNOWN,
        "change": refused_changes.CHANGES,
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
