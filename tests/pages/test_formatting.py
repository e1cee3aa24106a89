"""A browser in words: from what it says of itself, and never in its own words."""

import pytest

from pages.formatting import UNKNOWN, date_and_time, describe_browser, describe_methods, utc

MOZILLA = "Mozilla/5.0"
WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("user_agent", "words"),
    [
        (
            f"{MOZILLA} (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0",
            "Firefox on Windows",
        ),
        (f"{MOZILLA} (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "Firefox on Linux"),
        (
            f"{MOZILLA} (Macintosh; Intel Mac OS X 10_15_7) {WEBKIT} Chrome/126.0 Safari/537.36",
            "Chrome on macOS",
        ),
        (f"{MOZILLA} (Linux; Android 10; K) {WEBKIT} Chrome/126.0 Mobile Safari/537.36", "Chrome on Android"),
        (f"{MOZILLA} (X11; CrOS x86_64 14541.0.0) {WEBKIT} Chrome/126.0 Safari/537.36", "Chrome on ChromeOS"),
        (f"{MOZILLA} (Windows NT 10.0) {WEBKIT} Chrome/126.0 Safari/537.36 Edg/126.0", "Edge on Windows"),
        (f"{MOZILLA} (Linux; Android 10) {WEBKIT} Chrome/126.0 Safari/537.36 EdgA/126.0", "Edge on Android"),
        (f"{MOZILLA} (Windows NT 10.0) {WEBKIT} Chrome/126.0 Safari/537.36 OPR/112.0", "Opera on Windows"),
        (
            f"{MOZILLA} (Linux; Android 10) {WEBKIT} SamsungBrowser/25.0 Chrome/121.0 Safari/537.36",
            "Samsung Internet on Android",
        ),
        (
            f"{MOZILLA} (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Version/17.5"
            " Safari/604.1",
            "Safari on an iPhone",
        ),
        (
            f"{MOZILLA} (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 FxiOS/128.0 Safari",
            "Firefox on an iPad",
        ),
        (
            f"{MOZILLA} (iPhone; CPU iPhone OS 17_5) AppleWebKit CriOS/126.0 Safari/604.1",
            "Chrome on an iPhone",
        ),
        ("Firefox/1", "Firefox"),
        ("curl/8.5.0", UNKNOWN),
        ("curl on Windows", f"{UNKNOWN}, on Windows"),
        ("", UNKNOWN),
        ("<script>alert(1)</script>", UNKNOWN),
    ],
)
def test_a_browser_in_words(user_agent, words):
    assert describe_browser(user_agent) == words


@pytest.mark.parametrize(
    ("amr", "words"), [("pwd", "password"), ("", ""), ("x-unknown", ""), ("pwd hwk", "password")]
)
def test_how_a_person_signed_in(amr, words):
    assert describe_methods(amr) == words


def test_an_instant_says_its_zone():
    moment = utc(1_783_157_400)
    assert date_and_time(moment) == "4 July 2026, 09:30 UTC"
    assert moment.isoformat() == "2026-07-04T09:30:00+00:00"
