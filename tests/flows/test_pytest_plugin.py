"""The package `testing/plugin` as an application uses it: a wheel, installed in an environment of its own.

The application's modules are named like ours, and a pytest of its own runs its tests.
"""

import ast
import json
import os
import re
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import venv
import zipfile
from contextlib import contextmanager
from textwrap import dedent
from urllib.parse import urlsplit

import pytest

from config import Settings
from tests.live import PROJECT

pytestmark = pytest.mark.long

PLUGIN = PROJECT / "testing/plugin"
EXAMPLE = PROJECT / "docs/examples/ostiary.json"
DOCUMENT = (PROJECT / "docs/testing-your-app.md").read_text()
# Everything that is needed is there already: nothing is fetched, also not for the build.
OFFLINE = ["--quiet", "--disable-pip-version-check", "--no-index"]
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
PATIENCE_SECONDS = 60

# Whatever of this reached the server would keep it from starting; the proxy would take every request.
HOSTILE = {
    "OSTIARY_ISSUER": "https://op.example",
    "OSTIARY_SECRET_KEY": "too short",
    "PORT": "1",
    "FLASK_APP": "nothing",
    "GUNICORN_CMD_ARGS": "--bind nowhere:1 --check-config",
    "PYTHONPATH": "hostile",
    "VIRTUAL_ENV": "/nowhere",
    "COVERAGE_PROCESS_START": "/nowhere",
    "http_proxy": "http://127.0.0.1:1",
    "no_proxy": "",
}
SAME_NAMES = ("models", "config", "errors", "database", "commands", "store")
SIGNS_IN = """
    from requests_oauthlib import OAuth2Session

    CALLBACK = "http://127.0.0.1:5000/callback"


    def test_code_and_refresh(ostiary, monkeypatch):
        monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
        web, endpoints = ostiary.clients["web"], ostiary.metadata()
        app = OAuth2Session(web.client_id, redirect_uri=CALLBACK, scope=["profile"], pkce="S256")
        url, state = app.authorization_url(endpoints["authorization_endpoint"])
        back = ostiary.authorize(url, "ada@example.com", "correct horse battery")
        assert f"state={state}" in back
        pair = app.fetch_token(
            endpoints["token_endpoint"], authorization_response=back, client_secret=web.client_secret
        )
        sub = app.get(f"{ostiary.issuer}/api/me").json()["sub"]
        assert sub == ostiary.users["ada@example.com"].sub == "ada"
        renewed = app.refresh_token(endpoints["token_endpoint"], auth=web)
        assert renewed["refresh_token"] != pair["refresh_token"]
"""


def pip(python, command, *arguments):
    """Run this environment's pip, for the environment that `python` belongs to."""
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, command, *OFFLINE, *arguments], check=True
    )


def make_environment(folder):
    """Return the Python of a new environment that has the libraries of this one, and none of our modules."""
    venv.create(folder, symlinks=True)
    python = folder / "bin/python"
    purelib = sysconfig.get_path("purelib", "venv", {"base": str(folder)})
    with open(f"{purelib}/libraries.pth", "w") as paths:
        paths.write(sysconfig.get_path("purelib"))
    return python


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Return the file that is built from the package."""
    folder = tmp_path_factory.mktemp("wheel")
    pip(sys.executable, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, PLUGIN)
    [built] = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def python(tmp_path_factory, wheel):
    """Return the Python of an environment in which the wheel is installed."""
    python = make_environment(tmp_path_factory.mktemp("environment"))
    pip(python, "install", wheel)
    return python


class Host:
    """An application in a folder of its own, with the example's JSON file and a Python that has the
    plugin.
    """

    def __init__(self, folder, python):
        self.folder = folder
        self.python = python
        folder.mkdir()
        self.write("ostiary.json", EXAMPLE.read_text())
        self.write("pytest.ini", f"[pytest]\nostiary_checkout = {PROJECT}\naddopts = -p no:cacheprovider\n")
        for name in SAME_NAMES:
            self.write(f"{name}.py", "")

    def write(self, name, text):
        (self.folder / name).write_text(dedent(text))

    @contextmanager
    def pytest(self, *options, **changed):
        """A running pytest of this project."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        with subprocess.Popen(
            [self.python, "-m", "pytest", "--basetemp", self.folder / "temporary", *options],
            cwd=self.folder,
            env=environment | changed,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # a shell's background jobs ignore it
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def run(self, *options, **changed):
        """Its exit code and its words, when it has ended."""
        with self.pytest(*options, **changed) as process:
            words, _nothing = process.communicate(timeout=PATIENCE_SECONDS)
            return process.returncode, words

    def logs(self):
        return sorted((self.folder / "temporary").rglob("ostiary.log"))

    def ports(self):
        """Those of the servers that were started, from what gunicorn has logged."""
        return [int(urlsplit(address).port) for log in self.logs() for address in listened_at(log)]


