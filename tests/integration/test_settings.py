"""Broken settings under a bare LD_PRELOAD: the program runs on, each problem is one line on standard error,
and the block says so too. Good ones of every kind are taken without a word."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys

import harness

# Variable, values that it does not take.
BROKEN = {
    "MEMBUDGET_LIMIT": ["abc", "12X", "-5", "1.2.3G", "%", "64 MM", "0x10", "1e9", "99999999999999999999G", "0%"],
    "MEMBUDGET_LOW": ["half", "-1%"],
    "MEMBUDGET_MEDIUM": ["97 percent"],
    "MEMBUDGET_RELEASE": ["2%%", "x"],
    "MEMBUDGET_HARD_LIMIT": ["huge", "0%"],
    "MEMBUDGET_MEASURE": ["bytes"],
    "MEMBUDGET_NAME": ["../escape", "a/b", "with space", "x" * 65, "new\nline"],
    "MEMBUDGET_CHILDREN": ["adopt"],
    "MEMBUDGET_MMAP_THRESHOLD": ["128Q"],
    "MEMBUDGET_TRIM_THRESHOLD": ["-1"],
    "MEMBUDGET_ARENAS": ["many"],
    "MEMBUDGET_PYTHONMALLOC": ["pymalloc"],
    "MEMBUDGET_PROFILE": ["often"],
    "MEMBUDGET_PROFILE_DIR": ["profiles", "/nonexistent", "/dev/null"],
    "MEMBUDGET_LOG": ["loud"],
    "MEMBUDGET_ALLOCATOR": ["nomalloc", "libjemalloc.so.2", "/nonexistent/lib.so", "/etc/passwd", "/", "JEMALLOC",
                            harness.LIBRARY],
}

GOOD = {
    "MEMBUDGET_LIMIT": ["64M", "1.5G", "1073741824", "512MiB", "100KB", "50%", "7T"],
    "MEMBUDGET_LOW": ["80%", "1M"],
    "MEMBUDGET_MEDIUM": ["90.5%", "2M"],
    "MEMBUDGET_RELEASE": ["0", "5%", "64K"],
    "MEMBUDGET_HARD_LIMIT": ["1G", "80%"],
    "MEMBUDGET_MEASURE": ["counted", "footprint"],
    "MEMBUDGET_NAME": ["a", "Group-1.test_x", "x" * 64],
    "MEMBUDGET_CHILDREN": ["join", "own", "ignore"],
    "MEMBUDGET_MMAP_THRESHOLD": ["default", "1M", "131072"],
    "MEMBUDGET_TRIM_THRESHOLD": ["default", "1M"],
    "MEMBUDGET_ARENAS": ["default", "1", "8"],
    "MEMBUDGET_PYTHONMALLOC": ["auto", "malloc", "keep"],
    "MEMBUDGET_PROFILE": ["0", "512K"],
    "MEMBUDGET_PROFILE_DIR": ["/tmp"],
    "MEMBUDGET_LOG": ["quiet", "warn"],
    "MEMBUDGET_ALLOCATOR": ["ptmalloc", "jemalloc", "mimalloc", "tcmalloc"],
}


class Settings(harness.Case):
    @contextlib.contextmanager
    def program(self, **settings):
        """A program that waits for its input, and what its own standard error will be: a list."""
        errors = []
        program = subprocess.Popen(["cat"], env=harness.preloaded(self.blocks, **settings), stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            program.stdin.write(b"ping\n")
            program.stdin.flush()
            self.assertEqual(program.stdout.readline(), b"ping\n", settings)
            yield program, errors
        finally:
            output, text = program.communicate(timeout=30)
            errors.extend(text.decode().splitlines())
        self.assertEqual((program.returncode, output), (0, b""), settings)

    def show(self, pid):
        environment = dict(harness.CLEAN, MEMBUDGET_DIR=self.blocks)
        status, output, errors = harness.run([harness.CLI, "show", str(pid), "--json"], environment)
        self.assertEqual((status, errors), (0, b""))
        return json.loads(output)

    def check_broken(self, variable, value):
        with self.program(**{variable: value}) as (program, errors):
            shown = self.show(program.pid)
        self.assertEqual(len(errors), 1, f"{variable}={value!r}: {errors}")
        self.assertIn(variable, errors[0])
        self.assertIn(value.split("\n")[0][:40], errors[0])
        self.assertRegex(errors[0], r"^membudget: ")
        self.assertIn(variable, str(shown["config_errors"]))
        self.assertGreater(shown["live_bytes"], 0)
        if variable == "MEMBUDGET_ALLOCATOR":
            self.assertEqual(shown["allocator"], "ptmalloc")
        if variable == "MEMBUDGET_LIMIT":
            self.assertFalse(shown.get("limit_bytes"))

    def test_broken_ones_are_named_and_left_out(self):
        for variable, values in BROKEN.items():
            for value in values:
                with self.subTest(variable=variable, value=value):
                    self.check_broken(variable, value)

    def test_good_ones_are_taken_without_a_word(self):
        for variable, values in GOOD.items():
            for value in values:
                with self.subTest(variable=variable, value=value):
                    with self.program(**{variable: value}) as (program, errors):
                        shown = self.show(program.pid)
                    self.assertEqual(errors, [])
                    self.assertFalse(shown.get("config_errors"))

    def test_each_problem_has_its_line(self):
        settings = {"MEMBUDGET_LIMIT": "abc", "MEMBUDGET_LOW": "half", "MEMBUDGET_ALLOCATOR": "nomalloc"}
        with self.program(**settings) as (program, errors):
            shown = self.show(program.pid)
        self.assertEqual(len(errors), 3, errors)
        for variable in settings:
            self.assertEqual(sum(variable in line for line in errors), 1, errors)
            self.assertIn(variable, str(shown["config_errors"]))

    def test_marks_above_the_limit(self):
        """The default is in their place."""
        for mark, share in (("LOW", 0.9), ("MEDIUM", 0.97)):
            with self.program(MEMBUDGET_LIMIT="64M", **{f"MEMBUDGET_{mark}": "65M"}) as (program, errors):
                shown = self.show(program.pid)
            self.assertEqual(len(errors), 1)
            self.assertIn(f"MEMBUDGET_{mark}=65M", errors[0])
            self.assertIn(f"MEMBUDGET_{mark}=65M", str(shown["config_errors"]))
            self.assertAlmostEqual(shown[f"{mark.lower()}_bytes"], share * 2**26, delta=2)

    def test_medium_below_low(self):
        """Each mark is where it was set, and the highest that is reached is the level."""
        script = "import sys; held = bytearray(40 << 20); print('held', flush=True); sys.stdin.read()"
        environment = harness.preloaded(self.blocks, MEMBUDGET_LIMIT="64M", MEMBUDGET_MEDIUM="32M")
        program = subprocess.Popen([sys.executable, "-c", script], env=environment, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE)
        self.addCleanup(program.communicate)
        self.assertEqual(program.stdout.readline(), b"held\n")
        shown = self.show(program.pid)
        self.assertEqual((shown["level_name"], shown["medium_bytes"]), ("medium", 2**25))

    def test_a_script_says_it_once(self):
        """Not each of its children."""
        script = "env true; sh -c 'env true; :'; exec env true"
        for settings in ({"MEMBUDGET_LIMIT": "lots"}, {"MEMBUDGET_DIR": "/nonexistent"},
                         {"MEMBUDGET_LIMIT": "lots", "MEMBUDGET_CHILDREN": "own"},
                         {"MEMBUDGET_LIMIT": "lots", "MEMBUDGET_CHILDREN": "ignore"}):
            environment = harness.preloaded(self.blocks, **settings)
            status, output, errors = harness.run(["sh", "-c", script], environment)
            self.assertEqual((status, output), (0, b""))
            self.assertEqual(errors.count(b"\n"), 1, errors)
        script = "MEMBUDGET_LIMIT=more env true; MEMBUDGET_LIMIT=less env true"
        errors = harness.run(["sh", "-c", script], harness.preloaded(self.blocks, MEMBUDGET_LIMIT="lots"))[2]
        self.assertEqual([line.split()[1] for line in errors.decode().splitlines()],
                         ["MEMBUDGET_LIMIT=lots", "MEMBUDGET_LIMIT=more", "MEMBUDGET_LIMIT=less"])

    def test_info(self):
        """What is in force, from who begins the group; crossings, once a second at the most; and no end by SIGPIPE."""
        script = """
