#!/usr/bin/env python3
"""The batch consumer: reads JSON lines from standard input, de-duplicates them in memory by key, and
writes each batch to SQLite in one transaction when the memory budget is crossed.

    membudget run --limit 256M -- python3 consumer.py --db events.sqlite < events.jsonl

With --redis they come from a stream, and are acknowledged when they are in the database: what a killed consumer
held is delivered again, and what it had written is not written twice.

Ends at the end of the input or upon SIGTERM or SIGINT, with every event that was read in the database
either way; exit status 143 or 130 then. 1: an event that was read may be missing, or nothing was read.
"""

import argparse
import json
import os
import statistics
import sys
import time

try:
    import membudget
except ImportError:  # from the source tree, without an installation
    _root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
    sys.path[:0] = [os.path.join(_root, "control/python"), os.path.join(_root, "build/release/control/python")]
    import membudget

from progress import Progress
from source import Interrupt, parse, position, read_lines
from store import Store, StoreError

SHOWN_ERRORS = 5
POLL_S = 0.2  # how long a stream is waited for before an interrupt is noticed
RESERVE_BYTES = 5 << 19  # for writing a batch; SQLite's page cache takes 2 MB


class Consumer:
    """One run over the input."""

    def __init__(self, store, budget, progress):
        self.events = self.malformed = self.largest_line = 0
        self.batch_sizes = []
        self._store = store
        self._budget = budget
        self._progress = progress
        self._set_aside()

    def run(self, fd, interrupt, max_items):
        """Consumes the lines that come from a file descriptor, up to its end or an interrupt."""
        with membudget.Batch(self._write, max_items=max_items) as batch:
            for number, line in enumerate(read_lines(fd, interrupt, batch.guard), 1):
                self._take_in(batch, f"line {number}", line)

    def run_stream(self, stream, interrupt, max_items):
        """Consumes an EventStream up to its end or an interrupt."""
        batch = membudget.Batch(max_items=max_items)
        stored = position(self._store.position(stream.identity) or "0-0")
        ids = []  # of what is in the batch, or needs not be
        is_end = False
        while not is_end and not interrupt.signal:
            for id_, text in self._with_room(batch, stream, ids, stream.read, POLL_S):
                if text is None:
                    is_end = True
                elif position(id_) > stored:  # else it was stored, but not acknowledged any more
                    self._with_room(batch, stream, ids, self._take_in, batch, f"event {id_}", text)
                ids.append(id_)
                if batch.due:
                    self._commit(batch, stream, ids)
        self._commit(batch, stream, ids)

    def _with_room(self, batch, stream, ids, function, *arguments):
        """function(*arguments), upon MemoryError once more after a commit."""
        try:
            return function(*arguments)
        except MemoryError:
            pass
        self._commit(batch, stream, ids)
        return function(*arguments)

    def _commit(self, batch, stream, ids):
        with batch.drain() as items:
            if items:
                self._write(items, stream.identity, ids[-1])
        if ids:
            stream.acknowledge(ids)
            ids.clear()

    def _take_in(self, batch, where, line):
        try:
            key, payload = batch.guard(parse, line)
        except ValueError as error:
            self._report_malformed(where, line, error)
            return
        known = batch.get(key)
        batch[key] = (payload, known[1] + 1 if known else 1)
        self.events += 1
        self.largest_line = max(self.largest_line, len(line))
        if self.events % 256 == 0:
            self._progress.show(self.events, len(self.batch_sizes), len(batch))

    def _write(self, items, source=None, source_position=None):
        self._progress.show(self.events, len(self.batch_sizes), len(items), is_writing=True)
        self._reserve = None
        self._store.write(items, source, source_position)
        self.batch_sizes.append(len(items))
        items.clear()
        self._set_aside()

    def _set_aside(self):
        # Writing takes memory, too. It is counted beforehand, so that the budget is crossed while there is
        # still room for it.
        self._reserve = bytearray(min(RESERVE_BYTES, self._budget.limit_bytes // 8))

    def _report_malformed(self, where, line, error):
        if not line.strip():
            return
        self.malformed += 1
        if self.malformed <= SHOWN_ERRORS:
            self._progress.clear()
            print(f"{where} is left out: {error}", file=sys.stderr)
            if self.malformed == SHOWN_ERRORS:
                print("further ones are counted only", file=sys.stderr)

    def report(self, seconds):
        """What was reached, as a dict of plain values. Sizes in bytes."""
        # The last batch is as large as the end of the input left it, which says nothing.
        sizes = self.batch_sizes[:-1] or self.batch_sizes or [0]
        counters = self._budget.snapshot()
        return {
            "events": self.events,
            "malformed": self.malformed,
            "seconds": seconds,
            "batches": len(self.batch_sizes),
            "smallest_batch": min(sizes),
            "median_batch": int(statistics.median(sizes)),
            "largest_batch": max(sizes),
            "last_batch": self.batch_sizes[-1] if self.batch_sizes else 0,
            "written": sum(self.batch_sizes),
            "largest_line_bytes": self.largest_line,
            "allocator": counters.allocator,
            "limit_bytes": counters.limit_bytes,
            "peak_counted_bytes": counters.peak_counted_bytes,
            "peak_rss_bytes": peak_rss_bytes(),
        }


def peak_rss_bytes():
    """The highest resident size of this process so far (of this program: getrusage's outlives an exec)."""
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--db", required=True, help="SQLite file; what is in it stays")
    parser.add_argument("--redis", metavar="SOCKET", help="read the stream of this server, by its unix socket")
    parser.add_argument("--part", action="store_true",
                        help="one of several on this database: reads to the end, leaves signals to who feeds it")
    parser.add_argument("--max-items", type=int, help="flush at this many items, too")
    parser.add_argument("--expect", type=int, help="events that are coming, for the display of progress")
    parser.add_argument("--report", help="file for the final figures, as JSON")
    return parser.parse_args()


def consume_stream(consumer, arguments, interrupt):
    """The events of a Redis stream. OSError when the server is not there."""
    from redis_stream import EventStream, StreamError, connect

    try:
        consumer.run_stream(EventStream(connect(arguments.redis)), interrupt, arguments.max_items)
    except StreamError as error:
        raise OSError(f"Redis at {arguments.redis}: {error}; what is not acknowledged stays there") from error


def consume(arguments, interrupt):
    """The whole run; returns its report. StoreError, OSError."""
    started = time.monotonic()
    budget = membudget.attach(required=False)
    store = Store(arguments.db)
    before = store.count_events()
    progress = Progress(budget, arguments.expect, is_quiet=arguments.part)
    consumer = Consumer(store, budget, progress)
    try:
        if arguments.redis:
            consume_stream(consumer, arguments, interrupt)
        else:
            consumer.run(sys.stdin.fileno(), interrupt, arguments.max_items)
    except StoreError as error:
        raise StoreError(f"{error}; {consumer.events} events were read, the last of them are not in it") from error
    finally:
        progress.clear()
    report = consumer.report(time.monotonic() - started)
    if not arguments.part:
        report["stored"] = store.count_events() - before
    store.close()
    return report


def main():
    arguments = parse_arguments()
    interrupt = Interrupt(is_ignored=arguments.part)
    try:
        report = consume(arguments, interrupt)
        report["signal"] = interrupt.signal
        if arguments.report:
            with open(arguments.report, "w") as file:
                json.dump(report, file)
    except (StoreError, OSError) as error:
        return f"consumer: {error}"
    if not arguments.part and report["stored"] != report["events"]:
        return f"consumer: {report['events']} events were read, but {report['stored']} are in {arguments.db}"
    return 128 + interrupt.signal if interrupt.signal else 0


if __name__ == "__main__":
    sys.exit(main())
