"""Look at a compiled statement once: is it held to one tenant, and by which parameters?

Enters: a statement as SQLAlchemy compiled it, after the ORM has put its joins in. Leaves: the names of the
parameters that have to be the current tenant's id, or UnfencedError, which says what is missing and where.

An INSERT fills `tenant_id` with a parameter, and what it does on a conflict keeps to rows of the same tenant.
An UPDATE never sets `tenant_id`. The rest is as for queries.
"""

from typing import Any

from sqlalchemy import Insert, TextClause, Update
from sqlalchemy.sql.base import _from_objects
from sqlalchemy.sql.dml import DMLState
from sqlalchemy.sql.elements import ReleaseSavepointClause, RollbackToSavepointClause, SavepointClause

from database.expression_check import QUERIES, inner
from database.query_check import QueryCheck, expressions_in
from database.scopes import (
    COLUMN,
    NOTHING_AROUND,
    OF_TABLE,
    Around,
    Held,
    equalities,
    is_held,
    name_of,
    owner_of,
)
from database.tenant_tables import refuse, refuse_unknown


class StatementCheck(QueryCheck):
    """One look at a compiled statement."""

    def names(self) -> tuple[str, ...]:
        """Return the names of the parameters that must be the current tenant's id. Raises UnfencedError."""
        state = self.compiled.dml_compile_state or self.compiled.compile_state
        statement = self.compiled.statement if state is None else state.statement
        kind = getattr(statement, "__visit_name__", "statement").replace("_", " ").upper()
        if isinstance(statement, TextClause):
            self.tables.check_statement(statement.text)
        elif isinstance(statement, QUERIES):
            self.check_query(statement, NOTHING_AROUND, f"the {kind}", state)
        elif not isinstance(statement, SavepointClause | RollbackToSavepointClause | ReleaseSavepointClause):
            self.check_expressions([statement], NOTHING_AROUND, "the statement")
        self.check_loose_text()
        return tuple(self.binds)

    def check_loose_text(self) -> None:
        """Check that no text can let rows pass the criteria, where there are some of tenants."""
        if self.has_tenants and self.loose_text:
            refuse(
                f"{self.loose_text} has a text that could change what the criteria mean, as OR does: write"
                " it with SQLAlchemy's functions and operators"
            )

    def check_change(self, statement: Any, state: Any, around: Around, place: str) -> tuple[list[Any], Held]:
        """Check an INSERT, UPDATE or DELETE; return the columns that it returns, and what is held."""
        is_whole = isinstance(state, DMLState)
        if not is_whole:
            state = statement._compile_state_factory(statement, self.compiled)
        core: Any = state.statement
        self.check_texts(core, place)
        self.check_independent_ctes(core)
        if isinstance(core, Insert):
            inside = self.check_insert(core, state, place, is_whole)
        else:
            inside = self.check_update_or_delete(core, state, around, place, is_whole)
        returned = [
            *core._returning,
            *(core._supplemental_returning or ()),
            *(core._return_defaults_columns or ()),
        ]
        self.check_expressions(expressions_in(returned), inside, f"RETURNING of {place}")
        return list(core._all_selected_columns), dict(inside.held)

    # ---- UPDATE and DELETE ---------------------------------------------------------------------------------

    def check_update_or_delete(
        self, core: Any, state: Any, around: Around, place: str, is_whole: bool
    ) -> Around:
        """Check an UPDATE or DELETE, and return what its RETURNING finds around it."""
        main = frozenset(_from_objects(core.table))
        extra = [item for item in state._extra_froms if item not in main]
        sources = main.union(state._extra_froms)
        found = self.read_from([core.table, *extra], Around({}, sources, sources), place)
        found.scope.criteria += core._where_criteria
        inside = Around(self.hold(found, around, place), sources, sources)
        self.check_expressions([*core._where_criteria, *found.expressions], inside, f"WHERE of {place}")
        if isinstance(core, Update):
            self.check_set(core, state, inside, place, is_whole)
        return inside

    def check_set(self, core: Any, state: Any, inside: Around, place: str, is_whole: bool) -> None:
        """Check what an UPDATE sets."""
        values = state._dict_parameters or {}
        keys = [*values, *((self.compiled.column_keys or ()) if is_whole else ())]
        tables = [source for source in inside.near if hasattr(source, "columns")]
        for table in tables:
            if any(is_tenant_key(key, table) for key in keys):
                refuse(f"SET of {place} has {COLUMN}: a row stays with its tenant")
        self.check_expressions(
            [*only_elements(values.values()), *defaults_of(core.table, "onupdate")], inside, f"SET of {place}"
        )

    # ---- INSERT --------------------------------------------------------------------------------------------

    def check_insert(self, core: Any, state: Any, place: str, is_whole: bool) -> Around:
        """Check an INSERT, and return what its RETURNING finds around it."""
        is_of_tenants = self.has_tenant_rows(core.table, place)
        held: Held = {core.table: OF_TABLE} if is_of_tenants else {}
        inside = Around(held)
        rows = state._multi_parameters or [state._dict_parameters or {}]
        if core.select is not None:
            outputs = self.check_query(core.select, NOTHING_AROUND, f"the SELECT in {place}")
        else:
            outputs = []
            for row in rows:
                self.check_expressions(only_elements(row.values()), NOTHING_AROUND, f"VALUES of {place}")
        self.check_expressions(defaults_of(core.table, "default"), NOTHING_AROUND, f"a default in {place}")
        if is_of_tenants:
            if not is_whole:
                refuse(f"{place} is part of another statement: send it by itself")
            self.check_filled(core, state, rows, outputs, place)
        self.check_conflict(core, inside, place, is_of_tenants)
        return inside

    def check_filled(
        self, core: Any, state: Any, rows: list[Any], outputs: list[tuple[list[Any], Held]], place: str
    ) -> None:
        """Check that each new row gets `tenant_id` from a parameter, or from a row of the same tenant."""
        if any("REPLACE" in str(text).upper() for text, _ in core._prefixes):
            refuse(f"{place} replaces rows, perhaps another tenant's: use database.upsert")
        [column] = [column for column in core.table.columns if column.name == COLUMN]
        if core._select_names:
            names = [name_of_key(key, core.table) for key in core._select_names]
            if COLUMN in names:
                is_filled = self.is_selected(names.index(COLUMN), outputs)
            else:
                is_filled = core.include_insert_from_select_defaults and self.is_filled_by_default(column.key)
        else:
            has_many = state._multi_parameters is not None
            is_filled = all(
                self.is_filled_in_row(row, number if has_many else None, column)
                for number, row in enumerate(rows)
            )
        if not is_filled:
            refuse(
                f"{place} does not fill {COLUMN} of the table {name_of(core.table)} with one number: leave it"
                " to the column's default, or pass TENANT"
            )

    def is_selected(self, position: int, outputs: list[tuple[list[Any], Held]]) -> bool:
        """Return whether each SELECT has the tenant's id at a position."""
        return bool(outputs) and all(
            position < len(columns)
            and not any(map(is_star, columns))  # which stands for several
            and (self.is_bind(columns[position]) or is_held(inner(columns[position]), held))
            for columns, held in outputs
        )

    def is_filled_by_default(self, name: str) -> bool:
        """Return whether a parameter that SQLAlchemy made for a column has this name."""
        bind = self.compiled.binds.get(name)
        if bind is None or not bind._is_crud:
            return False
        self.binds[name] = None
        return True

    def is_filled_in_row(self, row: Any, number: int | None, column: Any) -> bool:
        """Return whether a row of VALUES gets its `tenant_id` from a parameter. number: of several."""
        given = [value for key, value in row.items() if name_of_key(key, column.table) == COLUMN]
        name = column.key if number is None else f"{column.key}_m{number}"
        if not given or not hasattr(given[0], "__visit_name__"):
            return self.is_filled_by_default(name) or (
                number == 0 and not given and self.is_filled_by_default(column.key)
            )
        if self.is_bind(given[0]):
            return True
        is_literal = given[0].__visit_name__ == "bindparam" and given[0].unique
        return is_literal and self.is_filled_by_default(name)

    # ---- ON CONFLICT ---------------------------------------------------------------------------------------

    def check_conflict(self, core: Any, inside: Around, place: str, is_of_tenants: bool) -> None:
        """Check what an INSERT does where a row with the same key exists."""
        clause = core._post_values_clause
        if clause is None:
            return
        kind = clause.__visit_name__
        place = f"ON CONFLICT of {place}"
        if kind == "on_duplicate_key_update":  # names no key: the table's keys say what may collide
            changes = clause.update.items()
        elif kind in ("on_conflict_do_update", "on_conflict_do_nothing"):
            changes = dict(getattr(clause, "update_values_to_set", ())).items()
            where = getattr(clause, "update_whereclause", None)
            target = [*(clause.inferred_target_elements or ()), clause.inferred_target_whereclause, where]
            self.check_expressions(only_elements(target), inside, place)
            if is_of_tenants:
                self.check_target(core.table, clause, where, place)
        else:
            refuse_unknown(clause, place)
        if is_of_tenants and any(is_tenant_key(key, core.table) for key, _value in changes):
            refuse(f"{place} sets {COLUMN}: a row stays with its tenant")
        self.check_expressions(only_elements(value for _key, value in changes), inside, place)

    def check_target(self, table: Any, clause: Any, where: Any, place: str) -> None:
        """Check that a row of another tenant is no conflict, or that nothing is done to it."""
        names = {name_of_key(key, table) for key in clause.inferred_target_elements or ()}
        target = getattr(clause, "constraint_target", None)
        for constraint in table.constraints:
            if target is not None and constraint.name == target:
                names = {column.name for column in constraint.columns}
        if COLUMN in names or any(
            owner_of(column) in {table: None} and self.is_bind(other)
            for column, other in equalities([] if where is None else [where])
        ):
            return
        key = {column.name for column in table.primary_key.columns}
        if clause.__visit_name__ == "on_conflict_do_nothing" and names == key:
            return
        refuse(
            f"{place} may meet a row of another tenant: name {COLUMN} in its key, or add own() to its WHERE"
        )


def is_star(column: Any) -> bool:
    """Return whether a column of a SELECT is `*`."""
    return str(getattr(column, "text", getattr(column, "name", ""))) == "*"


def name_of_key(key: Any, table: Any) -> str:
    """Return the name of the column that a key of VALUES or SET stands for."""
    if isinstance(key, str) and key in table.c:
        return str(table.c[key].name)
    return str(getattr(key, "name", key))


def is_tenant_key(key: Any, table: Any) -> bool:
    """Return whether a key of VALUES or SET stands for `tenant_id`."""
    return name_of_key(key, table) == COLUMN


def only_elements(values: Any) -> list[Any]:
    """Return those of the values that are SQL, and not Python's."""
    return [value for value in values if hasattr(value, "__visit_name__")]


def defaults_of(table: Any, kind: str) -> list[Any]:
    """Return the SQL expressions that fill columns which a statement does not mention."""
    defaults = [getattr(column, kind, None) for column in table.columns]
    return [default.arg for default in defaults if default is not None and default.is_clause_element]
