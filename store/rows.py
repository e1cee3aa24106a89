"""Rows as NamedTuples: the fields of a row's class are the columns that a statement asks for.

A class of rows stands in the file of its table, above the functions that return it.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

from sqlalchemy import ColumnElement, CursorResult, Executable, Table, Update

from models import db

Row = TypeVar("Row")


def columns(row_class: type[NamedTuple], *tables: Table) -> list[ColumnElement[object]]:
    """Return the columns of a row class, in its order, each from the first of `tables` that has it."""
    return [next(table.c[name] for table in tables if name in table.c) for name in row_class._fields]


def fetch_one(
    row_class: Callable[..., Row], statement: Executable, values: Mapping[str, object] | None = None
) -> Row | None:
    """Execute a statement that finds at most one row, and return it, or None."""
    row = db.session.execute(statement, values).one_or_none()
    return None if row is None else row_class(*row)


def fetch_all(
    row_class: Callable[..., Row], statement: Executable, values: Mapping[str, object] | None = None
) -> list[Row]:
    """Execute a statement and return all rows that it finds."""
    return [row_class(*row) for row in db.session.execute(statement, values)]


def update_one(statement: Update) -> bool:
    """Execute an UPDATE of at most one row, and return whether it found that row."""
    result = db.session.execute(statement)
    return isinstance(result, CursorResult) and result.rowcount == 1
