"""Servers as they are deployed: uWSGI (prefork, lazy-apps, cheaper) and gunicorn, with the examples of the Python
package, on one budget: who is a member, what the group's total is, and what the kernel says to it."""

import concurrent.futures
import json
import os
import shutil
import signal
import sys
import time

import harness
import prefork

MIB = 2**20
WORKERS = 4


class Servers(harness.Case):
    def start(self, make_command, *options, mib=40, **arguments):
        path = self.file("socket")
        command = [harness.CLI, "run", "--limit", "2G", "--name", "server", "--",
                   *make_command(path, *options, **arguments)]
        environment = dict(harness.CLEAN, MEMBUDGET_DIR=self.blocks, MEMBUDGET_ALLOCATOR=harness.ALLOCATOR,
                           PATH="/usr/bin:/bin")
        self.server = prefork.Server(command, path, environment, mib)
        self.addCleanup(self.server.kill)
        return self.server

    def stop(self):
        self.assertEqual(self.server.stop(), 0)
        self.eventually(lambda: self.cli("ls", "--json")[1].strip() == b"[]", "nobody is left")
        self.assertEqual(os.listdir(self.blocks), [])

    def cli(self, *arguments):
        return harness.run([harness.CLI, *arguments], dict(harness.CLEAN, MEMBUDGET_DIR=self.blocks))

    def show(self):
        """The group's report, and its members but the master."""
        status, output, errors = self.cli("show", "server", "--json")
        self.assertEqual((status, errors), (0, b""))
        group = json.loads(output)["group"]
        members = {member["pid"]: member for member in group["processes"]}
        self.assertIn(self.server.process.pid, members)
        del members[self.server.process.pid]
        return group, members

    def eventually(self, condition, what):
        end = time.monotonic() + 30
        while not condition():
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.05)

    def check_near(self, bytes_shown, bytes_expected, what):
        ratio = bytes_shown / bytes_expected
        self.assertTrue(0.9 < ratio < 1.1, f"{what}: {bytes_shown >> 20} MiB are {ratio:.3f} of the PSS sum")

    def check_totals_against_the_kernel(self):
        """200 MiB that are shared, and what four workers make of them."""
        workers = self.server.everyone("/")
        group, members = self.show()
        self.assertEqual(set(members), workers)
        self.assertGreater(min(member["inherited_bytes"] for member in members.values()), MIB)
        self.server.everyone("/cache?mib=40")
        group, _ = self.show()
        self.assertGreater(group["counted_bytes"], (180 + WORKERS * 40) * MIB)
        self.check_near(group["counted_bytes"], group["pss_bytes"], "with data of their own, counted bytes")
        self.server.everyone("/sum")
        read, members = self.show()
        self.assertAlmostEqual(read["counted_bytes"], group["counted_bytes"], delta=4 * MIB)
        self.assertLess(read["counted_bytes"], 0.6 * read["pss_bytes"])
        self.check_near(read["counted_bytes"] + read["copied_bytes"], read["pss_bytes"],
                        "with all read, counted and copied bytes")
        for member in members.values():
            self.assertGreater(member["copied_bytes"], 100 * MIB)

    def check_a_killed_worker_is_replaced(self, workers):
        """Its bytes leave the total, those of the one that takes its place come."""
        group, _ = self.show()
        victim = min(workers)
        os.kill(victim, signal.SIGKILL)
        self.eventually(lambda: victim not in self.show()[1] and len(self.show()[1]) == WORKERS, "it is replaced")
        self.server.everyone("/")
        after, members = self.show()
        self.assertNotIn(victim, members)
        self.assertAlmostEqual(after["counted_bytes"], group["counted_bytes"], delta=6 * MIB)

    def copied_by_collection(self):
        """What a worker has copied after a collection, as a share of the rows that it inherited."""
        workers = self.server.everyone("/collect")
        _, members = self.show()
        return sum(member["copied_bytes"] for member in members.values()) / len(workers) / (40 * MIB)

    def collects(self):
        """Whether collection is on in the worker that answers."""
        return self.server.get("/")["result"]["collects"]

    def check_totals(self, server):
        self.start(server, mib=200)
        self.check_totals_against_the_kernel()
        self.stop()

    def check_prefork(self, server):
        self.start(server)
        workers = self.server.everyone("/")
        self.assertTrue(self.collects())
        self.assertLess(self.copied_by_collection(), 0.2)
        self.check_a_killed_worker_is_replaced(workers)
        self.stop()


class Uwsgi(Servers):
    def test_totals(self):
        self.check_totals(prefork.uwsgi)

    def test_prefork(self):
        self.check_prefork(prefork.uwsgi)

    def test_prefork_without_preparation(self):
        self.start(prefork.uwsgi, module="catalogue")
        self.server.everyone("/")
        self.assertGreater(self.copied_by_collection(), 0.5)
        self.stop()

    def test_lazy_apps(self):
        """Each loads for itself: nothing is inherited, all is counted."""
        self.start(prefork.uwsgi, "--lazy-apps")
        workers = self.server.everyone("/")
        self.assertTrue(self.collects())
        group, members = self.show()
        self.assertEqual(set(members), workers)
        self.assertGreater(group["counted_bytes"], WORKERS * 36 * MIB)
        self.assertLess(group["copied_bytes"], WORKERS * 6 * MIB)
        self.check_near(group["counted_bytes"] + group["copied_bytes"], group["pss_bytes"], "counted and copied bytes")
        self.stop()

    def test_cheaper(self):
        """Workers come with the load and go with it."""
        self.start(prefork.uwsgi, "--cheaper", "1", "--cheaper-step", "3", "--cheaper-overload", "1")
        self.eventually(lambda: len(self.show()[1]) == 1, "one worker is enough")
        before, _ = self.show()
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            end = time.monotonic() + 30
            while len(self.show()[1]) < WORKERS and time.monotonic() < end:
                list(pool.map(self.server.get, ["/sum"] * 24))
        group, members = self.show()
        self.assertEqual(len(members), WORKERS)
        self.assertLess(group["counted_bytes"], before["counted_bytes"] + 20 * MIB)
        self.eventually(lambda: len(self.show()[1]) == 1, "the others are sent home")
        self.assertLess(self.show()[0]["counted_bytes"], before["counted_bytes"] + 5 * MIB)
        self.stop()


class Gunicorn(Servers):
    def test_totals(self):
        self.check_totals(prefork.gunicorn)

    def test_prefork(self):
        self.check_prefork(prefork.gunicorn)

    def test_prefork_without_preparation(self):
        self.start(prefork.gunicorn, "--preload")
        self.server.everyone("/")
        self.assertGreater(self.copied_by_collection(), 0.5)
        self.stop()


if __name__ == "__main__":
    for program in ("uwsgi", "gunicorn"):
        if not shutil.which(program, path="/usr/bin:/bin"):
            sys.exit(f"{program} is missing: scripts/setup installs it")
    harness.main()
