"""Where a process has its settings from: what a file of settings may say, which one counts, and secrets in
files of their own.
"""

import os
import shutil
import subprocess
import sys

import pytest

from config import VERSION, Settings
from environment import env_file
from errors import ConfigError
from tests.flows.mutations import mutated_copy
from tests.live import PROJECT

PRODUCTION = """
# who we are
OSTIARY_ISSUER=https://op.example
OSTIARY_DATABASE_URL="postgresql://ostiary:pa\\$\\$word@db.example/ostiary"
OSTIARY_SECRET_KEY='kkkk kkkk#kkkk"kkkk\\kkkk=kkkkkkkkkkkkkk'
; and how long
OSTIARY_ACCESS_TOKEN_LIFETIME = 300
"""


@pytest.fixture(autouse=True)
def own_environment(monkeypatch, tmp_path):
    """What a test loads is gone after it; and no test reads the file of the machine it runs on."""
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(env_file, "USUAL_FILE", tmp_path / "ostiary.env")


def write(path, text):
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("X=a b", "a b"),
        ("X=  a  ", "a"),
        ("X=", ""),
        ("  X=a=b", "a=b"),
        ("X=a#b;c", "a#b;c"),
        ("X=a'b\"c", "a'b\"c"),
        ("X='a\\b\"$c '", 'a\\b"$c '),
        ('X="a\\"b\\\\c\\$d\\`e\'f "', "a\"b\\c$d`e'f "),
        ("X=''", ""),
        ("X=$HOME", "$HOME"),
        ("X=first\nX=last", "last"),
        ("\n# X=no\n;X=no\n \nX=a\r\n", "a"),
        ("X=ä\u2028\u0085b", "ä\u2028\u0085b"),
    ],
)
def test_a_line_of_the_file(line, value):
    assert env_file.parse(line) == ({"X": value}, [])


@pytest.mark.parametrize(
    "line",
    [
        "X",
        "=a",
        "export X=a",
        "X Y=a",
        "1X=a",
        "X-Y=a",
        "X=a\\",
        "X=a\\b",
        "X='a",
        "X='a'b",
        'X="a\\n"',
        'X="a"b"',
    ],
)
def test_a_line_that_might_mean_something_else_is_named_by_its_number(line):
    variables, [(number, problem)] = env_file.parse(f"# settings\n{line}\n")
    assert (variables, number) == ({}, 2)
    assert line not in problem


def test_a_file_that_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(os.environ, "OSTIARY_ENV_FILE", str(write(tmp_path / "settings", PRODUCTION)))
    settings = Settings()
    assert settings.issuer == "https://op.example"
    assert settings.database_url == "postgresql+psycopg://ostiary:pa%24%24word@db.example/ostiary"
    assert settings.secret_key.get_secret_value() == 'kkkk kkkk#kkkk"kkkk\\kkkk=kkkkkkkkkkkkkk'
    assert settings.access_token_lifetime.total_seconds() == 300


def test_the_usual_file_where_there_is_one_and_a_real_variable_wins(monkeypatch):
    write(env_file.USUAL_FILE, PRODUCTION + "WEB_CONCURRENCY=7\n")
    monkeypatch.setitem(os.environ, "ostiary_issuer", "https://other.example")
    assert Settings().issuer == "https://other.example"
    assert Settings().access_token_lifetime.total_seconds() == 300
    assert os.environ["WEB_CONCURRENCY"] == "7"  # all of it counts, as it does for the unit


