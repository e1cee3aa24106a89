"""`make soak`: grants without end on a live server, and nothing grows: no table, no worker's memory, no
answer's time.

Enters: an engine and a number of grants. Leaves: a table of promises, a plot of all three, and exit code 1
when one is broken. So that everything expires again and again, the server runs from a copy in which what is
no setting is shortened too. All that is counted goes over HTTP (`soak_load.py`); `soak_bounds.py` has the
rules.
"""

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
from sqlalchemy import func

from crypto import credentials
from models import AuthorizationCode, AuthorizationTicket, SpentAssertion, Throttle, Token, db
from protocol import clock
from store.spent_assertions import SHARE
from store.sweep import BATCH
from tests.builders import a_code
from tests.flows.driving import EACH_PROCESS_LISTENS, Driver
from tests.flows.mutations import Replacement, mutated_copy
from tests.live import ENGINES, DatabaseServers, LiveServer, new_database
from tests.places import NoPlaceError, an_open_folder, check_place
from tests.proofs.plot import Panel, draw
from tests.proofs.soak_bounds import LEFT_SECONDS, MIB, Sample, Verdict, judge, thirds
from tests.proofs.soak_load import WALKERS, Load
from tests.receiver import receiving
from tests.statements import select

GRANTS = 100_000
STEPS_A_SECOND = 140  # about 130 grants; two cores have time left
SECONDS = 20  # what expires lives so long
SAMPLES = 60
LONG_AGO = 24 * 3600
SWEPT = {
    "authorization_ticket": AuthorizationTicket.expires_at,
    "authorization_code": AuthorizationCode.expires_at,
    "throttle": Throttle.expires_at,
    "spent_assertion": SpentAssertion.expires_at,
}
THROTTLES = {
    # each is of another client, and forgotten after a whole period
    "failed_client_authentications_per_client": 1,
    "failed_client_authentications_per_address": 1_000_000,
    "failed_sign_ins_per_account_and_address": 1_000,
    "failed_sign_ins_per_account": 1_000,
    "failed_sign_ins_per_address": 1_000_000,
}


def shortened(seconds):
    """The project's constants, for a world in which a ticket lives for so long instead of an hour."""
    signing_keys = "crypto/key_schedule.py"
    return [
        constant("store/tickets.py", "LIFETIME_SECONDS", "3600", seconds),
        constant("store/user_sessions.py", "\nKEPT_SECONDS", "30 * 24 * 3600", 2 * seconds),
        constant("store/user_sessions.py", "UNKEPT_SECONDS", "12 * 3600", 2 * seconds),
        constant("store/user_sessions.py", "PER_USER", "20", 3),
        constant("store/logout_notices.py", "\nPER_USER", "100", 5),
        constant("protocol/client_assertion.py", "CLOCK_SKEW", "60", 1),
        constant(signing_keys, "MAXIMUM_JWT_LIFETIME", "timedelta(days=1)", f"timedelta(seconds={seconds})"),
        constant(signing_keys, "REREAD_INTERVAL", "timedelta(seconds=30)", "timedelta(seconds=2)"),
        constant(signing_keys, "CLOCK_SKEW", "timedelta(seconds=30)", "timedelta(seconds=1)"),
        constant(signing_keys, "RETENTION", "timedelta(days=60)", "timedelta(seconds=40)"),
        constant(
            "config.py",
            "signing_key_lifetime: PositiveSeconds",
            "timedelta(days=90)",
            "timedelta(seconds=20)",
        ),
    ]


def constant(file, name, usual, value):
    return Replacement(file, f"{name} = {usual}", f"{name} = {value}")


def settings(seconds):
    return THROTTLES | {
        "authorization_code_lifetime": seconds,
        "id_token_lifetime": seconds,
        "throttle_period": seconds,
        "jwks_cache_lifetime": 1,
        "password_hashes": WALKERS,
    }


class Size(NamedTuple):
    """How much of it. Without `steps_a_second` everybody is as fast as the server is."""

    grants: int = GRANTS
    seconds: int = SECONDS
    samples: int = SAMPLES
    steps_a_second: int | None = STEPS_A_SECOND


