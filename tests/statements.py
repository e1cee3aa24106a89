"""SELECT, INSERT, UPDATE, DELETE and text of tests: they are about the rows of all tenants.

A test looks at what is stored from outside, so the fence lets its statements pass. Those of the product say
whose rows they want.
"""

import sqlalchemy

from database.tenancy import EVERY_TENANT

WHY = {EVERY_TENANT: "a test looks at all rows"}


def select(*columns):
    return sqlalchemy.select(*columns).execution_options(**WHY)


def insert(table):
    return sqlalchemy.insert(table).execution_options(**WHY)


def update(table):
    return sqlalchemy.update(table).execution_options(**WHY)


def delete(table):
    return sqlalchemy.delete(table).execution_options(**WHY)


def text(sql):
    return sqlalchemy.text(sql).execution_options(**WHY)
