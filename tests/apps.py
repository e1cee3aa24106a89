"""Apps for tests, each on a database of its own that only its process uses, and used again by the next test.

To make an app and to compile its statements takes longer than most tests. An app that is handed out has a
database as its test wants it, and remembers nothing; one that a test has changed (a view, a setting, a
listener) is not used again.
"""

from contextlib import contextmanager
from datetime import timedelta

from jinja2 import BytecodeCache

from app import create_app
from models import db
from services import current
from tests.query_plans import QueryPlans

IDLE = 8  # apps that are kept at most
LISTENED_TO = ("before_cursor_execute", "after_cursor_execute", "begin", "commit", "rollback")


@contextmanager
def app_with_tables(settings):
    """An app on a database of its own, which has the tables and no rows."""
    app = create_app(settings)
    with app.app_context():
        db.create_all()
    yield app
    with app.app_context():
        db.engine.dispose()


class CompiledTemplates(BytecodeCache):
    """Those of all apps of this process."""

    def __init__(self):
        self.by_key = {}

    def load_bytecode(self, bucket):
        if bucket.key in self.by_key:
            # does nothing where the template's text has changed
            bucket.bytecode_from_string(self.by_key[bucket.key])

    def dump_bytecode(self, bucket):
        self.by_key[bucket.key] = bucket.bytecode_to_string()


class Apps:
    def __init__(self):
        self._idle = {}  # by settings, those used last at the end
        self._templates = CompiledTemplates()

    @contextmanager
    def borrow(self, settings, fill=lambda: None):
        """fill: is called with the app's context, and puts the rows into its empty database in memory."""
        settings = without_client_cache(settings)
        app, plans = self._idle.pop(settings, None) or self._make(settings)
        app._got_first_request = False  # a test may add views of its own
        current.init_app(app, settings)
        with app.app_context():
            fill()
        before = what_tests_change(app)
        yield app
        app.test_client_class = None
        with app.app_context():
            db.engine.dispose()
        if what_tests_change(app) == before:
            self._idle[settings] = app, plans
        if len(self._idle) > IDLE:
            del self._idle[next(iter(self._idle))]
        problems = plans.take()
        assert not problems, "\n".join(problems)

    def _make(self, settings):
        app = create_app(settings)
        app.jinja_env.bytecode_cache = self._templates
        with app.app_context():
            plans = QueryPlans(db.engine)
        return app, plans


def without_client_cache(settings):
    """The settings of a test's app, which keeps no clients unless the test says so.

    Tests change the rows of clients behind the app's back, as another process would, and must not wait for
    it. `tests/services/test_client_cache.py` is about that wait; servers of tests have the usual one.
    """
    if "client_cache_lifetime" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"client_cache_lifetime": timedelta(0)})


def what_tests_change(app):
    with app.app_context():
        listeners = [len(getattr(db.engine.dispatch, name)) for name in LISTENED_TO]
    return (
        listeners,
        dict(app.config),
        dict(app.view_functions),
        dict(app.jinja_env.globals),
        app.wsgi_app,
        *(len(functions[None]) for functions in (app.before_request_funcs, app.after_request_funcs)),
    )
