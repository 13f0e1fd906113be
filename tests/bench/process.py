"""Running a command and taking its time."""

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections import namedtuple

CPU_S, WALL_S = "CPU time", "wall time"


class Failure(Exception):
    """Something that was to be measured could not be run; says what and why."""


# `cpu_s` includes the children that were waited for.
Finished = namedtuple("Finished", "cpu_s wall_s output errors")

# The caller's environment without what an allocator, the loader, Python or the library would read.
CLEAN = {name: value for name, value in os.environ.items()
         if not name.startswith(("MEMBUDGET_", "LD_", "MALLOC_", "MIMALLOC_", "TCMALLOC_", "GLIBC_", "PYTHON"))}
CLEAN.update(LC_ALL="C.UTF-8", TZ="UTC")


def run(command, settings, *, input_file=None, timeout=300):
    """Runs a command to its end with `settings` in its environment. Failure unless it exits with 0."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors, \
            open(input_file or os.devnull, "rb") as standard_input:
        start = time.perf_counter_ns()
        process = subprocess.Popen([str(word) for word in command], env={**CLEAN, **settings}, stdin=standard_input,
                                   stdout=output, stderr=errors, start_new_session=True)
        status, usage = wait(process, timeout)
        wall_s = (time.perf_counter_ns() - start) / 1e9
        printed, complaints = (read(stream) for stream in (output, errors))
    if status != 0:
        how = f"exit status {status}" if status > 0 else f"ended by signal {-status} (time-out: {timeout} s)"
        raise Failure(f"{os.path.basename(str(command[0]))}: {how}: {complaints.strip()[-600:]}")
    return Finished(usage.ru_utime + usage.ru_stime, wall_s, printed, complaints)


def wait(process, timeout):
    """Waits for a process, whose session is killed after `timeout` seconds: (exit status, resource usage)."""
    watchdog = threading.Timer(timeout, lambda: os.killpg(process.pid, signal.SIGKILL))
    watchdog.start()
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:  # Ctrl-C: nothing is left running
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    finally:
        watchdog.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage


def read(stream):
    stream.seek(0)
    return stream.read().decode(errors="replace")
