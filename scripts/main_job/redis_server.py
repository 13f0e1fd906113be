"""A Redis server of one's own: on a unix socket in a temporary folder, gone when it is not needed any more."""

import contextlib
import os
import subprocess
import tempfile
import time

from redis_stream import StreamError, connected

_START_S = 20


class ServerError(RuntimeError):
    """The server cannot be started; str() says why, for the user."""


@contextlib.contextmanager
def running_server():
    """The path of the socket of a server that nobody else knows of, and that keeps nothing on disk."""
    with tempfile.TemporaryDirectory(prefix="membudget-redis-") as folder:
        path, log = os.path.join(folder, "socket"), os.path.join(folder, "log")
        command = ["redis-server", "--port", "0", "--unixsocket", path, "--unixsocketperm", "700", "--dir", folder]
        command += ["--save", "", "--appendonly", "no", "--daemonize", "no", "--logfile", log]
        try:
            # A group of its own: Ctrl-C is for the consumer, which acknowledges to the server at its end.
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        except OSError as error:
            raise ServerError(f"cannot start redis-server: {error}; scripts/setup installs it") from error
        try:
            _wait_until_it_answers(process, path, log)
            yield path
        finally:
            process.kill()
            process.wait()


def _wait_until_it_answers(process, path, log):
    deadline = time.monotonic() + _START_S
    while True:
        if os.path.exists(path):
            with contextlib.suppress(StreamError), connected(path) as connection:
                connection.ping()
                return
        if process.poll() is not None or time.monotonic() > deadline:
            raise ServerError(f"redis-server does not start: {_last_line(log)}")
        time.sleep(0.02)


def _last_line(log):
    try:
        with open(log) as file:
            return (file.read().splitlines() or ["it says nothing"])[-1]
    except OSError:
        return "it has written no log"
