"""The demo in a real Chromium: from the password that the terminal shows to tokens on the page, and what is
said when that fails.

Skipped where Chromium or playwright is missing, as `test_chromium.py` is.
"""

import json
import re
import secrets

import pytest

from tests.flows.browser_journey import PASSWORD, add_person
from tests.flows.test_chromium import CHROMIUM, SIZES, TAP_TARGET, playwright
from tests.live import LiveServer, live_server

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]

STEPS = ["exchange", "resource", "refresh", "repeat", "revocation", "resource-again"]
ACTIONS = [
    "Exchange the code",
    "Call /api/me",
    "Refresh",
    "Refresh again with the old token",
    "Revoke",
    "Call /api/me once more",
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    with live_server(f"sqlite:///{folder / 'ostiary.sqlite3'}", folder) as server:
        yield server


@pytest.fixture(scope="module")
def printed(server):
    """The address of the demo, the account and its password, as the terminal shows them."""
    shown = server.flask("demo").stdout
    return [re.search(rf"{name} +(\S+)", shown)[1] for name in ("Try it", "Email address", "Password")]


@pytest.fixture
def new_tab(new_profile):
    """A function that gives a page of a fresh profile.

    A script that fails, or a policy that is broken, fails the test.
    """
    profiles, messages = [], []

    def new_tab(**options):
        profiles.append(new_profile(**options))
        tab = profiles[-1].new_page()
        tab.on("console", lambda message: messages.append(message.text))
        tab.on("pageerror", lambda error: messages.append(str(error)))
        return tab

    yield new_tab
    for profile in profiles:
        profile.close()
    # Chromium's console also names each answer that is a refusal, as the last step's is.
    assert [text for text in messages if "Failed to load resource" not in text] == []


@pytest.fixture
def tab(new_tab):
    return new_tab()


@pytest.fixture
def email(server, printed):
    """Somebody who has not met the demo before."""
    email = f"{secrets.token_hex(4)}@example.com"
    add_person(server, email=email)
    return email


def button(tab, words):
    return tab.get_by_role("button", name=words, exact=True)


def sign_in(tab, email, password=PASSWORD):
    button(tab, "Sign in with Ostiary").click()
    tab.get_by_label("Email address").fill(email)
    tab.get_by_label("Password").fill(password)
    button(tab, "Sign in").click()


def allow(tab):
    button(tab, "Allow").click()
    button(tab, "Exchange the code").wait_for()


def exchange_shown(tab, step):
    """The request and the answer that a step shows."""
    return tab.locator(f"#{step} pre").all_inner_texts()


def json_of(answer):
    return json.loads(answer.partition("\n\n")[2])


def outcome(tab, step):
    return tab.locator(f"#{step} .outcome").inner_text()


def looks(tab, selector):
    """Each background, weight, padding and border that elements have by now."""
    words = "`${s.backgroundColor} ${s.fontWeight} ${s.paddingTop} ${s.borderInlineStartWidth}`"
    return set(
        tab.locator(selector).evaluate_all(f"(found) => found.map(getComputedStyle).map((s) => {words})")
    )


def test_from_the_terminal_to_tokens(tab, server, printed):
    url, email, password = printed
    tab.goto(server.issuer)
    tab.get_by_role("link", name="Try it").click()
    assert tab.url == url
    assert not tab.locator("noscript p").is_visible()
    sign_in(tab, email, password)
    assert "asks for access" in tab.get_by_role("heading", level=1).inner_text()
    allow(tab)
    assert tab.url == url  # no code is left in the address bar
    assert tab.evaluate("sessionStorage.length") == 0
    button(tab, "Run all the rest").click()
    button(tab, "Start again").wait_for()
    playwright.expect(tab.get_by_role("heading", name="Exchange the code")).to_be_focused()

    request, answer = exchange_shown(tab, "sign-in")
    assert request.startswith(f"GET {server.issuer}/oauth/authorize\n?response_type=code\n")
    assert re.search(r"^&code_challenge_method=S256$", request, re.MULTILINE)
    assert re.search(r"^\?code=ost_ac_\S+$", answer, re.MULTILINE)
    shown = {step: exchange_shown(tab, step) for step in STEPS}
    statuses = [answer.partition("\n")[0].partition(" ")[0] for _request, answer in shown.values()]
    assert statuses == ["200", "200", "200", "200", "200", "401"]
    assert re.search(r"^&code_verifier=\S{43}$", shown["exchange"][0], re.MULTILINE)
    first, second, again = (json_of(shown[step][1]) for step in ("exchange", "refresh", "repeat"))
    assert shown["resource"][0].endswith(f"\nAuthorization: Bearer {first['access_token']}")
    assert json_of(shown["resource"][1])["email"] == email
    assert first["access_token"] != second["access_token"]
    assert again | {"expires_in": 0} == second | {"expires_in": 0}
    assert outcome(tab, "repeat").startswith("The same pair")
    assert 'WWW-Authenticate: Bearer realm="ostiary"' in shown["resource-again"][1]
    assert tab.locator(".steps > .done").count() == 7
    # no box of its own, and no border
    assert looks(tab, ".steps > .done") == {"rgba(0, 0, 0, 0) 400 0px 0px"}
    assert server.rows("SELECT count(*) FROM token") == [(0,)]
    assert password not in server.log()


def test_the_keyboard_is_enough(tab, printed, email):
    tab.goto(printed[0])
    tab.keyboard.press("Tab")  # the link to the home page
    tab.keyboard.press("Tab")
    playwright.expect(button(tab, "Sign in with Ostiary")).to_be_focused()
    tab.keyboard.press("Enter")
    tab.get_by_label("Email address").wait_for()
    tab.keyboard.type(email)
    tab.keyboard.press("Tab")
    tab.keyboard.type(PASSWORD)
    tab.keyboard.press("Enter")
    button(tab, "Allow").wait_for()
    tab.keyboard.press("Tab")
    tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")
    said = tab.get_by_role("status")
    for step, action in zip(STEPS, ACTIONS, strict=True):
        playwright.expect(button(tab, action)).to_be_focused()
        playwright.expect(tab.locator("[aria-current=step]")).to_have_id(step)
        tab.keyboard.press("Enter")
        playwright.expect(tab.locator(f"#{step}")).to_have_class("done")
        playwright.expect(said).to_contain_text(outcome(tab, step))
    playwright.expect(button(tab, "Start again")).to_be_focused()
    tab.keyboard.press("Enter")  # signed in and allowed: back at once
    playwright.expect(button(tab, "Exchange the code")).to_be_focused()


def test_a_no_is_said_in_words_and_can_be_taken_back(tab, printed, email):
    tab.goto(printed[0])
    sign_in(tab, email)
    button(tab, "Deny").click()
    playwright.expect(button(tab, "Start again")).to_be_focused()
    assert outcome(tab, "sign-in").startswith("You said no")
    assert "error=access_denied" in exchange_shown(tab, "sign-in")[1]
    assert tab.url == printed[0]
    button(tab, "Start again").click()
    allow(tab)
    assert tab.locator(".failed").count() == 0


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("code=stolen&state=of-somebody-else", "belongs to no request of this tab"),
        ("code=stolen&state=ours&iss=https://evil.example", "from another server"),
        ("code=stolen&state=ours", "from another server"),
        ("error=temporarily_unavailable&state=ours&iss={issuer}", "busy at the moment"),
        (
            "error=<img src=x onerror=alert(1)>&state=ours&iss={issuer}",
            "refused: <img src=x onerror=alert(1)>.",
        ),
    ],
)
def test_an_answer_that_will_not_do(tab, server, printed, query, words):
    tab.goto(printed[0])
    tab.evaluate(
        "sessionStorage.setItem('ostiary demo', JSON.stringify({state: 'ours', verifier: 'v'.repeat(43)}))"
    )
    sent = []
    tab.on("request", lambda request: sent.append(request.method))
    tab.goto(f"{printed[0]}?{query.format(issuer=server.issuer)}")
    button(tab, "Start again").wait_for()
    assert words in outcome(tab, "sign-in")
    assert "POST" not in sent
    assert tab.url == printed[0]
    assert tab.evaluate("sessionStorage.length") == 0


