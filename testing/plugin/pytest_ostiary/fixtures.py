"""What pytest takes from this package: two ini options and two fixtures. `server.py` has the server."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_ostiary.issuer import OstiaryError
from pytest_ostiary.server import Ostiary

CHECKOUT_VARIABLE = "PYTEST_OSTIARY_CHECKOUT"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the ini options `ostiary_checkout` and `ostiary_seed`."""
    checkout = f"folder with a checkout of Ostiary, from the rootdir ({CHECKOUT_VARIABLE} wins)"
    parser.addini("ostiary_checkout", checkout)
    seed = "JSON file with people, clients and scopes, from the rootdir"
    parser.addini("ostiary_seed", seed, default="ostiary.json")


@pytest.fixture(scope="session")
def ostiary(start_ostiary: Callable[[], Ostiary]) -> Ostiary:
    """Return a server with what stands in the file that the ini option `ostiary_seed` names."""
    return start_ostiary()


@pytest.fixture(scope="session")
def start_ostiary(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Ostiary]]:
    """Return a function that starts another server: `start_ostiary(file, **settings)`.

    file: the JSON file; the one of the ini option if it is left out.
    settings: those of Ostiary in lower case, such as `refresh_leeway=0`.
    """
    started = []

    def start(seed_file: str | Path | None = None, **settings: object) -> Ostiary:
        folder = tmp_path_factory.mktemp("ostiary")
        server = Ostiary(find_checkout(pytestconfig), pytestconfig.rootpath, folder, settings)
        try:
            started.append(server.start(seed_file or pytestconfig.getini("ostiary_seed")))
        except OstiaryError as error:
            pytest.fail(str(error), pytrace=False)
        return server

    yield start
    for server in started:
        server.stop()


def find_checkout(config: pytest.Config) -> Path:
    """Return the checkout that is named, or else the one around this file. Fails the test without one."""
    how = f"set the ini option ostiary_checkout or the variable {CHECKOUT_VARIABLE}"
    if named := os.environ.get(CHECKOUT_VARIABLE) or config.getini("ostiary_checkout"):
        folder = config.rootpath / Path(named).expanduser()
        if not is_checkout(folder):
            pytest.fail(f"{folder} is no checkout of Ostiary: {how}", pytrace=False)
    else:
        around = next(filter(is_checkout, Path(__file__).resolve().parents), None)
        if around is None:
            pytest.fail(f"no checkout of Ostiary is named: {how}", pytrace=False)
        folder = around
    if not (folder / ".venv/bin/python").exists():
        pytest.fail(f"Ostiary is not installed: run `make .venv/installed` in {folder}", pytrace=False)
    return folder


def is_checkout(folder: Path) -> bool:
    """Tell whether `folder` has the two files of Ostiary that have kept their place so far."""
    return (folder / "gunicorn.conf.py").is_file() and (folder / "my_oauth.py").is_file()
