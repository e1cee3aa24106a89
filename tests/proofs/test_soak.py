"""`make soak`, briefly; and that its judge finds what was planted: in made-up samples, and in servers that do
grow.
"""

import math
import re
import xml.etree.ElementTree as ElementTree

import pytest

from tests.flows.mutations import Replacement
from tests.live import new_database
from tests.proofs.plot import Panel, apart, draw, ticks
from tests.proofs.soak import SWEPT, Size, Soaked, plot, soak, tell
from tests.proofs.soak_bounds import MIB, Sample, judge, slope

SHORT = Size(grants=800, seconds=2, samples=30, steps_a_second=None)
ENOUGH_TO_SWEEP = SHORT._replace(grants=1_500)
# a few seconds, with a few sign-ins, say nothing of these
TIMES = {"workers' CPU for a request", "p99 of the answers"}
NO_SWEEP = Replacement(
    "store/sweep.py", "def sweep(now: int) -> None:\n", "def sweep(now: int) -> None:\n        return\n"
)
LEAK = Replacement(
    "my_oauth.py",
    "    row = new_row(token, request)\n",
    '    row = new_row(token, request)\n    save_token.__dict__.setdefault("kept", []).append(b"x" *'
    " 40_000)\n",
)


def samples(rows=None, left=None, memory=None, cpu=None, p99=None):
    """30 of a server. What is given is a function of the sample's number; the rest stays as it is."""
    rows, left, memory, p99 = (
        given or (lambda _number, usual=usual: usual)
        for given, usual in ((rows, 500), (left, 0), (memory, 60 * MIB), (p99, 0.02))
    )
    cpu = cpu or (lambda n: 0.6 * n)
    return [
        Sample(
            at=n * 10.0,
            grants=n * 100,
            rows={"token": rows(n)},
            left={"token": left(n)},
            memory={7: memory(n), 8: 60 * MIB},
            cpu=cpu(n),
            requests=n * 120,
            median=0.005,
            p99=p99(n),
        )
        for n in range(30)
    ]


def broken(verdicts):
    return {verdict.promise for verdict in verdicts if not verdict.is_kept}


@pytest.mark.parametrize(
    "calm",
    [
        {},
        {"rows": lambda n: min(n * 50, 500)},  # the warm-up
        {"rows": lambda n: 500 + 30 * (n % 3)},
        {"memory": lambda n: (60 + 19 * (n % 4 == 0)) * MIB},  # while a password is hashed
        {"memory": lambda n: (40 + min(n, 10)) * MIB},
        {"p99": lambda n: 0.2 if n == 25 else 0.02},
        {"left": lambda n: 50},
    ],
)
def test_what_is_calm_is_kept(calm):
    assert broken(judge(samples(**calm))) == set()


@pytest.mark.parametrize(
    ("growth", "promise"),
    [
        ({"rows": lambda n: 100 + 20 * n}, "rows of token"),
        ({"left": lambda n: 51 if n == 20 else 0}, "expired 2 s ago in token"),
        ({"memory": lambda n: 60 * MIB + n * MIB // 4}, "growth of worker 1"),
        ({"cpu": lambda n: 0.1 * n**2}, "workers' CPU for a request"),
        ({"p99": lambda n: 0.02 * n}, "p99 of the answers"),
    ],
)
def test_what_grows_is_found(growth, promise):
    assert broken(judge(samples(**growth))) == {promise}


def test_a_worker_that_was_replaced_is_found():
    seen = samples()
    seen[-1].memory[9] = seen[-1].memory.pop(7)
    assert broken(judge(seen)) == {"the same workers all the time"}


def test_a_slope_is_that_of_most():
    assert slope([0, 2, 4, 600, 8, 10, 12]) == 2


def test_the_verdicts_are_told():
    soaked = Soaked(samples(), list(judge(samples(p99=lambda n: 0.02 * n))), {}, {"code: 500": 3})
    told = list(tell(soaked))
    assert [line.split()[-1] for line in told].count("BROKEN") == 1
    assert told[-1] == "  3 × code: 500"


def test_the_plot_shows_every_sample():
    seen = samples(rows=lambda n: 10 + n)
    picture = plot(Soaked(seen, [], {"grants": 2_900}, {}), "sqlite")
    lines = ElementTree.fromstring(picture).findall(".//{*}polyline")  # noqa: S314 - we made it a moment ago
    assert [len(line.get("points").split()) for line in lines] == [30] * 5
    assert "2,900 grants on sqlite" in picture and "token 39" in picture


def test_points_are_where_their_values_are():
    picture = draw("t", "", [Panel("p", "rows", {"a": [(0, 0), (1, 100)]}, is_logarithmic=True)], "minutes")
    [points] = re.findall(r'points="([^"]+)"', picture)
    (left, low), (right, high) = (map(float, point.split(",")) for point in points.split())
    assert left < right and low > high
    halfway = re.search(r'y="([\d.]+)"[^>]*>10<', picture)[1]
    assert math.isclose(float(halfway) - 4, (low + high) / 2, abs_tol=0.2)


@pytest.mark.parametrize(
    ("most", "expected"),
    [(1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (9, [0, 2, 4, 6, 8, 10]), (250, [0, 50, 100, 150, 200, 250])],
)
def test_ticks_are_round(most, expected):
    assert ticks(most) == expected


def test_names_do_not_cover_each_other():
    assert apart([10, 11, 100], 15, 0, 200) == [10, 25, 100]
    assert apart([190, 195, 200], 15, 0, 200) == [170, 185, 200]


@pytest.fixture
def run(tmp_path, servers):
    """A function that soaks a server with these changes in it; what came out."""

    def run(*replacements, size=SHORT):
        return soak(new_database("sqlite", tmp_path, servers), tmp_path, size, replacements)

    return run


@pytest.mark.whole_machine
def test_nothing_grows(run):
    soaked = run()
    assert broken(soaked.verdicts) <= TIMES, "\n".join(tell(soaked))
    assert all(soaked.samples[-1].rows[table] for table in SWEPT), "a table was not written to"


@pytest.mark.whole_machine
def test_rows_that_nobody_sweeps_are_noticed(run):
    found = broken(run(NO_SWEEP, size=ENOUGH_TO_SWEEP).verdicts)
    assert found >= {f"removed by one request from {table}" for table in SWEPT}
    assert found & {"rows of spent_assertion", "rows of throttle"}


@pytest.mark.whole_machine
def test_memory_that_is_kept_is_noticed(run):
    assert broken(run(LEAK).verdicts) >= {"growth of worker 1", "growth of worker 2"}
