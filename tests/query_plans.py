"""No statement reads all rows of a table, or all of a tenant: a key or an index finds those that it wants.

Watched in each test that borrows an app (`tests/apps.py`). SQLite says how it would run a statement, and
knows nothing of how many rows there are: so its plan is the same for few rows and for many.
"""

import re
import sqlite3

from sqlalchemy import event

from database.scopes import COLUMN
from database.tenancy import EVERY_TENANT
from models import db
from tests.statements import WHY

STEP = re.compile(r"(SCAN|SEARCH) (?:TABLE )?(\w+)(.*)")
ALIAS = re.compile(r"\b(\w+) AS (\w+)\b")
OF_A_TENANT = f"({COLUMN}=?)"
TABLES = {table.name for table in db.metadata.tables.values() if COLUMN in table.columns}
OF_FEW = f"SEARCH signing_key USING INDEX sqlite_autoindex_signing_key_2 {OF_A_TENANT}"  # a tenant has a few
# Statements that may read more: how they end, and why.
ALLOWED = {
    "FROM scope WHERE scope.tenant_id = ? ORDER BY scope.name": "a tenant has a few",
    "FROM client WHERE client.tenant_id = ?"
    " ORDER BY client.client_name, client.client_id": "an operator lists them",
    "FROM end_user WHERE end_user.tenant_id = ? ORDER BY end_user.email": "an operator lists them",
    "SELECT end_user.id FROM end_user WHERE end_user.tenant_id = ?": "an operator removes a tenant",
    "WHERE logout_notice.tenant_id = ? ORDER BY logout_notice.id DESC LIMIT ? OFFSET ?": (
        "an operator lists the newest"
    ),
    "WHERE logout_notice.tenant_id = ? AND logout_notice.delivered_at IS NULL"
    " ORDER BY logout_notice.id DESC LIMIT ? OFFSET ?": "an operator lists the newest",
    "FROM end_user WHERE end_user.tenant_id = ?)) OR (EXISTS"
    " (SELECT client.client_id FROM client WHERE client.tenant_id = ?)) AS anon_1": (
        "a command asks whether anybody is there, and the first row answers"
    ),
} | {f"DELETE FROM {name} WHERE {name}.tenant_id = ?": "an operator removes a tenant" for name in TABLES}  # noqa: S608


class QueryPlans:
    """Keeps `problems`: the statements sent to an engine that read more rows than they need."""

    def __init__(self, engine):
        self.problems = []
        self.seen = set()
        event.listen(engine, "before_cursor_execute", self.look_at)

    def look_at(self, connection, cursor, sql, parameters, context, executemany):
        """Ask the driver, behind SQLAlchemy's back, how it would run a statement that nobody has seen yet."""
        if sql in self.seen or COLUMN not in sql or is_of_a_test(context):
            return
        self.seen.add(sql)
        driver = connection.connection.driver_connection
        try:
            rows = driver.execute(f"EXPLAIN QUERY PLAN {sql}", parameters[0] if executemany else parameters)
        except sqlite3.Error:
            return  # the statement itself will have an error too
        self.problems += problems_of(sql, [row[3] for row in rows])

    def take(self):
        """Return the problems since the last call."""
        taken, self.problems = self.problems, []
        return taken


def is_of_a_test(context):
    """Return whether a test has sent a statement (`tests/statements.py`)."""
    options = getattr(context.invoked_statement, "_execution_options", {})
    return options.get(EVERY_TENANT) == WHY[EVERY_TENANT]


def problems_of(sql, plan):
    """Return the steps of a plan that read all rows of a tenants' table, or all of one tenant."""
    if " ".join(sql.split()).endswith(tuple(ALLOWED)):
        return []
    tables = {alias: table for table, alias in ALIAS.findall(sql)}
    steps = [(step, *match.groups()) for step in plan if (match := STEP.match(step))]
    return [
        f"{step}: {sql}"
        for step, verb, name, how in steps
        if tables.get(name, name) in TABLES
        and step != OF_FEW
        and (verb == "SCAN" or " AUTOMATIC " in how or how.endswith(OF_A_TENANT))
    ]
