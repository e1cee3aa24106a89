"""Look at the queries of a statement: is each tenant's table in them held to one tenant?

Each query inside is looked at. Outside of FROM it may lean on sources around it; in FROM it stands alone.
`database/statement_check.py` looks at the whole, `database/expression_check.py` at expressions and texts.

This leans on the insides of SQLAlchemy: what it does not know it refuses.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import BindParameter, CompoundSelect, FromClause, Integer, Select
from sqlalchemy.sql.base import _from_objects
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import ColumnElement, TextClause
from sqlalchemy.sql.selectable import (
    CTE,
    AliasedReturnsRows,
    FromGrouping,
    Join,
    Lateral,
    SelectBase,
    SelectState,
    SelectStatementGrouping,
    TableClause,
    TableSample,
    TextualSelect,
    Values,
)
from sqlalchemy.sql.sqltypes import NullType

from database.expression_check import QUERIES, ExpressionCheck, inner, is_custom
from database.scopes import (
    NOTHING_AROUND,
    OF_TABLE,
    Around,
    From,
    Held,
    Scope,
    equalities,
    is_held,
    name_of,
    owner_of,
)
from database.tenant_tables import TenantTables, described, refuse, refuse_unknown, to_write


class QueryCheck(ExpressionCheck):
    """One look at the queries of a compiled statement."""

    def __init__(self, compiled: SQLCompiler, tables: TenantTables) -> None:
        super().__init__(compiled, tables)
        self.binds: dict[str, None] = {}
        self.ctes: Held = {}
        self.has_tenants = False

    def check_change(self, statement: Any, state: Any, around: Around, place: str) -> tuple[list[Any], Held]:
        """Check an INSERT, UPDATE or DELETE."""
        raise NotImplementedError

    # ---- queries -------------------------------------------------------------------------------------------

    def check_query(
        self, statement: Any, around: Around, place: str, state: Any = None, *, stands_alone: bool = False
    ) -> list[tuple[list[Any], Held]]:
        """Check a query, and return for each SELECT in it its columns, and what is held there."""
        if isinstance(statement, SelectStatementGrouping):
            return self.check_query(statement.element, around, place, stands_alone=stands_alone)
        if isinstance(statement, SelectBase) and is_custom(statement):
            refuse_unknown(statement, place)
        if isinstance(statement, Select):
            return [self.check_select(statement, state, around, place, stands_alone)]
        if isinstance(statement, CompoundSelect):
            return self.check_compound(statement, around, place, stands_alone)
        if isinstance(statement, UpdateBase):
            return [self.check_change(statement, state, around, place)]
        if isinstance(statement, TextualSelect):
            self.check_expressions([statement.element], around, place)
            return [([], {})]
        refuse_unknown(statement, place)

    def check_select(
        self, statement: Any, state: Any, around: Around, place: str, stands_alone: bool
    ) -> tuple[list[Any], Held]:
        """Check a SELECT."""
        if not isinstance(state, SelectState):
            state = statement._compile_state_factory(statement, self.compiled)
        core: Any = state.statement
        # as in SQLAlchemy's `_setup_select_stack`
        explicit, near = (around.all - around.near, ()) if stands_alone else (around.all, around.near)
        shown = state._get_display_froms(explicit_correlate_froms=explicit, implicit_correlate_froms=near)
        sources = frozenset(_from_objects(*shown))
        found = self.read_from(shown, Around({}, sources, around.all | sources), place)
        found.scope.criteria += core._where_criteria
        inside = Around(self.hold(found, around, place), sources, around.all | sources)
        self.check_texts(core, place)
        self.check_independent_ctes(core)
        for part, elements in parts_of(core, found.expressions):
            self.check_expressions(elements, inside, f"{part} of {place}")
        return list(core._all_selected_columns), dict(inside.held)

    def check_compound(
        self, statement: Any, around: Around, place: str, stands_alone: bool
    ) -> list[tuple[list[Any], Held]]:
        """Check a UNION, INTERSECT or EXCEPT: each SELECT by itself."""
        self.check_texts(statement, place)
        self.check_independent_ctes(statement)
        self.check_expressions(ends_of(statement), around, f"the end of {place}")
        outputs: list[tuple[list[Any], Held]] = []
        for number, part in enumerate(statement.selects, 1):
            name = f"SELECT {number} of {statement.keyword.value} in {place}"
            outputs += self.check_query(part, around, name, stands_alone=stands_alone)
        return outputs

    # ---- FROM ----------------------------------------------------------------------------------------------

    def read_from(self, items: Iterable[Any], beside: Around, place: str) -> From:
        """Return what stands in a FROM, after a look into its subqueries. beside: what LATERAL may read."""
        found = From(beside)
        for item in items:
            self.add(item, found.scope, found, place)
        names = [self.written_name(source) for source in found.sources]
        for source in found.must_be_held():
            name = self.written_name(source)
            if names.count(name) > 1:
                refuse(f"two sources of {place} have the name {name}: give one of them an alias")
        return found

    def add(self, item: Any, scope: Scope, found: From, place: str) -> None:
        """Add an item of a FROM to a scope."""
        if isinstance(item, Join):
            self.add_join(item, scope, found, place)
        elif isinstance(item, FromGrouping):
            self.add(item.element, scope, found, place)
        elif isinstance(item, TableClause):
            found.sources.append(item)
            if self.has_tenant_rows(item, place):
                scope.sources.append(item)
        elif isinstance(item, AliasedReturnsRows):
            found.sources.append(item)
            self.add_alias(item, scope, found, place)
        else:  # a function, VALUES, a text
            found.expressions.append(item)

    def add_join(self, join: Join, scope: Scope, found: From, place: str) -> None:
        """Add both sides of a join; the right side of an outer join is a scope of its own."""
        self.add(join.left, scope, found, place)
        right = Scope() if join.isouter else scope
        self.add(join.right, right, found, place)
        right.criteria.append(join.onclause)
        found.expressions.append(join.onclause)
        if join.isouter:
            scope.right_sides.append(right)
        if join.full and found.must_be_held():
            refuse(f"{place} has a FULL JOIN, in which no criterion holds both sides")

    def add_alias(self, item: Any, scope: Scope, found: From, place: str) -> None:
        """Add an alias of a table, a subquery, or a function."""
        self.check_name(getattr(item, "name", ""), place)
        inside = item
        while isinstance(inside, AliasedReturnsRows) and not isinstance(inside, CTE):
            if isinstance(inside, TableSample):
                found.expressions += [inside.sampling, inside.seed]
            inside = inside.element
        if isinstance(inside, TableClause):
            if self.has_tenant_rows(inside, place):
                scope.sources.append(item)
        elif isinstance(inside, CTE):
            found.derived[item] = self.cte(inside)
        elif isinstance(inside, QUERIES):
            around = found.beside if isinstance(item, Lateral) else None
            found.derived[item] = self.derived(item, inside, f"the subquery in FROM of {place}", around)
        elif isinstance(inside, ColumnElement | Values):
            found.expressions.append(inside)
        else:
            refuse_unknown(inside, place)

    def derived(self, item: Any, query: Any, place: str, around: Around | None = None) -> frozenset[str]:
        """Check a query in FROM by itself; return the names of its columns with the tenant's id."""
        outputs = self.check_query(query, around or NOTHING_AROUND, place, stands_alone=around is None)
        names = [column.name for column in item.c]
        held = set(names)
        for columns, sources in outputs:
            if len(columns) != len(names):
                return frozenset()
            for name, column in zip(names, columns, strict=True):
                if not is_held(inner(column), sources):
                    held.discard(name)
        return frozenset(held)

    def cte(self, item: Any) -> frozenset[str]:
        """Check a CTE, once; return its columns with the tenant's id: none of a recursive one's."""
        if item not in self.ctes:
            self.ctes[item] = frozenset()
            self.check_texts(item, f"the CTE {name_of(item)}")
            held = self.derived(item, item.element, f"the CTE {name_of(item)}")
            self.ctes[item] = frozenset() if item.recursive else held
        return self.ctes[item]

    def check_independent_ctes(self, statement: Any) -> None:
        """Check the CTEs that are part of a statement whether or not it reads from them."""
        for item in statement._independent_ctes:
            self.cte(item)

    def has_tenant_rows(self, table: TableClause, place: str) -> bool:
        """Return whether a table has tenants' rows; if so, remember that the statement is about some."""
        found = self.tables.has_tenant_rows(table, place)
        self.has_tenants |= found
        return found

    def written_name(self, source: FromClause) -> str:
        """Return the name that a source has in the SQL, also where SQLAlchemy has made it up."""
        name = getattr(source, "name", "")
        return str(name.apply_map(self.compiled.anon_map) if hasattr(name, "apply_map") else name).lower()

    # ---- what holds ----------------------------------------------------------------------------------------

    def hold(self, found: From, around: Around, place: str) -> Held:
        """Return what is held in a query. Raises UnfencedError where a source is not."""
        held = around.visible_to(found.sources, self.written_name) | found.derived
        self.hold_scope(found.scope, held, f"WHERE of {place}")
        return held

    def hold_scope(self, scope: Scope, held: Held, place: str) -> None:
        """Add the sources of a scope to what is held. Raises UnfencedError where one is not."""
        pairs = list(equalities(scope.criteria))
        of_right_sides = dict.fromkeys(scope.sources_of_right_sides())
        todo = dict.fromkeys(scope.sources)
        for column, other in pairs:
            owner = owner_of(column)
            if owner is not None and owner in of_right_sides:
                refuse(
                    f"{place} has a criterion of {described(owner)}, the right side of an outer join, where"
                    f" it drops rows: write {to_write(owner)} in the ON of that join"
                )
            if owner in todo and self.is_bind(other):
                held[owner] = OF_TABLE
        self.spread(pairs, todo, held)
        missing = [source for source in todo if source not in held]
        if missing:
            source = missing[0]
            refuse(f"{described(source)} is not held to a tenant in {place}: add {to_write(source)} there")
        for right in scope.right_sides:
            self.hold_scope(right, held, place.replace("WHERE of", "ON of an outer join in", 1))

    def spread(self, pairs: list[tuple[Any, Any]], todo: Mapping[FromClause, None], held: Held) -> None:
        """Hold sources whose `tenant_id` equals that of a source which is held already."""
        count = -1
        while count != len(held):
            count = len(held)
            for column, other in pairs:
                owner = owner_of(column)
                if owner is not None and owner in todo and is_held(other, held):
                    held[owner] = OF_TABLE

    def is_bind(self, element: Any) -> bool:
        """Return whether an element is a parameter with one number, which each execution compares."""
        element = inner(element)
        if not isinstance(element, BindParameter):
            return False
        name = self.compiled.bind_names.get(element)
        if name is None and not element.unique and element.key in self.compiled.binds:
            name = element.key  # of a copy
        if name is None or element.expanding or element.literal_execute:
            return False
        if not isinstance(element.type, Integer | NullType):
            return False
        self.binds[name] = None
        return True


def parts_of(core: Any, in_from: list[Any]) -> Iterator[tuple[str, Iterable[Any]]]:
    """Return the parts of a SELECT that have expressions, each with its name."""
    yield "the columns", expressions_in(core._raw_columns)
    yield "FROM", in_from
    yield "WHERE", core._where_criteria
    yield "HAVING", core._having_criteria
    yield "DISTINCT", core._distinct_on
    yield "the end", ends_of(core)


def expressions_in(columns: Iterable[Any]) -> list[Any]:
    """Return the columns and expressions among columns; a table there stands in FROM too."""
    return [
        column
        for column in columns
        if isinstance(column, ColumnElement) or not isinstance(column, FromClause)
    ]


def ends_of(statement: Any) -> list[Any]:
    """Return what stands behind WHERE and HAVING in a query."""
    lock = statement._for_update_arg
    locked = () if lock is None else (element for element in lock.of or () if isinstance(element, TextClause))
    return [
        *statement._group_by_clauses,
        *statement._order_by_clauses,
        statement._limit_clause,
        statement._offset_clause,
        statement._fetch_clause,
        *locked,
    ]
