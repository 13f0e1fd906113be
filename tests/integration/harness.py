"""What the integration tests share: where things are, how a command is run plain and under the library.

CTest sets TEST_LIBRARY (libmembudget.so), TEST_REFERENCE (libreference.so, see tests/support/reference.c),
TEST_READER (outside_reader), TEST_CLI (membudget) and, for those that run once per allocator, TEST_ALLOCATOR.
"""

import os
import shutil
import subprocess
import tempfile
import unittest

LIBRARY = os.environ["TEST_LIBRARY"]
REFERENCE = os.environ["TEST_REFERENCE"]
READER = os.environ["TEST_READER"]
CLI = os.environ["TEST_CLI"]
ALLOCATOR = os.environ.get("TEST_ALLOCATOR", "ptmalloc")
SKIPPED = 77  # the exit status that CTest shows as "Skipped"

# What a test program may see of our own environment.
CLEAN = {name: value for name, value in os.environ.items()
         if not name.startswith(("MEMBUDGET_", "LD_", "TEST_", "PYTHON", "GIT_", "MALLOC_"))}
CLEAN.update(LC_ALL="C.UTF-8", TZ="UTC")


def preloaded(folder, *, reference=None, **settings):
    """The environment of a command under the library. `reference`: a file for the reference's reports.
    A setting of None is left out."""
    environment = dict(CLEAN, MEMBUDGET_DIR=folder, MEMBUDGET_ALLOCATOR=ALLOCATOR, LD_PRELOAD=LIBRARY)
    if reference:
        environment.update(LD_PRELOAD=f"{REFERENCE}:{LIBRARY}", REFERENCE_REPORT=reference)
    for name, value in settings.items():
        environment.pop(name, None)
        if value is not None:
            environment[name] = value
    return environment


def run(command, environment, folder=None, timeout=120, **options):
    """Runs a command to its end: (exit status, output, errors), as bytes."""
    options.setdefault("stdin", subprocess.DEVNULL)
    if "input" in options:
        del options["stdin"]
    done = subprocess.run(command, env=environment, cwd=folder, timeout=timeout, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    return done.returncode, done.stdout, done.stderr


def read_report(path):
    """The reference's lines, one for each process that ended by itself: (program, bytes off, blocks off, line)."""
    entries = []
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            program, *numbers = line.rsplit(None, 5)
            forked, expected, seen, blocks, seen_blocks = map(int, numbers)
            blocks_off = 0 if forked else seen_blocks - blocks
            entries.append((program.split(None, 1)[1], seen - expected, blocks_off, line))
    return entries


class Case(unittest.TestCase):
    """A test with a folder for blocks, and one for files, of its own."""

    def setUp(self):
        shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.blocks = tempfile.mkdtemp(prefix="membudget-test.", dir=shared)
        self.folder = tempfile.mkdtemp(prefix="membudget-test.")
        for folder in (self.blocks, self.folder):
            self.addCleanup(shutil.rmtree, folder, ignore_errors=True)

    def file(self, name, text=None):
        """The path of a file of this test, written if there is a text."""
        path = os.path.join(self.folder, name)
        if text is not None:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        return path

    def check_report(self, path, *programs):
        """Every process that ended was counted to the byte, and all of these programs are among them."""
        entries = read_report(path)
        for program, bytes_off, blocks_off, line in entries:
            self.assertEqual((bytes_off, blocks_off), (0, 0), f"{program}: {line}")
        seen = {entry[0] for entry in entries}
        for program in programs:
            self.assertTrue(any(name.startswith(program) for name in seen), f"{program} is not among {sorted(seen)}")


def main():
    """Runs the tests of the calling module. When all were skipped, CTest is told so."""
    program = unittest.main(verbosity=2, exit=False)
    result = program.result
    if not result.wasSuccessful():
        raise SystemExit(1)
    if result.testsRun == 0:
        raise SystemExit("no tests were run")
    raise SystemExit(SKIPPED if len(result.skipped) == result.testsRun else 0)
