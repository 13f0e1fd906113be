"""membudget compare: figures that can be told in advance, the page, the sentence, and commands that fail."""

import json
import os
import re
import signal
import subprocess
import time
import xml.dom.minidom

from cli_case import CLI, MIB, STATIC, CliCase, eventually, main

PYTHON = "/usr/bin/python3"

# Holds 40 MiB (80 while they are made) for half its time, then 16. Ends without taking itself down, which on a busy
# machine is all that the last looks see.
JOB = ("import os, time; a = bytearray(b'x' * (16 << 20)); b = bytearray(b'x' * (24 << 20)); time.sleep(.2); del b; "
       "time.sleep(.2); os._exit(0)")


class Compare(CliCase):
    def compare(self, *command, options=(), **others):
        return json.loads(self.succeed("compare", "--json", *options, "--", *command, **others))

    def test_figures(self):
        report = self.compare(PYTHON, "-c", JOB, options=("--runs", "1"))
        names = [contender["allocator"] for contender in report["allocators"]]
        self.assertEqual(names, ["glibc", "ptmalloc", "jemalloc", "mimalloc", "tcmalloc"])
        for contender in report["allocators"]:
            with self.subTest(contender["allocator"]):
                self.assertEqual(contender["exit_statuses"], [0])
                peak, mean, end = (contender[f"{key}_rss_bytes"]["median"] for key in ("peak", "mean", "end"))
                self.assertTrue(48 * MIB < peak < 110 * MIB, peak / MIB)
                self.assertTrue(24 * MIB < mean < peak and 16 * MIB < end <= peak, (mean / MIB, end / MIB))
                self.assertTrue(0.4 <= contender["wall_seconds"]["median"] < 5)
                self.assertTrue(0 < contender["cpu_seconds"]["median"] < contender["wall_seconds"]["median"])
                self.assertGreater(contender["minor_faults"]["median"], 500)
                curve = contender["rss_curves"][0]
                self.assertGreater(len(curve), 10)
                self.assertEqual(sorted(curve), curve)
                self.assertLessEqual(max(rss for _, rss in curve), peak)
                if contender["allocator"] == "glibc":
                    self.assertNotIn("peak_live_bytes", contender)
                    continue
                self.assertTrue(40 * MIB <= contender["peak_live_bytes"]["median"] < 100 * MIB, contender)
                self.assertTrue(0.5 < contender["fragmentation_ratio"]["median"] < 4, contender)
        self.assertEqual(self.blocks(), [])

    def test_children_are_counted(self):
        script = f"{PYTHON} -c \"a = bytearray(b'x' * (40 << 20)); import time; time.sleep(.6)\" & wait"
        report = self.compare("sh", "-c", script, options=("--runs", "1", "--allocators", "ptmalloc"))
        for contender in report["allocators"]:
            self.assertGreater(contender["mean_rss_bytes"]["median"], 20 * MIB)

    def test_spread_and_a_sure_winner(self):
        """One that sleeps where it runs without the library, and works under it: no doubt which is cheaper."""
        script = 'case "$LD_PRELOAD" in *membudget*) i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done;; esac; sleep .05'
        report = self.compare("sh", "-c", script, options=("--runs", "5", "--allocators", "ptmalloc"))
        glibc, ours = report["allocators"]
        for contender in (glibc, ours):
            wall = contender["wall_seconds"]
            self.assertEqual(len(wall["runs"]), 5)
            self.assertTrue(min(wall["runs"]) <= wall["low"] <= wall["median"] <= wall["high"] <= max(wall["runs"]))
        verdict = report["verdict"]
        self.assertEqual((verdict["best"], verdict["next"], verdict["confidence"]), ("glibc", "ptmalloc", "sure"))
        self.assertAlmostEqual(verdict["p"], 1 / 252, 9)  # five of five: one of 10 over 5 orders
        self.assertIn("25 of 25 pairs", verdict["sentence"])

    def test_one_run_is_not_sure(self):
        result = self.succeed("compare", "--runs", "1", "--allocators", "ptmalloc,jemalloc", "--", "true")
        self.assertRegex(result, r"(?m)^ALLOCATOR +WALL +CPU +PEAK RSS +MEAN RSS")
        for name in ("glibc", "ptmalloc", "jemalloc"):
            self.assertRegex(result, f"(?m)^{name} +\\d")
        self.assertIn("not sure", " ".join(result.split()))

    def test_page(self):
        page = os.path.join(self.scratch(), "compare.html")
        command = (PYTHON, "-c", "import time; a = '<script>&'; time.sleep(.1)")
        self.succeed("compare", "--runs", "2", "--allocators", "jemalloc", "-o", page, "--", *command)
        with open(page) as file:
            html = file.read()
        self.assertEqual(re.findall(r"(?:src|href)\s*=|url\(|@import|<script", html), [])
        self.assertIn("&lt;script&gt;&amp;", html)
        drawing = xml.dom.minidom.parseString(re.search(r"<svg.*</svg>", html, re.DOTALL).group())
        curves = drawing.getElementsByTagName("polyline")
        self.assertEqual(sorted(curve.firstChild.firstChild.data for curve in curves), ["glibc"] * 2 + ["jemalloc"] * 2)
        for curve in curves:
            points = [tuple(map(float, point.split(","))) for point in curve.getAttribute("points").split()]
            self.assertGreater(len(points), 3)
            self.assertTrue(all(80 <= x <= 844 and 12 <= y <= 336 for x, y in points), points)
        for word in ("glibc", "jemalloc", "peak rss", "minor faults", "pairs of runs"):
            self.assertIn(word, html)

    def test_limits_apply(self):
        report = self.compare("sh", "-c", 'test -z "$LD_PRELOAD" || test "$MEMBUDGET_LIMIT" = 64M',
                              options=("--runs", "1"), settings={"MEMBUDGET_LIMIT": "64M"})
        self.assertEqual([contender["exit_statuses"] for contender in report["allocators"]], [[0]] * 5)