def test_a_refusal_is_said_in_words(tab, server, printed, email):
    tab.goto(printed[0])
    sign_in(tab, email)
    allow(tab)
    server.flask("users", "sign-out", email)  # its code ends too
    button(tab, "Run all the rest").click()
    playwright.expect(button(tab, "Start again")).to_be_focused()
    assert outcome(tab, "exchange").startswith("The server refused, with status 400: ")
    assert json_of(exchange_shown(tab, "exchange")[1])["error"] == "invalid_grant"
    assert exchange_shown(tab, "resource") == []


def test_no_answer_is_said_in_words(tab, printed, email):
    tab.goto(printed[0])
    sign_in(tab, email)
    allow(tab)
    tab.context.set_offline(True)
    button(tab, "Exchange the code").click()
    button(tab, "Start again").wait_for()
    assert outcome(tab, "exchange") == "The server did not answer. Is it still running?"


def test_without_javascript_it_says_where_to_go_instead(new_tab, printed):
    tab = new_tab(java_script_enabled=False)
    tab.goto(printed[0])
    note = tab.locator("noscript p")  # by its element: playwright looks for no text in it
    playwright.expect(note).to_be_visible()
    assert note.inner_text().startswith("This one page needs JavaScript")
    assert tab.get_by_role("button").count() == 0
    assert tab.get_by_role("listitem").count() == 7


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_it_fits_and_can_be_tapped(new_tab, printed, email, size, scheme):
    width, height = size
    tab = new_tab(viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce")

    def check(name):
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        heights = tab.eval_on_selector_all(
            "a, button", "all => all.map(one => one.getBoundingClientRect().height)"
        )
        assert min(heights) >= TAP_TARGET, name
        cut_off = "all => all.filter(one => one.scrollWidth > one.clientWidth).length"
        assert tab.eval_on_selector_all("pre", cut_off) == 0, name

    tab.goto(printed[0])
    check("before")
    sign_in(tab, email)
    allow(tab)
    check("back with a code")
    button(tab, "Run all the rest").click()
    button(tab, "Start again").wait_for()
    check("after")


def test_another_name_and_port_of_this_machine(new_tab, tmp_path):
    """Made at 127.0.0.1, then started as localhost on a port of its own: the client follows."""
    server = LiveServer(f"sqlite:///{tmp_path / 'ostiary.sqlite3'}", tmp_path, workers=1)
    server.flask("db", "upgrade")
    made = server.flask_json("demo")
    server.issuer = f"http://localhost:{server.port}"
    server.environment["OSTIARY_ISSUER"] = server.issuer
    server.flask("demo")
    try:
        server.start()
        tab = new_tab()
        tab.goto(f"{server.issuer}/demo")
        sign_in(tab, made["email"], made["password"])
        allow(tab)
        button(tab, "Run all the rest").click()
        button(tab, "Start again").wait_for()
        assert tab.locator(".steps > .done").count() == 7
    finally:
        server.kill()
