"""One run in a cgroup of its own."""

import json
import os
import signal
import subprocess
import sys

import store
from cgroup import Cgroup
from strategies import command_of

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
MEMBUDGET = os.path.join(ROOT, "build/release/control/cli/membudget")
SECONDS = 600
_NOTHING = {"read": 0, "batches": [], "at_flush": [], "peak": 0, "seconds": 0, "rest": 0, "done": False}


class Slot:
    """The files of one run at a time; several slots are for runs in parallel."""

    def __init__(self, scratch, number):
        self._name = f"membudget-bench-{os.getpid()}-{number}"
        self._folder = os.path.join(scratch, str(number))
        os.mkdir(self._folder)

    def run(self, case, limit_bytes):
        """Its report, with `killed` and `error`; or None where the strategy cannot be had (v1's event on v2).

        `case`: strategy, mix, seed, events, workers. Raises cgroup.Unavailable.
        """
        files = {kind: [os.path.join(self._folder, f"{kind}{i}") for i in range(case["workers"])]
                 for kind in ("databases", "reports")}
        for path in files["reports"]:
            if os.path.exists(path):
                os.unlink(path)
        for path in files["databases"]:
            store.prepare(path, limit_bytes)
        with Cgroup(limit_bytes, self._name) as group:
            if case["strategy"].startswith("event") and group.version != 1:
                return None
            task = {**case, **files, "folder": group.folder, "limit_bytes": limit_bytes}
            error = self._execute(group, case["strategy"], json.dumps(task))
            killed = group.kills() > 0
        report = _combined([_read(path) for path in files["reports"]])
        report["killed"] = killed
        report["error"] = "" if killed else error
        return report

    def _execute(self, group, strategy, task):
        consumer = [sys.executable, os.path.join(HERE, "consumer.py"), task]
        enter = ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', group.folder]
        process = subprocess.Popen(
            enter + command_of(strategy, consumer, MEMBUDGET),
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )
        try:
            _, errors = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return f"not done after {SECONDS} s"
        return "" if process.returncode == 0 else (errors.strip().splitlines() or ["?"])[-1]


def _read(path):
    if not os.path.exists(path):
        return dict(_NOTHING)
    with open(path) as file:
        return {**_NOTHING, **json.load(file)}


def _combined(reports):
    """The workers' as one: they run at the same time."""
    return {
        "read": sum(r["read"] for r in reports),
        "batches": [size for r in reports for size in r["batches"]],
        "at_flush": [round(share, 4) for r in reports for share in r["at_flush"]],
        "peak": round(max(r["peak"] for r in reports), 4),
        "seconds": round(max(r["seconds"] for r in reports), 3),
        "rest": sum(r["rest"] for r in reports),
        "done": all(r["done"] for r in reports),
    }