class Refused(CliCase):
    def test_arguments(self):
        self.refuse(2, "compare", says="no command")
        self.refuse(2, "compare", "--runs", "0", "--", "true", says="--runs")
        self.refuse(2, "compare", "--runs", "many", "--", "true", says="--runs")
        self.refuse(2, "compare", "--allocators", "frobmalloc", "--", "true", says=("frobmalloc", "jemalloc"))
        self.refuse(2, "compare", "--allocators", "a,,b", "--", "true", says="a,,b")
        self.refuse(2, "compare", "-o", "/nonexistent/x.html", "--", "true", says="/nonexistent/x.html")
        self.refuse(2, "compare", "--frobnicate", "--", "true", says="--frobnicate")
        self.refuse(127, "compare", "--", "no-such-command", says="no-such-command")
        self.refuse(2, "compare", "--", STATIC, says="statically")

    def test_a_command_that_fails(self):
        result = self.run_cli("compare", "--runs", "1", "--allocators", "ptmalloc", "--",
                              "sh", "-c", 'echo out; test -z "$LD_PRELOAD" || { echo broken >&2; exit 3; }')
        self.assertEqual(result.returncode, 1)
        self.assertEqual(result.stderr, "membudget: the command ended with status 3 under ptmalloc; it said: broken\n")
        self.assertIn("ALLOCATOR", result.stdout)

    def test_a_missing_default_is_left_out(self):
        folder = self.scratch()
        with open(os.path.join(folder, "libmimalloc.so.2"), "w") as file:
            file.write("no library\n")
        result = self.run_cli("compare", "--runs", "1", "--json", "--", "true", settings={"LD_LIBRARY_PATH": folder})
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stderr, r"\Amembudget: without mimalloc: [^\n]+\n\Z")
        names = [contender["allocator"] for contender in json.loads(result.stdout)["allocators"]]
        self.assertEqual(names, ["glibc", "ptmalloc", "jemalloc", "tcmalloc"])

    def test_interrupted(self):
        process = subprocess.Popen([CLI, "compare", "--", "sleep", "60"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True, env=self.environment())
        self.addCleanup(process.communicate)
        child = eventually(lambda: self.child_of(process.pid), "the command runs")
        time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(timeout=10), 143)
        self.assertEqual(process.stderr.read(), "membudget: interrupted\n")
        self.assertFalse(os.path.exists(f"/proc/{child}"))

    def child_of(self, parent):
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{name}/stat") as file:
                    text = file.read()
            except OSError:
                continue
            if int(text.rpartition(")")[2].split()[1]) == parent and "(sleep)" in text:
                return int(name)
        return None


if __name__ == "__main__":
    main()
