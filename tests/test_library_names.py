"""The private names of libraries that Ostiary overrides, sets or reads: each exists, and its library uses it.

A library may drop such a name in any version. Where Ostiary sets one, or overrides a method that nobody calls
any more, nothing would fail by itself. So each stands here with the library's function that uses it. A scan
of the product finds those that do not stand here yet.
"""

import ast
import dis
import importlib
import inspect
import sys
from importlib.util import find_spec
from types import CodeType

import flask.globals
import flask.helpers
import flask_login
import pytest
import sqlalchemy
from flask import Flask

import unit_of_work
from tests.live import PROJECT

# The name, the library's function that uses it (None where ours alone does), and what Ostiary does with it.
PRIVATE = [
    (
        "flask_login.LoginManager._load_user",
        "flask_login.utils._get_user",
        "overridden: no second cookie, and one read of the session's row",
    ),
    (
        "flask_login.LoginManager._update_request_context_with_user",
        "flask_login.utils.login_user",
        "called: it keeps who is signed in for this request",
    ),
    ("flask_login.login_user['_user_id']", None, "read and set: who is signed in, in Flask's session"),
    (
        "flask.sessions.SessionMixin.permanent['_permanent']",
        None,
        "removed: the cookie ends with the browser",
    ),
    (
        "flask_wtf.csrf.CSRFProtect._get_csrf_token",
        "flask_wtf.csrf.CSRFProtect.protect",
        "overridden: a token of ours has a second part, which Flask-WTF does not know",
    ),
    (
        "authlib.oauth2.rfc6749.RefreshTokenGrant._validate_token_scope",
        "authlib.oauth2.rfc6749.RefreshTokenGrant.validate_token_request",
        "overridden: a scope that is too wide ends the repetition of a refresh",
    ),
    (
        "sqlalchemy.sql.selectable.GenerativeSelect._for_update_arg",
        "sqlalchemy.sql.selectable.GenerativeSelect.with_for_update",
        "read: whether a SELECT locks",
    ),
    (
        "psycopg._connection_base.BaseConnection._exec_command",
        "psycopg._connection_base.BaseConnection._start_query",
        "called: BEGIN, where psycopg does not send it by itself",
    ),
    (
        "pymysql.connections.Connection._read_timeout",
        "pymysql.connections.Connection._read_packet",
        "set: the greeting has a shorter time-out than an answer",
    ),
    (
        "gunicorn.http.message.Request._expected_100_continue",
        "gunicorn.http.wsgi.create",
        "set: the client was told to go on by us",
    ),
    (
        "gunicorn.http.message.MAX_REQUEST_LINE",
        "gunicorn.http.message.Request.__init__",
        "set: request lines up to 16 KiB",
    ),
    (
        "gunicorn.workers.gthread.DEFAULT_WORKER_DATA_TIMEOUT",
        "gunicorn.workers.gthread.ThreadWorker._keepalive_after",
        "set: how long a thread waits for a body that was refused unread",
    ),
    (
        "email_validator.SPECIAL_USE_DOMAIN_NAMES",
        "email_validator.syntax.validate_email_domain_name",
        "set: closed networks have people, too",
    ),
    *(
        (f"sqlalchemy.sql.{name}", f"sqlalchemy.sql.{reader}", "read by the fence: a part of a statement")
        for name, reader in [
            ("selectable.SelectBase._all_selected_columns", "compiler.SQLCompiler._setup_select_stack"),
            ("base.HasCompileState._compile_state_factory", "compiler.SQLCompiler.visit_select"),
            ("selectable.Values._data", "compiler.SQLCompiler._render_values"),
            ("dml.DMLState._dict_parameters", "crud._get_crud_params"),
            ("selectable.Select._distinct_on", "compiler.SQLCompiler.get_select_precolumns"),
            ("base.Executable._execution_options", "compiler.Compiled.__init__"),
            ("dml.UpdateDMLState._extra_froms", "compiler.SQLCompiler.visit_update"),
            ("selectable.GenerativeSelect._fetch_clause", "compiler.SQLCompiler.fetch_clause"),
            ("base._from_objects", "compiler.SQLCompiler.visit_update"),
            ("selectable.SelectState._get_display_froms", "compiler.SQLCompiler._display_froms_for_select"),
            ("selectable.GenerativeSelect._group_by_clauses", "compiler.SQLCompiler.group_by_clause"),
            ("selectable.Select._having_criteria", "compiler.SQLCompiler._compose_select_body"),
            ("selectable.HasHints._hints", "compiler.SQLCompiler._setup_select_hints"),
            ("selectable.HasCTE._independent_ctes", "compiler.SQLCompiler._dispatch_independent_ctes"),
            ("elements.BindParameter._is_crud", "compiler.SQLCompiler.visit_bindparam"),
            ("selectable.GenerativeSelect._limit_clause", "compiler.SQLCompiler.limit_clause"),
            ("dml.DMLState._multi_parameters", "crud._get_crud_params"),
            ("selectable.GenerativeSelect._offset_clause", "compiler.SQLCompiler.limit_clause"),
            ("selectable.GenerativeSelect._order_by_clauses", "compiler.SQLCompiler.order_by_clause"),
            ("dml.ValuesBase._post_values_clause", "compiler.SQLCompiler.visit_insert"),
            ("selectable.HasPrefixes._prefixes", "compiler.SQLCompiler.visit_select"),
            ("selectable.Select._raw_columns", "crud._scan_insert_from_select_cols"),
            ("lambdas.LambdaElement._resolved", "compiler.SQLCompiler.visit_lambda_element"),
            ("dml.UpdateBase._return_defaults_columns", "crud._get_returning_modifiers"),
            ("dml.UpdateBase._returning", "compiler.SQLCompiler.visit_insert"),
            ("dml.ValuesBase._select_names", "crud._scan_insert_from_select_cols"),
            ("selectable.HasHints._statement_hints", "compiler.SQLCompiler.visit_select"),
            ("selectable.HasSuffixes._suffixes", "compiler.SQLCompiler.visit_select"),
            ("dml.UpdateBase._supplemental_returning", "crud._scan_cols"),
            ("dml.DMLWhereBase._where_criteria", "compiler.SQLCompiler.visit_delete"),
        ]
    ),
    (
        "sqlalchemy.ext.compiler.compiles['_compiler_dispatcher']",
        None,
        "read by the fence: whether a function of somebody else writes an element",
    ),
    (
        "werkzeug.local.LocalProxy._get_current_object",
        None,
        "called: the user or the app itself, for longer than a request",
    ),
]

