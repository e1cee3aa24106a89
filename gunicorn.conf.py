"""The production server's settings: a few processes with few threads each; PORT changes the port.

Read by gunicorn. `GUNICORN_CMD_ARGS` and command-line options win over this file.
"""

import ctypes
import gc
import os
from contextlib import suppress

from gunicorn.http import message
from gunicorn.workers import gthread

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
worker_class = "middleware.buffering_worker.BufferingWorker"  # a slow client holds no thread
preload_app = False  # a pool must not be shared across fork
control_socket_disable = True
timeout = 30
graceful_timeout = 10
keepalive = 75
limit_request_line = 16 * 1024  # authorization requests carry a state, and some clients put much into it
limit_request_field_size = (
    16 * 1024
)  # the cookies are one field, and a browser may have 180 of ours (`services/browser_ids.py`)
# OSTIARY_TRUSTED_PROXIES decides what counts; gunicorn would trust everything on 127.0.0.1,
forwarded_allow_ips = ""
forwarder_headers = ""  # and take SCRIPT_NAME and PATH_INFO from the request;
secure_scheme_headers: dict[
    str, str
] = {}  # from whoever comes through a Unix socket it would believe these all the same
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108 - heartbeat files, in memory
loglevel = "info"
logger_class = "middleware.gunicorn_log.Log"


M_MMAP_THRESHOLD = -3  # malloc.h
LARGE_BLOCK = 1024 * 1024


def on_starting(server):  # type: ignore[no-untyped-def]
    """Refuse, before anything listens, what the settings do not allow."""
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


def post_worker_init(worker):  # type: ignore[no-untyped-def]
    logs.configure(Settings().log_level)
    give_large_blocks_back()
    if worker.age == 1:  # the first of all
        database_checks.log_problems(worker.wsgi, worker.cfg.workers)
    state_of(worker.wsgi).delivery.start()  # before anybody asks: it may have been left something
    # gunicorn has no settings for these two.
    message.MAX_REQUEST_LINE = limit_request_line  # it would take 8190 instead
    gthread.DEFAULT_WORKER_DATA_TIMEOUT = 0.05  # how long a thread waits for a body that was refused unread


def give_large_blocks_back():  # type: ignore[no-untyped-def]
    """A password hash takes 19 MiB for a moment. glibc learns to keep blocks of that size, one for each
    thread; told a limit, it gives whatever is larger back to the kernel at once (mallopt(3)). Other C
    libraries have no such function, and no such habit.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)


def when_ready(server):  # type: ignore[no-untyped-def]
    """Before the workers are forked.

    Their garbage collector would write to all the memory that they share, and so copy it.
    """
    gc.collect()
    gc.freeze()
    issuer = Settings().issuer
    document = issuer + discovery.policy.paths[0]
    print(f"\n  Ostiary is ready:  {issuer}\n  Metadata:          {document}\n", flush=True)
