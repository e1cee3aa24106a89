"""A pytest plugin that starts Ostiary for the tests of an application that signs people in with it.

Enters: a folder with a checkout of Ostiary, and a JSON file with people, clients and scopes. Leaves: the
fixtures `ostiary` and `start_ostiary`. The server is a process of the checkout's own virtual environment, so
its modules and versions never meet those of the application. The package needs the standard library and
pytest alone. `docs/testing-your-app.md` of the checkout says how it is used.
"""

from pytest_ostiary.fixtures import ostiary, pytest_addoption, start_ostiary
from pytest_ostiary.issuer import Client, Issuer, OstiaryError, User
from pytest_ostiary.server import Ostiary

__all__ = [
    "Client",
    "Issuer",
    "Ostiary",
    "OstiaryError",
    "User",
    "ostiary",
    "pytest_addoption",
    "start_ostiary",
]
