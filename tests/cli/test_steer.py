"""membudget wait, set, trim and watch."""

import json
import os
import re
import signal
import subprocess
import time

from cli_case import CLI, MIB, CliCase, Target, eventually, main


class SteerCase(CliCase):
    def start(self, *arguments, **options):
        process = subprocess.Popen([CLI, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   env=self.environment(), **options)
        self.addCleanup(process.communicate)
        self.addCleanup(lambda: process.poll() is None and process.kill())  # before that
        return process

    def show(self, target):
        return json.loads(self.succeed("show", str(target), "--json"))

    def asleep(self, process):
        """It has come to rest: its main thread sleeps in a futex call, or at least (where the kernel does
        not say) sleeps and has not run for a while."""
        def waits():
            with open(f"/proc/{process.pid}/wchan") as file:
                where = file.read()
            if where not in ("", "0"):
                return "futex" in where
            before = switches(process.pid)
            time.sleep(0.2)
            return switches(process.pid) == before
        eventually(waits, "the command sleeps")


def switches(pid):
    """How often any thread of the process was put to sleep or interrupted, so far."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/status") as file:
            total += sum(int(n) for n in re.findall(r"ctxt_switches:\s+(\d+)", file.read()))
    return total


class Wait(SteerCase):
    def test_returns_at_once_where_it_is_reached(self):
        target = Target(self, "--limit", "4M")
        self.succeed("wait", str(target.pid), "--level", "none")
        target.tell(f"a {5 * MIB}")
        for level in ("low", "medium", "critical", "50", "100", "255"):
            self.succeed("wait", str(target.pid), "--level", level, timeout=5)

    def test_wakes_when_it_is_reached(self):
        for by_name in (False, True):
            target = Target(self, "--limit", "4M", "--name", "waited")
            process = self.start("wait", "waited" if by_name else str(target.pid), "--level", "critical")
            self.asleep(process)
            start = time.monotonic()
            target.tell(f"a {5 * MIB}")
            self.assertEqual(process.wait(10), 0)
            self.assertLess(time.monotonic() - start, 0.5)
            target.end()

    def test_a_crossing_that_is_over_at_once_is_not_missed(self):
        target = Target(self, "--limit", "4M")
        process = self.start("wait", str(target.pid), "--level", "critical")
        self.asleep(process)
        process.send_signal(signal.SIGSTOP)
        target.tell(f"a {5 * MIB}")
        target.tell("f")
        self.assertEqual(self.show(target.pid)["level"], 0)
        process.send_signal(signal.SIGCONT)
        self.assertEqual(process.wait(10), 0)

    def test_time_out(self):
        target = Target(self, "--limit", "4M")
        start = time.monotonic()
        self.refuse(4, "wait", str(target.pid), "--level", "low", "--timeout", "0.3", says=(str(target.pid), "low"))
        self.assertGreaterEqual(time.monotonic() - start, 0.3)
        self.refuse(4, "wait", str(target.pid), "--timeout", "0")

    def test_the_end_of_the_target(self):
        for how in (signal.SIGKILL, signal.SIGTERM):
            target = Target(self, "--limit", "4M", "--name", "ends")
            by_pid, by_name = self.start("wait", str(target.pid)), self.start("wait", "ends")
            self.asleep(by_pid), self.asleep(by_name)
            target.end(how)
            start = time.monotonic()
            self.assertEqual((by_pid.wait(10), by_name.wait(10)), (3, 3))
            self.assertLess(time.monotonic() - start, 0.5)
            self.assertRegex(by_pid.stderr.read(), r"\Amembudget: [^\n]*ended\n\Z")

    def test_a_group_ends_with_its_last_process(self):
        target = Target(self, "--limit", "4M", "--name", "ends")
        process = self.start("wait", "ends")
        self.asleep(process)
        child = target.tell("k")
        os.kill(child, signal.SIGKILL)
        time.sleep(0.2)
        self.assertIsNone(process.poll())
        target.tell("a 1")
        target.end()
        self.assertEqual(process.wait(10), 3)

    def test_does_not_poll(self):
        target = Target(self, "--limit", "4M")
        process = self.start("wait", str(target.pid), "--timeout", "60")
        self.asleep(process)
        time.sleep(0.2)
        before = switches(process.pid)
        time.sleep(2.5)
        self.assertEqual(switches(process.pid), before)

    def test_bad_arguments(self):
        target = str(Target(self).pid)
        self.refuse(2, "wait", target, "--level", "huge", says="huge")
        self.refuse(2, "wait", target, "--level", "256", says="256")
        for timeout in ("soon", "-1", "1s", "nan"):
            self.refuse(2, "wait", target, "--timeout", timeout, says=timeout)


class Set(SteerCase):
    def test_limit_moves_the_marks_and_the_level(self):
        target = Target(self, "--limit", "100M", "--low", "50%", "--name", "moved")
        target.tell(f"a {30 * MIB}")
        self.assertEqual(self.show("moved")["level"], 0)
        self.succeed("set", "moved", "--limit", "20M")
        report = self.show("moved")
        self.assertEqual((report["limit_bytes"], report["low_bytes"], report["level"]), (20 * MIB, 10 * MIB, 255))
        self.succeed("set", str(target.pid), "--limit", "1G")
        self.assertEqual(self.show("moved")["level"], 0)

    def test_a_new_limit_is_kept_by_the_target(self):
        target = Target(self, "--limit", "1G")
        self.succeed("set", str(target.pid), "--limit", "4M")
        target.tell(f"a {5 * MIB}")
        self.assertEqual(self.show(target.pid)["level"], 255)

    def test_a_limit_where_there_was_none_and_none_where_there_was_one(self):
        target = Target(self)
        target.tell(f"a {5 * MIB}")
        self.succeed("set", str(target.pid), "--limit", "4M")
        self.assertEqual(self.show(target.pid)["level"], 255)
        for none in ("none", "0"):
            self.succeed("set", str(target.pid), "--limit", none)
            report = self.show(target.pid)
            self.assertEqual((report["limit_bytes"], report["level"]), (0, 0))

    def test_hard_limit(self):
        target = Target(self, "--limit", "64M")
        self.succeed("set", str(target.pid), "--hard-limit", "1G")
        report = self.show(target.pid)
        self.assertEqual((report["limit_bytes"], report["hard_limit_bytes"]), (64 * MIB, 1024 * MIB))
        self.succeed("set", str(target.pid), "--hard-limit", "none", "--limit", "32M")
        report = self.show(target.pid)
        self.assertEqual((report["limit_bytes"], report["hard_limit_bytes"]), (32 * MIB, 0))

    def test_a_hard_limit_below_the_limit_is_told(self):
        target = Target(self, "--limit", "64M")
        for options, is_told in ((("--hard-limit", "32M"), True), (("--limit", "48M"), True), (("--limit", "16M"), False)):
            result = self.run_cli("set", str(target.pid), *options)
            self.assertEqual((result.returncode, result.stdout), (0, ""))
            self.assertRegex(result.stderr, r"\Amembudget: the hard limit, [^\n]*\n\Z" if is_told else r"\A\Z", options)

    def test_one_limit_leaves_the_other_as_it_is(self):
        target = Target(self, "--limit", "50%", "--hard-limit", "90%")
        before = self.show(target.pid)
        self.assertGreater(before["limit_bytes"], 0)
        self.succeed("set", str(target.pid), "--limit", "1G")
        after = self.show(target.pid)
        self.assertEqual((after["limit_bytes"], after["hard_limit_bytes"]), (1024 * MIB, before["hard_limit_bytes"]))

    def test_percentage_is_of_the_same_whole_as_at_the_start(self):
        target = Target(self, "--limit", "50%")
        limit = self.show(target.pid)["limit_bytes"]
        self.succeed("set", str(target.pid), "--limit", "25%")
        self.assertAlmostEqual(self.show(target.pid)["limit_bytes"], limit / 2, delta=2)

    def test_wakes_waiters(self):
        target = Target(self, "--limit", "64M")
        target.tell(f"a {5 * MIB}")
        process = self.start("wait", str(target.pid))
        self.asleep(process)
        self.succeed("set", str(target.pid), "--limit", "4M")
        self.assertEqual(process.wait(10), 0)

    def test_bad_sizes_change_nothing(self):
        target = Target(self, "--limit", "64M")
        for size in ("12Q", "-1", "abc", "101%", "", "1.5"):
            with self.subTest(size):
                self.refuse(2, "set", str(target.pid), f"--limit={size}", says="--limit")
                self.refuse(2, "set", str(target.pid), "--limit=1G", f"--hard-limit={size}", says="--hard-limit")
        self.refuse(2, "set", str(target.pid), "--limit", "9223372036854775807T", says="too large")
        self.refuse(2, "set", str(target.pid), "--limit", "0%", says="--limit")
        for size in ("10%", "-5"):
            self.assertNotIn("percent", self.refuse(2, "set", str(target.pid), f"--profile={size}", says="--profile"))
        self.refuse(2, "set", str(target.pid), says="nothing to set")
        self.assertEqual(self.show(target.pid)["limit_bytes"], 64 * MIB)


class Trim(SteerCase):
    def test_hands_memory_back(self):
        target = Target(self, "--allocator", "jemalloc")  # it keeps what was freed for some seconds
        for _ in range(1000):
            target.tell("a 20000")
        for _ in range(1000):
            target.tell("f")
        process = self.start("trim", str(target.pid), "--json")
        while process.poll() is None:
            target.tell("a 16")
        self.assertEqual(process.returncode, 0)
        report = json.loads(process.stdout.read())
        self.assertEqual(sorted(report), ["released_bytes", "rss_after_bytes", "rss_before_bytes"])
        self.assertGreater(report["rss_before_bytes"] - report["rss_after_bytes"], 15 * MIB)
        self.assertGreater(report["released_bytes"], 15 * MIB)

    def test_for_people(self):
        target = Target(self)
        process = self.start("trim", str(target.pid))
        while process.poll() is None:
            target.tell("a 16")
        self.assertRegex(process.stdout.read(), r"\ARSS before [\d.]+ .iB, after [\d.]+ .iB; .* handed back\n\Z")

    def test_a_sleeping_process_does_not_answer(self):
        target = Target(self)
        start = time.monotonic()
        self.refuse(4, "trim", str(target.pid), "--timeout", "0.3",
                    says=(str(target.pid), "next malloc or free", "--pythonmalloc malloc"))
        self.assertLess(time.monotonic() - start, 5)
        target.tell("a 16")  # done late, and harms nothing
        target.tell("f")

    def test_all_of_a_group(self):
        target = Target(self, "--name", "pair")
        target.tell("k")  # sleeps for ever
        eventually(lambda: len(self.show("pair")["group"]["processes"]) == 2, "the child is a member")
        process = self.start("trim", "pair", "--timeout", "0.5")
        while process.poll() is None:
            target.tell("a 16")
        self.assertEqual(process.returncode, 4)

    def test_the_end_of_the_target(self):
        target = Target(self)
        process = self.start("trim", str(target.pid), "--timeout", "30")
        self.asleep(process)
        target.end()
        self.assertEqual(process.wait(10), 3)


class Watch(SteerCase):
    def test_a_process_has_its_own_share(self):
        target = Target(self, "--limit", "100M", "--name", "shared")
        Target(self, "--name", "shared").tell(f"a {60 * MIB}")
        target.tell(f"a {20 * MIB}")
        for name, parts in ((str(target.pid), (r" 20\.\d%", r"group +80\.\d MiB +80\.\d%$")), ("shared", (r" 80\.\d%",))):
            line = self.start("watch", name).stdout.readline()
            for part in parts:
                self.assertRegex(line, part)
        figures = json.loads(self.start("watch", str(target.pid), "--jsonl").stdout.readline())
        self.assertAlmostEqual(figures["group_counted_bytes"] - figures["counted_bytes"], 60 * MIB, delta=MIB)

    def test_lines_until_the_end(self):
        target = Target(self, "--limit", "64M", "--name", "seen")
        process = self.start("watch", "seen", "--jsonl", "--interval", "0.05")
        lines = [json.loads(process.stdout.readline()) for _ in range(3)]
        usable = target.tell(f"a {MIB}")
        grown = eventually(lambda: (line := json.loads(process.stdout.readline()))["live_bytes"] > lines[0]["live_bytes"]
                           and line, "the growth is seen")
        self.assertEqual(grown["live_bytes"] - lines[0]["live_bytes"], usable)
        self.assertEqual((grown["name"], grown["level"], grown["limit_bytes"]), ("seen", 0, 64 * MIB))
        self.assertGreater(grown["rss_bytes"], MIB)
        target.end()
        self.assertEqual(process.wait(10), 0)

    def test_interval(self):
        target = Target(self)
        process = self.start("watch", str(target.pid), "--interval", "0.2")
        process.stdout.readline()
        start = time.monotonic()
        for _ in range(4):
            self.assertRegex(process.stdout.readline(), r"^\S+Z  none +live .* crossings 0\n$")
        self.assertTrue(0.7 < time.monotonic() - start < 3, time.monotonic() - start)

    def test_notices_the_end_before_the_interval_is_over(self):
        target = Target(self)
        process = self.start("watch", str(target.pid), "--interval", "30")
        process.stdout.readline()
        target.end()
        self.assertEqual(process.wait(5), 0)

    def test_bad_intervals(self):
        target = str(Target(self).pid)
        for interval in ("0", "-1", "often"):
            self.refuse(2, "watch", target, "--interval", interval, says=interval)


if __name__ == "__main__":
    main()