def listened_at(log):
    return re.findall(r"Ostiary is ready:  (\S+)", log.read_text())


def is_open(port):
    """Whether anything listens there: the server's socket is closed when the last of its processes
    has ended.
    """
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def wait_until_closed(port):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while is_open(port):
        assert time.monotonic() < deadline, f"port {port} is still open"
        time.sleep(0.02)


@pytest.fixture
def host(tmp_path, python):
    return Host(tmp_path / "a project", python)


# ---- what the document says --------------------------------------------------------------------------------


# What `pip` in the document is here: the same, for the application's environment, without a network.
PIP = """
pip() { "$PYTHON" -m pip --python "$ENVIRONMENT" "$1" --quiet --no-index --no-build-isolation "${@:2}"; }
"""


def test_the_document_is_a_whole_example_and_the_environment_stays_outside(tmp_path):
    host = Host(tmp_path / "a project", make_environment(tmp_path / "environment"))
    for name in ("ostiary.json", "pytest.ini"):
        (host.folder / name).unlink()
    places = {"OSTIARY": str(PROJECT), "PYTHON": sys.executable, "ENVIRONMENT": str(host.python)}
    for language, text in BLOCKS:
        if language == "bash":
            subprocess.run(["bash", "-euc", PIP + text], cwd=host.folder, env=os.environ | places, check=True)
        else:
            host.write(text.partition("\n")[0].removeprefix("# "), text)
    (host.folder / "hostile").mkdir()
    host.write("hostile/gunicorn.py", "raise SystemExit('not for the server')")
    host.write(
        "test_modules.py",
        f"""
        import pathlib, sys

        def test_our_modules_are_ours(ostiary):
            here = pathlib.Path(__file__).parent
            import {", ".join(SAME_NAMES[:2])}
            imported = ({", ".join(SAME_NAMES[:2])})
            assert {{pathlib.Path(module.__file__).parent for module in imported}} == {{here}}
            assert not {{"my_oauth", "unit_of_work", "gunicorn"}} & set(sys.modules)
            assert not any(path.startswith("{PROJECT}") and "/.venv" not in path for path in sys.path)
        """,
    )
    outside = {name: value for name, value in HOSTILE.items() if not name.endswith("_proxy")}
    code, words = host.run(PYTEST_OSTIARY_CHECKOUT=str(PROJECT), **outside)
    assert (code, "4 passed" in words) == (0, True), words
    assert len(host.logs()) == 2  # one with tenants, one without
    assert all(log.with_name("ostiary.sqlite3").exists() for log in host.logs())
    assert [is_open(port) for port in host.ports()] == [False, False]


def test_the_wheel_has_the_package_and_no_more(wheel):
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert files == {str(path.relative_to(PLUGIN)) for path in PLUGIN.glob("pytest_ostiary/*.*")}
    assert "pytest_ostiary/py.typed" in files


def test_the_plugin_imports_nothing_but_the_standard_library_and_pytest(wheel):
    named = set()
    with zipfile.ZipFile(wheel) as archive:
        sources = [archive.read(name) for name in archive.namelist() if name.endswith(".py")]
    for node in [node for source in sources for node in ast.walk(ast.parse(source))]:
        if isinstance(node, ast.Import):
            named |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            named.add(node.module.partition(".")[0])
    assert named - sys.stdlib_module_names == {"pytest", "pytest_ostiary"}


def test_what_the_plugin_sets_are_settings(python):
    """A setting that had another name would be ignored without a word."""
    code = "import json, pytest_ostiary.server as server; print(json.dumps(list(server.UNTHROTTLED)))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, cwd=PLUGIN.parent)
    names = json.loads(done.stdout)
    assert {name.removeprefix("OSTIARY_").lower() for name in names} <= set(Settings.model_fields)


