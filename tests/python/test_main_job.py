"""The main job: every event read is in the database, whatever the input and however it ends."""

import collections
import fcntl
import json
import os
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest

from support import CLI, ROOT, BlockTestCase

MAIN_JOB = os.path.join(ROOT, "scripts", "main_job")
CONSUMER = [sys.executable, os.path.join(MAIN_JOB, "consumer.py")]
RUN = os.path.join(ROOT, "scripts", "run")


def generate(events, *options):
    command = [sys.executable, os.path.join(MAIN_JOB, "generate.py"), "--events", str(events), *options]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout


class MainJobTestCase(BlockTestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.db = self.path("events.sqlite")

    def path(self, name):
        return os.path.join(self.folder, name)

    def command(self, *options, limit="24M", hard_limit="1T", db=None):
        under = [CLI, "run", "--limit", limit, "--hard-limit", hard_limit, "--"] if limit else []
        return [*under, *CONSUMER, "--db", db or self.db, "--report", self.path("report.json"), *options]

    def consume(self, text, *options, status=0, **settings):
        """Runs the consumer; returns what it printed on standard error."""
        done = subprocess.run(
            self.command(*options, **settings), input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120
        )
        self.assertEqual((done.returncode, done.stdout), (status, b""), done.stderr.decode())
        return done.stderr.decode()

    def report(self):
        with open(self.path("report.json")) as file:
            return json.load(file)

    def rows(self):
        with sqlite3.connect(self.db) as db:
            return {key: (payload, count) for key, payload, count in db.execute("SELECT * FROM events")}

    def wait_until_stored(self):
        """Until the first batch is in the database."""
        rows = {}
        while not rows:
            time.sleep(0.05)
            try:
                rows = os.path.exists(self.db) and self.rows()
            except sqlite3.OperationalError:  # no table yet, or it is being written
                pass

    def assert_stored(self, text):
        """The database holds the last payload and the number of events of each key in the JSON lines."""
        events = [json.loads(line) for line in text.splitlines()]
        counts = collections.Counter(event["key"] for event in events)
        payloads = {event["key"]: event["payload"] for event in events}
        self.assertEqual(self.rows(), {key: (payloads[key], count) for key, count in counts.items()})


class ConsumerTest(MainJobTestCase):
    def test_under_a_budget(self):
        text = generate(20_000)
        self.consume(text)
        self.assert_stored(text)
        report = self.report()
        self.assertEqual((report["events"], report["stored"], report["malformed"]), (20_000, 20_000, 0))
        self.assertGreater(report["batches"], 2)
        self.assertGreater(report["smallest_batch"], 500)
        self.assertEqual(report["limit_bytes"], 24 * 2**20)
        self.assertLess(report["peak_counted_bytes"], 1.005 * report["limit_bytes"])
        self.assertGreater(report["peak_counted_bytes"], 0.98 * report["limit_bytes"])

    def test_a_crossing_leaves_a_profile(self):
        """It names the line of the program that fills the buffer."""
        text = generate(10_000)
        command = self.command()
        command[2:2] = ["--profile=64K", "--name", "job"]
        done = subprocess.run(command, input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120,
                              env={**os.environ, "MEMBUDGET_PROFILE_DIR": self.folder})
        self.assertEqual((done.returncode, done.stdout), (0, b""), done.stderr.decode())
        self.assert_stored(text)
        (name,) = [name for name in os.listdir(self.folder) if "-crossing-" in name]
        self.assertRegex(name, r"^job-\d+-crossing-0\.membudget-profile$")
        shown = subprocess.run([CLI, "profile", self.path(name), "--json"], stdout=subprocess.PIPE, check=True)
        report = json.loads(shown.stdout)
        self.assertGreater(report["live_bytes"] + report["mapped_bytes"], 0.95 * 24 * 2**20)
        with open(os.path.join(MAIN_JOB, "source.py")) as file:
            line = next(number for number, text in enumerate(file, 1) if "json.loads(" in text)
        sites = {site["where"]: site["live_bytes"] for site in report["sites"]}
        self.assertEqual(max(sites, key=sites.get), f"parse {os.path.join(MAIN_JOB, 'source.py')}:{line}")
        self.assertGreater(max(sites.values()), report["live_bytes"] / 2)

    def test_without_the_library(self):
        text = generate(3000)
        self.consume(text, "--max-items", "1000", limit=None)
        self.assert_stored(text)
        self.assertEqual(self.report()["median_batch"], 1000)

    def test_budget_that_cannot_be_kept(self):
        text = generate(3000)
        self.consume(text, limit="1M")
        self.assert_stored(text)
        self.assertGreater(self.report()["median_batch"], 50)

    def test_database_with_something_in_it(self):
        text = generate(500)
        self.consume(text)
        self.consume(text)
        self.assert_stored(text + text)
        self.assertEqual(self.report()["stored"], 500)

    def test_malformed_lines(self):
        bad = [
            b"not JSON", b"[]", b'"text"', b'{"key": "a"}', b'{"payload": 1}', b'{"key": 5, "payload": 1}',
            b'{"key": "a", "payload": "cut', b"\xff\xfe", b'{"key": "\\ud800", "payload": 1}', b"[" * 100_000,
        ]
        good = [
            b'{"key": "a", "payload": "text"}', b'{"key": "", "payload": null, "more": 1}',
            b'{"key": "\\u00e4\\ud83d\\ude00", "payload": {"b": [1, "\\u00df"]}}', b'{"key": "a", "payload": "last"}',
        ]
        lines = [line for pair in zip(bad[:4], good) for line in pair] + bad[4:]
        errors = self.consume(b"\n".join(lines) + b"\n\n")
        self.assertEqual(
            self.rows(), {"a": ("last", 2), "": ("null", 1), "\u00e4\U0001f600": ('{"b": [1, "\u00df"]}', 1)}
        )
        self.assertEqual((self.report()["events"], self.report()["malformed"]), (4, len(bad)))
        self.assertRegex(errors, "line 1 is left out: .*\n(.*\n)*further ones are counted only")

    def test_payload_that_does_not_fit_any_more(self):
        """It costs a flush and not the process. Alone it takes up to 51 MB, with what is held before some 70."""
        text = generate(9000)
        lines = text.splitlines(keepends=True)
        large = json.dumps({"key": "large", "payload": "x" * (10 << 20)}).encode() + b"\n"
        text = b"".join([*lines[:8000], large, *lines[8000:]])
        self.consume(text, limit="56M", hard_limit="58M")
        self.assert_stored(text)
        report = self.report()
        self.assertLessEqual(report["peak_counted_bytes"], 59 << 20)
        self.assertEqual(report["stored"], 9001)

    def test_no_events(self):
        self.consume(b"")
        self.assertEqual((self.rows(), self.report()["batches"]), ({}, 0))

    def test_last_line_without_newline(self):
        self.consume(b'{"key": "a", "payload": "b"}')
        self.assertEqual(self.rows(), {"a": ("b", 1)})


class StopTest(MainJobTestCase):
    def stop(self, number, status):
        """Feeds events until the consumer has written a batch, then stops it in mid-run."""
        text = generate(60_000)
        with subprocess.Popen(self.command(), stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            with self.assertRaises(BrokenPipeError):
                for start in range(0, len(text), 1 << 20):
                    if start >= len(text) // 2:
                        process.send_signal(number)
                        time.sleep(0.05)
                    os.write(process.stdin.fileno(), text[start : start + (1 << 20)])
                process.wait(60)
                os.write(process.stdin.fileno(), b"\n")
            self.assertEqual(process.wait(60), status)
        report = self.report()
        self.assertGreater(report["batches"], 1)
        self.assertTrue(1000 < report["events"] < 60_000, report)
        self.assertEqual(report["stored"], report["events"])
        self.assert_stored(b"".join(text.splitlines(keepends=True)[: report["events"]]))

    def test_sigterm(self):
        self.stop(signal.SIGTERM, 143)

    def test_sigint(self):
        self.stop(signal.SIGINT, 130)

    def test_while_it_waits_for_input(self):
        with subprocess.Popen(self.command(), stdin=subprocess.PIPE) as process:
            os.write(process.stdin.fileno(), b'{"key": "a", "payload": "b"}\n{"key": "cut')
            while struct.unpack("i", fcntl.ioctl(process.stdin, termios.FIONREAD, bytes(4)))[0]:
                time.sleep(0.05)  # until it has read that, and waits
            process.terminate()
            self.assertEqual(process.wait(60), 143)
        self.assertEqual(self.rows(), {"a": ("b", 1)})


class DatabaseErrorTest(MainJobTestCase):
    def test_cannot_be_opened(self):
        for db in ("/nonexistent/events.sqlite", self.folder):
            errors = self.consume(b"", status=1, db=db)
            self.assertRegex(errors, f"^consumer: cannot write the database {db}: .*\n$")

    def test_no_database(self):
        with open(self.db, "w") as file:
            file.write("this is no database" * 1000)
        self.assertIn("file is not a database", self.consume(b"", status=1))

    @unittest.skipUnless(os.path.exists("/dev/full"), "needs Linux")
    def test_full_disk(self):
        """A limit on the size of files stands in for a full disk."""
        text = generate(5000)
        command = ["sh", "-c", 'trap "" XFSZ; ulimit -f 2048; exec "$@"', "sh", *self.command(limit=None)]
        done = subprocess.run(command, input=text, stderr=subprocess.PIPE, timeout=120)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(
            done.stderr.decode(), "^consumer: cannot write the database .*; 5000 events were read, the last of them"
        )


class OptionsTest(MainJobTestCase):
    def test_wrong_usage(self):
        for options in ("--nosuch", "extra", "--limit", "--events x", "--events=-5", "--workers 0", "--workers x", "--workers 2 --redis", "--input /no/file"):
            command = [RUN, *options.split()]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=20)
            with self.subTest(options=options):
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertRegex(done.stderr, "^scripts/run: .*\n$")

    def test_help(self):
        done = subprocess.run([RUN, "--help"], stdout=subprocess.PIPE, text=True, timeout=20)
        self.assertEqual(done.returncode, 0)
        for option in ("--limit", "--allocator", "--events", "--input", "--redis", "--workers", "--db"):
            self.assertIn(option, done.stdout)


class WholeJobTest(MainJobTestCase):
    """main.py as scripts/run calls it after the build."""

    def main(self, *options):
        command = [sys.executable, os.path.join(MAIN_JOB, "main.py"), "--membudget", CLI, "--db", self.db]
        return [*command, "--allocator", "ptmalloc", *options]

    def test_table(self):
        done = subprocess.run(
            self.main("--limit", "24M", "--events", "20000"), stdout=subprocess.PIPE, text=True, timeout=120, check=True
        )
        for pattern in (
            "budget 24M, ptmalloc +fixed count 1,", r"events +20,000 +20,000\n", r"in the database +20,000 +20,000\n",
            r"batches +\d", r"peak counted bytes +[\d.]+ MiB \([\d.]+ %\)", r"highest RSS +[\d.]+ MiB",
        ):
            self.assertRegex(done.stdout, pattern)
        self.assertEqual(sum(count for _, count in self.rows().values()), 20_000)
        self.assertEqual(sorted(os.listdir(self.folder)), ["events.sqlite"])

    def test_standard_input(self):
        text = generate(1000)
        done = subprocess.run(
            self.main("--limit", "24M", "--events", "0", "--input", "-"),
            input=text, stdout=subprocess.PIPE, timeout=60, check=True,
        )
        self.assert_stored(text)
        self.assertNotIn(b"fixed count", done.stdout)

    def test_sigterm(self):
        with subprocess.Popen(
            self.main("--limit", "24M", "--events", "10000000"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            self.wait_until_stored()
            process.terminate()
            printed = process.communicate(timeout=60)[0].decode()
        self.assertEqual(process.returncode, 143)
        stored = sum(count for _, count in self.rows().values())
        self.assertGreater(stored, 0)
        self.assertRegex(printed, rf"in the database +{stored:,}\n")

    def test_workers(self):
        """Several consumers on one budget: every event once in the database, the last payload of each key."""
        text = generate(20_000)
        bad = b'not JSON\n{"key": "\\u00e4", "payload": "1"}\n{"key": "\xc3\xa4", "payload": "2"}\n'
        done = subprocess.run(
            self.main("--limit", "64M", "--events", "0", "--input", "-", "--workers", "3"), input=bad + text,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, check=True,
        )
        self.assertRegex(done.stderr.decode(), "^line 1 is left out: ")
        self.assert_stored(bad.partition(b"\n")[2] + text)
        printed = done.stdout.decode()
        for pattern in (
            r"in the database +20,002\n", r"malformed, left out +1\n", r"peak counted bytes +6[2-6]\.\d MiB",
            r"\n1 +\d,\d+ .* MiB\n2 +\d,\d+ .* MiB\n3 +\d,\d+ .* MiB\n$",
        ):
            self.assertRegex(printed, pattern)

    def test_workers_sigterm(self):
        """To the main job alone, and to all of its processes."""
        for send in (subprocess.Popen.terminate, lambda process: os.killpg(process.pid, signal.SIGTERM)):
            with subprocess.Popen(
                self.main("--limit", "64M", "--events", "10000000", "--workers", "3"), stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, start_new_session=True,
            ) as process:
                self.wait_until_stored()
                send(process)
                printed = process.communicate(timeout=60)[0].decode()
            self.assertEqual(process.returncode, 143, printed)
            stored = sum(count for _, count in self.rows().values())
            os.remove(self.db)
            self.assertGreater(stored, 0)
            self.assertRegex(printed, rf"events +{stored:,}\nin the database +{stored:,}\n")

    def test_worker_killed(self):
        """What it held is lost: that is said, and the exit status tells."""
        with subprocess.Popen(
            self.main("--limit", "64M", "--events", "10000000", "--workers", "2"), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, start_new_session=True,
        ) as process:
            self.wait_until_stored()
            found = subprocess.run(["pgrep", "-g", str(process.pid), "-f", "consumer.py"], stdout=subprocess.PIPE)
            os.kill(int(found.stdout.split()[0]), signal.SIGKILL)
            errors = process.communicate(timeout=60)[1].decode()
        self.assertEqual(process.returncode, 1)
        self.assertRegex(errors, "(?m)^workers: worker [12] has ended early, with status -9")

    def test_wrong_limit(self):
        done = subprocess.run(
            self.main("--limit", "much", "--events", "10"), stderr=subprocess.PIPE, text=True, timeout=60
        )
        self.assertEqual(done.returncode, 2)
        self.assertIn("much", done.stderr)


if __name__ == "__main__":
    unittest.main()