# Not private by their spelling, but not documented either.
UNDOCUMENTED = [
    ("flask.globals.app_ctx", None, "passed to an error handler by Flask 3.2"),
    ("flask.cli.ScriptInfo.load_dotenv_defaults", None, "read: whether Flask has read a `.env`"),
    ("alembic.config.Config.cmd_opts", None, "read: whether a revision is made from the models"),
    ("http.client.HTTPConnection.sock", "http.client.HTTPConnection.send", "set: a socket with a deadline"),
    *(
        (f"gunicorn.workers.gthread.{name}", f"gunicorn.workers.gthread.{reader}", f"{use} by our worker")
        for name, reader, use in [
            ("ThreadWorker.enqueue_req", "ThreadWorker.accept", "overridden"),
            ("ThreadWorker.enqueue_req", "ThreadWorker.on_client_socket_readable", "overridden"),
            ("ThreadWorker.handle_request", "ThreadWorker.handle", "overridden"),
            ("ThreadWorker.handle_error", "ThreadWorker.handle", "overridden"),
            ("ThreadWorker.finish_request", "ThreadWorker.enqueue_req", "overridden"),
            ("ThreadWorker.murder_pending", "ThreadWorker.run", "overridden"),
            ("ThreadWorker.pending_conns", "ThreadWorker.murder_pending", "filled and emptied"),
            ("ThreadWorker.keepalived_conns", "ThreadWorker.murder_keepalived", "filled and emptied"),
            ("ThreadWorker.nr_conns", "ThreadWorker.run", "counted"),
            ("ThreadWorker.worker_connections", "ThreadWorker.run", "read"),
            ("ThreadWorker.poller", "ThreadWorker.wait_for_and_dispatch_events", "used"),
            ("TConn.data_ready", "ThreadWorker.handle", "set"),
            ("TConn.parser", "TConn.init", "set"),
            ("TConn.timeout", "ThreadWorker.murder_keepalived", "set"),
        ]
    ),
    ("gunicorn.http.unreader.Unreader.take_buffered", None, "called: what was read of the next request"),
    ("gunicorn.http.unreader.Unreader.unread", None, "called: the whole request, to be parsed"),
    ("gunicorn.http.body.ChunkedReader", "gunicorn.http.message.Message.set_body_reader", "recognised"),
    ("gunicorn.util.write_error", None, "called: a short refusal"),
    ("gunicorn.glogging.Logger.access_fmt", "gunicorn.glogging.Logger.setup", "read: an operator's format"),
]


