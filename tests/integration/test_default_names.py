"""A group that nobody named has its first process's pid for a name, which others may have, too: processes of other pid
namespaces, and those that live on when who had the pid first is gone. Nobody shares a budget by that."""

import json
import os
import subprocess
import sys
import unittest

import harness
from test_left_behind import PID_NAMESPACE, may_unshare

MIB = 2**20

# Says its pid, its group's name and the one that its children are told; holds memory until it is told to end.
PROGRAM = """
import os, subprocess, sys
held = bytearray(20 << 20)
told = subprocess.run([sys.executable, "-c", "import os; print(os.environ['MEMBUDGET_NAME'])"], check=True,
                      stdout=subprocess.PIPE, text=True).stdout.strip()
print(os.getpid(), os.environ["MEMBUDGET_NAME"], told, flush=True)
sys.stdin.read()
"""


class DefaultNames(harness.Case):
    def start(self, *prefix, script=PROGRAM, **settings):
        """A program that nobody named, and what it says: its pid as it sees it, and the names."""
        environment = dict(harness.CLEAN, MEMBUDGET_DIR=self.blocks)
        preload = [f"{name}={value}" for name, value in harness.preloaded(self.blocks, **settings).items()
                   if name.startswith(("MEMBUDGET_", "LD_", "LATER"))]
        process = subprocess.Popen([*prefix, "env", *preload, sys.executable, "-c", script], env=environment, text=True,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        pid, *names = process.stdout.readline().split()
        return process, pid, names

    def cli(self, *arguments):
        environment = dict(harness.CLEAN, MEMBUDGET_DIR=self.blocks)
        status, output, errors = harness.run([harness.CLI, *arguments], environment)
        self.assertEqual((status, errors), (0, b""))
        return output.decode()

    def limit(self, target):
        return json.loads(self.cli("show", target, "--json"))["limit_bytes"] // MIB

    @unittest.skipUnless(may_unshare(*PID_NAMESPACE), "takes root and unshare(1)")
    def test_the_same_pid_in_two_namespaces(self):
        unshare = ("unshare", *PID_NAMESPACE)
        first, pid, names = self.start(*unshare, MEMBUDGET_LIMIT="64M")
        self.assertEqual((pid, names), ("1", ["1", "1"]))
        second, pid, names = self.start(*unshare, MEMBUDGET_LIMIT="16M")
        self.assertEqual((pid, names), ("1", ["1-2", "1-2"]))
        self.assertEqual((self.limit("1"), self.limit("1-2")), (64, 16))
        first.communicate()
        second.communicate()
        self.assertEqual(os.listdir(self.blocks), [])

    @unittest.skipUnless(may_unshare(*PID_NAMESPACE), "takes root and unshare(1)")
    def test_membudget_run_in_two_namespaces(self):
        self.start("unshare", *PID_NAMESPACE, MEMBUDGET_LIMIT="64M")
        show = [sys.executable, "-c", "import os, subprocess; print(os.environ['MEMBUDGET_NAME'], flush=True);"
                f"subprocess.run([{harness.CLI!r}, 'show', str(os.getpid()), '--json'], check=True)"]
        environment = dict(harness.CLEAN, MEMBUDGET_DIR=self.blocks)
        command = ["unshare", *PID_NAMESPACE, harness.CLI, "run", "--limit", "16M", "--", *show]
        status, output, errors = harness.run(command, environment)
        self.assertEqual((status, errors), (0, b""))
        name, report = output.decode().split("\n", 1)
        self.assertEqual((name, json.loads(report)["limit_bytes"]), ("1-2", 16 * MIB))

    @unittest.skipUnless(may_unshare(*PID_NAMESPACE), "takes root and unshare(1)")
    def test_a_summary_in_two_namespaces(self):
        """Of the own group, however soon it is over."""
        self.start(MEMBUDGET_NAME="3", MEMBUDGET_LIMIT="64M")
        environment = dict(harness.CLEAN, MEMBUDGET_DIR=self.blocks)
        for program in (["true"], ["sleep", "0.3"]):
            command = ["unshare", *PID_NAMESPACE, harness.CLI, "run", "--limit", "16M", "--summary", "--json", "--", *program]
            status, output, errors = harness.run(command, environment)
            self.assertEqual((status, output), (0, b""))
            summary = json.loads(errors)
            self.assertEqual((summary["name"], summary["limit_bytes"]), ("3-2", 16 * MIB))
            self.assertEqual(os.listdir(self.blocks), ["membudget-3"])

    def test_the_pid_of_a_group_that_lives_on(self):
        """As if the pid had come round: another group, living, has that name."""
        hold = "import sys; print(1, flush=True); sys.stdin.read()"
        exec_as_default = f"""
import os, subprocess, sys
name = str(os.getpid())
holder = subprocess.Popen([sys.executable, "-c", {hold!r}], stdout=subprocess.PIPE, stdin=subprocess.PIPE,
                          env=dict(os.environ, MEMBUDGET_NAME=name, MEMBUDGET_LIMIT="64M", LD_PRELOAD=os.environ["LATER"]))
holder.stdout.readline()
os.set_inheritable(holder.stdin.fileno(), True)
os.environ.update(LD_PRELOAD=os.environ["LATER"], MEMBUDGET_LIMIT="16M")
os.execv(sys.executable, [sys.executable, "-c", {PROGRAM!r}])
"""
        process, pid, names = self.start(script=exec_as_default, LD_PRELOAD=None, LATER=harness.LIBRARY)
        self.assertEqual(names, [f"{pid}-2"] * 2)
        self.assertEqual(self.limit(f"{pid}-2"), 16)
        self.assertEqual(self.limit(pid), 16)  # the process, before a group of that name
        process.communicate()

    def test_an_exec_stays_in_its_group(self):
        """Whatever becomes of the name in the environment."""
        script = f"""
import os, sys
del os.environ["MEMBUDGET_NAME"]
os.execv(sys.executable, [sys.executable, "-c", {PROGRAM!r}])
"""
        _, pid, names = self.start(script=script)
        self.assertEqual(names, [pid, pid])
        self.assertEqual(self.cli("ls", "--json").count('"pid"'), 1)

    @unittest.skipUnless(may_unshare(*PID_NAMESPACE), "takes root and unshare(1)")
    def test_children_of_their_own_in_two_namespaces(self):
        """Whose names are made of pids, too."""
        script = ("import os\nif os.fork(): os._exit(os.wait()[1])\n"
                  "print(os.getpid(), flush=True)\nheld = bytearray(20 << 20)\nos.read(0, 1)\n")
        for count in (1, 2):
            _, pid, _ = self.start("unshare", *PID_NAMESPACE, script=script, MEMBUDGET_NAME="web",
                                   MEMBUDGET_CHILDREN="own", MEMBUDGET_LIMIT="64M")
            expected = [f"membudget-web.{pid}", f"membudget-web.{pid}-2"][:count]
            self.assertEqual(sorted(os.listdir(self.blocks)), ["membudget-web", *expected])


if __name__ == "__main__":
    harness.main()
