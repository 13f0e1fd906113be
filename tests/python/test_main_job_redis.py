"""The main job with a Redis stream: no event is lost, and none counted twice, whenever the consumer is killed.

Real redis-servers, real kills. Needs redis-server and python3-redis; scripts/setup installs them.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import unittest
from unittest import mock

from support import CLI
from test_main_job import MAIN_JOB, MainJobTestCase, generate

sys.path.insert(0, MAIN_JOB)
from redis_server import running_server  # noqa: E402
from redis_stream import connected, counts, create_group  # noqa: E402

WAIT_S = 60

# The consumer, killed at a certain point.
KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv.pop(1))
import consumer, redis_stream, store

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def within_the_transaction(payload, calls=[]):
    calls.append(None)
    return as_text(payload) if len(calls) < 700 else die()

def half_acknowledged(stream, ids):
    acknowledge(stream, ids[: len(ids) // 2])
    die()

as_text, acknowledge = store.as_text, redis_stream.EventStream.acknowledge
point = sys.argv.pop(1)
if point == "within the transaction":
    store.as_text = within_the_transaction
elif point == "before it is acknowledged":
    redis_stream.EventStream.acknowledge = die
elif point == "half acknowledged":
    redis_stream.EventStream.acknowledge = half_acknowledged
sys.exit(consumer.main())
"""


class RedisTestCase(MainJobTestCase):
    def setUp(self):
        super().setUp()
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.socket = self.stack.enter_context(running_server())
        with connected(self.socket) as connection:
            create_group(connection)

    def produce(self, text):
        """Feeds the stream in the background."""
        path = self.path("events.jsonl")
        with open(path, "wb") as file:
            file.write(text)
        with open(path, "rb") as file:
            command = [sys.executable, os.path.join(MAIN_JOB, "produce.py"), "--redis", self.socket]
            process = subprocess.Popen(command, stdin=file)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def command(self, *options, **settings):
        return super().command("--redis", self.socket, *options, **settings)

    def assert_all_stored(self, text):
        self.assert_stored(text)
        self.assertEqual(self.counts(), (0, 0))

    def wait_for(self, condition):
        deadline = time.monotonic() + WAIT_S
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)

    def counts(self):
        with connected(self.socket) as connection:
            return counts(connection)


class StreamTest(RedisTestCase):
    def test_all_events(self):
        text = generate(6000)
        self.produce(text)
        self.consume(b"")
        self.assert_all_stored(text)
        report = self.report()
        self.assertEqual((report["events"], report["stored"]), (6000, 6000))
        self.assertGreater(report["batches"], 1)
        self.assertLess(report["peak_counted_bytes"], 1.02 * report["limit_bytes"])

    def test_payload_that_does_not_fit_any_more(self):
        text = generate(9000)
        lines = text.splitlines(keepends=True)
        large = json.dumps({"key": "large", "payload": "x" * (10 << 20)}).encode() + b"\n"
        text = b"".join([*lines[:8000], large, *lines[8000:]])
        self.produce(text)
        self.consume(b"", limit="68M", hard_limit="70M")
        self.assert_all_stored(text)

    def test_malformed_events(self):
        good = b'{"key": "a", "payload": "b"}\n'
        self.produce(b"not JSON\n" + good + b"\n[]\n")
        errors = self.consume(b"", limit=None)
        self.assert_all_stored(good)
        self.assertRegex(errors, r"^event \d+-\d+ is left out: .*\n.*left out")
        self.assertEqual(self.report()["malformed"], 2)

    def test_only_malformed_events(self):
        self.produce(b"not JSON\n")
        self.consume(b"", limit=None)
        self.assert_all_stored(b"")

    def test_sigterm(self):
        text = generate(20_000, "--keys", "5000")
        self.produce(text)
        with subprocess.Popen(self.command("--max-items", "1000"), stderr=subprocess.DEVNULL) as process:
            self.wait_for(lambda: self.stored() >= 1000)
            process.terminate()
            self.assertEqual(process.wait(WAIT_S), 143)
        report = self.report()
        self.assertTrue(1000 <= report["events"] < 20_000, report)
        self.assertEqual(report["stored"], report["events"])
        self.assertEqual(self.counts()[1], 0)
        self.consume(b"")
        self.assert_all_stored(text)

    def test_no_server(self):
        self.stack.close()
        errors = self.consume(b"", status=1)
        self.assertRegex(errors, f"^consumer: Redis at {self.socket}: .*\n$")

    def test_server_that_ends(self):
        self.produce(generate(20_000, "--keys", "5000"))
        with subprocess.Popen(self.command("--max-items", "500"), stderr=subprocess.PIPE, text=True) as process:
            self.wait_for(lambda: self.stored() >= 500)
            self.stack.close()
            errors = process.communicate(timeout=WAIT_S)[1]
        self.assertEqual(process.returncode, 1)
        self.assertIn("consumer: Redis at", errors)

    def stored(self):
        with contextlib.suppress(Exception):
            return sum(count for _, count in self.rows().values())
        return 0


