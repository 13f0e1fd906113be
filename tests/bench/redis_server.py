"""redis-server under redis-benchmark: the server's own CPU time for a request, and the time that one takes."""

import contextlib
import os
import pathlib
import socket
import subprocess
import tempfile
import time

import variants
from figures import RATIO, Row, interleaved
from process import CLEAN, Failure, run
from programs import TARGET

TESTS = ("set", "get", "incr", "lpush", "lpop", "sadd", "hset", "zadd")
REQUESTS = 60_000  # of each test
CPU, WALL = "server's CPU time a request", "time a request"


def answers(path):
    """Whether a server answers on the socket."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1)
        connection.connect(path)
        connection.sendall(b"PING\r\n")
        return connection.recv(16).startswith(b"+PONG")
    return False


@contextlib.contextmanager
def server(settings):
    """A server of its own that keeps nothing on disk: (process, path of its socket)."""
    with tempfile.TemporaryDirectory(prefix="membudget-redis.") as folder:
        path = os.path.join(folder, "socket")
        # Its background thread would purge the jemalloc that it is linked with, on one side only.
        command = ["redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no",
                   "--dir", folder, "--jemalloc-bg-thread", "no", "--daemonize", "no"]
        process = subprocess.Popen(command, env={**CLEAN, **settings}, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 20
            while not answers(path):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise Failure("redis-server does not start")
                time.sleep(0.02)
            yield process, path
        finally:
            process.kill()
            process.wait()


def cpu_ns(pid):
    """CPU time of all threads of a process."""
    threads = pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text(encoding="ascii").split()[0]) for thread in threads)


def measured(settings, requests):
    """A function that serves the tests once."""
    def once():
        with server(settings) as (process, path):
            before = cpu_ns(process.pid)
            benchmark = run(["redis-benchmark", "-s", path, "-t", ",".join(TESTS), "-n", requests, "-c", 32, "-P", 8,
                             "-d", 200, "-r", 50_000, "-q"], {})
            used_us = (cpu_ns(process.pid) - before) / 1e3
        total = requests * len(TESTS)
        return {CPU: used_us / total, WALL: benchmark.wall_s * 1e6 / total}
    return once


def redis(allocator, options):
    """[Row] for the server's CPU time and the throughput."""
    requests = int(REQUESTS * options.scale)
    results = interleaved({"raw": measured(variants.raw(allocator), requests),
                           "membudget": measured(variants.ours(allocator), requests)}, options.program_runs)
    return [Row("redis-server", allocator, metric, "us", RATIO, results["membudget"][metric], results["raw"][metric],
                TARGET) for metric in (CPU, WALL)]
