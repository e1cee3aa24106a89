"""Programs of others, run by Node with the packages of `tests/node/`: client libraries as judges, a server as
an oracle.

Enters: what a script needs to know, as JSON. Leaves: what it told of each of its steps, a line of JSON each:
what the library read from an answer, or how it refused it. The person's part is the tests' browser. Without
Node, or without its packages and a network to fetch them from, the tests are skipped; in CI neither is an
excuse.
"""

import fcntl
import json
import os
import re
import shutil
import subprocess
from subprocess import PIPE
from urllib.parse import urlencode, urljoin

import pytest

from tests.builders import REDIRECT_URI
from tests.flows.browser_journey import PATIENCE_SECONDS, Browser
from tests.live import PROJECT, do_without

NODE_FOLDER = PROJECT / "tests/node"
NPM_CI = ["npm", "ci", "--prefix", NODE_FOLDER]
NPM_SECONDS = 60
NO_NETWORK = set(
    "EAI_AGAIN ECONNREFUSED ECONNRESET EHOSTUNREACH ENETUNREACH ENOTFOUND ERR_SOCKET_TIMEOUT"
    " ETIMEDOUT FETCH_ERROR".split()
)


# ---- Node and its packages ---------------------------------------------------------------------------------


def find_node():
    """The Node to run scripts with, its packages installed."""
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            do_without(f"{tool} is not installed")
    with (NODE_FOLDER / "package-lock.json").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs of the suite would take each other's packages away
        install(lock.read())
    return shutil.which("node")


def install(wanted):
    """Once, and again when the lock file changed. wanted: its content."""
    installed = NODE_FOLDER / "node_modules/.installed"
    if installed.exists() and installed.read_bytes() == wanted:
        return
    done = subprocess.run(NPM_CI, capture_output=True, text=True, timeout=NPM_SECONDS)
    if NO_NETWORK & set(re.findall(r"code (\w+)", done.stderr)):
        do_without("the packages of tests/node are not installed, and the registry of npm is out of reach")
    assert done.returncode == 0, done.stderr
    installed.write_bytes(wanted)


# ---- running a script --------------------------------------------------------------------------------------


def tell(node, scripts, server, clients, folder):
    """What each script told of its steps. clients: by name, as they know themselves."""
    given = {
        "issuer": server.issuer,
        "resource": f"{server.issuer}/api/me",
        "redirectUri": REDIRECT_URI,
        "clients": clients,
    }
    errors = folder / "stderr"
    site = urljoin(server.issuer, "/").rstrip("/")  # the whole host, where the issuer has a path
    with Browser(site) as browser:
        return {script: list(run([node, script, json.dumps(given)], browser, errors)) for script in scripts}


def run(command, browser, errors):
    """Run a script, and be its person; yields what else it tells."""
    environment = {"PATH": os.environ["PATH"]}
    with (
        errors.open("w") as stderr,
        subprocess.Popen(
            command, cwd=NODE_FOLDER, env=environment, text=True, stdin=PIPE, stdout=PIPE, stderr=stderr
        ) as script,
    ):
        try:
            for line in script.stdout:
                report = json.loads(line)
                if "opens" in report:
                    script.stdin.write(json.dumps(decide(browser, report["opens"], report["presses"])) + "\n")
                    script.stdin.flush()
                else:
                    yield report
            script.wait(PATIENCE_SECONDS)
        finally:
            script.kill()  # where it is still there
    assert script.returncode == 0, errors.read_text()


def decide(browser, url, button):
    """The person's part: sign in if asked, decide if asked.

    Returns where the browser was sent, and with what form.
    """
    browser.open(url)
    if browser.page and browser.page.title.startswith("Sign in"):
        browser.sign_in()
    if browser.page and not leads_away(browser):
        browser.press(button)
    if browser.page:
        assert leads_away(browser), f"the person is stuck at {browser.page.title!r}"
        [form] = browser.page.forms
        return {"sent_to": form.url, "form": urlencode(form.fields)}
    return {"sent_to": browser.left_for, "form": None}


def leads_away(browser):
    """Whether the page is an answer to the client, in a form that the browser posts (Form Post Response
    Mode).
    """
    forms = browser.page.forms
    return len(forms) == 1 and not forms[0].url.startswith(f"{browser.site}/")


# ---- what scripts tell -------------------------------------------------------------------------------------


def judged(scripts):
    """The tests of a module: each step came to what it has to, and every step that was told is compared."""
    steps = steps_of(scripts)

    @pytest.mark.parametrize(("script", "journey", "step"), steps, ids=lambda part: part.removesuffix(".mjs"))
    def test_step(reports, script, journey, step):
        told = outcomes(reports, script, journey)
        assert step in told, f"the journey ended at {list(told)[-1:]}"
        assert told[step] == scripts[script][journey][step]

    def test_every_step_is_compared(reports):
        told = [
            (script, report["journey"], report["step"]) for script in scripts for report in reports[script]
        ]
        assert [step for step in told if step not in steps] == []
        assert len(told) == len(set(told))

    return test_step, test_every_step_is_compared


def steps_of(scripts):
    """Each step that is expected: script, journey, step."""
    return [
        (script, journey, step)
        for script, journeys in scripts.items()
        for journey, steps in journeys.items()
        for step in steps
    ]


def outcomes(reports, script, journey):
    """By step, in order."""
    return {report["step"]: report["outcome"] for report in reports[script] if report["journey"] == journey}


def body_error(error, status=400):
    return {"kind": "ResponseBodyError", "status": status, "error": error}


def challenged(status, **challenge):
    return {
        "kind": "WWWAuthenticateChallengeError",
        "status": status,
        "challenges": [{"realm": "ostiary"} | challenge],
    }


def sent_back(error):
    return {"kind": "AuthorizationResponseError", "error": error}
