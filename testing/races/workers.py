"""Workers: several processes with several threads each, which send requests to the app at the same moment.

Enters: calls. Leaves: their answers, and how often a request ran again. Each process creates the app for
itself, as the workers of a production server do, and calls it without a port: everything behind the WSGI
server takes part.
"""

import json
import logging
import multiprocessing
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any, Self
from urllib.parse import urlencode

from flask import Flask
from werkzeug.utils import import_string

from config import Settings
from crypto.json_values import JsonObject
from services.current import state_of

PROCESSES = 2
THREADS = 4
START_SECONDS = 60
SPAWN = multiprocessing.get_context("spawn")  # a forked process would share connections with this one
MEETING_SECONDS = 30
# How `database.describe` names the violation of a unique key, for each driver.
UNIQUE_KEY = re.compile(r"_UNIQUE|UniqueViolation|_PRIMARYKEY|\b1062\b")


class WorkerError(Exception):
    """A worker process did not start, did not answer, or has ended."""


@dataclass(frozen=True)
class Call:
    """A request to send. after: seconds from the moment when all workers may begin."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    form: dict[str, str] = field(default_factory=dict)
    after: float = 0.0

    def later(self, seconds: float) -> "Call":
        """Return the same call, to be sent so many seconds after the others."""
        return replace(self, after=seconds)


@dataclass(frozen=True)
class Answer:
    """The answer to a call, and how many seconds it took."""

    status: int
    location: str
    text: str
    seconds: float

    @property
    def json(self) -> JsonObject:
        """Return the answer's JSON object; {} for anything else."""
        try:
            document = json.loads(self.text)
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}

    @property
    def error(self) -> str:
        """Return the error code of OAuth, or ""."""
        return str(self.json.get("error", ""))


def send(app: Flask, call: Call, issuer: str) -> Answer:
    """Send a call to the app, as if it came from this machine to the issuer's address."""
    client = app.test_client(use_cookies=False)
    started = time.perf_counter()
    answer = client.open(
        call.path,
        base_url=issuer,
        method=call.method,
        headers={"Content-Type": "application/x-www-form-urlencoded"} | call.headers,
        data=urlencode(call.form),
    )
    seconds = time.perf_counter() - started
    return Answer(
        answer.status_code, answer.headers.get("Location", ""), answer.get_data(as_text=True), seconds
    )


class ProcessPool:
    """Processes that run `target(*arguments, end)`, each with an end of a pipe.

    They end when the pipe is closed.
    """

    def __init__(self, processes: int, target: Callable[..., None], *arguments: object) -> None:
        self.ends: list[Connection] = []
        self._processes = []
        with without_interrupts():
            for _ in range(processes):
                ours, theirs = SPAWN.Pipe()
                process = SPAWN.Process(target=target, args=(*arguments, theirs), daemon=True)
                process.start()
                theirs.close()
                self.ends.append(ours)
                self._processes.append(process)

    def __enter__(self) -> Self:
        """Wait until every process is ready."""
        try:
            self.hear(START_SECONDS)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *failure: object) -> None:
        for end in self.ends:
            end.close()
        for process in self._processes:
            process.terminate()
            process.join()

    def hear(self, seconds: float) -> list[Any]:
        """Return the next message of each process."""
        return [receive(end, seconds) for end in self.ends]


class WorkerPool(ProcessPool):
    """Processes with threads that send calls to the app.

    factory: where `create_app` is, such as `app:create_app`. issuer: the one that is called.
    """

    def __init__(
        self,
        factory: str,
        settings: Settings,
        issuer: str,
        processes: int = PROCESSES,
        threads: int = THREADS,
    ) -> None:
        self.size = self.capacity = processes * threads
        self.again: Counter[str] = Counter()  # why requests ran again, since it was last emptied
        self._barrier = SPAWN.Barrier(self.size)  # kept here, because its semaphores are freed with it
        super().__init__(processes, run_worker, factory, settings, issuer, threads, self._barrier)

    def at_once(self, calls: Sequence[Call]) -> list[Answer]:
        """Send calls at the same moment, and return their answers in the same order.

        There may be as many calls as there are threads.
        """
        count = len(self.ends)
        for number, end in enumerate(self.ends):
            end.send(list(calls[number::count]))
        answers: list[Answer | None] = [None] * len(calls)
        for number, (answered, again) in enumerate(self.hear(2 * MEETING_SECONDS)):
            answers[number::count] = answered
            self.again.update(again)
        return [answer for answer in answers if answer is not None]


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Start processes in the block that ignore Ctrl-C: the process that starts them ends them.

    The terminal sends the signal to the whole process group.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def receive(end: Connection, seconds: float) -> Any:
    """Return the next message of a process. Raises WorkerError where it failed, has ended, or is too slow."""
    try:
        if not end.poll(seconds):
            raise WorkerError(f"a worker process did not answer for {seconds} s")
        message = end.recv()
    except (EOFError, ConnectionError):
        raise WorkerError("a worker process has ended") from None
    if isinstance(message, WorkerError):
        raise message
    return message


class RetryCounter(logging.Handler):
    """Counts the requests of this process that lost a race and ran again, by reason."""

    def __init__(self) -> None:
        super().__init__()
        self.reasons: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Count a log line of `unit_of_work` about a retry."""
        if record.name == "ostiary.unit_of_work" and isinstance(record.args, tuple):
            self.reasons[str(record.args[-1])] += 1

    def take(self) -> Counter[str]:
        """Return the counts, and begin again."""
        taken, self.reasons = self.reasons, Counter()
        return taken


def run_worker(
    factory: str, settings: Settings, issuer: str, threads: int, barrier: Barrier, end: Connection
) -> None:
    """Answer lists of calls, until the pipe is closed because the process at its other end has ended."""
    again = RetryCounter()
    logging.basicConfig(handlers=[again], level=logging.WARNING, force=True)
    try:
        app = import_string(factory)(settings)
        stop_delivery(app)
    except Exception as error:
        end.send(WorkerError(f"{factory} cannot be used: {type(error).__name__}: {error}"))
        return

    def meet(call: Call | None) -> Answer | None:
        barrier.wait(MEETING_SECONDS)
        if call is None:
            return None
        time.sleep(call.after)
        return send(app, call, issuer)

    end.send("ready")
    with ThreadPoolExecutor(threads) as pool:
        while True:
            try:
                calls = end.recv()
            except (EOFError, ConnectionError):
                return
            answers = list(pool.map(meet, [*calls, *[None] * (threads - len(calls))]))
            end.send((answers[: len(calls)], again.take()))


def stop_delivery(app: Flask) -> None:
    """Stop the delivery of logout notices: its thread would go on after the tables are dropped."""
    state_of(app).delivery.stop()