class KillTest(RedisTestCase):
    def start(self, *options):
        return subprocess.Popen(self.command(*options), stderr=subprocess.DEVNULL)

    def test_at_random_moments(self):
        dice = random.Random(3)
        text = generate(12_000, "--keys", "5000")
        self.produce(text)
        self.wait_for(lambda: self.counts()[0] > 700)
        for _ in range(6):
            held = dice.randrange(1, 700)  # of a batch of 700; what the consumer before held is there already
            with self.start("--max-items", "700") as process:
                before = self.acknowledged()
                self.wait_for(lambda: self.acknowledged() > before and self.counts()[1] >= held)
                time.sleep(dice.uniform(0, 0.02))
                process.kill()
        self.consume(b"", "--max-items", "700")
        self.assert_all_stored(text)

    def acknowledged(self):
        """How many entries have left the stream, but for those that are to come."""
        with connected(self.socket) as connection:
            stream = connection.xinfo_stream("events")
            return int(stream["entries-added"]) - stream["length"]

    def test_at_the_worst_moments(self):
        for point in ("within the transaction", "before it is acknowledged", "half acknowledged"):
            with self.subTest(point=point):
                with connected(self.socket) as connection:
                    connection.flushall()
                if os.path.exists(self.db):
                    os.remove(self.db)
                text = generate(3000, "--keys", "5000")
                producer = self.produce(text)
                command = self.command("--max-items", "500")
                command[command.index("--") + 1 :] = [
                    sys.executable, "-c", KILLED, MAIN_JOB, point, *command[command.index("--db") :],
                ]
                done = subprocess.run(command, timeout=WAIT_S, stderr=subprocess.PIPE)
                self.assertEqual(done.returncode, -signal.SIGKILL, done.stderr)
                self.assertGreater(self.counts()[1], 200)
                self.consume(b"", "--max-items", "500")
                self.assertEqual(producer.wait(WAIT_S), 0)
                self.assert_all_stored(text)


class WholeJobTest(MainJobTestCase):
    """main.py --redis, as scripts/run calls it after the build."""

    def start(self, *options):
        command = [sys.executable, os.path.join(MAIN_JOB, "main.py"), "--membudget", CLI, "--db", self.db]
        command += ["--allocator", "ptmalloc", "--limit", "24M", "--redis", *options]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "TMPDIR": self.folder},
        )

    def consumer_of(self, main):
        """The pid of its consumer; 0 when there is none."""
        with open(f"/proc/{main.pid}/task/{main.pid}/children") as file:
            for pid in file.read().split():
                with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline") as command:
                    if "consumer.py" in command.read():
                        return int(pid)
        return 0

    def wait_until_stored(self, events):
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            with contextlib.suppress(Exception):
                if sum(count for _, count in self.rows().values()) >= events:
                    return
            time.sleep(0.02)
        self.fail(f"{events} events are not stored")

    def assert_nothing_is_left(self):
        self.assertEqual(sorted(os.listdir(self.folder)), ["events.sqlite"])

    def test_killed_consumer(self):
        with self.start("--events", "8000") as main:
            self.wait_until_stored(1000)
            os.kill(self.consumer_of(main), signal.SIGKILL)
            printed, errors = main.communicate(timeout=120)
        self.assertEqual(main.returncode, 0, errors)
        self.assertIn("the consumer was killed; another one goes on", errors)
        self.assertRegex(printed, r"consumers killed before +1\n")
        self.assert_stored(generate(8_000))
        self.assert_nothing_is_left()

    def test_sigterm(self):
        with self.start("--events", "1000000") as main:
            self.wait_until_stored(1000)
            main.terminate()
            printed = main.communicate(timeout=60)[0]
        self.assertEqual(main.returncode, 143)
        stored = sum(count for _, count in self.rows().values())
        self.assertRegex(printed, rf"in the database +{stored:,}\n")
        self.assert_nothing_is_left()

    def test_without_redis_server(self):
        with mock.patch.dict(os.environ, PATH="/nonexistent"):
            with self.start("--events", "10") as main:
                errors = main.communicate(timeout=60)[1]
        self.assertEqual(main.returncode, 1)
        self.assertRegex(errors, "^scripts/run: cannot start redis-server: .*scripts/setup")


if __name__ == "__main__":
    unittest.main()
