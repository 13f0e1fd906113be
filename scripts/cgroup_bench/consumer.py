"""One consumer in the cgroup: reads a stream, de-duplicates in a dict, writes to SQLite when its strategy says so.

    consumer.py STRATEGY STREAM DATABASE CGROUP REPORT

The report is written anew after each flush, so that something is known of those that are killed, too.
"""

import json
import os
import sqlite3
import sys
import time

from cgroup import Account
from strategies import strategy_of

SAMPLE_EVERY = 500  # events; what is sampled is for the report only


class Consumer:
    """Holds the buffer; `strategy` decides."""

    def __init__(self, strategy, database, account, limit_bytes, report_path):
        self._strategy = strategy
        self._account = account
        self._limit = limit_bytes
        self._report_path = report_path
        self._started = time.monotonic()
        self._buffer = {}
        self._peak = 0
        self._report = {"events": 0, "batches": [], "at_flush": [], "retries": 0, "done": False}
        self._database = sqlite3.connect(database)
        self._database.execute("PRAGMA synchronous=OFF")
        self._database.execute("CREATE TABLE events (key TEXT PRIMARY KEY, payload TEXT, count INTEGER) WITHOUT ROWID")

    def run(self, lines):
        for line in lines:
            try:
                self._add(line)
            except MemoryError:  # of the hard limit: room is made, and it is done again
                self._report["retries"] += 1
                self._flush()
                self._add(line)
            del line
            self._report["events"] += 1
            if self._report["events"] % SAMPLE_EVERY == 0:
                self._sample()
            if self._strategy.says_flush(len(self._buffer)):
                self._flush()
        self._report["rest"] = len(self._buffer)
        self._report["done"] = True
        self._write_report()

    def flush(self):
        """For a source that needs room."""
        self._report["retries"] += 1
        self._flush()

    def _add(self, line):
        event = json.loads(line)
        key = event["key"]
        known = self._buffer.get(key)
        self._buffer[key] = (event["payload"], known[1] + 1 if known else 1)

    def _flush(self):
        size = len(self._buffer)
        self._report["at_flush"].append(self._sample())
        with self._strategy.flushing():
            with self._database:  # what is written is let go of at once: writing takes memory, too
                while self._buffer:
                    key, (payload, count) = self._buffer.popitem()
                    self._database.execute(
                        "INSERT INTO events VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE"
                        " SET payload = excluded.payload, count = count + excluded.count",
                        (key, payload, count),
                    )
                    if len(payload) > 1 << 20:
                        self._sample()
        self._report["batches"].append(size)
        self._write_report()

    def _sample(self):
        share = self._account.charged_bytes() / self._limit
        self._peak = max(self._peak, share)
        return share

    def _write_report(self):
        self._report["peak"] = self._peak
        self._report["seconds"] = time.monotonic() - self._started
        with open(self._report_path + ".part", "w") as out:
            json.dump(self._report, out)
        os.replace(self._report_path + ".part", self._report_path)


def read_lines(path, make_room):
    """Lines as bytes, read in pieces: when there is no room for a line, that is made, and nothing is lost."""
    file = os.open(path, os.O_RDONLY)
    rest = []
    while piece := _retried(lambda: os.read(file, 1 << 18), make_room):
        *whole, last = piece.split(b"\n")
        for line in whole:
            rest.append(line)
            joined = _retried(lambda: b"".join(rest), make_room) if len(rest) > 1 else line
            rest.clear()
            yield joined
        rest.append(last)
        del piece, whole, last


def _retried(get, make_room):
    try:
        return get()
    except MemoryError:
        make_room()
        return get()


def main():
    name, stream, database, folder, report = sys.argv[1:]
    account = Account(folder)
    file = "memory.limit_in_bytes" if account.is_v1 else "memory.max"
    with open(os.path.join(folder, file)) as text:
        limit = int(text.read())
    strategy = strategy_of(name, account, folder, limit)
    consumer = Consumer(strategy, database, account, limit, report)
    consumer.run(read_lines(stream, consumer.flush))


if __name__ == "__main__":
    main()
