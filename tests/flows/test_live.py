"""The shipped server starts on both engines, and a stopped one starts again on what it had."""

from tests.live import live_server


def test_it_starts_and_starts_again(database_url, tmp_path):
    with live_server(database_url, tmp_path) as server:
        assert server.rows("SELECT name FROM scope ORDER BY name") == [("email",), ("profile",)]
    with live_server(database_url, tmp_path) as server:
        assert server.rows("SELECT count(*) FROM scope") == [(2,)]
        assert "Traceback" not in server.log()