import os, subprocess, sys
subprocess.run(["env", "true"], check=True)
for i in range(50): held = bytearray(20 << 20); held = None
"""
        settings = {"MEMBUDGET_LIMIT": "16M", "MEMBUDGET_LOG": "info", "MEMBUDGET_NAME": "told"}
        environment = harness.preloaded(self.blocks, **settings)
        status, output, errors = harness.run([sys.executable, "-c", script], environment)
        self.assertEqual((status, output), (0, b""))
        begins, *crossed = errors.decode().splitlines()
        self.assertRegex(begins, rf"membudget: group told begins: ptmalloc, .*16777216.*{self.blocks}/membudget-told")
        self.assertTrue(1 <= len(crossed) <= 5, crossed)
        self.assertRegex(crossed[0], r"membudget: \d\d:\d\d:\d\d UTC: group told crossed its budget: \d+ bytes")
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "wb") as lost:
            script = "import signal; signal.signal(signal.SIGPIPE, signal.SIG_DFL)\n" + script
            done = subprocess.run([sys.executable, "-c", script], env=environment, stderr=lost, check=False)
        self.assertEqual(done.returncode, 0)

    def test_a_profile_that_is_lost(self):
        """Is told once."""
        folder = self.file("profiles")
        os.mkdir(folder)
        script = "import os, sys; os.rmdir(sys.argv[1]); held = bytearray(20 << 20)"
        environment = harness.preloaded(self.blocks, MEMBUDGET_PROFILE="64K", MEMBUDGET_LIMIT="16M",
                                        MEMBUDGET_PROFILE_DIR=folder)
        command = ["sh", "-c", 'export MEMBUDGET_PROFILE_EXIT=$$; exec "$@"', "sh", sys.executable, "-c", script, folder]
        status, output, errors = harness.run(command, environment)
        self.assertEqual((status, output), (0, b""))
        self.assertRegex(errors.decode(), rf"\Amembudget: MEMBUDGET_PROFILE_DIR={folder}: .*No such file [^\n]*\n\Z")

    def test_quiet_is_silent_but_recorded(self):
        with self.program(MEMBUDGET_LOG="quiet", MEMBUDGET_LIMIT="abc") as (program, errors):
            shown = self.show(program.pid)
        self.assertEqual(errors, [])
        self.assertIn("MEMBUDGET_LIMIT", str(shown["config_errors"]))

    def test_a_library_that_is_no_allocator(self):
        libm = re.search(r"(/\S*libm\.so\.6)", harness.run(["ldd", harness.LIBRARY], harness.CLEAN)[1].decode())[1]
        self.check_broken("MEMBUDGET_ALLOCATOR", libm)

    def test_an_allocator_whose_first_allocation_fails(self):
        path = os.environ["TEST_FAILING_ALLOCATOR"]
        self.check_broken("MEMBUDGET_ALLOCATOR", path)
        with self.program(MEMBUDGET_ALLOCATOR=path) as (_, errors):
            pass
        self.assertIn("a first allocation failed", errors[0])
        environment = dict(harness.CLEAN, MEMBUDGET_DIR=self.blocks)
        status, output, errors = harness.run([harness.CLI, "run", "--allocator", path, "--", "true"], environment)
        self.assertEqual((status, output), (2, b""))
        self.assertIn(b"a first allocation failed", errors)

    def test_an_allocator_that_fails_later(self):
        """The program gets NULL and ENOMEM, wherever that begins: what it makes of it is its own."""
        script = "import sys; kept = [bytes(3000 + i) for i in range(2000)]; sys.exit(5)"
        ends = []
        for after in (*range(1, 12), 50, 500, 5000, 1000000):
            environment = harness.preloaded(self.blocks, MEMBUDGET_ALLOCATOR=os.environ["TEST_FAILING_ALLOCATOR"],
                                            FAIL_AFTER=str(after))
            status, output, errors = harness.run([sys.executable, "-S", "-c", script], environment, timeout=60)
            self.assertIn(status, (1, 2, 5, 127, -signal.SIGABRT), errors)  # CPython aborts where it cannot start
            ends.append(status)
        self.assertNotEqual(ends[0], 5)
        self.assertEqual(ends[-1], 5)

    def test_an_empty_value_is_none(self):
        with self.program(MEMBUDGET_LIMIT="", MEMBUDGET_NAME="", MEMBUDGET_ALLOCATOR="") as (program, errors):
            shown = self.show(program.pid)
        self.assertEqual(errors, [])
        self.assertEqual((shown["allocator"], shown["name"]), ("ptmalloc", str(program.pid)))


if __name__ == "__main__":
    harness.main()
