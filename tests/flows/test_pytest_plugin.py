"""`pytest_ostiary.py` as another project uses it: by a pytest of its own, in a folder whose modules are named like ours."""

import ast
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from textwrap import dedent
from urllib.parse import urlsplit

import pytest

import pytest_ostiary
from config import Settings
from tests.live import PROJECT

PLUGIN = PROJECT / "pytest_ostiary.py"
EXAMPLE = PROJECT / "docs/examples/ostiary.json"
DOCUMENT = (PROJECT / "docs/testing-your-app.md").read_text()
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
        assert app.get(f"{ostiary.issuer}/api/me").json()["sub"] == ostiary.users["ada@example.com"].sub == "ada"
        renewed = app.refresh_token(endpoints["token_endpoint"], auth=web)
        assert renewed["refresh_token"] != pair["refresh_token"]
"""


class Host:
    """A project in a folder of its own, with a copy of the plugin and of the example's file."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        self.write("pytest_ostiary.py", PLUGIN.read_text())
        self.write("ostiary.json", EXAMPLE.read_text())
        self.write("pytest.ini", f"[pytest]\nostiary_checkout = {PROJECT}\naddopts = -p no:cacheprovider\n")
        self.write("conftest.py", 'pytest_plugins = ["pytest_ostiary"]\n')
        for name in SAME_NAMES:
            self.write(f"{name}.py", "")

    def write(self, name, text):
        (self.folder / name).write_text(dedent(text))

    @contextmanager
    def pytest(self, *options, **changed):
        """A running pytest of this project."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        with subprocess.Popen(
            [sys.executable, "-m", "pytest", "--basetemp", self.folder / "temporary", *options],
            cwd=self.folder,
            env=environment | changed,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
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
    """Whether anything listens there: the server's socket is closed when the last of its processes has ended."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def wait_until_closed(port):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while is_open(port):
        assert time.monotonic() < deadline, f"port {port} is still open"
        time.sleep(0.02)


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path / "a project")


# ---- what the document says -------------------------------------------------------------------------------------------


def test_the_document_is_a_whole_example_and_the_environment_stays_outside(host):
    for name in ("pytest_ostiary.py", "ostiary.json", "pytest.ini", "conftest.py"):
        (host.folder / name).unlink()
    for language, text in BLOCKS:
        if language == "bash":
            subprocess.run(
                ["bash", "-euc", text], cwd=host.folder, env=os.environ | {"OSTIARY": str(PROJECT)}, check=True
            )
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
            assert {{pathlib.Path(module.__file__).parent for module in ({", ".join(SAME_NAMES[:2])})}} == {{here}}
            assert not {{"my_oauth", "unit_of_work", "gunicorn"}} & set(sys.modules)
            assert not any(path.startswith("{PROJECT}") and "/.venv" not in path for path in sys.path)
        """,
    )
    outside = {name: value for name, value in HOSTILE.items() if not name.endswith("_proxy")}
    code, words = host.run(PYTEST_OSTIARY_CHECKOUT=str(PROJECT), **outside)
    assert (code, "3 passed" in words) == (0, True), words
    assert len(host.logs()) == 1
    assert host.logs()[0].with_name("ostiary.sqlite3").exists()
    assert [is_open(port) for port in host.ports()] == [False]


def test_the_plugin_imports_nothing_but_the_standard_library_and_pytest():
    named = set()
    for node in ast.walk(ast.parse(PLUGIN.read_text())):
        if isinstance(node, ast.Import):
            named |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            named.add(node.module.partition(".")[0])
    assert named - sys.stdlib_module_names == {"pytest"}


def test_what_the_plugin_sets_are_settings():
    """A setting that had another name would be ignored without a word."""
    assert {name.removeprefix("OSTIARY_").lower() for name in pytest_ostiary.UNTHROTTLED} <= set(Settings.model_fields)


# ---- servers ----------------------------------------------------------------------------------------------------------


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


def test_the_server_is_gone_after_a_test_that_failed(host):
    host.write("test_fails.py", "def test_fails(ostiary):\n    raise ValueError(ostiary.metadata()['issuer'])\n")
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


# ---- what goes wrong --------------------------------------------------------------------------------------------------

USES_IT = "def test_it(ostiary):\n    pass\n"


def test_a_wrong_file_is_told_in_words(host):
    host.write("test_it.py", USES_IT)
    host.write(
        "ostiary.json", '{"users": [{"email": "ada", "password": "my secret"}], "clients": [{"client_name": 1}]}'
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
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for entry in PROJECT.iterdir():
        (checkout / entry.name).symlink_to(entry)
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
