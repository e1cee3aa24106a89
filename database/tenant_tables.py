"""Which tables have tenants' rows, what a text may not name, and the sentences of refusals."""

import re
from typing import Any, NoReturn

from sqlalchemy import FromClause, MetaData, Table
from sqlalchemy.sql.selectable import AliasedReturnsRows, TableClause

from database.scopes import COLUMN, name_of
from errors import UnfencedError

WORD = re.compile(r"[\w$]+")
# What reads the shape of a table and none of its rows.
READS_NO_ROW = re.compile(r"\s*(PRAGMA\s[^;]*|(DESCRIBE|SHOW CREATE TABLE)\s+[`\w.]+\s*)", re.IGNORECASE)
ESCAPED_NAME = 'U&"'  # PostgreSQL's form that spells a name in numbers
# Texts that cannot change what the criteria beside them mean, as `x OR y` does behind AND: a name, a number,
# a direction, words in quotes, what an optimizer or an index is told.
HARMLESS = re.compile(
    r"\*|[\w.]*( (ASC|DESC))?( NULLS (FIRST|LAST))?|'[\w ]*'"
    r"|/\*\+[\w\s().,@=]*\*/|(USE|FORCE|IGNORE) (INDEX|KEY) \([\w, ]*\)",
    re.IGNORECASE,
)
# The same of operators: signs alone, or words alone; no comment, and no OR in any spelling.
HARMLESS_OPERATOR = re.compile(
    r"""((?:(?!--|/\*|\|\|)[^\w\s();'"`])+|(?!X?OR\b)[a-z_]+(?: (?!X?OR\b)[a-z_]+)*)?""", re.IGNORECASE
)


class TenantTables:
    """The tables of a MetaData that have a column `tenant_id`."""

    def __init__(self, metadata: MetaData) -> None:
        self.metadata = metadata
        self.count = -1
        self.names: set[str] = set()

    def names_in(self, text: str) -> str:
        """Return the first tenant's table that a text names, or ""."""
        if self.count != len(self.metadata.tables):
            self.count = len(self.metadata.tables)
            self.names = {
                table.name.casefold() for table in self.metadata.tables.values() if has_tenant_column(table)
            }
        if ESCAPED_NAME in text.upper():
            return ESCAPED_NAME
        return next((word for word in WORD.findall(text) if word.casefold() in self.names), "")

    def check_text(self, text: str, place: str) -> None:
        """Check a text that becomes part of a statement. Raises UnfencedError where it names such a table."""
        if name := self.names_in(text):
            raise UnfencedError(
                f"{place} has a text that names the table {name}, and a text cannot be checked: write it with"
                f" select(), insert(), update() or delete(), and own({name})"
            )

    def check_statement(self, text: str) -> None:
        """Check a statement that is nothing but text. Raises UnfencedError where it names such a table."""
        if not READS_NO_ROW.fullmatch(text):
            self.check_text(text, "the statement")

    def has_tenant_rows(self, table: TableClause, place: str) -> bool:
        """Return whether a table has a tenant's rows. Raises UnfencedError for a stand-in of such a table."""
        if isinstance(table, Table) and has_tenant_column(table):
            return True
        if name := self.names_in(table.name):
            raise UnfencedError(
                f"{place} names the table {name} by a stand-in: use the table itself, or its model"
            )
        return False


def has_tenant_column(table: Table) -> bool:
    """Return whether the rows of a table are tenants'."""
    return any(column.name == COLUMN for column in table.columns)


def described(source: FromClause) -> str:
    """Return a source as people read it: its table, and its alias."""
    table: Any = source.element if isinstance(source, AliasedReturnsRows) else source
    if source is table:
        return f"the table {name_of(table)}"
    return f"{'an alias' if is_anonymous(source) else f'the alias {name_of(source)}'} of {name_of(table)}"


def to_write(source: FromClause) -> str:
    """Return the criterion that a source lacks."""
    return "own(the alias)" if is_anonymous(source) else f"own({name_of(source)})"


def is_anonymous(source: FromClause) -> bool:
    """Return whether SQLAlchemy makes up the name of an alias."""
    return name_of(source).startswith("%(")


def refuse(reason: str) -> NoReturn:
    """Raise UnfencedError."""
    raise UnfencedError(reason)


def refuse_unknown(element: Any, place: str) -> NoReturn:
    """Raise UnfencedError for what this check does not know."""
    raise UnfencedError(
        f"{place} has a {type(element).__name__}, which the fence does not know: write it in another way, or"
        " teach database/expression_check.py or database/query_check.py what it reads"
    )
