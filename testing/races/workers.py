"""A crowd: several processes with several threads each, whose requests go through the whole app at the same
moment.

Enters: calls. Leaves: their answers, and how often a request had to be run again. Each process makes the app
for itself, as a production server's workers do, and calls it without a port: what is tried is everything
behind the WSGI server.
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
from services.current import state_of

PROCESSES = 2
THREADS = 4
START_SECONDS = 60
SPAWN = multiprocessing.get_context("spawn")  # a fork would share what must not be shared, such as a pool
MEETING_SECONDS = 30
# How `unit_of_work.describe` names the violation of a unique key, in the words of each driver.
UNIQUE_KEY = re.compile(r"_UNIQUE|UniqueViolation|_PRIMARYKEY|\b1062\b")


class WorkerError(Exception):
    """The crowd cannot play: a process of it did not start, or has ended."""


@dataclass(frozen=True)
class Call:
    """A request to send, `after` so many seconds from the moment when all may begin."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    form: dict[str, str] = field(default_factory=dict)
    after: float = 0.0

    def later(self, seconds: float) -> "Call":
        return replace(self, after=seconds)


@dataclass(frozen=True)
class Answer:
    status: int
    location: str
    text: str
    seconds: float

    @property
    def json(self) -> dict[str, Any]:
        """The members of a JSON object; none of anything else."""
        try:
            document = json.loads(self.text)
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}

    @property
    def error(self) -> str:
        return str(self.json.get("error", ""))


def send(app: Flask, call: Call, issuer: str) -> Answer:
    """Let the app answer a call, as if it came from this machine to the issuer's address."""
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
    """Processes that run `target(*arguments, end)`, each at the other end of a pipe; they end when it is
    closed.
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
        """Wait until each has said that it is ready."""
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
        """Return what each process says next."""
        return [receive(end, seconds) for end in self.ends]


class WorkerPool(ProcessPool):
    """Processes that have the app. factory: where `create_app` is, such as `app:create_app`."""

    def __init__(
        self, factory: str, settings: Settings, processes: int = PROCESSES, threads: int = THREADS
    ) -> None:
        self.size = self.handful = processes * threads
        self.again: Counter[str] = Counter()  # why requests were run again, since the last `forget`
        self._barrier = SPAWN.Barrier(self.size)  # kept: its semaphores go with it
        super().__init__(processes, run_worker, factory, settings, threads, self._barrier)

    def at_once(self, calls: Sequence[Call]) -> list[Answer]:
        """The answers to calls that were sent at the same moment, in their order.

        As many as the crowd has threads at most.
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
    """Processes that are started meanwhile never see Ctrl-C, which reaches the whole group: who started them
    ends them.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def receive(end: Connection, seconds: float) -> Any:
    """What a process has to say. Raises CrowdError for one that has ended or is too slow, or that failed."""
    try:
        said = (
            end.recv()
            if end.poll(seconds)
            else WorkerError(f"a process of the crowd said nothing for {seconds} s")
        )
    except (EOFError, ConnectionError):
        raise WorkerError("a process of the crowd has ended") from None
    if isinstance(said, WorkerError):
        raise said
    return said


class RunAgain(logging.Handler):
    """Counts the requests of this process that lost a race and were run again, by reason."""

    def __init__(self) -> None:
        super().__init__()
        self.reasons: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "ostiary.unit_of_work" and isinstance(record.args, tuple):
            self.reasons[str(record.args[-1])] += 1

    def take(self) -> Counter[str]:
        taken, self.reasons = self.reasons, Counter()
        return taken


def run_worker(factory: str, settings: Settings, threads: int, barrier: Barrier, end: Connection) -> None:
    """A process of the crowd, until its pipe is closed: whoever started it has ended, in whatever way."""
    again = RunAgain()
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
        return send(app, call, settings.issuer)

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
    """Notices of logout stay where they are: a thread that looks for them would outlive the tables."""
    state_of(app).delivery.stop()
