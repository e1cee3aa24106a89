"""Whether anything grew: the rules that `make soak` judges its samples by. Pure functions.

Enters: samples in the order in which they were taken. Leaves: a line for each promise. The first third of the
samples is the warm-up; the last third is compared with the one between, or a trend is looked for in both.
"""

import statistics
from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from typing import NamedTuple

MIB = 1024 * 1024

# A table's longest in the last third may be so much above its longest in the middle third. What comes and
# goes by chance varies by the root of its number; what is left over each time makes the last third half as
# long again.
ROWS_SHARE, ROWS_ROOTS = 0.05, 3
CONSTANT = {"client", "client_origin", "end_user", "scope"}  # nobody adds to these
# What a worker grows by after the warm-up. Blocks of password hashes come and go: the median of slopes does
# not see them. It is of resident memory: pages that a worker had from its parent become its own (USS) when
# all garbage is first collected, 20 MiB at once.
MEMORY_SHARE, MEMORY_LEAST = 0.05, 4 * MIB
# The median of a third's p99, and what the workers compute for a request. Other programs make both rise, the
# first by half and more, the second by a tenth or two: a run that is to tell of them wants an idle machine.
P99_FACTOR, P99_LEAST = 1.5, 0.05
CPU_FACTOR = 1.25
# Rows that expired two seconds ago or more and are still there. Each request that adds a row removes up to
# four; of assertions one request in sixteen sweeps, up to 64.
LEFT_SECONDS = 2
LEFT, LEFT_WHERE_SHARED = 50, {"spent_assertion": 250}


@dataclass(frozen=True)
class Sample:
    """`rows` and `left` (expired, and there still) by table, `memory` by process in bytes, latencies in
    seconds.

    `cpu`: seconds that the workers have computed by now, for so many `requests`.
    """

    at: float  # seconds from the start
    grants: int
    rows: dict[str, int]
    left: dict[str, int]
    memory: dict[int, int]
    cpu: float
    requests: int
    median: float
    p99: float


class Verdict(NamedTuple):
    """One promise: what was measured, and the most that it may be, in words."""

    promise: str
    measured: str
    bound: str
    is_kept: bool


def thirds(samples):
    """(warm-up, middle, last)."""
    size = len(samples) // 3
    return samples[: -2 * size], samples[-2 * size : -size], samples[-size:]


def judge(samples):
    _, middle, last = thirds(samples)
    yield from judge_rows(middle, last)
    yield from judge_left(middle + last)
    yield from judge_memory(middle + last)
    yield judge_cpu(middle, last)
    yield judge_latency(middle, last)


def judge_rows(middle, last):
    for table in last[-1].rows:
        before, after = (max(sample.rows[table] for sample in third) for third in (middle, last))
        most = before if table in CONSTANT else before * (1 + ROWS_SHARE) + ROWS_ROOTS * sqrt(before or 1)
        yield Verdict(f"rows of {table}", f"{before} → {after}", f"{most:.0f}", after <= most)


def judge_left(samples):
    for table in samples[-1].left:
        most = max(sample.left[table] for sample in samples)
        bound = LEFT_WHERE_SHARED.get(table, LEFT)
        yield Verdict(f"expired {LEFT_SECONDS} s ago in {table}", str(most), str(bound), most <= bound)


def judge_memory(samples):
    processes = [set(sample.memory) for sample in samples]
    yield Verdict(
        "the same workers all the time",
        f"{len(set.union(*processes))} seen",
        str(len(processes[0])),
        all(seen == processes[0] for seen in processes),
    )
    for number, process in enumerate(sorted(set.intersection(*processes)), 1):
        sizes = [sample.memory[process] for sample in samples]
        growth = slope(sizes) * (len(sizes) - 1)
        most = max(MEMORY_LEAST, MEMORY_SHARE * statistics.median(sizes))
        yield Verdict(
            f"growth of worker {number}",
            f"{growth / MIB:+.1f} MiB of {statistics.median(sizes) / MIB:.0f}",
            f"{most / MIB:.1f} MiB",
            growth <= most,
        )


def judge_cpu(middle, last):
    before, after = (
        (third[-1].cpu - third[0].cpu) / (third[-1].requests - third[0].requests) for third in (middle, last)
    )
    most = before * CPU_FACTOR
    measured = f"{before * 1000:.1f} → {after * 1000:.1f} ms"
    return Verdict("workers' CPU for a request", measured, f"{most * 1000:.1f} ms", after <= most)


def judge_latency(middle, last):
    before, after = (statistics.median(sample.p99 for sample in third) for third in (middle, last))
    most = before * P99_FACTOR + P99_LEAST
    return Verdict(
        "p99 of the answers",
        f"{before * 1000:.0f} → {after * 1000:.0f} ms",
        f"{most * 1000:.0f} ms",
        after <= most,
    )


def slope(values):
    """Of a line through them, a step apart (Theil and Sen): the median of the slopes between any two.

    Outliers do not count.
    """
    pairs = combinations(enumerate(values), 2)
    return statistics.median((later - earlier) / (end - start) for (start, earlier), (end, later) in pairs)
