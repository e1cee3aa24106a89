"""A sign-in comes wholly before a change of the password or wholly after it: its session never outlives those
that were ended.
"""

import pytest
from flask import session
from sqlalchemy import func

from models import User, UserSession, db
from services import login_session, passwords
from tests.builders import ISSUER, a_user, password_hash
from tests.statements import select, update
from unit_of_work import transaction

COUNT_SESSIONS = select(func.count()).select_from(UserSession)


@pytest.mark.parametrize(
    "meanwhile", [{"password_hash": passwords.hash_password("another password")}, {"disabled_at": 1}]
)
def test_what_was_checked_before_the_lock_is_checked_again_under_it(app, seed, rows, meanwhile):
    seed(a_user())
    with app.app_context():
        db.session.execute(update(User).values(**meanwhile))  # after the password was found right
        db.session.commit()
    with app.test_request_context("/login", base_url=ISSUER), transaction():
        assert not login_session.sign_in(1, password_hash())
        assert dict(session) == {}
    assert rows(COUNT_SESSIONS) == [(0,)]


def test_a_sign_in_locks_the_person_first(app, seed, rows, statements):
    seed(a_user())
    statements.clear()
    with app.test_request_context("/login", base_url=ISSUER), transaction():
        assert login_session.sign_in(1, password_hash())
    assert "FROM end_user" in statements[0]
    assert rows(COUNT_SESSIONS) == [(1,)]
