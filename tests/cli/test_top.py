"""membudget top: one frame where there is no terminal; live in a pty of 80x24, with its keys."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

from cli_case import CLI, MIB, CliCase, Target, eventually, main

ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[a-zA-Z]|[()][0-9A-B]|[=>78cM])")


class Once(CliCase):
    def test_one_frame(self):
        big, small = Target(self, "--name", "big", "--limit", "64M"), Target(self, "--name", "small")
        big.tell(f"a {60 * MIB}")
        lines = self.succeed("top", stdin=subprocess.DEVNULL).splitlines()
        self.assertIn("processes: 2  groups: 2", lines[0])
        self.assertEqual(lines[1], "sorted by counted")
        self.assertEqual(lines[2].split()[:4], ["PID", "NAME", "LEVEL", "LIMIT"])
        self.assertRegex(lines[3], rf"^ *{big.pid} big +low +\[\|{{7,8}} ?\] +93\.8 +60\.0M ")
        self.assertRegex(lines[4], rf"^ *{small.pid} small +none +no limit +- ")
        self.assertEqual(len(lines), 5)

    def test_a_group_stands_above_its_members(self):
        target = Target(self, "--name", "family", "--limit", "64M")
        target.tell(f"a {4 * MIB}")
        target.tell("k")
        lines = eventually(lambda: (lines := self.succeed("top", "--once").splitlines())[5:] and lines, "two members")
        self.assertRegex(lines[3], r"^ +- family .* \(2 processes\)$")
        self.assertRegex(lines[4], r"^ *\d+  family ")

    def test_order(self):
        Target(self, "--name", "aaa")
        high = Target(self, "--name", "zzz")
        high.tell(f"a {4 * MIB}")
        order = lambda *options: [p["name"] for p in json.loads(self.succeed("top", "--json", *options))]
        self.assertEqual(order(), ["zzz", "aaa"])
        self.assertEqual(order("--sort", "name"), ["aaa", "zzz"])
        self.assertEqual(order("--sort", "rss"), ["zzz", "aaa"])
        self.refuse(2, "top", "--sort", "beauty", says=("beauty", "rss"))

    def test_json(self):
        target = Target(self, "--name", "one", "--limit", "1G")
        process, = json.loads(self.succeed("top", "--json"))
        self.assertEqual((process["pid"], process["limit_bytes"], process["level"]), (target.pid, 1024 * MIB, 0))
        self.assertGreater(process["rss_bytes"], MIB)

    def test_nothing_there(self):
        self.assertIn("Nothing runs under membudget", self.succeed("top"))
        self.assertEqual(json.loads(self.succeed("top", "--json")), [])
        self.refuse(1, "top", "--dir", "/nonexistent", says="/nonexistent")
        self.refuse(2, "top", "--interval", "0", says="--interval")


class Live(CliCase):
    def start(self, *arguments, rows=24, columns=80, **settings):
        self.master, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.terminal_settings = termios.tcgetattr(terminal)
        self.slave = terminal
        environment = self.environment({"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **settings})
        process = subprocess.Popen([CLI, "top", "--interval", "0.1", *arguments], stdin=terminal, stdout=terminal,
                                   stderr=subprocess.PIPE, env=environment, start_new_session=True)
        self.raw = ""
        self.addCleanup(process.communicate)
        self.addCleanup(lambda: process.poll() is None and process.kill())
        self.addCleanup(os.close, self.master)
        self.addCleanup(os.close, terminal)
        return process

    def read(self, seconds=0.3):
        end, text = time.monotonic() + seconds, b""
        while select.select([self.master], [], [], max(0, end - time.monotonic()))[0]:
            text += os.read(self.master, 65536)
        self.raw += text.decode(errors="replace")
        return ESCAPES.sub("", text.decode(errors="replace"))

    def until(self, words, keys=""):
        """Curses sends what changed alone: after keys the whole is asked for."""
        os.write(self.master, keys.encode() + (b"\x0c" if keys else b""))
        seen = ""

        def found():
            nonlocal seen
            seen += self.read(0.1)
            return words in seen
        eventually(found, f"{words!r} after {keys!r}: {seen!r}")
        return seen

    def test_shows_sorts_filters_and_quits(self):
        first = Target(self, "--name", "first", "--limit", "8M")
        Target(self, "--name", "second")
        first.tell(f"a {9 * MIB}")
        process = self.start()
        seen = self.until("F10 Quit")
        for words in ("membudget top", "first", "second", "critical", "112.5"):
            self.assertIn(words, seen)
        self.assertRegex(self.raw, r"\x1b\[[0-9;]*31m")  # critical is red
        self.until("rss", "M")
        self.until("pid", "N")
        self.until("inverted", "I")
        self.until("PAUSED", "Z")
        os.write(self.master, b"Z")
        self.until("Any key goes back", "h")
        self.until("F10 Quit", "x")
        self.until("Filter: sec", "/sec")
        self.until("filter: sec", "\n")
        os.write(self.master, b"q")
        self.assertEqual(process.wait(timeout=20), 0)
        self.read(0.1)
        self.assertIn("\x1b[?1049l", self.raw)  # the screen as it was
        self.assertEqual(termios.tcgetattr(self.slave), self.terminal_settings)

    def test_keys(self):
        """Each that the help names, twice where that goes back."""
        target = Target(self, "--name", "family", "--limit", "64M")
        target.tell("k")
        Target(self, "--name", "other")
        process = self.start(columns=160)
        self.until("(2 processes)")
        for keys in ("t", "\x1b[15~"):  # F5
            seen = self.until("sorted by", keys)
            self.assertEqual("(2 processes)" in seen, keys != "t")
        for order in ("share", "live", "rss", "pid", "name"):
            self.until(f"sorted by {order}", ">")
        self.until("sorted by pid", "<")
        self.until("sorted by name", "\x1b[17~")  # F6
        for key, order in (("P", "share"), ("M", "rss"), (",", "live"), (".", "rss"), ("N", "pid")):
            self.until(f"sorted by {order}", key)
        for help_key in ("?", "\x1bOP"):  # F1
            self.until("Any key goes back", help_key)
            self.until("F10 Quit", "\x1b[B")
        for filter_key in ("\\", "\x1bOR", "\x1bOS"):  # F3, F4
            self.until("Filter: othes", filter_key + "othes")
            self.until("filter: other", "\x7fr\n")
            self.until("F10 Quit", filter_key + "\x1b")
            self.assertNotIn("filter: other", self.until("family", "I"))
        for movement in ("\x1bOB", "\x1bOA", "\x1b[6~", "\x1b[5~", "\x1bOF", "\x1bOH"):
            self.until("F10 Quit", movement)
        os.write(self.master, b"\x1b[21~")  # F10
        self.assertEqual(process.wait(timeout=20), 0)

    def test_follows_a_change_without_drawing_anew(self):
        target = Target(self, "--name", "changing", "--limit", "64M")
        process = self.start(NO_COLOR="1")
        self.until("none")
        self.read(0.5)
        self.raw = ""
        target.tell(f"a {70 * MIB}")
        self.until("critical")
        self.assertNotIn("\x1b[2J", self.raw)  # no clearing: nothing flickers
        self.assertNotRegex(self.raw, r"\x1b\[[0-9;]*3[0-7]m")
        target.end()
        self.until("Nothing runs")
        os.write(self.master, b"q")
        self.assertEqual(process.wait(timeout=20), 0)

    def test_more_rows_than_fit(self):
        targets = [Target(self, "--name", f"g{i}") for i in range(6)]
        process = self.start("--sort", "name", rows=8, columns=40)
        seen = self.until("g3")
        self.assertNotIn("g5", seen)
        self.until("g5", "\x1bOF")  # End
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        process.send_signal(signal.SIGWINCH)
        self.until("F10 Quit")
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=5)
        self.read(0.1)
        self.assertIn("\x1b[?1049l", self.raw)
        self.assertEqual(len(targets), 6)

    def test_keys_that_move_and_turn(self):
        down, up, home, page_down, page_up = "\x1bOB", "\x1bOA", "\x1bOH", "\x1b[6~", "\x1b[5~"
        for i in range(6):
            Target(self, "--name", f"g{i}")
        process = self.start("--sort", "name", rows=8)
        self.assertNotIn("g4", self.until("g3"))
        self.until("g5", page_down * 2)
        self.until("g0", page_up * 2)
        self.until("g4", down * 4)
        self.until("g0", up * 4)
        self.until("g5", page_down * 2)
        self.until("g0", home)
        self.until("sorted by counted", ">")
        self.until("sorted by name", "<")
        self.until("sorted by share", "P")
        os.write(self.master, b"\x1b[21~")  # F10
        self.assertEqual(process.wait(timeout=20), 0)

    def test_typing_a_filter(self):
        Target(self, "--name", "one")
        process = self.start()
        self.until("no limit")
        self.until("Nothing matches", "/on~\n")
        self.until("no limit", "/\x7fe\n")
        self.until("Nothing matches", "/~\n")
        self.until("no limit", "\x1b")
        self.until("Nothing matches", "/~")
        self.until("no limit", "\x1b")  # ends the typing, and clears what was typed
        os.write(self.master, b"q")
        self.assertEqual(process.wait(timeout=20), 0)

    def test_a_terminal_that_is_not_known(self):
        process = self.start(TERM="no-such-terminal")
        self.assertEqual(process.wait(timeout=5), 1)
        self.assertRegex(process.stderr.read().decode(), r"\Amembudget: the terminal 'no-such-terminal' .*--once\n\Z")

    def test_no_line_is_wider_than_the_terminal(self):
        Target(self, "--name", "x" * 64, "--limit", "64M")
        process = self.start("--once")
        text = self.read(0.5)
        self.assertEqual(process.wait(timeout=20), 0)
        self.assertGreater(len(text.splitlines()), 3)
        self.assertLessEqual(max(map(len, text.splitlines())), 80)


if __name__ == "__main__":
    main()