def test_given_settings_ask_no_file():
    write(env_file.USUAL_FILE, "OSTIARY_MAX_SESSIONS=7")
    assert (
        Settings(issuer="https://op.example", database_url="sqlite://", secret_key="k" * 32).max_sessions == 1
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("folder", "cannot be read (Is a directory)"),
        (b"OSTIARY_ISSUER=\xff", "is not UTF-8 text"),
        (b"OSTIARY_ISSUER=a\0b", "holds a zero byte"),
        (b"#" * 70_000, "is larger than 64 KiB"),
        (b"OSTIARY_ISSUER=https://op.example\nthe-secret\n", "line 2: is no NAME=value"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(monkeypatch, tmp_path, content, words):
    path = tmp_path / "settings"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    monkeypatch.setitem(os.environ, "OSTIARY_ENV_FILE", str(path))
    with pytest.raises(ConfigError) as caught:
        Settings()
    assert [words in problem for problem in caught.value.problems] == [True]
    assert "the-secret" not in str(caught.value)


def test_a_file_that_leads_nowhere_is_no_missing_one():
    env_file.USUAL_FILE.symlink_to("nowhere")
    with pytest.raises(ConfigError, match="cannot be read"):
        Settings()


# ---- secrets in files of their own -------------------------------------------------------------------------


def test_read_secret_files(monkeypatch, tmp_path):
    for name, text in {
        "SECRET_KEY": "k" * 32 + "\n",
        "OLD_SECRET_KEYS": f"{'o' * 32}\n\n{'p' * 32}, {'q' * 32}\n",
        "DATABASE_URL": " postgresql://u:p@db.example/ostiary\r\n",
    }.items():
        monkeypatch.setitem(os.environ, f"OSTIARY_{name}_FILE", str(write(tmp_path / name, text)))
    monkeypatch.setitem(os.environ, "OSTIARY_ISSUER", "https://op.example")
    for settings in (Settings(), Settings(max_sessions=3)):
        assert settings.secret_key.get_secret_value() == "k" * 32
        assert [key.get_secret_value() for key in settings.old_secret_keys] == ["o" * 32, "p" * 32, "q" * 32]
        assert settings.database_url == "postgresql+psycopg://u:p@db.example/ostiary"


def test_all_that_is_wrong_with_them_is_told_at_once(monkeypatch, tmp_path):
    """A variable and its file together; a file that is away, empty, or holds what will not do."""
    for name, value in {
        "SECRET_KEY": "the-variable-" + "v" * 32,
        "SECRET_KEY_FILE": str(write(tmp_path / "key", "the-file-" + "f" * 32)),
        "OLD_SECRET_KEYS_FILE": str(write(tmp_path / "old", "short-secret")),
        "DATABASE_URL_FILE": str(tmp_path / "the-secret-itself"),
        "MAX_SESSIONS": "many",
    }.items():
        monkeypatch.setitem(os.environ, f"OSTIARY_{name}", value)
    with pytest.raises(ConfigError) as caught:
        Settings()
    text = str(caught.value)
    assert [problem.split()[0] for problem in caught.value.problems] == [
        "OSTIARY_SECRET_KEY",
        "OSTIARY_DATABASE_URL_FILE",
        "OSTIARY_OLD_SECRET_KEYS",
        "OSTIARY_MAX_SESSIONS",
    ]
    assert "OSTIARY_SECRET_KEY and OSTIARY_SECRET_KEY_FILE are both set" in text
    assert not [
        word for word in ("the-variable", "the-file", "short-secret", "the-secret", "many") if word in text
    ]


@pytest.mark.parametrize(
    ("content", "words"), [("\n \n", "is empty"), ("k" * 32 + "\n" + "l" * 32, "more than one line")]
)
def test_one_secret_is_one_line(monkeypatch, tmp_path, content, words):
    monkeypatch.setitem(os.environ, "OSTIARY_SECRET_KEY_FILE", str(write(tmp_path / "key", content)))
    with pytest.raises(ConfigError) as caught:
        Settings(database_url="sqlite://")
    assert [words in problem for problem in caught.value.problems] == [True]


def test_a_real_variable_wins_over_a_file_that_the_file_of_settings_names(monkeypatch, tmp_path):
    write(
        env_file.USUAL_FILE,
        f"OSTIARY_SECRET_KEY_FILE={tmp_path / 'nowhere'}\n{PRODUCTION.replace('SECRET_KEY', 'X')}",
    )
    monkeypatch.setitem(os.environ, "OSTIARY_SECRET_KEY", "k" * 32)
    assert Settings().secret_key.get_secret_value() == "k" * 32


def test_a_file_and_its_variable_in_one_file_of_settings(tmp_path):
    write(env_file.USUAL_FILE, f"{PRODUCTION}\nOSTIARY_SECRET_KEY_FILE={write(tmp_path / 'key', 'l' * 32)}\n")
    with pytest.raises(ConfigError, match="are both set"):
        Settings()


# ---- processes, in a clone that nobody has used ------------------------------------------------------------

USERS_ADD = ("users", "add", "ada@example.com", "--password-stdin")


@pytest.fixture(scope="module")
def clone(integration, tmp_path_factory):
    return mutated_copy((), tmp_path_factory.mktemp("clone") / "ostiary")


@pytest.fixture(autouse=True)
def nothing_is_made(request):
    """Whatever a test with a clone does: nothing is there afterwards that was not there before."""
    if "clone" not in request.fixturenames:
        yield
        return
    clone = request.getfixturevalue("clone")
    before = set(files_of(clone))
    yield
    assert set(files_of(clone)) - before == set()


def files_of(folder):
    return [path for path in folder.rglob("*") if "__pycache__" not in path.parts]


def run(folder, *arguments, before=(), **variables):
    """A command in this environment and no other."""
    return subprocess.run(
        [*before, sys.executable, "-m", "flask", *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "OSTIARY_ENV_FILE": os.devnull} | variables,
        input="correct horse battery",
        capture_output=True,
        text=True,
        timeout=60,
    )


def assert_refused(done, *words):
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert done.stderr.startswith("Error: ") and "Traceback" not in done.stderr
    assert [word for word in words if word not in done.stderr] == []


@pytest.mark.long
@pytest.mark.parametrize(
    "command",
    [
        USERS_ADD,
        ("users", "list"),
        ("db", "upgrade"),
        ("demo", "--migrate"),
        ("config", "check"),
        ("prove",),
        ("run",),
    ],
)
def test_a_command_never_guesses_its_database(clone, command):
    assert_refused(run(clone, *command), "OSTIARY_DATABASE_URL is missing", "OSTIARY_ENV_FILE", "make run")


def test_neither_does_a_server(clone):
    gunicorn = [sys.executable, "-m", "gunicorn", "--config", "gunicorn.conf.py", "app:create_app()"]
    variables = {"PATH": os.environ["PATH"], "OSTIARY_ENV_FILE": os.devnull}
    done = subprocess.run(gunicorn, cwd=clone, env=variables, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "OSTIARY_DATABASE_URL is missing" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.long
def test_what_needs_no_database_says_what_it_knows(clone):
    assert run(clone, "version").stdout == f"Ostiary {VERSION}\n"
    assert "--password-stdin" in run(clone, "users", "add", "--help").stdout
    assert "OSTIARY_ISSUER" in run(clone, "config", "settings").stdout
    done = run(clone, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "users" in done.stdout


def test_a_file_that_is_not_there_is_not_made_by_its_name(clone, tmp_path):
    """Only a migration makes an SQLite file, where a URL names one."""
    named = {"OSTIARY_DATABASE_URL": f"sqlite:///{tmp_path / 'x.sqlite3'}", "OSTIARY_SECRET_KEY": "k" * 32}
    for command in (USERS_ADD, ("prove",), ("db", "current")):
        assert_refused(run(clone, *command, **named), "the database is not migrated", "flask db upgrade")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
@pytest.mark.parametrize("name", [".env", ".flaskenv"])
def test_no_dotenv_is_read(clone, name):
    """Neither where Python's environment says so, nor where Flask has read it before we were asked."""
    path = write(
        clone / name, f"OSTIARY_DATABASE_URL=sqlite:///{clone}/x.sqlite3\nOSTIARY_SECRET_KEY={'k' * 32}\n"
    )
    try:
        for skip in ("", "1"):
            assert_refused(run(clone, *USERS_ADD, FLASK_SKIP_DOTENV=skip), "OSTIARY_DATABASE_URL is missing")
        real = {"OSTIARY_DATABASE_URL": f"sqlite:///{clone}/y.sqlite3", "FLASK_SKIP_DOTENV": ""}
        done = run(clone, *USERS_ADD, **real)
        assert_refused(done, "OSTIARY_SECRET_KEY is missing")
        assert "OSTIARY_DATABASE_URL" not in done.stderr
    finally:
        path.unlink()


@pytest.mark.integration
def test_the_environment_that_make_builds_reads_no_dotenv():
    """FLASK_APP and FLASK_DEBUG count before any code of ours, so Flask must not look at all."""
    ask = "import flask.cli; print(flask.cli.ScriptInfo().load_dotenv_defaults)"
    done = subprocess.run(
        [PROJECT / ".venv/bin/python", "-c", ask], env={}, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "False\n"


# Root may read everything; without these two capabilities it is like anybody else.
AS_ANYBODY = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


@pytest.mark.skipif(bool(AS_ANYBODY) and shutil.which("setpriv") is None, reason="setpriv is not installed")
def test_a_file_that_may_not_be_read_is_refused(clone, tmp_path):
    """There is a file of settings, and nothing else is taken in its place."""
    settings = write(tmp_path / "ostiary.env", PRODUCTION)
    settings.chmod(0)
    complete = {
        "OSTIARY_ISSUER": "https://op.example",
        "OSTIARY_DATABASE_URL": f"sqlite:///{tmp_path}/x.sqlite3",
        "OSTIARY_SECRET_KEY": "k" * 32,
    }
    for variables in ({}, complete):
        done = run(clone, *USERS_ADD, before=AS_ANYBODY, OSTIARY_ENV_FILE=str(settings), **variables)
        assert_refused(done, "cannot be read (Permission denied)", "its owner")
    assert list(tmp_path.iterdir()) == [settings]


def test_the_usual_file_is_needed_by_nobody_who_was_given_all_of_it(monkeypatch):
    """systemd reads it as root and starts the service as another user, who may not."""

    def deny(path):
        raise PermissionError(13, "Permission denied")

    write(env_file.USUAL_FILE, PRODUCTION)
    monkeypatch.setattr(env_file, "read", deny)
    for name, value in {"ISSUER": "https://op.example", "DATABASE_URL": "sqlite://"}.items():
        monkeypatch.setitem(os.environ, f"OSTIARY_{name}", value)
    with pytest.raises(ConfigError, match="cannot be read"):
        Settings()
    monkeypatch.setitem(os.environ, "OSTIARY_SECRET_KEY", "k" * 32)
    assert Settings().database_url == "sqlite://"
