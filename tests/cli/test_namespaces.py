"""Targets in another pid namespace, as a container's: their figures, never those of whoever has the same pid here."""

import json
import os
import signal
import subprocess

from cli_case import CLI, MIB, TARGET, CliCase, Target, as_root, eventually, main

INITIAL_NAMESPACE = 0xEFFFFFFC
# (A /proc of one's own is private by itself. In a chroot nothing can be said of the root's propagation.)
OWN_PROC = ["--mount-proc", "--propagation", "unchanged"]
is_initial = os.stat("/proc/self/ns/pid").st_ino == INITIAL_NAMESPACE


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


def field(pid, index):
    """Of /proc/PID/stat, as proc(5) numbers them."""
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[index - 3])


@as_root
class Contained(CliCase):
    def setUp(self):
        super().setUp()
        self.unshare = subprocess.Popen(
            ["unshare", "--pid", "--fork", "--kill-child", *self.OPTIONS, CLI, "run", "--name", "ns", "--", TARGET],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self.environment())
        self.addCleanup(self.unshare.communicate)
        self.addCleanup(self.unshare.kill)
        self.unshare.stdin.write(f"a {20 * MIB}\n")
        self.unshare.stdin.flush()
        if not self.unshare.stdout.readline():
            self.skipTest("no pid namespaces can be made here")
        self.pid = children_of(self.unshare.pid)[0]

    def show(self, target="ns"):
        return json.loads(self.succeed("show", str(target), "--json"))


class WithItsProc(Contained):
    OPTIONS = OWN_PROC

    def test_the_kernels_figures_are_its_own(self):
        for target in ("ns", self.pid):
            report = self.show(target)
            self.assertEqual((report["pid"], report["minor_faults"]), (self.pid, field(self.pid, 10)))
            self.assertTrue(20 * MIB <= report["rss_bytes"] < 40 * MIB, report["rss_bytes"])
            self.assertTrue(20 * MIB <= report["anonymous_bytes"] < 24 * MIB, report["anonymous_bytes"])

    def test_by_all_commands_that_have_any(self):
        first = json.loads(self.succeed("top", "--json"))[0]
        self.assertEqual(first["pid"], self.pid)
        self.assertTrue(20 * MIB <= first["rss_bytes"] < 40 * MIB, first)
        watch = subprocess.Popen([CLI, "watch", "ns", "--jsonl"], stdout=subprocess.PIPE, env=self.environment())
        self.addCleanup(watch.communicate)
        self.addCleanup(watch.kill)
        self.assertTrue(20 * MIB <= json.loads(watch.stdout.readline())["rss_bytes"] < 40 * MIB)
        self.assertIn(f" {self.pid} ", self.succeed("ls"))

    def test_a_watch_ends_with_it(self):
        if not is_initial:
            self.skipTest("the end of a namespace is known in the initial one only")
        watch = subprocess.Popen([CLI, "watch", str(self.pid)], stdout=subprocess.PIPE, env=self.environment())
        self.addCleanup(watch.communicate)
        self.addCleanup(watch.kill)
        watch.stdout.readline()
        os.kill(self.pid, signal.SIGKILL)
        self.assertEqual(watch.wait(10), 0)

    def test_a_killed_one_is_gone(self):
        if not is_initial:
            self.skipTest("the end of a namespace is known in the initial one only")
        os.kill(self.pid, signal.SIGKILL)
        eventually(lambda: json.loads(self.succeed("ls", "--json")) == [], "it is no longer listed")
        eventually(lambda: self.blocks() == [], "its block is removed")
        self.refuse(3, "show", "ns")

    def test_seen_from_a_namespace_that_does_not_see_it(self):
        result = subprocess.run(["unshare", "--pid", "--fork", *OWN_PROC, CLI, "show", "ns", "--json"],
                                stdout=subprocess.PIPE, env=self.environment(), check=True, text=True)
        report = json.loads(result.stdout)
        self.assertEqual((report["pid"], report["live_bytes"] >= 20 * MIB), (1, True))
        for key in ("rss_bytes", "minor_faults", "threads", "cgroup", "anonymous_bytes", "uncounted_bytes"):
            self.assertNotIn(key, report)
        listed = subprocess.run(["unshare", "--pid", "--fork", *OWN_PROC, CLI, "ls", "--json"],
                                stdout=subprocess.PIPE, env=self.environment(), check=True, text=True)
        self.assertEqual(len(json.loads(listed.stdout)), 1)  # for all that it knows it lives
        self.assertEqual(self.blocks(), ["membudget-ns"])


@as_root
class FromWithin(CliCase):
    def test_who_lives_outside_is_left_alone(self):
        """By a reader that cannot see them, or sees them in a /proc where its own pids mean nothing."""
        target = Target(self, "--name", "out")
        for options in (OWN_PROC, []):
            for command in ("ls", "show"):
                subprocess.run(["unshare", "--pid", "--fork", *options, CLI, command, *(["out"] if command == "show" else [])],
                               stdout=subprocess.DEVNULL, env=self.environment(), check=True)
        self.assertEqual(self.blocks(), ["membudget-out"])
        self.assertEqual(json.loads(self.succeed("ls", "--json"))[0]["pid"], target.pid)


class WithoutItsProc(Contained):
    """The slot's start time is somebody else's: what is not known for certain is left out."""

    OPTIONS = []

    def test_nobody_elses_figures(self):
        report = self.show()
        for key in ("rss_bytes", "minor_faults", "threads", "cgroup"):
            self.assertNotIn(key, report)
        self.assertIn("cannot be seen", self.succeed("show", "ns"))
        self.assertEqual(len(json.loads(self.succeed("ls", "--json"))), 1)


if __name__ == "__main__":
    main()
