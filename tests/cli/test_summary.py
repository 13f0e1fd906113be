"""membudget run --summary: its figures, and that it stands in for the command: signals, jobs, statuses."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
import unittest

from cli_case import CLI, LIBRARY, MIB, TARGET, CliCase, main

# Prints "ready", then the names of the signals that come; ends after STOP seconds without one.
RECORDER = """
import os, select, signal, sys
read_end, write_end = os.pipe()
os.set_blocking(write_end, False)
signal.set_wakeup_fd(write_end)
for name in sys.argv[1].split():
    signal.signal(getattr(signal, name), lambda *_: None)
print("ready", flush=True)
while select.select([read_end], [], [], float(sys.argv[2]))[0]:
    for number in os.read(read_end, 64):
        print(signal.Signals(number).name, flush=True)
print("done", flush=True)
"""


def keeps_blocks():
    with open(LIBRARY, "rb") as file:
        return b"MEMBUDGET_KEEP_BLOCK" in file.read()


class Figures(CliCase):
    def summary(self, *command, options=(), status=0, **others):
        result = self.run_cli("run", "--summary", *options, "--", *command, **others)
        self.assertEqual(result.returncode, status, result.stderr)
        return result.stderr

    def figure(self, text, label):
        found = re.search(rf"^  {label} .*\((\d+) bytes\)", text, re.MULTILINE)
        self.assertIsNotNone(found, f"{label}: {text}")
        return int(found.group(1))

    def test_all_of_them(self):
        text = self.summary(TARGET, input=f"a {20 * MIB}\nf\na 1\n", stdin=None, options=("--limit", "16M"))
        live, counted = self.figure(text, "peak live bytes"), self.figure(text, "peak counted bytes")
        self.assertTrue(20 * MIB <= live < 21 * MIB, live)
        self.assertGreaterEqual(counted, live)
        self.assertEqual(self.figure(text, "limit"), 16 * MIB)
        self.assertTrue(20 * MIB < self.figure(text, "peak RSS") < 40 * MIB)
        self.assertRegex(text, r"\n  crossings +1\n")
        self.assertRegex(text, r"\n  page faults +[\d,]+ minor, [\d,]+ major\n")
        self.assertRegex(text, r"\n  time +\d+\.\d\d s, \d+\.\d\d s user, \d+\.\d\d s system\n\Z")
        self.assertIn("exit status 0", text.splitlines()[0])

    def test_as_json(self):
        text = self.summary(TARGET, input=f"a {20 * MIB}\nf\na 1\n", stdin=None, options=("--limit", "16M", "--json"))
        figures = json.loads(text)
        self.assertEqual((figures["command"], figures["exit_status"]), ([TARGET], 0))
        self.assertEqual((figures["limit_bytes"], figures["crossings"]), (16 * MIB, 1))
        self.assertTrue(20 * MIB <= figures["peak_live_bytes"] < 21 * MIB)
        self.assertTrue(20 * MIB < figures["peak_rss_bytes"] < 40 * MIB)
        self.assertGreaterEqual(figures["wall_s"], 0)
        self.assertNotIn("signal", figures)
        killed = self.summary("sh", "-c", "kill -KILL $$", options=("--json",), status=137)
        self.assertEqual(json.loads(killed)["signal"], 9)
        self.refuse(2, "run", "--json", "--", "true", says="--summary")

    def test_peak_rss_is_one_processs(self):
        """Of several, the largest's: the kernel tells no sum, which is what live bytes are."""
        code = "import os\nx = bytearray(30 << 20)\nif os.fork(): os.wait()\nelse: y = bytearray(20 << 20)"
        text = self.summary("/usr/bin/python3", "-c", code)
        self.assertGreater(self.figure(text, "peak live bytes"), 50 * MIB)
        self.assertRegex(text, r"\n  peak RSS .* bytes\)  of the largest process\n")

    def test_without_a_limit(self):
        self.assertRegex(self.summary("sleep", "0.1"), r"\n  limit +none\n")

    @unittest.skipUnless(keeps_blocks(), "this library removes the block at exit: the figures may be gone by then")
    def test_of_a_command_that_ends_at_once(self):
        for _ in range(20):
            self.figure(self.summary("true"), "peak live bytes")

    def test_of_a_command_that_fails_or_is_killed(self):
        self.assertIn("exit status 3", self.summary("sh", "-c", "exit 3", status=3))
        text = self.summary("sh", "-c", "sleep 0.1; kill -KILL $$", status=137)
        self.assertIn("killed by signal 9", text)
        self.figure(text, "peak live bytes")

    def test_goes_to_standard_error_alone(self):
        result = self.run_cli("run", "--summary", "--", "echo", "output")
        self.assertEqual(result.stdout, "output\n")

    def test_of_a_named_group(self):
        self.assertIn("(group mine)", self.summary("true", options=("--name", "mine")))
        self.assertEqual(self.blocks(), [])

    def test_an_old_block_of_the_same_name_is_not_taken_for_it(self):
        subprocess.run([CLI, "run", "--name", "again", "--limit", "1M", "--", "sh", "-c", "kill -KILL $$"],
                       env=self.environment())
        self.assertEqual(self.blocks(), ["membudget-again"])
        text = self.summary("sleep", "0.1", options=("--name", "again", "--limit", "2M"))
        self.assertEqual(self.figure(text, "limit"), 2 * MIB)


