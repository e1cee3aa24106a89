"""Every table has rows of tenants, and a key of one tenant is never that of another."""

import pytest
from sqlalchemy import PrimaryKeyConstraint, UniqueConstraint

from models import db

REGISTRY = "tenant"
# Keys without the tenant.
RANDOM = "a random value, or its digest: no two are equal"
NUMBERED = "counted by the database, once for all tenants"
DIGESTED = "a digest of the tenant too, but for home"
OTHER_KEYS = {
    ("end_user", "id"): NUMBERED,
    ("user_session", "id"): NUMBERED,
    ("user_session", "session_digest"): RANDOM,
    ("client_session", "sid"): RANDOM,
    (
        "client_session",
        "session_id, client_id",
    ): "a number of the database; the version before names this key",
    ("logout_notice", "id"): NUMBERED,
    ("authorization_ticket", "ticket_digest"): RANDOM,
    ("form_answer", "form_digest"): "a digest of a random value of the browser, and of what it sent",
    ("authorization_code", "code_digest"): RANDOM,
    ("token", "id"): NUMBERED,
    ("token", "access_token_digest"): RANDOM,
    ("throttle", "bucket_digest"): DIGESTED,
    ("signing_key", "kid"): "a digest of the public key",
    ("spent_assertion", "jti_digest"): DIGESTED,
}
# It clears `user_id` alone, and the reference with the tenant beside it stays: the version before, which does
# not clear it first, removes users by it.
OF_THE_VERSION_BEFORE = ("logout_notice", "user_id", "SET NULL")
TABLES = {name: table for name, table in db.metadata.tables.items() if name != REGISTRY}


def keys_of(table):
    return [
        [column.name for column in constraint.columns]
        for constraint in table.constraints
        if isinstance(constraint, PrimaryKeyConstraint | UniqueConstraint)
    ]


def references():
    return [
        reference
        for table in TABLES.values()
        for reference in table.foreign_key_constraints
        if described(reference) != OF_THE_VERSION_BEFORE
    ]


def described(reference):
    return reference.table.name, ", ".join(reference.column_keys), reference.ondelete


@pytest.mark.parametrize("name", TABLES)
def test_each_row_is_a_tenants(name):
    column = TABLES[name].c.tenant_id
    assert not column.nullable
    assert column.default is not None  # the present tenant
    assert column.server_default.arg.text == "1"  # home, for an older version that knows no tenants


@pytest.mark.threat("T195")
def test_each_key_has_the_tenant_or_a_reason():
    others = {
        (name, ", ".join(key))
        for name, table in TABLES.items()
        for key in keys_of(table)
        if "tenant_id" not in key
    }
    assert others == set(OTHER_KEYS)


@pytest.mark.threat("T195")
@pytest.mark.parametrize("reference", references(), ids=described)
def test_references_stay_within_the_tenant(reference):
    parents = {element.parent.name: element.column.name for element in reference.elements}
    assert parents["tenant_id"] == ("id" if reference.referred_table.name == REGISTRY else "tenant_id")


def test_the_version_before_needs_one_more():
    """Its row has the reference within the tenant as well."""
    of_notices = {described(reference) for reference in TABLES["logout_notice"].foreign_key_constraints}
    assert of_notices >= {OF_THE_VERSION_BEFORE, ("logout_notice", "user_id, tenant_id", None)}


@pytest.mark.parametrize("name", TABLES)
def test_an_index_tells_apart_by_more_than_the_tenant_first(name):
    """SQLite, which does not know how many rows a tenant has, would read all of them by such an index."""
    first = {list(index.columns)[0].name for index in TABLES[name].indexes}
    first |= {key[0] for key in keys_of(TABLES[name])}
    assert "tenant_id" not in first or name == "signing_key"  # a tenant has a few of those


@pytest.mark.parametrize("name", TABLES)
def test_an_index_finds_what_refers_to_a_row(name):
    """The database looks for it before it removes the row, and no plan of a statement shows that."""
    first = {list(index.columns)[0].name for index in TABLES[name].indexes}
    first |= {key[0] for key in keys_of(TABLES[name])}
    references = TABLES[name].foreign_key_constraints
    to_find = {
        reference.column_keys[0] for reference in references if reference.referred_table.name != REGISTRY
    }
    assert to_find <= first


def test_no_reference_clears_the_tenant():
    """SET NULL would clear each of its columns."""
    assert {reference.ondelete for reference in references()} == {None, "CASCADE"}


@pytest.mark.threat("T197")
def test_the_session_knows_rows_by_their_tenant():
    """Its identity map hands out no object of another tenant."""
    keys = {mapper.local_table.name: mapper.primary_key[0].name for mapper in db.Model.registry.mappers}
    assert keys == dict.fromkeys(TABLES, "tenant_id") | {REGISTRY: "id"}


@pytest.mark.parametrize("name", db.metadata.tables)
def test_names_are_short_enough_for_each_database(name):
    """MariaDB takes 64 characters, PostgreSQL 63."""
    table = db.metadata.tables[name]
    names = [index.name for index in table.indexes]
    names += [constraint.name for constraint in table.constraints if constraint.name]
    assert all(len(name) <= 63 for name in names)
