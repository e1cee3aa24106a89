"""Look at the expressions and the texts of a statement: is each element known, and each text harmless?

`database/query_check.py` looks at the queries among them.

This leans on the insides of SQLAlchemy: what it does not know it refuses.
"""

import re
from collections.abc import Iterable
from typing import Any

from sqlalchemy import TextClause
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import ColumnClause, quoted_name
from sqlalchemy.sql.lambdas import LambdaElement
from sqlalchemy.sql.selectable import SelectBase

from database.scopes import NOTHING_AROUND, Around, Held
from database.tenant_tables import HARMLESS, HARMLESS_OPERATOR, TenantTables, refuse_unknown

QUERIES = (SelectBase, UpdateBase)
# What an expression is made of, by the names that SQLAlchemy's compilers have for it.
KNOWN = frozenset(
    "aggregate_order_by array binary bindparam case cast clauselist collation column expression_clauselist"
    " extract false funcfilter function grouping label label_reference lambda_element mysql_match null over"
    " scalar_function_column scalar_values slice table_valued_column textclause textual_label_reference true"
    " try_cast tuple type_coerce typeclause unary values withingroup".split()
)


class ExpressionCheck:
    """One look at the expressions and texts of a compiled statement."""

    def __init__(self, compiled: SQLCompiler, tables: TenantTables) -> None:
        self.compiled: Any = compiled
        self.tables = tables
        self.loose_text = ""  # where a text stands that may change what criteria mean

    def check_query(self, statement: Any, around: Around, place: str) -> list[tuple[list[Any], Held]]:
        """Check a query in an expression."""
        raise NotImplementedError

    def check_expressions(self, elements: Iterable[Any], around: Around, place: str) -> None:
        """Check the queries and the texts in some expressions."""
        todo = [element for element in elements if element is not None]
        while todo:
            element = todo.pop()
            if isinstance(element, QUERIES):
                self.check_query(element, around, f"a subquery in {place}")
            else:
                self.check_element(element, place)
                todo += children_of(element)

    def check_element(self, element: Any, place: str) -> None:
        """Check that an element of an expression is known, and the texts in it."""
        if getattr(element, "__visit_name__", None) not in KNOWN or is_custom(element):
            refuse_unknown(element, place)
        if isinstance(element, TextClause):
            self.check_text(element.text, place)
        elif isinstance(element, ColumnClause) and element.is_literal:
            self.check_text(str(element.name), place)
        for name in ("name", "field"):
            self.check_name(getattr(element, name, ""), place, is_raw=name == "field")
        for operator in ("operator", "modifier"):
            words = getattr(getattr(element, operator, None), "opstring", "")
            self.check_text(words, place, HARMLESS_OPERATOR)

    def check_name(self, name: Any, place: str, *, is_raw: bool = False) -> None:
        """Check a name that is written without quotes whatever it has in it."""
        if is_raw or (isinstance(name, quoted_name) and name.quote is False):
            self.check_text(str(name), place)

    def check_text(self, text: str, place: str, harmless: re.Pattern[str] = HARMLESS) -> None:
        """Check a text in a statement: it names no tenant's table, and leaves criteria as they are."""
        self.tables.check_text(text, place)
        if not self.loose_text and not harmless.fullmatch(text):
            self.loose_text = place

    def check_texts(self, statement: Any, place: str) -> None:
        """Check the texts around a statement: prefixes, suffixes, hints."""
        beside = [*getattr(statement, "_prefixes", ()), *getattr(statement, "_suffixes", ())]
        self.check_expressions([text for text, _ in beside], NOTHING_AROUND, f"a prefix or suffix of {place}")
        of_statement = [hint for _, hint in getattr(statement, "_statement_hints", ())]
        for hint in (*getattr(statement, "_hints", {}).values(), *of_statement):
            self.check_text(hint, f"a hint of {place}")


def children_of(element: Any) -> list[Any]:
    """Return the parts of an element of an expression."""
    if isinstance(element, LambdaElement):
        return [element._resolved]
    if isinstance(element, ColumnClause) or element.__visit_name__ == "table_valued_column":
        return []
    children = list(element.get_children())
    if element.__visit_name__ in ("values", "scalar_values"):
        rows = [row for part in element._data for row in part]
        children += [value for row in rows for value in row if hasattr(value, "__visit_name__")]
    return children


def inner(element: Any) -> Any:
    """Return an element without its label."""
    while getattr(element, "__visit_name__", "") == "label":
        element = element.element
    return element


def is_custom(element: Any) -> bool:
    """Return whether an element is compiled by somebody else's function, which may write anything."""
    return getattr(type(element), "_compiler_dispatcher", None) is not None
