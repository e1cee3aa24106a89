"""What watches how statements are run (`query_plans.py`) notices an index that is missing."""

import pytest

from models import db
from tests.apps import Apps
from tests.builders import ISSUER, a_client, a_refresh_token, a_token, a_user, basic, refresh_request
from tests.query_plans import ALLOWED, problems_of
from tests.statements import text

DROP = "DROP INDEX ix_token_family_digest_tenant_id"
INDEX_OF_TENANTS = "CREATE INDEX of_tenants ON token (tenant_id)"
FIND = "SELECT newer.id FROM token AS newer WHERE newer.tenant_id = ?"


@pytest.fixture
def refresh(stopped_clock, settings, first_rows):
    """Send a refresh to an app of its own, in whose database the schema was changed."""

    def refresh(*changes):
        refresh_token = a_refresh_token()

        def fill():
            with db.engine.connect() as connection:
                connection.connection.driver_connection.deserialize(first_rows)
            for row in (a_user(), a_client(), a_token(refresh_token)):
                db.session.add(row)
                db.session.flush()
            for change in changes:
                db.session.execute(text(change))
            db.session.commit()

        with Apps().borrow(settings, fill) as app:
            form = refresh_request(refresh_token)
            answer = app.test_client().post("/oauth/token", data=form, auth=basic(), base_url=ISSUER)
            assert answer.status_code == 200

    return refresh


def test_with_its_index_a_refresh_reads_what_it_needs(refresh):
    refresh()


@pytest.mark.parametrize(
    ("changes", "step"),
    [
        ([DROP], "SCAN token: SELECT"),
        ([DROP, INDEX_OF_TENANTS], r"SEARCH token USING INDEX of_tenants \(tenant_id=\?\): SELECT"),
    ],
)
def test_a_missing_index_fails_the_test_that_misses_it(refresh, changes, step):
    with pytest.raises(AssertionError, match=f"^{step}"):
        refresh(*changes)


@pytest.mark.parametrize(
    "step",
    [
        "SCAN newer",
        "SCAN TABLE token AS newer",  # how older versions say it
        "SCAN newer USING COVERING INDEX ix_token_user_id",
        "SEARCH newer USING INDEX of_tenants (tenant_id=?)",
        "SEARCH newer USING AUTOMATIC COVERING INDEX (tenant_id=? AND user_id=?)",
    ],
)
def test_a_step_that_reads_all_rows_is_a_problem(step):
    assert problems_of(FIND, [step]) == [f"{step}: {FIND}"]


@pytest.mark.parametrize(
    "step",
    [
        "SEARCH newer USING INTEGER PRIMARY KEY (rowid=?)",
        "SEARCH newer USING INDEX ix_token_user_id (user_id=? AND tenant_id=?)",
        "SEARCH newer USING COVERING INDEX ix_token_user_id (user_id=?)",
        "SCAN candidates",  # a subquery
        "SCAN CONSTANT ROW",
        "USE TEMP B-TREE FOR ORDER BY",
    ],
)
def test_other_steps_are_none(step):
    assert problems_of(FIND, [step]) == []


def test_a_tenant_has_few_signing_keys():
    few = "SEARCH signing_key USING INDEX sqlite_autoindex_signing_key_2 (tenant_id=?)"
    assert problems_of("SELECT signing_key.kid FROM signing_key", [few]) == []
    assert problems_of("SELECT signing_key.kid FROM signing_key", ["SCAN signing_key"]) != []


@pytest.mark.parametrize("end", sorted(ALLOWED))
def test_what_may_read_all_rows_is_written_down(end):
    first, rest = end.split(" ", 1)
    assert problems_of(f"{first}\n{rest}", ["SCAN client"]) == []
    assert problems_of(f"{end} AND TRUE", ["SCAN client"]) != []
