"""Set up the production server: a few processes with few threads each. PORT changes the port.

gunicorn reads this file. `GUNICORN_CMD_ARGS` and command-line options win over it.
"""

import ctypes
import gc
import os
from contextlib import suppress
from typing import Protocol

from gunicorn.config import Config
from gunicorn.http import message
from gunicorn.workers import gthread
from gunicorn.workers.base import Worker

from app import check_database_fits
from config import Settings
from endpoints import discovery
from environment import env_file
from errors import ConfigError
from middleware import logs
from middleware.buffering_worker import BufferingWorker
from protocol.redirect_uris import is_loopback_host
from services import database_checks
from services.current import state_of

env_file.load()  # for PORT and WEB_CONCURRENCY; `on_starting` tells what is wrong with it
bind = [f"127.0.0.1:{os.environ.get('PORT') or 8000}"]
workers = database_checks.processes()
threads = 4
# a process; files and database connections need room too below the usual limit of 1024
worker_connections = 800
# A slow client holds no thread.
worker_class = "middleware.buffering_worker.BufferingWorker"
# A pool must not be shared across fork.
preload_app = False
control_socket_disable = True
timeout = 30
graceful_timeout = 10
keepalive = 75
# Authorization requests carry a state, and some clients put much into it.
limit_request_line = 16 * 1024
# The cookies are one field, and a browser may have 180 of ours (`services/browser_ids.py`).
limit_request_field_size = 16 * 1024
# OSTIARY_TRUSTED_PROXIES decides whose headers count. gunicorn would trust everybody on 127.0.0.1, take
# SCRIPT_NAME and PATH_INFO from the request, and believe the scheme of whoever comes through a Unix socket.
forwarded_allow_ips = ""
forwarder_headers = ""
secure_scheme_headers: dict[str, str] = {}
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108 - heartbeat files, in memory
loglevel = "info"
logger_class = "middleware.gunicorn_log.Log"


M_MMAP_THRESHOLD = -3  # malloc.h
LARGE_BLOCK = 1024 * 1024


class Arbiter(Protocol):
    """What we use of gunicorn's main process. `app.is_served` goes by the module of the real one."""

    cfg: Config
    worker_class: type[Worker]


def on_starting(server: Arbiter) -> None:
    """Refuse to start, before anything listens, where the settings do not allow it."""
    try:
        settings = Settings()
        logs.configure(settings.log_level)
        check_database_fits(settings, is_served=True)
    except ConfigError as error:
        raise SystemExit(str(error)) from None
    if server.cfg.is_ssl and issubclass(server.worker_class, BufferingWorker):
        raise SystemExit(
            "End TLS in a proxy in front; or take --worker-class gthread, where each slow client"
            " holds a thread."
        )
    addresses = [address[0] for address in server.cfg.address if isinstance(address, tuple)]
    if settings.is_development and not all(is_loopback_host(host) for host in addresses):
        raise SystemExit("A loopback issuer is bound to loopback addresses only: set OSTIARY_ISSUER.")


def post_worker_init(worker: Worker) -> None:
    """Prepare a worker process that has its application."""
    logs.configure(Settings().log_level)
    give_large_blocks_back()
    if worker.age == 1:  # one of them logs it
        database_checks.log_problems(worker.wsgi, worker.cfg.workers)
    state_of(worker.wsgi).delivery.start()  # at once: notices may be due from before
    # gunicorn has no settings for these two.
    message.MAX_REQUEST_LINE = limit_request_line  # it would take 8190 instead
    gthread.DEFAULT_WORKER_DATA_TIMEOUT = 0.05  # how long a thread waits for a body that was refused unread


def give_large_blocks_back() -> None:
    """Let glibc give large blocks of memory back to the kernel at once (mallopt(3)).

    A password hash takes 19 MiB for a moment, and glibc would keep blocks of that size, one for each thread.
    Other C libraries have no such function, and do not do that.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)


def when_ready(server: Arbiter) -> None:
    """Freeze the garbage collector before the workers are forked, and tell that the server is ready.

    The collector would write to all the memory that the workers share, and so copy it.
    """
    gc.collect()
    gc.freeze()
    issuer = Settings().issuer
    document = issuer + discovery.policy.paths[0]
    print(f"\n  Ostiary is ready:  {issuer}\n  Metadata:          {document}\n", flush=True)
