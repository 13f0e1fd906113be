"""Consumers in the cgroup: each reads a stream, de-duplicates it in a dict, writes that when its strategy says so.

    consumer.py '{"strategy": ..., "mix": ..., "seed": ..., "events": ..., "workers": ..., "folder": the cgroup's,
                  "limit_bytes": ..., "databases": [...], "reports": [...]}'

The report is written anew after each flush, so that something is known of those that are killed, too. Several
workers are forked off one parent, and have a share of the events each.
"""

import json
import os
import signal
import sys
import time

import stream
from cgroup import Account
from store import Store
from strategies import strategy_of

SAMPLE_EVERY = 500  # events or rows; what is sampled is for the report only
MOST_BATCHES = 200  # who needs so many flushes at every other event, and would never come to an end


class Consumer:
    """Counts and samples; `strategy` holds the buffer and decides."""

    def __init__(self, task, number):
        self._account = Account(task["folder"])
        self._limit = task["limit_bytes"]
        self._report_path = task["reports"][number]
        self._store = Store(task["databases"][number])
        self._report = {"read": 0, "batches": [], "at_flush": [], "peak": 0, "done": False}
        self._strategy = strategy_of(task["strategy"], self._account, task["folder"], self._limit, self._flush)
        self._is_rest = False  # what was left at the end is no batch of anybody's choice
        self._started = time.monotonic()

    def run(self, events):
        buffer, guard, says_flush = self._strategy.buffer, self._strategy.guard, self._strategy.says_flush
        line, since = stream.line, 0
        for number, offset, size in events:
            key = f"user-{number}"
            text = guard(_read, line, offset, size)
            known = buffer.get(key)
            buffer[key] = (text, known[1] + 1 if known else 1)
            del text, known
            since += 1
            if since == SAMPLE_EVERY:
                self._report["read"] += since
                since = 0
                self._sample()
            if says_flush():
                self._strategy.flush()
                if len(self._report["batches"]) >= MOST_BATCHES:
                    break
        self._report["read"] += since
        self._report["rest"] = len(buffer)
        self._is_rest = True
        if buffer:  # who happens to have flushed just before the end would seem slower
            self._strategy.flush()
        self._report["done"] = True
        self._write_report()

    def _flush(self, items):
        used = self._sample()
        self._store.write(self._rows(items))
        if not self._is_rest:
            self._report["at_flush"].append(used)
            self._report["batches"].append(len(items))
        self._write_report()

    def _rows(self, items):
        for count, (key, (payload, times)) in enumerate(items.items()):
            yield key, payload, times
            if count % SAMPLE_EVERY == 0 or len(payload) >= 1 << 20:
                self._sample()

    def _sample(self):
        share = self._account.charged_bytes() / self._limit
        self._report["peak"] = max(self._report["peak"], share)
        return share

    def _write_report(self):
        self._report["seconds"] = time.monotonic() - self._started
        with open(self._report_path + ".part", "w") as out:
            json.dump(self._report, out)
        os.replace(self._report_path + ".part", self._report_path)


def _read(line, offset, size):
    """A line as it comes, and the text in it, both there at the same time."""
    return str(line(offset, size), "ascii")


def run_worker(task, number):
    """One consumer, from its start to its end."""
    events = stream.events_of(task["mix"], task["seed"] * 100 + number, task["events"] // task["workers"])
    Consumer(task, number).run(events)


def run_workers(task):
    """Forks them; all are ended when one of them was killed."""
    workers = set()
    for number in range(task["workers"]):
        pid = os.fork()
        if pid == 0:
            run_worker(task, number)
            os._exit(0)
        workers.add(pid)
    while workers:
        pid, status = os.wait()
        workers.discard(pid)
        if status != 0:
            for other in workers:
                os.kill(other, signal.SIGKILL)
            sys.exit(f"a worker ended with status {status}")


def main():
    task = json.loads(sys.argv[1])
    if task["workers"] == 1:
        run_worker(task, 0)
    else:
        run_workers(task)


if __name__ == "__main__":
    main()