def find(path):
    """Return the object with this dotted path."""
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(path)


def names_in(thing):
    """Return every name and every text in the code of a function or of a property."""
    if isinstance(thing, property):
        return names_in(thing.fget)
    codes, names = [inspect.unwrap(thing).__code__], set()
    for code in codes:
        names |= {*code.co_names, *code.co_varnames}
        names |= {constant for constant in code.co_consts if isinstance(constant, str)}
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return names


def is_there(path):
    """Tell whether a name is in a module, in a class or its instances, or a text (`function['text']`)."""
    if path.endswith("']"):
        function, text = path.removesuffix("']").split("['")
        return text in names_in(find(function))
    owner, name = path.rsplit(".", 1)
    return hasattr(find(owner), name) or name in set_by_instances(find(owner))


def set_by_instances(kind):
    """Return the names that the methods of a class give to an instance of it."""
    methods = [method for base in getattr(kind, "__mro__", ()) for method in vars(base).values()]
    steps = [
        step for method in methods if inspect.isfunction(method) for step in dis.get_instructions(method)
    ]
    return {step.argval for step in steps if step.opname == "STORE_ATTR"}


def name_of(path):
    return path.removesuffix("']").replace("['", ".").rsplit(".", 1)[-1]


@pytest.mark.parametrize(("path", "reader", "why"), [*PRIVATE, *UNDOCUMENTED])
def test_the_library_has_the_name_and_uses_it(path, reader, why):
    assert is_there(path), f"{path} is gone; it was {why}"
    if reader is not None:
        assert name_of(path) in names_in(find(reader)), f"{reader} no longer uses {path}; it was {why}"


@pytest.mark.parametrize(
    "path",
    [
        "flask_login.LoginManager._gone",
        "gunicorn.http.message.GONE",
        "flask_login.login_user['_gone']",
        "pymysql.connections.Connection._gone",
        "gunicorn.workers.gthread.ThreadWorker.setblocking",
    ],
)
def test_a_name_that_is_gone_is_noticed(path):
    assert not is_there(path)


def test_the_flashes_of_a_request_are_kept_where_a_second_try_empties_them():
    """In Flask 3.1 that is `request_ctx.flashes`, in 3.2 `app_ctx._flashes`."""
    names = names_in(flask.helpers.get_flashed_messages)
    [context] = [name for name in ("app_ctx", "request_ctx") if name in names]
    assert unit_of_work.FLASHES in names
    assert unit_of_work.FLASHES_OF is getattr(flask.globals, context)


def test_flask_login_is_found_by_its_name_on_the_app_alone():
    """Our own `init_app` leaves out its hook and its context processor. More than these there must not be."""
    parts = {"app", "self", "add_context_processor", "login_manager", "after_request", "context_processor"}
    private = {"_update_remember_cookie", "_user_context_processor"}
    found = {name for name in names_in(flask_login.LoginManager.init_app) if name.isidentifier()}
    assert found == parts | private


def test_flask_passes_its_context_to_all_of_what_we_override_or_call_or_to_none():
    passes = {
        name: "ctx" in inspect.signature(getattr(Flask, name)).parameters
        for name in ("dispatch_request", "handle_user_exception")
    }
    assert set(passes.values()) == {unit_of_work.PASSES_CONTEXT}
    assert "dispatch_request" in names_in(Flask.full_dispatch_request)


def test_a_select_that_locks_is_told_from_one_that_does_not():
    reads = sqlalchemy.select(sqlalchemy.text("1"))
    assert reads._for_update_arg is None
    assert reads.with_for_update()._for_update_arg is not None


# ---- nothing is missing in the table --------------------------------------------------------------------