class Soaked(NamedTuple):
    """What came out.

    `counts`: of grants, requests and steps; `failures`: answers other than they should be.
    """

    samples: list[Sample]
    verdicts: list[Verdict]
    counts: dict[str, int]
    failures: dict[str, int]


def soak(url, folder, size, replacements=(), progress: Callable[[str], None] = lambda _words: None):
    """`url`: of a fresh database.

    `replacements`: what else is changed in the copy, for the tests of the test.
    """
    source = mutated_copy([*shortened(size.seconds), *replacements], folder / "source")
    with (
        receiving() as receiver,
        serve(url, folder, source, size.seconds) as server,
        Driver(server) as driver,
    ):
        samples = []
        with Load(driver, size.grants, size.seconds, receiver.url("200"), size.steps_a_second) as load:
            watch = Watch(driver, load)
            for number in range(1, size.samples + 1):
                load.wait_for(size.grants * number / size.samples)
                samples.append(watch.take())
                progress(
                    f"{samples[-1].at:4.0f} s  {samples[-1].grants:,} grants, p99"
                    f" {samples[-1].p99 * 1000:.0f} ms"
                )
            load.end()
            verdicts = [judge_answers(load), *judge(samples), *judge_sweeps(driver, load)]
        return Soaked(samples, verdicts, dict(load.counts), dict(load.failures))


@contextmanager
def serve(url, folder, source, seconds):
    server = LiveServer(url, folder, source=source, **settings(seconds))
    server.environment["GUNICORN_CMD_ARGS"] = EACH_PROCESS_LISTENS
    try:
        yield server.start()
    finally:
        server.kill()


class Watch:
    """Takes samples while the load goes on."""

    def __init__(self, driver, load):
        self.driver, self.load = driver, load
        self.began_at = time.monotonic()
        self.master = psutil.Process(driver.server.process.pid)

    def take(self):
        latencies = sorted(self.load.take_latencies()) or [0.0]
        with self.driver.app.app_context():
            rows = {
                table.name: db.session.scalar(select(func.count()).select_from(table))
                for table in db.metadata.sorted_tables
            }
            left = {name: count_expired(column, LEFT_SECONDS) for name, column in SWEPT.items()}
            left["token"] = count_expired(
                Token.access_token_expires_at, LEFT_SECONDS, Token.user_id.is_(None)
            )
        workers = self.master.children()
        return Sample(
            at=time.monotonic() - self.began_at,
            grants=self.load.grants,
            rows=rows,
            left=left,
            memory={worker.pid: worker.memory_info().rss for worker in workers},
            cpu=sum(sum(worker.cpu_times()[:2]) for worker in workers),
            requests=self.load.counts["requests"],
            median=statistics.median(latencies),
            p99=latencies[int(len(latencies) * 0.99)],
        )


def count_expired(column, seconds, *conditions):
    """Rows that expired so long ago or longer."""
    return db.session.scalar(select(func.count(column)).where(column <= clock.now() - seconds, *conditions))


# ---- judged beside the samples -----------------------------------------------------------------------------


def judge_answers(load):
    wrong = sum(load.failures.values())
    return Verdict(
        "answers other than they should be", f"{wrong} of {load.counts['requests']:,}", "0", wrong == 0
    )


def judge_sweeps(driver, load):
    """How many rows that expired long ago one request removes. The load is over: nobody else sweeps."""
    walker = load.walkers[0]
    person = next(walker.people)
    old = clock.now() - LONG_AGO
    digests = iter(credentials.random_secret, None)
    plans = {
        "authorization_ticket": (
            walker.abandoned_request,
            BATCH,
            lambda: a_ticket(next(digests), load.shop, old),
        ),
        "authorization_code": (walker.abandoned_code, BATCH, lambda: an_old_code(person, old)),
        "throttle": (
            walker.failed_authentication,
            BATCH,
            lambda: Throttle(bucket_digest=next(digests), expires_at=old),
        ),
        "spent_assertion": (
            walker.assertion,
            BATCH * SHARE,
            lambda: SpentAssertion(jti_digest=next(digests), expires_at=old),
        ),
    }
    for table, (request, batch, row) in plans.items():
        driver.store(*(row() for _ in range(4 * batch)))
        most = most_removed(request, batch, driver, SWEPT[table])
        yield Verdict(f"removed by one request from {table}", str(most), f"1 to {batch}", 0 < most <= batch)


