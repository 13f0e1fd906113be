"""Runs every strategy in a cgroup of its own, by turns, and tables the outcome.

Each run's outcome is appended to RESULTS/bench-cgroup.jsonl as it ends; those that are there are not run again, so an
interrupted bench goes on where it was. The tables and the picture are of all that is there.
"""

import argparse
import concurrent.futures
import datetime
import os
import queue
import signal
import sys
import tempfile
import threading

import outcomes
import stream
from cgroup import Unavailable
from runner import ROOT, Slot
from strategies import NAMES, works_together

FORMAT = argparse.RawDescriptionHelpFormatter


def cases_of(arguments):
    """All runs, the seeds outermost: what disturbs the machine falls on all alike."""
    for seed in range(1, arguments.runs + 1):
        for workers in arguments.workers or (1, 4):
            for mix in arguments.mix or stream.MIXES:
                for name in NAMES:
                    if arguments.strategy and not any(name.startswith(start) for start in arguments.strategy):
                        continue
                    if workers == 1 or works_together(name):
                        yield {"strategy": name, "mix": mix, "workers": workers, "seed": seed, "events": arguments.events}


class Bench:
    """Runs cases in slots of their own, and files the outcomes."""

    def __init__(self, arguments, scratch, filed):
        self._limit_bytes = arguments.limit << 20
        self._filed = filed
        self._lock = threading.Lock()
        self._slots = queue.SimpleQueue()
        for number in range(arguments.jobs):
            self._slots.put(Slot(scratch, number))

    def run(self, case):
        """Raises cgroup.Unavailable."""
        slot = self._slots.get()
        try:
            report = slot.run(case, self._limit_bytes)
        finally:
            self._slots.put(slot)
        if report is None:
            return
        with self._lock:
            outcome = {**case, "limit": self._limit_bytes >> 20, **report}
            self._filed.add(outcome)
            row = outcomes.line_of(case["strategy"], outcomes.summary_of([outcome]))
            print(f"{datetime.datetime.now():%H:%M:%S} {outcomes.group_of(case)} {case['seed']} {row} {report['error']}", flush=True)


def run_all(arguments, filed):
    """False when no cgroup can be made."""
    missing = [case for case in cases_of(arguments) if not filed.has({**case, "limit": arguments.limit})]
    with tempfile.TemporaryDirectory(prefix="membudget-cgroup-", dir=os.environ.get("TMPDIR", "/var/tmp")) as scratch:
        bench = Bench(arguments, scratch, filed)
        with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
            running = [pool.submit(bench.run, case) for case in missing]
            try:
                for one in running:
                    one.result()
            except (Unavailable, KeyboardInterrupt) as error:
                pool.shutdown(wait=True, cancel_futures=True)
                print(f"bench-cgroup: {str(error) or 'interrupted'}", file=sys.stderr)
                return isinstance(error, KeyboardInterrupt)
    return True


def parse_arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench-cgroup", description=__doc__, formatter_class=FORMAT)
    parser.add_argument("--runs", type=int, default=20, help="seeds for each strategy and mix (20)")
    parser.add_argument("--events", type=int, default=420_000, help="in each run (420,000: some five batches)")
    parser.add_argument("--limit", type=int, default=256, help="of the cgroup, in MiB (256)")
    parser.add_argument("--mix", action="append", choices=list(stream.MIXES), help="only this one; may be repeated")
    parser.add_argument("--workers", action="append", type=int, choices=(1, 4),
                        help="1 or 4 consumers in the cgroup; both unless given")
    parser.add_argument("--strategy", action="append", help="only those whose name begins so; may be repeated")
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time (1)")
    parser.add_argument("--list", action="store_true", help="the strategies' names")
    parser.add_argument("--table", action="store_true", help="runs nothing: tables what there is")
    parser.add_argument("--results", default=os.path.join(ROOT, "results"), help="the folder (results)")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    if arguments.list:
        print("\n".join(NAMES))
        return 0
    filed = outcomes.Outcomes(arguments.results)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # or cgroups and databases would be left behind
    is_fine = arguments.table or run_all(arguments, filed)
    print(filed.write_tables())
    return 0 if is_fine else 1


if __name__ == "__main__":
    sys.exit(main())
