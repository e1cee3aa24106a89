"""Which libraries this environment has in their next version: the first lines of `make test-next`.

`python -m tests.next_versions` says in a line for each which version it is, or why it is not the next one.
`--requirements` prints those that the index has, which `make lock` pins in requirements-next.txt. Nothing is
installed here.
"""

import json
import subprocess
import sys
from importlib.metadata import version

from packaging.requirements import Requirement

# Pre-releases count: `.dev0` comes before the first of them.
NEXT = {"Flask": "flask>=3.2.dev0,<3.3", "SQLAlchemy": "sqlalchemy>=2.1.dev0,<2.2"}


class NoAnswerError(Exception):
    """The index could not be asked."""


def newest(requirement, *options):
    """Return the newest version on the index that fits, or None if there is none. Raises NoAnswerError."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    report = ["--dry-run", "--ignore-installed", "--no-deps", "--pre", "--report", "-"]
    command = [*pip, *report, *options, requirement]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        [found] = json.loads(done.stdout)["install"]
        return found["metadata"]["version"]
    if "(from versions: none)" in done.stderr or "No matching distribution found" not in done.stderr:
        raise NoAnswerError
    return None


def describe(library, requirement, installed, *options):
    """Return a line that says which version the suite is on, and why it is not the next one."""
    if Requirement(requirement).specifier.contains(installed, prereleases=True):
        return f"next {library}: {installed}"
    try:
        found = newest(requirement, *options)
    except NoAnswerError:
        reason = "the index could not be asked for it"
    else:
        none = "the index has none, not even a pre-release"
        reason = f"{found} is on the index: run `make lock`" if found else none
    return f"next {library}: not tried, the suite is on {installed}; {reason}"


def main(arguments):
    for library, requirement in NEXT.items():
        if arguments == ["--requirements"]:
            if newest(requirement):
                print(requirement)
        else:
            print(describe(library, requirement, version(library)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
