"""What a process leaves that is killed, or that execs into another group: who starts next clears it up, and nothing that
is in use."""

import json
import os
import shutil
import subprocess
import sys
import time
import unittest

import harness

MIB = 2**20
HOLDS = """
import os, signal, sys
held = bytearray(int(sys.argv[1]) << 20)
os.write(1, b"ready\\n")
"""
WAITS = HOLDS + "os.read(0, 1)\n"


def may_unshare(*options):
    if not shutil.which("unshare"):
        return False
    command = ["unshare", *options, "true"]
    return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0


PID_NAMESPACE = ("--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "unchanged")
TIME_NAMESPACE = ("--time", "--boottime=100000", "--monotonic=100000", "--fork", "--kill-child")


class LeftBehind(harness.Case):
    def start(self, script, name, mib=1, prefix=(), **settings):
        """A process of the group, once it holds so much."""
        environment = harness.preloaded(self.blocks, MEMBUDGET_NAME=name, **settings)
        unloaded = ["env", f"LD_PRELOAD={environment.pop('LD_PRELOAD')}"]  # not what goes before
        process = subprocess.Popen([*prefix, *unloaded, sys.executable, "-c", script, str(mib)], env=environment,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), b"ready\n")
        return process

    def kill(self, process):
        process.kill()
        process.wait()

    def starter(self, name="starter", prefix=(), **settings):
        environment = harness.preloaded(self.blocks, MEMBUDGET_NAME=name, **settings)
        preload = environment.pop("LD_PRELOAD")
        result = harness.run([*prefix, "env", f"LD_PRELOAD={preload}", "true"], environment)
        self.assertEqual(result, (0, b"", b""))

    def left(self):
        return sorted(name.removeprefix("membudget-") for name in os.listdir(self.blocks))

    def eventually(self, condition, what):
        end = time.monotonic() + 60
        while not condition():
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.1)

    def starts_until(self, expected, **how):
        """Starts programs until only these blocks are left; what has just been made is left alone for a second."""
        def is_swept():
            self.starter(**how)
            return self.left() == expected
        self.eventually(is_swept, f"not {expected} alone")

    def report(self, target):
        status, output, errors = harness.run([harness.CLI, "show", str(target), "--json"],
                                             dict(harness.CLEAN, MEMBUDGET_DIR=self.blocks))
        self.assertEqual((status, errors), (0, b""))
        return json.loads(output)

    def listed(self):
        output = harness.run([harness.CLI, "ls", "--json"], dict(harness.CLEAN, MEMBUDGET_DIR=self.blocks))[1]
        return [(process["pid"], process["name"]) for process in json.loads(output)]

    def test_the_next_to_start_removes_what_the_killed_left(self):
        self.start(WAITS, "living")
        self.kill(self.start(WAITS, "killed"))
        self.assertEqual(self.left(), ["killed", "living"])
        self.starts_until(["living"])

    def test_membudget_run_does_so(self):
        self.kill(self.start(WAITS, "killed"))
        environment = dict(harness.CLEAN, MEMBUDGET_DIR=self.blocks)

        def is_swept():
            self.assertEqual(harness.run([harness.CLI, "run", "--", "true"], environment), (0, b"", b""))
            return self.left() == []
        self.eventually(is_swept, "it is left")

    def test_members_and_children_do_not(self):
        """They do not look: not at every fork, nor where a group has begun."""
        member = self.start(WAITS, "group")
        self.kill(self.start(WAITS, "killed"))
        time.sleep(1.2)  # or the age of the block would be what saves it
        self.starter(name="group")
        self.assertEqual(self.left(), ["group", "killed"])
        member.communicate()

    def test_what_is_in_use_stays(self):
        for name, prefix in (("elsewhere", ["unshare", *PID_NAMESPACE]), ("later", ["unshare", *TIME_NAMESPACE])):
            if may_unshare(*prefix[1:]):
                self.start(WAITS, name, prefix=prefix)
        self.start(WAITS, "here")
        in_use = self.left()
        time.sleep(1.2)
        for namespaces in ((), PID_NAMESPACE, TIME_NAMESPACE):
            if not namespaces or may_unshare(*namespaces):
                self.starter(prefix=["unshare", *namespaces] if namespaces else ())
                self.assertEqual(self.left(), in_use)

    @unittest.skipUnless(may_unshare(*TIME_NAMESPACE), "takes root, time namespaces and unshare(1)")
    def test_the_dead_are_known_across_time_namespaces(self):
        self.kill(self.start(WAITS, "killed"))
        self.starts_until([], prefix=["unshare", *TIME_NAMESPACE])

    EXECS = HOLDS + """
os.environ["MEMBUDGET_NAME"] = sys.argv[1] = sys.argv[1] + "b"
os.read(0, 1)
os.execv(sys.executable, [sys.executable, "-c", "import os; os.write(1, b'again\\\\n'); os.read(0, 1)"])
"""

    def exec_into_another(self, process):
        process.stdin.write(b"\n")
        process.stdin.flush()
        self.assertEqual(process.stdout.readline(), b"again\n")

    def test_exec_into_another_group(self):
        """What it counted leaves the old group at once, and the level there falls."""
        self.start(WAITS, "old", 30, MEMBUDGET_LIMIT="100M")
        leaves = self.start(self.EXECS, "old", 80)
        self.assertEqual(self.report("old")["level_name"], "critical")
        self.exec_into_another(leaves)
        report = self.report("old")
        self.assertEqual((report["level_name"], len(report["group"]["processes"])), ("none", 1))
        self.assertLess(report["live_bytes"], 50 * MIB)
        self.assertEqual(self.report(leaves.pid)["name"], "80b")
        self.assertEqual([name for pid, name in self.listed() if pid == leaves.pid], ["80b"])

    def test_exec_into_a_group_that_runs(self):
        self.start(WAITS, "80b", 5)
        leaves = self.start(self.EXECS, "old", 80)
        self.exec_into_another(leaves)
        self.assertEqual(self.left(), ["80b"])
        self.assertEqual(self.report("80b")["group"]["processes"][1]["pid"], leaves.pid)

    def test_exec_into_another_group_ends_the_first(self):
        """For who waits, too."""
        leaves = self.start(self.EXECS, "old", 80, MEMBUDGET_LIMIT="1G")
        waiter = subprocess.Popen([harness.CLI, "wait", "old", "--level", "critical", "--timeout", "60"],
                                  env=dict(harness.CLEAN, MEMBUDGET_DIR=self.blocks), stderr=subprocess.DEVNULL)
        self.addCleanup(waiter.kill)
        self.exec_into_another(leaves)
        self.assertEqual(self.left(), ["80b"])
        self.assertEqual(waiter.wait(60), 3)

    def test_exec_that_is_not_counted_any_more(self):
        """A child of the group that execs as one that is ignored."""
        first = self.start(WAITS, "old", 5)
        leaves = self.start(self.EXECS.replace("sys.argv[1] + \"b\"", "'old'").replace(
            "os.read(0, 1)\nos.execv", "os.environ['MEMBUDGET_CHILDREN'] = 'ignore'; os.read(0, 1)\nos.execv"), "old", 80)
        self.exec_into_another(leaves)
        self.assertEqual(self.listed(), [(first.pid, "old")])


if __name__ == "__main__":
    harness.main()
