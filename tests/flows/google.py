"""Google's side of account linking: what its servers send, and the commands of the recipe that register them.

Enters: what `flask clients add --json` prints. Leaves: the requests of Google's endpoint reference, as
parameters; how they travel is the test's affair. `follow_recipe` runs a command of
`docs/google-account-linking.md` as it stands there.
"""

import json
import os
import re
import subprocess
from dataclasses import dataclass
from urllib.parse import urlencode

from tests.builders import CHALLENGE, VERIFIER
from tests.live import PROJECT

RECIPE = (PROJECT / "docs/google-account-linking.md").read_text()
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", RECIPE, re.MULTILINE | re.DOTALL)
PROJECT_ID = "notes-linking"
PRODUCTION = f"https://oauth-redirect.googleusercontent.com/r/{PROJECT_ID}"
SANDBOX = f"https://oauth-redirect-sandbox.googleusercontent.com/r/{PROJECT_ID}"
STATE = "ABdO3MV_5pSg-q7L0~fC.AAtbV9jd2Vn"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True)
class Google:
    """One project at Google.

    `pkce` is whether it sends a challenge: Google's reference has it, older integrations do not.
    """

    client_id: str
    client_secret: str
    redirect_uri: str = PRODUCTION
    pkce: bool = True

    @property
    def authentication(self):
        return {"client_id": self.client_id, "client_secret": self.client_secret}

    def authorization_path(self, **changed):
        """Where the browser is sent: no scope, but the language of the Google account."""
        parameters = {
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "state": STATE,
            "response_type": "code",
            "user_locale": "pt-BR",
        }
        if self.pkce:
            parameters |= {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
        return "/oauth/authorize?" + urlencode(parameters | changed)

    def exchange(self, code):
        body = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect_uri}
        return self.authentication | body | ({"code_verifier": VERIFIER} if self.pkce else {})

    def refresh(self, refresh_token):
        return self.authentication | {"grant_type": "refresh_token", "refresh_token": refresh_token}

    def unlink(self, token, token_type_hint):
        return self.authentication | {"token": token, "token_type_hint": token_type_hint}


def follow_recipe(server, words, **variables):
    """Run the one block of the recipe that has these words, on the database of this server; returns the
    finished process.
    """
    (block,) = [block for block in BLOCKS if words in block]
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=PROJECT,
        env=server.environment | {"PATH": os.environ["PATH"], "PROJECT_ID": PROJECT_ID} | variables,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done


def register_google(server):
    """The registration that the recipe's commands make."""
    follow_recipe(server, "scopes add")
    return json.loads(follow_recipe(server, "clients add").stdout)
