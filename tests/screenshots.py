"""`python -m tests.screenshots`: take the picture of the consent page that the README shows.

Enters: the project as it is, run by a server of its own. Leaves: `docs/images/consent.png`, from a real
Chromium. `tests/flows/test_readme.py` takes the picture again, so that this file keeps working.
"""

import tempfile
from pathlib import Path
from urllib.parse import urlencode

from tests.builders import CHALLENGE
from tests.flows.browser_journey import EMAIL, PASSWORD, add_client, add_person
from tests.flows.chromium import ARGUMENTS, CHROMIUM
from tests.live import PROJECT, live_server

PICTURE = PROJECT / "docs" / "images" / "consent.png"
WIDTH, HEIGHT, PIXEL_RATIO = 640, 900, 1.25
MARGIN = 24  # around the server's name and the card
SCOPES = {"notes.read": "Read your notes"}


def take_consent(browser, folder, picture):
    """Write a PNG of the consent page of a fresh server to the path `picture`."""
    with live_server(f"sqlite:///{folder / 'ostiary.sqlite3'}", folder) as server:
        add_person(server, name="Ada Lovelace")
        for name, description in SCOPES.items():
            server.flask("scopes", "add", name, "--description", description)
        page = browser.new_page(
            viewport={"width": WIDTH, "height": HEIGHT},
            device_scale_factor=PIXEL_RATIO,
            color_scheme="light",
            reduced_motion="reduce",
        )
        page.goto(authorization_url(server))
        page.get_by_label("Email address").fill(EMAIL)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("button", name="Allow", exact=True).wait_for()
        brand, card = page.locator("header a").bounding_box(), page.locator("main").bounding_box()
        page.screenshot(path=picture, clip=around(brand, card))
        page.close()


def around(brand, card):
    """Return the part of the page that holds these two boxes, with a margin."""
    top = brand["y"] - MARGIN
    return {
        "x": card["x"] - MARGIN,
        "y": top,
        "width": card["width"] + 2 * MARGIN,
        "height": card["y"] + card["height"] + MARGIN - top,
    }


def authorization_url(server):
    """Return the address of a request of a client that is registered for it."""
    redirect_uri = "https://notes.example/callback"
    scope = f"email {' '.join(SCOPES)}"
    client = add_client(server, "Notes", "--redirect-uri", redirect_uri, "--scope", scope)
    parameters = {
        "response_type": "code",
        "client_id": client["client_id"],
        "redirect_uri": redirect_uri,
        "scope": scope,
        "state": "xyz",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    return f"{server.issuer}/oauth/authorize?{urlencode(parameters)}"


def main():
    from playwright.sync_api import sync_playwright

    PICTURE.parent.mkdir(exist_ok=True)
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as folder:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        take_consent(browser, Path(folder), PICTURE)
        browser.close()
    print(f"{PICTURE.relative_to(PROJECT)}: {PICTURE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
