"""What the tests of the command share: running it, a steerable target, a folder of blocks for each test."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

CLI = os.environ["MEMBUDGET_CLI"]
LIBRARY = os.path.realpath(os.environ["MEMBUDGET_TEST_LIBRARY"])
TARGET = os.environ["MEMBUDGET_TEST_TARGET"]
STATIC = os.environ["MEMBUDGET_TEST_STATIC"]
NOBODY = 65534
MIB = 2**20

is_root = os.geteuid() == 0
as_root = unittest.skipUnless(is_root, "takes root")


def eventually(condition, what, seconds=10.0):
    """Waits until condition() is true, and returns it; fails after a while."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"never came true: {what}")
        time.sleep(0.01)


class Target:
    """The program target.c under `membudget run`, or another command line that ends in it."""

    def __init__(self, case, *options, command=(TARGET,), **settings):
        self.process = subprocess.Popen([CLI, "run", *options, "--", *command], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, env=case.environment(settings), text=True)
        case.addCleanup(self.end)
        self.pid = self.process.pid
        self.tell("a 16")

    def tell(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def end(self, sig=signal.SIGKILL):
        if self.process.poll() is None:
            self.process.send_signal(sig)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                pipe.close()
            except BrokenPipeError:
                pass


class CliCase(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="cli-blocks-", dir="/dev/shm")
        os.chmod(self.folder, 0o755)
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def environment(self, settings=None):
        kept = {name: value for name, value in os.environ.items()
                if not name.startswith("MEMBUDGET_") and name != "LD_PRELOAD"}
        return {**kept, "MEMBUDGET_DIR": self.folder, **(settings or {})}

    def scratch(self):
        folder = tempfile.mkdtemp(prefix="cli-scratch-")
        os.chmod(folder, 0o755)
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        return folder

    def run_cli(self, *arguments, timeout=60, settings=None, **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run([CLI, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=timeout, env=self.environment(settings), **options)

    def succeed(self, *arguments, **options):
        result = self.run_cli(*arguments, **options)
        self.assertEqual((result.returncode, result.stderr), (0, ""), arguments)
        return result.stdout

    def refuse(self, status, *arguments, says=(), **options):
        """It fails with that status and one clear line on standard error, and prints nothing else."""
        result = self.run_cli(*arguments, **options)
        self.assertEqual(result.returncode, status, f"{arguments}: {result.stderr!r}")
        self.assertEqual(result.stdout, "", arguments)
        self.assertRegex(result.stderr, r"\Amembudget: [^\n]+\n\Z", arguments)
        for word in [says] if isinstance(says, str) else says:
            self.assertIn(word, result.stderr, arguments)
        return result.stderr

    def blocks(self):
        return sorted(name for name in os.listdir(self.folder) if name.startswith("membudget-"))


def main():
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    unittest.main(module=sys.modules["__main__"])
