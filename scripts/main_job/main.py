#!/usr/bin/env python3
"""The main job: the batch consumer under a memory budget, then once more with a fixed batch size.

With --redis the events go through a Redis stream, and a consumer that is killed is started again.

Called by scripts/run, which explains the options. Exit status: 0; 1 when a run failed; 2 for wrong
settings; 128 + N when signal N ended it.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile

from report import print_report

HERE = os.path.dirname(os.path.abspath(__file__))
MOST_RESTARTS = 20
LOOK_S = 0.5


class Failed(Exception):
    """A run ended badly, and has said why; args[0] is its exit status."""


def consumer_command(options, database, report, max_items=None):
    """The command line of one run; with max_items it counts memory, but is held to no limit."""
    script = "consumer.py" if options.workers == 1 else "workers.py"
    command = [options.membudget, "run", "--allocator", options.allocator]
    command += ["--limit", options.limit] if max_items is None else []
    command += ["--name", f"main-job-{os.getpid()}"] if options.workers > 1 else []
    command += ["--", sys.executable, os.path.join(HERE, script), "--db", database, "--report", report]
    command += ["--workers", str(options.workers)] if options.workers > 1 else []
    command += ["--expect", str(options.events)] if options.input is None else []
    command += ["--max-items", str(max_items)] if max_items else []
    return command


class Pipe:
    """The consumer reads the events from its standard input."""

    arguments = ()

    def __init__(self, events):
        self.stdin = events

    def started(self):
        """Call when the consumer has been started."""
        if self.stdin is not sys.stdin:
            self.stdin.close()  # so that the generator notices when the consumer has ended

    def check(self):
        """Raises Failed when no more events can come, and the consumer would wait for ever."""

    def can_restart(self):
        """Whether another consumer could go on where one was killed."""
        return False

    def complete(self, report):
        """Adds what only this side knows. Failed."""


@contextlib.contextmanager
def open_input(options):
    """A file or pipe with the events. A generator of our own is ended with it."""
    if options.input == "-":
        yield sys.stdin
    elif options.input is not None:
        with open(options.input, "rb") as file:
            yield file
    else:
        generator = [sys.executable, os.path.join(HERE, "generate.py"), "--events", str(options.events)]
        with subprocess.Popen(generator, stdout=subprocess.PIPE) as process:
            yield process.stdout


class Stream:
    """The consumer reads the events from a Redis stream that a producer fills."""

    stdin = subprocess.DEVNULL

    def __init__(self, socket, producer):
        self.arguments = ("--redis", socket)
        self._socket = socket
        self._producer = producer
        self._restarts = 0

    def started(self):
        """Nothing to be done."""

    def check(self):
        """Raises Failed when the producer has failed, and has said why."""
        if self._producer.poll():
            raise Failed(1)

    def can_restart(self):
        """As long as that makes sense."""
        self._restarts += 1
        return self._restarts <= MOST_RESTARTS

    def complete(self, report):
        """How many consumers were killed. Failed when one has ended by itself, but left something behind."""
        from redis_stream import connected, counts

        report["restarts"] = self._restarts
        with connected(self._socket) as connection:
            left, pending = counts(connection)
        if not report["signal"] and (left or pending):
            print(f"scripts/run: {left} entries are left in the stream, {pending} not acknowledged", file=sys.stderr)
            raise Failed(1)


@contextlib.contextmanager
def open_source(options):
    """A Pipe or a Stream with the events."""
    with open_input(options) as events:
        if not options.redis:
            yield Pipe(events)
            return
        from redis_server import running_server

        with running_server() as socket:
            command = [sys.executable, os.path.join(HERE, "produce.py"), "--redis", socket]
            with subprocess.Popen(command, stdin=events) as producer:
                if events is not sys.stdin:
                    events.close()
                try:
                    yield Stream(socket, producer)
                finally:
                    producer.kill()


class Runner:
    """Runs consumers, one after the other, and passes SIGTERM and SIGINT on to the one that runs."""

    def __init__(self):
        self._process = None
        self._signal = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._pass_on)

    def _pass_on(self, number, frame):
        self._signal = number
        if self._process:
            self._process.send_signal(number)

    def run(self, options, database, max_items=None):
        """Runs the consumer over the input; returns its report. Failed."""
        with tempfile.TemporaryDirectory(prefix="membudget-run-") as folder, open_source(options) as source:
            report = os.path.join(folder, "report.json")
            command = [*consumer_command(options, database, report, max_items), *source.arguments]
            status = self._run(command, source)
            while status == -signal.SIGKILL and not self._signal and source.can_restart():
                print("the consumer was killed; another one goes on with what it had not acknowledged", file=sys.stderr)
                status = self._run(command, source)
            if not os.path.exists(report):
                raise Failed(status if status >= 0 else 128 - status)
            with open(report) as file:
                figures = json.load(file)
            source.complete(figures)
            return figures

    def _run(self, command, source):
        self._process = subprocess.Popen(command, stdin=source.stdin)
        source.started()
        if self._signal:  # came before there was a process to send it to
            self._process.send_signal(self._signal)
        try:
            return self._wait(source)
        finally:
            self._process.kill()
            self._process.wait()

    def _wait(self, source):
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self._process.wait(LOOK_S)
            if not self._signal:
                source.check()


def careful_count(report, workers):
    """The fixed batch size of somebody who must not exceed the limit: all payloads might be the largest."""
    return max(1, report["limit_bytes"] // workers // max(1, report["largest_line_bytes"]))


def compare(runner, options, report):
    """The same events again with a fixed count, into a database that is thrown away. (title, report)."""
    count = careful_count(report, options.workers)
    print(f"the same with a fixed count of {count:,} (the limit / the largest event), to compare:", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix=".compare-", dir=os.path.dirname(options.db) or ".") as folder:
        return f"fixed count {count:,}", runner.run(options, os.path.join(folder, "events.sqlite"), count)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--membudget", required=True, help="the command")
    parser.add_argument("--limit", required=True)
    parser.add_argument("--allocator", required=True)
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--input", help="a file of JSON lines, - for standard input; else they are generated")
    parser.add_argument("--db", required=True)
    parser.add_argument("--redis", action="store_true", help="by way of a Redis stream")
    parser.add_argument("--workers", type=int, default=1, help="consumers that share events and limit")
    return parser.parse_args()


def main():
    options = parse_arguments()
    runner = Runner()
    try:
        report = runner.run(options, options.db)
        columns = [(f"budget {options.limit}, {report['allocator']}", report)]
        can_compare = options.input != "-" and not options.redis and report["limit_bytes"] and not report["signal"]
        if can_compare:
            columns.append(compare(runner, options, report))
    except Failed as failure:
        return failure.args[0]
    except (OSError, RuntimeError) as error:
        return f"scripts/run: {error}"
    print_report(columns)
    if any(report["stored"] != report["events"] for _, report in columns):
        return 1
    ended_by = max(report["signal"] or 0 for _, report in columns)
    return 128 + ended_by if ended_by else 0


if __name__ == "__main__":
    sys.exit(main())
