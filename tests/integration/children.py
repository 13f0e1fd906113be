"""What the tests of groups share: a Python script under the library that forks and execs, and the group that it is."""

import json
import os
import signal
import subprocess
import sys
import time

import harness

MIB = 2**20
PYTHON_PACKAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../control/python")

# What every script starts with: says(...) writes a line, waits() until the test closes standard input.
COMMON = """
import os, signal, sys
def says(*words): os.write(1, (" ".join(map(str, words)) + "\\n").encode())
def waits(): os.read(0, 1)
def holds(mib): global held; held = bytearray(mib << 20)
def forks(function):
    pid = os.fork()
    if pid: return pid
    try: function(); os._exit(0)
    except BaseException as error: os.write(2, repr(error).encode()); os._exit(1)
def succeeds(*pids):
    for pid in pids: assert os.waitpid(pid, 0)[1] == 0
"""


class Children(harness.Case):
    def start(self, script, *, name="group", **settings):
        settings.setdefault("MEMBUDGET_LIMIT", "4G")
        environment = harness.preloaded(self.blocks, MEMBUDGET_NAME=name, **settings)
        self.process = subprocess.Popen([sys.executable, "-c", COMMON + script], env=environment, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        self.addCleanup(self.kill, self.process)
        return self.process

    def kill(self, process):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        process.stdin.close()
        process.stdout.close()

    def hear(self, count=1):
        """The numbers on the next lines that the program says."""
        lines = [self.process.stdout.readline() for _ in range(count)]
        self.assertTrue(all(lines), f"it ended: {lines}")
        return [int(word) for line in lines for word in line.split()]

    def end(self):
        """Has the program and its children end."""
        self.process.stdin.close()
        self.assertEqual(self.process.wait(60), 0)

    def cli(self, *arguments):
        return harness.run([harness.CLI, *arguments], dict(harness.CLEAN, MEMBUDGET_DIR=self.blocks))

    def show(self, target="group"):
        status, output, errors = self.cli("show", str(target), "--json")
        self.assertEqual((status, errors), (0, b""))
        return json.loads(output)

    def members(self, target="group"):
        return {member["pid"]: member for member in self.show(target)["group"]["processes"]}

    def listed(self):
        """{pid: group} of all there is."""
        return {process["pid"]: process["name"] for process in json.loads(self.cli("ls", "--json")[1])}

    def check_nothing_is_left(self):
        """Of a process that ends by _exit() the block is left to who looks next."""
        self.eventually(lambda: self.listed() == {} and os.listdir(self.blocks) == [], "nothing is left")

    def eventually(self, condition, what):
        end = time.monotonic() + 20
        while not condition():
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.02)