def most_removed(request, batch, driver, column):
    """By one request, of as many as it takes to remove two batches: not each of them sweeps."""
    removed = []
    while sum(removed) < 2 * batch and len(removed) < 4 * batch:
        removed.append(removed_by(request, driver, column))
    return max(removed)


def removed_by(request, driver, column):
    def count():
        with driver.app.app_context():
            return count_expired(column, LONG_AGO // 2)

    before = count()
    request()
    return before - count()


def a_ticket(digest, client_id, expires_at):
    return AuthorizationTicket(
        ticket_digest=digest,
        browser_digest=digest,
        client_id=client_id,
        sealed_parameters=b"",
        expires_at=expires_at,
    )


def an_old_code(person, expires_at):
    code = credentials.new_authorization_code()
    return a_code(code, client_id=person.client_id, user_id=person.user_id, expires_at=expires_at)


# ---- told --------------------------------------------------------------------------------------------------


def tell(soaked):
    """The table, as text."""
    widths = [max(len(verdict[column]) for verdict in soaked.verdicts) for column in range(3)]
    for verdict in soaked.verdicts:
        cells = (cell.ljust(width) for cell, width in zip(verdict, widths, strict=False))
        yield f"{'  '.join(cells)}  {'kept' if verdict.is_kept else 'BROKEN'}"
    for words, number in soaked.failures.items():
        yield f"  {number} × {words}"


def plot(soaked, engine):
    """The SVG's text."""
    samples = soaked.samples
    warm_up = thirds(samples)[0]
    constant = {table for table in samples[0].rows if len({sample.rows[table] for sample in samples}) == 1}

    def lines(names, value):
        return {name: [(sample.at / 60, value(sample, name)) for sample in samples] for name in names}

    pids = sorted(set.intersection(*(set(sample.memory) for sample in samples)))
    of_workers = {f"worker {number}": pid for number, pid in enumerate(pids, 1)}
    panels = [
        Panel(
            "Rows", "logarithmic", lines(set(samples[0].rows) - constant, lambda s, name: s.rows[name]), True
        ),
        Panel(
            "Memory of each worker",
            "resident, MiB",
            lines(of_workers, lambda s, name: s.memory[of_workers[name]] / MIB),
        ),
        Panel(
            "Time of an answer",
            "ms",
            lines(("p99", "median"), lambda s, name: 1000 * (s.p99 if name == "p99" else s.median)),
        ),
    ]
    title = f"Nothing grows: {soaked.counts['grants']:,} grants on {engine}"
    subtitle = f"{len(samples)} samples. Always as long: {', '.join(sorted(constant))}."
    return draw(title, subtitle, panels, "minutes", (warm_up[-1].at / 60, "warm-up"))


def main():
    for name in [name for name in os.environ if name.startswith("OSTIARY_")]:
        del os.environ[name]  # whoever runs it may have settings of a server
    engine = os.environ.get("SOAK_ENGINE", "sqlite")
    if engine not in ENGINES:
        return f"SOAK_ENGINE is one of {', '.join(ENGINES)}"
    size = Size(grants=int(os.environ.get("SOAK_GRANTS", GRANTS)))
    began_at = time.monotonic()
    try:
        check_place([engine])
    except NoPlaceError as error:
        return str(error)
    with an_open_folder() as folder:
        servers = DatabaseServers(folder)
        try:
            soaked = soak(
                new_database(engine, folder, servers),
                folder,
                size,
                progress=lambda words: print(words, file=sys.stderr, flush=True),
            )
        finally:
            servers.stop()
    picture = Path(os.environ.get("SOAK_FOLDER", ".")) / "soak.svg"
    picture.write_text(plot(soaked, engine))
    minutes = (time.monotonic() - began_at) / 60
    print(*tell(soaked), sep="\n")
    print(", ".join(f"{number:,} {what.replace('_', ' ')}" for what, number in sorted(soaked.counts.items())))
    print(f"{engine}, {minutes:.1f} minutes, {os.cpu_count()} cores, {platform.platform()}; plot: {picture}")
    return 0 if all(verdict.is_kept for verdict in soaked.verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
