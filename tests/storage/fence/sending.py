"""Send a statement behind the fence, in a session that is undone."""

import pytest
from sqlalchemy.orm import Session

from errors import UnfencedError
from tests.storage.fence.models import all_rows


def run(engine, send):
    """Send a statement in a session that is undone, and return what it found."""
    with engine.connect() as connection:
        transaction = connection.begin()
        try:
            return send(Session(connection, join_transaction_mode="create_savepoint"))
        finally:
            transaction.rollback()


def assert_refused(engine, send):
    """Assert that the fence refuses a statement, and that nothing has changed."""
    with engine.connect() as connection:
        before = all_rows(connection)
        with (
            Session(connection, join_transaction_mode="create_savepoint") as session,
            pytest.raises(UnfencedError) as error,
        ):
            send(session)
        assert all_rows(connection) == before
    return str(error.value)


def sending(make, parameters=None):
    """Return a function that sends the statement which `make()` returns."""
    return lambda session: session.execute(make(), parameters)


def flushing(*new):
    def send(session):
        session.add_all(make() for make in new)
        session.flush()

    return send
