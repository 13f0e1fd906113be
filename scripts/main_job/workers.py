#!/usr/bin/env python3
"""Several consumers on one budget: reads JSON lines from standard input, and hands each to the consumer that its key
belongs to.

    membudget run --limit 256M --name NAME -- python3 workers.py --workers 4 --db events.sqlite --report report.json < events.jsonl

The consumers are its children, and so belong to its group; what it takes itself is a part of the budget, too. It has
consumer.py's report and exit status.

Upon SIGTERM or SIGINT nothing more is read; what was read is handed out and stored. A consumer that ends early has
taken events with it: exit status 1.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zlib

try:
    import membudget
except ImportError:  # from the source tree, without an installation
    _root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
    sys.path[:0] = [os.path.join(_root, "control/python"), os.path.join(_root, "build/release/control/python")]
    import membudget

from progress import Rate
from source import Interrupt, parse, read_lines
from store import Store, StoreError

HERE = os.path.dirname(os.path.abspath(__file__))
SHOWN_ERRORS = 5
WRITTEN_AT_ONCE = 1 << 15


class WorkerError(Exception):
    """A consumer ended badly; str() says which and how."""


class Worker:
    """A consumer of its own process, and the pipe that it reads."""

    def __init__(self, number, arguments, folder):
        self.number = number
        self._report = os.path.join(folder, f"{number}.json")
        self._pending = bytearray()
        command = [sys.executable, os.path.join(HERE, "consumer.py"), "--part"]
        command += ["--db", arguments.db, "--report", self._report]
        command += ["--max-items", str(arguments.max_items)] if arguments.max_items else []
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, bufsize=0)

    def send(self, line):
        """Hands over a line, sooner or later. WorkerError."""
        self._pending += line
        self._pending += b"\n"
        if len(self._pending) >= WRITTEN_AT_ONCE:
            self._flush()

    def _flush(self):
        rest = memoryview(bytes(self._pending))
        self._pending.clear()
        try:
            while rest:
                rest = rest[self._process.stdin.write(rest):]
        except BrokenPipeError:
            raise WorkerError(f"worker {self.number} has ended early, with status {self._process.wait()}") from None

    def close(self):
        """There is no more to come. WorkerError."""
        self._flush()
        self._process.stdin.close()

    def report(self):
        """Waits for its end; returns its figures. WorkerError."""
        status = self._process.wait()
        if status != 0:
            raise WorkerError(f"worker {self.number} has ended with status {status}")
        with open(self._report) as file:
            return json.load(file)

    def kill(self):
        """Does nothing when it has ended."""
        self._process.kill()
        self._process.wait()


class Distributor:
    """Hands lines to workers by their key: all events of one are de-duplicated in one place."""

    def __init__(self, workers, rate):
        self.malformed = 0
        self._workers = workers
        self._rate = rate

    def run(self, lines):
        """Hands out all lines, and tells the workers that these were all. WorkerError."""
        events = 0
        for number, line in enumerate(lines, 1):
            try:
                key, _ = parse(line)
            except ValueError as error:
                self._report_malformed(number, line, error)
                continue
            self._workers[zlib.crc32(key.encode()) % len(self._workers)].send(line)
            events += 1
            if events % 256 == 0:
                self._rate.show(events, f"to {len(self._workers)} workers")
        for worker in self._workers:
            worker.close()

    def _report_malformed(self, number, line, error):
        if not line.strip():
            return
        self.malformed += 1
        if self.malformed <= SHOWN_ERRORS:
            self._rate.clear()
            print(f"line {number} is left out: {error}", file=sys.stderr)
            if self.malformed == SHOWN_ERRORS:
                print("further ones are counted only", file=sys.stderr)


def call(function, *arguments):
    """The guard of who keeps no batch that could be flushed to make room."""
    return function(*arguments)


def combined(reports):
    """The figures of all workers as those of one; each one's own are in "workers"."""
    with_batches = [report for report in reports if report["batches"]] or reports
    figures = {name: sum(report[name] for report in reports)
               for name in ("events", "batches", "last_batch", "written", "peak_rss_bytes", "peak_counted_bytes")}
    figures.update(
        smallest_batch=min(report["smallest_batch"] for report in with_batches),
        median_batch=int(statistics.median(report["median_batch"] for report in with_batches)),
        largest_batch=max(report["largest_batch"] for report in reports),
        largest_line_bytes=max(report["largest_line_bytes"] for report in reports),
        allocator=reports[0]["allocator"],
        limit_bytes=reports[0]["limit_bytes"],
        workers=reports,
    )
    return figures


def consume(arguments, interrupt):
    """The whole run; returns its report. StoreError, OSError, WorkerError."""
    started = time.monotonic()
    store = Store(arguments.db)
    before = store.count_events()
    rate = Rate(arguments.expect)
    workers = []
    with tempfile.TemporaryDirectory(prefix="membudget-workers-") as folder:
        try:
            for number in range(1, arguments.workers + 1):
                workers.append(Worker(number, arguments, folder))
            distributor = Distributor(workers, rate)
            distributor.run(read_lines(sys.stdin.fileno(), interrupt, call))
            report = combined([worker.report() for worker in workers])
        finally:
            rate.clear()
            for worker in workers:
                worker.kill()
    report.update(malformed=distributor.malformed, stored=store.count_events() - before)
    own = membudget.attach(required=False)
    if own.snapshot().name:
        report["peak_counted_bytes"] = own.group.peak_counted_bytes
    report["seconds"] = time.monotonic() - started
    store.close()
    return report


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--db", required=True, help="SQLite file; what is in it stays")
    parser.add_argument("--max-items", type=int, help="each flushes at this many items, too")
    parser.add_argument("--expect", type=int, help="events that are coming, for the display of progress")
    parser.add_argument("--report", required=True, help="file for the final figures, as JSON")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    interrupt = Interrupt()
    try:
        report = consume(arguments, interrupt)
    except (StoreError, OSError, WorkerError) as error:
        return f"workers: {error}"
    report["signal"] = interrupt.signal
    with open(arguments.report, "w") as file:
        json.dump(report, file)
    if report["stored"] != report["events"]:
        return f"workers: {report['events']} events were read, but {report['stored']} are in {arguments.db}"
    return 128 + interrupt.signal if interrupt.signal else 0


if __name__ == "__main__":
    sys.exit(main())
