"""Users as any front end adds and changes them. `tests/commands/` and `tests/pages/` have every rule."""

import pytest

from errors import ConflictError, InvalidInputError, NotFoundError
from services import passwords, users
from services.problems import Code
from services.users import NewUser
from tests.builders import PASSWORD, a_user
from unit_of_work import transaction


@pytest.fixture
def inside(app, seed):
    seed(a_user(email="ada@example.com"))
    with app.app_context(), transaction():
        yield


def codes(refused):
    return [problem.code for problem in refused.value.problems]


def test_everything_that_is_wrong_with_a_new_user_comes_at_once(inside):
    new = NewUser("ada", "\u202e", "short", {"birthdate": 1, "nickname": None}, "not a sub")
    with pytest.raises(InvalidInputError) as refused:
        users.prepare(new)
    assert codes(refused) == [
        Code.INVALID_EMAIL,
        Code.NAME_CHARACTERS,
        Code.PASSWORD_TOO_SHORT,
        Code.INVALID_CLAIM,
        Code.INVALID_SUB,
    ]


def test_an_address_belongs_to_one_user(inside):
    bo = users.add(users.prepare(NewUser("Bo@Example.com", "Bo", PASSWORD)), is_verified=True)
    assert (bo.email, passwords.is_right(PASSWORD, bo.password_hash)) == ("bo@example.com", True)
    with pytest.raises(ConflictError) as refused:
        users.add(users.prepare(NewUser("BO@example.com", "", PASSWORD)), is_verified=False)
    assert codes(refused) == [Code.EMAIL_TAKEN]
    with pytest.raises(InvalidInputError) as refused:
        users.change(bo, "ada@example.com", None, {})
    assert codes(refused) == [Code.EMAIL_TAKEN]


def test_a_change_says_whether_anything_is_new(inside):
    ada = users.lock_fresh("ada@example.com")
    assert users.change(ada, None, None, {"nickname": "Countess"})
    assert not users.change(ada, "ADA@example.com", ada.name, {"nickname": "Countess"})
    assert users.change(ada, None, None, {"nickname": None})
    assert ada.claims == {}


def test_an_unknown_address_is_no_user(inside):
    for service in (users.find, users.lock, users.lock_fresh):
        with pytest.raises(NotFoundError) as refused:
            service("nobody@example.com")
        assert codes(refused) == [Code.UNKNOWN_USER]