NO_PART = {".venv", ".venv-next", "tests", "instance", "node_modules"}
SOURCES = [path.relative_to(PROJECT) for path in PROJECT.rglob("*.py")]
SOURCES = sorted(path for path in SOURCES if not NO_PART & set(path.parts))
OURS = {path.parts[0].removesuffix(".py") for path in SOURCES}
# No test imports gunicorn's configuration, what Alembic runs, or the package of the pytest plugin.
MODULES = [
    path.as_posix().removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    for path in SOURCES
    if path.parts[0] not in ("gunicorn.conf.py", "migrations") and path.parts[:2] != ("testing", "plugin")
]
OF_NAMED_TUPLES = {"_asdict", "_replace", "_fields", "_make"}


def is_private(name):
    return name.startswith("_") and not name.startswith("__") and name not in OF_NAMED_TUPLES


def foreign_names(source):
    """Return the private names of others that `source` uses, and the names that it sets in their modules."""
    tree = ast.parse(source)
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            theirs = [alias for alias in node.names if is_theirs(alias.name)]
            modules |= {(alias.asname or alias.name).partition(".")[0] for alias in theirs}
        elif isinstance(node, ast.ImportFrom) and is_theirs(node.module or ""):
            named = {alias.name: alias.asname or alias.name for alias in node.names}
            modules |= {named[name] for name in named if is_module(f"{node.module}.{name}")}
    return set().union(*(names_of_node(node, modules) for node in ast.walk(tree)))


def is_theirs(module):
    return module.partition(".")[0] not in {*sys.stdlib_module_names, *OURS}


def is_module(path):
    try:
        return find_spec(path) is not None
    except ModuleNotFoundError:
        return False


def names_of_node(node, modules):
    match node:
        case ast.Attribute(value=ast.Name(id="self" | "cls")):
            return set()
        case ast.Attribute(value=ast.Name(id=module), attr=name, ctx=ast.Store()) if module in modules:
            return {name}
        case ast.Attribute(attr=name) if is_private(name):
            return {name}
        case ast.ImportFrom(names=names):
            return {alias.name for alias in names if is_private(alias.name)}
        case (
            ast.Subscript(value=ast.Name(id="session"), slice=ast.Constant(value=str(name)))
            | ast.Call(
                func=ast.Attribute(value=ast.Name(id="session")),
                args=[ast.Constant(value=str(name)), *_],
            )
            | ast.Call(func=ast.Name(id="getattr" | "setattr"), args=[_, ast.Constant(value=str(name)), *_])
        ) if is_private(name):
            return {name}
    return set()


def is_written_in(member, module):
    return inspect.isfunction(member) and member.__module__ == module


def overridden():
    """Return the private methods of others that a class of ours overrides or calls on itself."""
    found = set()
    for module in map(importlib.import_module, MODULES):
        for kind in filter(inspect.isclass, vars(module).values()):
            bases = [base for base in kind.__mro__[1:] if is_theirs(base.__module__)]
            theirs = {name for base in bases for name in vars(base) if is_private(name)}
            methods = [method for method in vars(kind).values() if is_written_in(method, module.__name__)]
            found |= theirs & {name for method in methods for name in (method.__name__, *names_in(method))}
    return found


def test_every_private_name_that_the_product_uses_stands_in_the_table():
    used = set().union(*(foreign_names((PROJECT / path).read_text()) for path in SOURCES)) | overridden()
    told = {name_of(path) for path, _reader, _why in PRIVATE} | {unit_of_work.FLASHES}
    assert used - told == set()
    assert told - used - {unit_of_work.FLASHES} == set()  # nothing is left over


@pytest.mark.parametrize(
    ("planted", "names"),
    [
        ("user._get_current_object()", {"_get_current_object"}),
        ("from flask.ctx import _cv_app", {"_cv_app"}),
        ("session.pop('_flashes')", {"_flashes"}),
        ("session['_flashes'] = []", {"_flashes"}),
        ("getattr(statement, '_where', None)", {"_where"}),
        ("from gunicorn.http import message\nmessage.MAX_HEADERS = 1", {"MAX_HEADERS"}),
        ("import email_validator\nemail_validator.LISTS = []", {"LISTS"}),
        ("import threading\nthreading.excepthook = show", set()),
        ("import config\nconfig.PROJECT = '/'", set()),
        ("self._lock.acquire()", set()),
        ("row._asdict()", set()),
    ],
)
def test_a_planted_private_name_is_found(planted, names):
    assert foreign_names(planted) == names