class Signals(CliCase):
    def start(self, names, stop="0.5", **options):
        process = subprocess.Popen([CLI, "run", "--summary", "--", sys.executable, "-c", RECORDER, names, stop],
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=self.environment(),
                                   **options)
        self.addCleanup(process.communicate)
        self.addCleanup(lambda: process.poll() is None and process.kill())
        self.assertEqual(process.stdout.readline(), "ready\n")
        return process

    def test_are_passed_on(self):
        names = "SIGTERM SIGINT SIGHUP SIGQUIT SIGUSR1 SIGUSR2 SIGWINCH SIGALRM"
        process = self.start(names)
        for name in names.split():
            process.send_signal(getattr(signal, name))
            self.assertEqual(process.stdout.readline(), name + "\n")
        self.assertEqual(process.stdout.readline(), "done\n")
        self.assertEqual(process.wait(10), 0)

    def test_one_that_ends_the_command(self):
        process = self.start("SIGUSR1", "60")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(10), 128 + signal.SIGTERM)

    def test_ignored_ones_stay_ignored(self):
        process = self.start("SIGUSR1", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        process.send_signal(signal.SIGHUP)
        self.assertEqual(process.stdout.readline(), "done\n")

    def test_stop_and_continue(self):
        # In a group of its own, which is not orphaned whatever started the tests: there SIGTSTP stops nobody.
        process = self.start("SIGUSR1 SIGCONT", "2", preexec_fn=os.setpgrp)
        process.send_signal(signal.SIGTSTP)
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        self.assertTrue(os.WIFSTOPPED(status), status)
        process.send_signal(signal.SIGCONT)
        self.assertEqual(process.stdout.readline(), "SIGCONT\n")


class Terminal(CliCase):
    """On a terminal of its own, as a shell starts it: a foreground job."""

    def start(self, names, stop):
        pid, master = pty.fork()
        if pid == 0:
            os.execve(CLI, [CLI, "run", "--summary", "--", sys.executable, "-c", RECORDER, names, stop], self.environment())
        self.addCleanup(os.close, master)
        self.output = ""
        self.read_until(master, "ready")
        return pid, master

    def read_until(self, master, word):
        end = time.monotonic() + 20
        while word not in self.output:
            self.assertGreater(end, time.monotonic(), f"no {word!r} in {self.output!r}")
            if select.select([master], [], [], 1)[0]:
                self.output += os.read(master, 4096).decode()

    def before_done(self):
        """What the command wrote itself: the summary after it has the command's arguments in it."""
        return self.output.partition("done")[0]

    def test_control_c_comes_once(self):
        pid, master = self.start("SIGINT", "0.7")
        os.write(master, b"\x03")
        self.read_until(master, "done")
        self.assertEqual(self.before_done().count("SIGINT"), 1, self.output)
        self.read_until(master, " system")
        self.assertEqual(os.waitpid(pid, 0)[1], 0)

    def test_a_new_size_comes_once(self):
        pid, master = self.start("SIGWINCH", "0.7")
        import fcntl
        import struct
        import termios
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 90, 0, 0))
        self.read_until(master, "done")
        self.assertEqual(self.before_done().count("SIGWINCH"), 1, self.output)
        self.read_until(master, " system")
        os.waitpid(pid, 0)

    def test_control_z_stops_the_job(self):
        pid, master = self.start("SIGUSR1", "1")
        os.write(master, b"\x1a")
        # The session leader's group is orphaned, so the kernel drops terminal stops: send it as a shell would.
        os.killpg(pid, signal.SIGSTOP)
        _, status = os.waitpid(pid, os.WUNTRACED)
        self.assertTrue(os.WIFSTOPPED(status))
        os.killpg(pid, signal.SIGCONT)
        self.read_until(master, " system")
        self.assertEqual(os.waitpid(pid, 0)[1], 0)


if __name__ == "__main__":
    main()