def test_a_conftest_that_names_the_plugin_loads_it_once(host):
    """As it had to be when the plugin was a file that was copied."""
    host.write("conftest.py", 'pytest_plugins = ["pytest_ostiary"]\n')
    host.write("test_sign_in.py", SIGNS_IN)
    code, words = host.run()
    assert (code, "1 passed" in words) == (0, True), words


def test_an_environment_inside_of_a_checkout_needs_no_option(tmp_path, wheel):
    """The checkout around the installed package is the one that is meant."""
    checkout = a_checkout(tmp_path)
    (checkout / "mine").mkdir()
    host = Host(checkout / "mine/tests", make_environment(checkout / "mine/environment"))
    pip(host.python, "install", wheel)
    host.write("pytest.ini", "[pytest]\naddopts = -p no:cacheprovider\n")
    host.write("test_it.py", USES_IT)
    code, words = host.run()
    assert (code, "1 passed" in words) == (0, True), words


# ---- servers -----------------------------------------------------------------------------------------------


def test_each_worker_of_xdist_has_a_server_of_its_own(host):
    host.write("test_sign_in.py", SIGNS_IN)
    host.write("test_again.py", SIGNS_IN)
    code, words = host.run("-n", "2", "--dist", "loadfile")
    assert (code, "2 passed" in words) == (0, True), words
    assert len(set(host.ports())) == 2
    assert [is_open(port) for port in host.ports()] == [False, False]


def test_servers_of_a_session_are_apart_and_a_page_that_is_in_the_way_is_told(host):
    host.write(
        "test_two.py",
        """
        import json, pathlib
        import pytest
        from pytest_ostiary import OstiaryError

        REQUEST = {"response_type": "code", "client_id": "web", "redirect_uri": "http://127.0.0.1/callback",
                   "code_challenge": "v" * 43, "code_challenge_method": "S256"}

        def test_another_file_and_settings(ostiary, start_ostiary, tmp_path):
            client = {"client_id": "made", "grant_types": ["client_credentials"]}
            tmp_path.joinpath("other.json").write_text(json.dumps({"clients": [client]}))
            other = start_ostiary(tmp_path / "other.json", signup="closed")
            assert other.issuer != ostiary.issuer
            assert list(other.clients) == ["made"]
            assert other.clients["made"].client_secret.startswith("ost_cs_")
            assert other.users == {}
            assert ostiary.clients["spa"].client_secret is None
            other.stop()
            with pytest.raises(OSError):
                other.metadata()
            assert ostiary.metadata()["issuer"] == ostiary.issuer

        def test_a_person_who_cannot_sign_in_locks_out_nobody(ostiary):
            for _ in range(12):
                with pytest.raises(OstiaryError, match="status 400.*do not belong together"):
                    ostiary.authorize(REQUEST, "ada@example.com", "a wrong password")
            back = ostiary.authorize(REQUEST, "ada@example.com", "correct horse battery", decision="deny")
            assert back.startswith("http://127.0.0.1/callback?error=access_denied")

        def test_a_request_that_ends_on_a_page(ostiary):
            with pytest.raises(OstiaryError, match="status 400"):
                ostiary.authorize(REQUEST | {"redirect_uri": "https://evil.example/"}, "", "")
            with pytest.raises(OstiaryError, match="is not at http://127.0.0.1"):
                ostiary.authorize("https://op.example/oauth/authorize", "", "")
        """,
    )
    code, words = host.run(http_proxy=HOSTILE["http_proxy"], no_proxy=HOSTILE["no_proxy"])
    assert (code, "3 passed" in words) == (0, True), words
    assert [is_open(port) for port in host.ports()] == [False, False]


