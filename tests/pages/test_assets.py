"""The stylesheet and the icon: kept for a year under an address that changes with their content."""

import pytest

from tests.pages.steps import page


def addresses(http):
    shown = page(http.get("/"))
    return {link["href"] for link in shown.all("link")} | {image["src"] for image in shown.all("img")}


def test_they_are_kept_forever_under_their_version(http):
    for address in addresses(http):
        assert "?v=" in address
        answer = http.get(address, buffered=True)
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert "Set-Cookie" not in answer.headers
        assert "Cookie" not in answer.headers.get("Vary", "")


@pytest.mark.parametrize("query", ["", "?v=", "?v=000000000000"])
def test_under_another_version_they_are_asked_for_again(http, query):
    answer = http.get(f"/static/ostiary.css{query}", buffered=True)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-cache")


def test_a_changed_file_has_another_address(app, http, tmp_path):
    before = addresses(http)
    app.static_folder = str(tmp_path)
    for name in ("ostiary.css", "ostiary.svg"):
        (tmp_path / name).write_text("changed")
    assert not before & addresses(http)


@pytest.mark.parametrize(
    "path", ["/static/", "/static/nothing.css", "/static/../app.py", "/static/%2e%2e/app.py"]
)
def test_there_is_nothing_else(http, path):
    assert http.get(path).status_code == 404


@pytest.mark.threat("T164")
@pytest.mark.parametrize("header", ["If-Modified-Since", "If-Unmodified-Since", "If-Range"])
@pytest.mark.parametrize(
    "date", ["1 Jan 1 0:0 +9999999999999", "Sun, 99 Nov 99999999 08:49:37 GMT", "x" * 8_000]
)
def test_a_date_that_cannot_be_is_left_out(http, header, date):
    answer = http.get("/static/ostiary.css", headers={header: date, "Range": "bytes=0-9"})
    assert answer.status_code in (200, 206)
    answer.close()
