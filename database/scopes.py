"""What a query reads from, and which of it is held to a tenant by which criteria.

A *source* is a table or an alias of one. Criteria are those that every row must fulfil: what stands under
NOT holds nothing, and under OR only what each of its sides says. The right side of an outer join is a scope
of its own, held by its ON alone: a criterion in WHERE would drop rows of the left side.

Sources are compared by identity, and kept in dictionaries for as long as they are compared: the address of an
object that is gone may be that of the next one.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sqlalchemy import BindParameter, FromClause
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression, BooleanClauseList, ColumnClause, Grouping
from sqlalchemy.sql.lambdas import LambdaElement

COLUMN = "tenant_id"
# For each source the names of its columns that have the current tenant's id.
Held: TypeAlias = dict[FromClause, frozenset[str]]
OF_TABLE = frozenset({COLUMN})


@dataclass
class Scope:
    """Sources that the same criteria hold."""

    sources: list[FromClause] = field(default_factory=list)  # those that have to be held
    criteria: list[Any] = field(default_factory=list)
    right_sides: list["Scope"] = field(default_factory=list)  # of outer joins

    def sources_of_right_sides(self) -> Iterator[FromClause]:
        """Return the sources that a criterion of this scope must not be about."""
        for scope in self.right_sides:
            yield from scope.sources
            yield from scope.sources_of_right_sides()


@dataclass(frozen=True)
class Around:
    """What a subquery finds around it: held sources, and those that SQLAlchemy may correlate it to."""

    held: Mapping[FromClause, frozenset[str]] = field(default_factory=dict)
    near: frozenset[FromClause] = frozenset()  # of the query that it stands in
    all: frozenset[FromClause] = frozenset()

    def visible_to(self, sources: Iterable[FromClause], name: Callable[[FromClause], str]) -> Held:
        """Return what is held around a query with these sources, whose names hide the same names outside."""
        names = {name(source) for source in sources}
        return {source: columns for source, columns in self.held.items() if name(source) not in names}


@dataclass
class From:
    """All of a FROM: its scopes, every source in it, and what else stands there (ON, functions)."""

    beside: Around
    scope: Scope = field(default_factory=Scope)
    sources: list[FromClause] = field(default_factory=list)
    derived: Held = field(default_factory=dict)  # subqueries
    expressions: list[Any] = field(default_factory=list)

    def must_be_held(self) -> list[FromClause]:
        """Return the sources with tenants' rows."""
        return [*self.scope.sources, *self.scope.sources_of_right_sides()]


NOTHING_AROUND = Around()


def name_of(source: FromClause) -> str:
    """Return the name of a source; some databases ignore its case."""
    return str(getattr(source, "name", "")).lower()


def conjuncts(criteria: Iterable[Any]) -> Iterator[Any]:
    """Return the criteria that each row must fulfil, taken out of AND and of parentheses."""
    for criterion in criteria:
        if isinstance(criterion, LambdaElement):
            yield from conjuncts([criterion._resolved])
        elif isinstance(criterion, Grouping):
            yield from conjuncts([criterion.element])
        elif isinstance(criterion, BooleanClauseList) and criterion.operator is operators.and_:
            yield from conjuncts(criterion.clauses)
        else:
            yield criterion


def equalities(criteria: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Return both sides of each criterion `a = b`, both ways round."""
    for criterion in conjuncts(criteria):
        if isinstance(criterion, BinaryExpression) and criterion.operator is operators.eq:
            yield criterion.left, criterion.right
            yield criterion.right, criterion.left
        elif isinstance(criterion, BooleanClauseList) and criterion.operator is operators.or_:
            first, *others = [list(equalities([side])) for side in criterion.clauses]
            for pair in first:
                if all(any(is_same_pair(pair, other) for other in pairs) for pairs in others):
                    yield pair


def is_same_pair(one: tuple[Any, Any], other: tuple[Any, Any]) -> bool:
    """Return whether two equalities compare the same column with the same."""
    return all(map(is_same, one, other))


def is_same(one: Any, other: Any) -> bool:
    """Return whether two elements are the same column, or the same parameter by its name."""
    if isinstance(one, BindParameter) and isinstance(other, BindParameter):
        return one is other or (one.key == other.key and not one.unique)
    return column_of(one)[0] is not None and column_of(one) == column_of(other)


def column_of(element: Any) -> tuple[FromClause | None, str]:
    """Return the source and the name of a column; None and "" for anything else."""
    while isinstance(element, Grouping):
        element = element.element
    if isinstance(element, ColumnClause) and not element.is_literal and element.table is not None:
        return element.table, element.name
    return None, ""


def is_held(element: Any, held: Mapping[FromClause, frozenset[str]]) -> bool:
    """Return whether an element is a column that has the current tenant's id."""
    source, name = column_of(element)
    return source is not None and name in held.get(source, ())


def owner_of(element: Any) -> FromClause | None:
    """Return the source whose `tenant_id` an element is, or None."""
    source, name = column_of(element)
    return source if name == COLUMN else None
