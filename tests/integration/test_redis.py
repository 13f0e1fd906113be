"""redis-server under the library, loaded by redis-benchmark over the loopback, on one allocator."""

import json
import re
import shutil
import socket
import subprocess
import sys
import time

import harness

COMMANDS = """set greeting hello
append greeting ", world"
get greeting
rpush list a b c d e
lrange list 0 -1
hset hash one 1 two 2
hgetall hash
zadd sorted 3 c 1 a 2 b
zrange sorted 0 -1 withscores
eval "return redis.call('incrby', 'counter', 42)" 0
object encoding list
strlen greeting
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A server of its own port and folder, not on this machine's default one, ended by stop()."""

    def __init__(self, case, environment):
        self.port = str(free_port())
        self.case = case
        self.output = open(case.file("redis.log"), "wb")
        self.process = subprocess.Popen(
            ["redis-server", "--port", self.port, "--bind", "127.0.0.1", "--dir", case.folder, "--save", "",
             "--daemonize", "no"],
            env=environment, stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT)
        case.addCleanup(self.kill)
        self.wait()

    def wait(self):
        for _ in range(200):
            if self.client("ping")[1] == b"PONG\n":
                return
            time.sleep(0.05)
        self.case.fail("redis-server does not answer")

    def client(self, *arguments, **options):
        return harness.run(["redis-cli", "-p", self.port, *arguments], harness.CLEAN, **options)

    def load(self):
        status, output, errors = harness.run(
            ["redis-benchmark", "-p", self.port, "-n", "6000", "-c", "20", "-r", "3000", "-d", "300", "--csv",
             "-t", "set,get,incr,lpush,lpop,sadd,hset,lrange_100,mset"], harness.CLEAN)
        self.case.assertEqual((status, errors), (0, b""))
        self.case.assertGreater(output.count(b"\n"), 8, output)

    def stop(self):
        self.client("shutdown", "nosave")
        self.case.assertEqual(self.process.wait(timeout=30), 0)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.output.close()


def used_memory(server):
    return int(re.search(rb"used_memory:(\d+)", server.client("info", "memory")[1])[1])


class Redis(harness.Case):
    def test_answers_are_the_same(self):
        answers = []
        for environment in (harness.CLEAN, harness.preloaded(self.blocks)):
            server = Server(self, environment)
            server.load()
            server.client("flushall")
            answers.append(server.client(input=COMMANDS.encode()))
            server.stop()
        self.assertEqual(answers[0], answers[1])
        self.assertIn(b"hello, world", answers[1][1])

    def test_counters_to_the_byte(self):
        report = self.file("report")
        server = Server(self, harness.preloaded(self.blocks, reference=report))
        server.load()
        server.client("bgsave")  # forks
        server.load()
        server.stop()
        self.check_report(report, "redis-")
        self.assertGreaterEqual(len(harness.read_report(report)), 2)  # the child that saved, too

    def test_show_follows_its_data(self):
        server = Server(self, harness.preloaded(self.blocks, MEMBUDGET_NAME="redis", MEMBUDGET_LIMIT="1G"))
        shown_before, used_before = self.show(server), used_memory(server)
        fill = "for i = 1, 100000 do redis.call('set', 'key:' .. i, string.rep('x', 200)) end"
        server.client("eval", fill, "0")
        shown, used = self.show(server), used_memory(server)
        grown = shown["live_bytes"] - shown_before["live_bytes"]
        # redis sums malloc_usable_size() itself, but for a few blocks of libraries.
        self.assertGreater(grown, 20 << 20)
        self.assertAlmostEqual(grown, used - used_before, delta=200000)
        self.assertEqual(shown["allocator"], harness.ALLOCATOR)
        self.assertEqual(shown["limit_bytes"], 1 << 30)
        self.assertGreaterEqual(shown["peak_live_bytes"], shown["live_bytes"])
        server.client("flushall")
        self.assertLess(self.show(server)["live_bytes"], shown_before["live_bytes"] + grown // 5)
        server.stop()

    def show(self, server):
        environment = dict(harness.CLEAN, MEMBUDGET_DIR=self.blocks)
        status, output, errors = harness.run([harness.CLI, "show", str(server.process.pid), "--json"], environment)
        self.assertEqual((status, errors), (0, b""))
        return json.loads(output)


if __name__ == "__main__":
    if not shutil.which("redis-server"):
        sys.exit("redis-server is missing: scripts/setup installs it")
    harness.main()
