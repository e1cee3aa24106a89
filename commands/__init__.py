"""`flask …`: what operators do from the shell. JSON alone goes to stdout with `--json`, everything else to stderr.

Exit code 0, 1 (refused) or 2 (usage). Each command is one transaction.
"""

from flask import Flask


def init_app(app: Flask) -> None:
    pass
