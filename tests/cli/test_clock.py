"""Clocks that were set: the target's or the command's, and those of another time namespace."""

import json
import os
import shutil
import subprocess
import time
import unittest

from cli_case import CLI, MIB, TARGET, CliCase, Target, as_root, eventually, main

MOVED_CLOCK = os.environ["MEMBUDGET_TEST_MOVED_CLOCK"]
TEN_YEARS = 315360000


def has_time_namespaces():
    if not shutil.which("unshare"):
        return False
    return subprocess.run(["unshare", "--time", "--fork", "true"], stderr=subprocess.DEVNULL).returncode == 0


class MovedClock(CliCase):
    def moved(self, seconds):
        return {"LD_PRELOAD": MOVED_CLOCK, "MOVED_CLOCK_SECONDS": str(seconds)}

    def test_a_crossing_is_dated_by_the_targets_clock(self):
        for seconds in (TEN_YEARS, -TEN_YEARS):
            target = Target(self, "--limit", "4M", **self.moved(seconds))
            target.tell(f"a {5 * MIB}")
            report = json.loads(self.succeed("show", str(target.pid), "--json"))
            self.assertEqual((report["level"], report["crossings"]), (255, 1))
            years = {time.strftime("%Y", time.gmtime(time.time() + seconds + about)) for about in (-600, 0)}
            self.assertIn(report["last_crossing"]["time"][:4], years)
            target.end()

    def test_a_time_out_is_the_kernels(self):
        target = Target(self, "--limit", "4M")
        for seconds in (TEN_YEARS, -TEN_YEARS):
            start = time.monotonic()
            self.refuse(4, "wait", str(target.pid), "--level", "critical", "--timeout", "0.5", says="not",
                        settings=self.moved(seconds), timeout=30)
            self.assertGreater(time.monotonic() - start, 0.45)

    def test_watch_goes_on(self):
        target = Target(self, "--limit", "4M")
        for seconds in (TEN_YEARS, -TEN_YEARS):
            watch = subprocess.Popen([CLI, "watch", str(target.pid), "--jsonl", "--interval", "0.01"], text=True,
                                     stdout=subprocess.PIPE, env=self.environment(self.moved(seconds)))
            self.addCleanup(watch.communicate)
            self.addCleanup(lambda watch=watch: watch.poll() is None and watch.kill())
            for _ in range(5):
                self.assertEqual(json.loads(watch.stdout.readline())["pid"], target.pid)
            watch.kill()


@as_root
@unittest.skipUnless(has_time_namespaces(), "takes time namespaces and unshare(1)")
class TimeNamespace(CliCase):
    def start_elsewhere(self, name, seconds):
        """The target in a time namespace whose boot was another one. Its pid."""
        elsewhere = ["unshare", "--time", f"--boottime={seconds}", f"--monotonic={seconds}", "--fork", "--kill-child"]
        process = subprocess.Popen([*elsewhere, CLI, "run", "--name", name, "--limit", "4M", "--", TARGET],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self.environment(), text=True)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        process.stdin.write(f"a {5 * MIB}\n")
        process.stdin.flush()
        self.assertTrue(process.stdout.readline())
        return process

    def test_its_processes_are_alive_for_others(self):
        for name, seconds in (("late", 1000000), ("early", 5000)):
            self.start_elsewhere(name, seconds)
            for _ in range(2):  # what is taken for dead is cleared up by whoever looks
                groups = self.succeed("ls")
                self.assertIn(name, groups)
            report = json.loads(self.succeed("show", name, "--json"))
            self.assertEqual((report["level"], len(report["group"]["processes"])), (255, 1))
            self.assertIn(f"membudget-{name}", self.blocks())

    def test_others_are_alive_for_its_processes(self):
        target = Target(self, "--limit", "4M", "--name", "here")
        inside = ["unshare", "--time", "--boottime", "1000000", "--monotonic", "1000000", "--fork", CLI]
        for _ in range(2):
            result = subprocess.run([*inside, "ls"], capture_output=True, text=True, env=self.environment(), timeout=60)
            self.assertIn("here", result.stdout)
        target.tell(f"a {5 * MIB}")
        self.assertEqual(self.blocks(), ["membudget-here"])

    def test_a_dead_one_is_noticed(self):
        process = self.start_elsewhere("gone", 1000000)
        process.kill()  # and with it the child
        process.communicate()
        eventually(lambda: "gone" not in self.run_cli("ls").stdout, "it is listed no more")


if __name__ == "__main__":
    main()