def test_tenants(host):
    """What the document does not show: settings of a tenant, and what is refused."""
    host.write(
        "test_tenants.py",
        """
        import pytest
        from pytest_ostiary import OstiaryError

        REQUEST = {"response_type": "code", "client_id": "web", "redirect_uri": "http://127.0.0.1/callback",
                   "code_challenge": "v" * 43, "code_challenge_method": "S256"}

        def test_settings_and_refusals(start_ostiary):
            server = start_ostiary(tenants="on")
            first = server.add_tenant("first", "ostiary.json", signup="open", max_sessions=2)
            second = server.add_tenant("second", "ostiary.json")
            assert first.clients == second.clients == server.clients
            assert first.users["ada@example.com"] == second.users["ada@example.com"]
            assert first.users["grace@example.com"].sub != second.users["grace@example.com"].sub
            with pytest.raises(OstiaryError, match="Ostiary refused the tenant first\\n.*already"):
                server.add_tenant("first", "ostiary.json")
            with pytest.raises(OstiaryError, match="max_sessions of the tenant third\\n.*max_sessions"):
                server.add_tenant("third", "ostiary.json", max_sessions=0)
            with pytest.raises(OstiaryError, match="is not at http://127.0.0.1"):
                first.authorize(f"{second.issuer}/oauth/authorize", "", "")

        def test_a_server_without_tenants(ostiary):
            with pytest.raises(OstiaryError, match="OSTIARY_TENANTS=on"):
                ostiary.add_tenant("acme", "ostiary.json")
        """,
    )
    code, words = host.run()
    assert (code, "2 passed" in words) == (0, True), words


def test_the_server_is_gone_after_a_test_that_failed(host):
    host.write(
        "test_fails.py", "def test_fails(ostiary):\n    raise ValueError(ostiary.metadata()['issuer'])\n"
    )
    code, words = host.run("-x")
    assert code == 1
    [port] = host.ports()
    assert f"ValueError: http://127.0.0.1:{port}" in words
    assert not is_open(port)


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL], ids=lambda kind: kind.name)
def test_the_server_is_gone_after_an_interrupted_run(host, kind):
    host.write("test_long.py", "import time\n\ndef test_long(ostiary):\n    time.sleep(600)\n")
    deadline = time.monotonic() + PATIENCE_SECONDS
    with host.pytest() as process:
        while not host.ports():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        [port] = host.ports()
        assert is_open(port)
        process.send_signal(kind)
        process.communicate(timeout=PATIENCE_SECONDS)
    wait_until_closed(port)


# ---- what goes wrong ---------------------------------------------------------------------------------------

USES_IT = "def test_it(ostiary):\n    pass\n"


def a_checkout(tmp_path):
    """Return a folder that looks like ours, and whose files may be replaced."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for entry in PROJECT.iterdir():
        (checkout / entry.name).symlink_to(entry)
    return checkout


def test_a_wrong_file_is_told_in_words(host):
    host.write("test_it.py", USES_IT)
    host.write(
        "ostiary.json",
        '{"users": [{"email": "ada", "password": "my secret"}], "clients": [{"client_name": 1}]}',
    )
    code, words = host.run()
    assert code == 1
    problems = [
        f"Ostiary refused {host.folder / 'ostiary.json'}",
        "users[0]: 'ada' is not an email address",
        "users[0]: the password will not do: Use at least 12 characters.",
        "clients[0].client_id: is missing",
        "clients[0].client_name: should be a valid string",
    ]
    assert [problem for problem in problems if problem not in words] == []
    assert "Traceback" not in words
    assert "my secret" not in words
    assert [is_open(port) for port in host.ports()] in ([], [False])


def test_a_server_that_does_not_start_shows_its_log(host, tmp_path):
    checkout = a_checkout(tmp_path)
    (checkout / "gunicorn.conf.py").unlink()
    (checkout / "gunicorn.conf.py").write_text("raise SystemExit('broken on purpose')\n")
    host.write("test_it.py", USES_IT)
    code, words = host.run(PYTEST_OSTIARY_CHECKOUT=str(checkout))
    assert code == 1
    assert "Ostiary did not start" in words
    assert "broken on purpose" in words


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([], "is no checkout of Ostiary: set the ini option ostiary_checkout"),
        (["gunicorn.conf.py", "my_oauth.py"], "Ostiary is not installed: run `make .venv/installed` in"),
    ],
)
def test_a_folder_that_will_not_do(host, tmp_path, files, words):
    host.write("test_it.py", USES_IT)
    for name in files:
        (tmp_path / name).touch()
    code, told = host.run(PYTEST_OSTIARY_CHECKOUT="..")
    assert (code, words in told) == (1, True), told


def test_no_folder_at_all(host):
    host.write("pytest.ini", "[pytest]\naddopts = -p no:cacheprovider\n")
    host.write("test_it.py", USES_IT)
    code, told = host.run()
    assert code == 1
    what = "set the ini option ostiary_checkout or the variable PYTEST_OSTIARY_CHECKOUT"
    assert f"no checkout of Ostiary is named: {what}" in told
