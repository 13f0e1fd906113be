"""A block that is cut short, overwritten or unlinked while a program runs: the program goes on, and is told once."""

import errno
import os
import random
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
import harness  # noqa: E402

HOST = os.environ["TEST_HOST"]
CUT_READER = os.environ["TEST_CUT_READER"]
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
ALLOCATORS = ("ptmalloc", "jemalloc", "mimalloc", "tcmalloc")
LINE = "membudget: the block of group was cut short or overwritten: this process runs on without its budget"


class Damage(harness.Case):
    def hold(self, allocator, **settings):
        """The host with its threads at work."""
        environment = harness.preloaded(self.blocks, MEMBUDGET_NAME="group", MEMBUDGET_ALLOCATOR=allocator,
                                        MEMBUDGET_LIMIT="1G", **settings)
        host = subprocess.Popen([HOST, "hold"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)
        self.addCleanup(lambda: host.poll() is None and host.kill())
        self.assertEqual(host.stdout.readline(), "ready\n")
        return host

    def finish(self, host, lines):
        output, errors = host.communicate("stop\n", timeout=120)
        self.assertEqual((host.returncode, output, errors.splitlines()), (7, "held\n", lines))

    def path(self):
        return os.path.join(self.blocks, "membudget-group")

    def test_cut_short(self):
        for allocator in ALLOCATORS:
            for size in (0, 4096, 100_000):
                with self.subTest(allocator=allocator, size=size):
                    host = self.hold(allocator)
                    os.truncate(self.path(), size)
                    # Behind what one process uses nothing is lost for it.
                    self.finish(host, [LINE] if size < 8192 else [])
                    os.unlink(self.path())

    def test_cut_short_and_long_again(self):
        host = self.hold("ptmalloc")
        size = os.stat(self.path()).st_size
        os.truncate(self.path(), 0)
        os.truncate(self.path(), size)  # all zeros: no fault comes
        self.finish(host, [LINE])
        os.unlink(self.path())

    def test_cut_short_while_stacks_are_taken(self):
        """Where signals are blocked."""
        for _ in range(5):
            host = self.hold("ptmalloc", MEMBUDGET_PROFILE="1K")
            os.truncate(self.path(), 0)
            self.finish(host, [LINE])
            os.unlink(self.path())

    def test_quiet(self):
        host = self.hold("ptmalloc", MEMBUDGET_LOG="quiet")
        os.truncate(self.path(), 0)
        self.finish(host, [])

    def test_overwritten(self):
        """Random bytes over all of it, again and again, while four threads allocate."""
        for allocator in ALLOCATORS:
            with self.subTest(allocator=allocator):
                host = self.hold(allocator)
                chance = random.Random(1)
                noise = [chance.randbytes(1 << 20) for _ in range(4)]
                with open(self.path(), "r+b", buffering=0) as file:
                    size = os.fstat(file.fileno()).st_size
                    for _ in range(3):
                        for offset in range(0, size, 1 << 20):
                            os.pwrite(file.fileno(), chance.choice(noise)[:size - offset], offset)
                self.finish(host, [LINE])
                os.unlink(self.path())

    def test_scribbled_on(self):
        """Words here and there, in what is in use: no crash, no end of the program's own doings."""
        chance = random.Random(2)
        words = (bytes(8), b"\xff" * 8, b"\xff" * 7 + b"\x7f", bytes(7) + b"\x80", b"\x01" + bytes(7))
        for allocator in ALLOCATORS:
            with self.subTest(allocator=allocator):
                host = self.hold(allocator)
                with open(self.path(), "r+b", buffering=0) as file:
                    for _ in range(20_000):
                        # Not the hard limit: what is written there is what somebody may have set.
                        offset = chance.randrange(4096, 4096 + 45_000) & ~7
                        os.pwrite(file.fileno(), chance.choice((*words, chance.randbytes(8))), offset)
                output, errors = host.communicate("stop\n", timeout=120)
                self.assertEqual((host.returncode, output), (7, "held\n"), errors)
                for line in errors.splitlines():
                    self.assertTrue(line.startswith("membudget: "), errors)
                if os.path.exists(self.path()):
                    os.unlink(self.path())

    def test_cut_short_under_a_reader(self):
        """A program that reads through the client library, and has no handler: it is told that all has ended."""
        host = self.hold("ptmalloc")
        reader = subprocess.Popen([CUT_READER, "group"], env=dict(harness.CLEAN, MEMBUDGET_DIR=self.blocks),
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(lambda: reader.poll() is None and reader.kill())
        self.assertEqual(reader.stdout.readline(), f"0 1 0 {-errno.ETIMEDOUT}\n")
        os.truncate(self.path(), 0)
        output, _ = reader.communicate("again\n", timeout=60)
        self.assertEqual((reader.returncode, output), (0, f"0 0 0 {-errno.ESRCH}\n"))
        self.finish(host, [LINE])

    def test_cut_short_under_the_program_s_own_python(self):
        script = ("import membudget, os, sys; b = membudget.attach(); path = sys.argv[1]; assert b.live_bytes > 0\n"
                  "os.truncate(path, 0); a = [bytes(1000) for _ in range(10000)]\n"
                  "print(int(b.level), b.live_bytes, b.limit_bytes, membudget.attach(required=False).crossed)")
        environment = harness.preloaded(self.blocks, MEMBUDGET_NAME="group", MEMBUDGET_LIMIT="1G",
                                        PYTHONPATH=os.path.join(ROOT, "control", "python"))
        status, output, errors = harness.run([sys.executable, "-c", script, self.path()], environment)
        self.assertEqual((status, output, errors.decode()), (0, b"0 0 0 False\n", LINE + "\n"))

    def test_unlinked(self):
        host = self.hold("ptmalloc")
        os.unlink(self.path())
        self.finish(host, [])

    def test_a_bus_error_of_the_program_still_kills_it(self):
        """Sent, or by a touch of its own: status and signal are what they are without the library."""
        environment = harness.preloaded(self.blocks)
        for script in ("import os, signal; os.kill(os.getpid(), signal.SIGBUS)",
                       "import mmap, os; f = os.memfd_create('f'); os.truncate(f, 4096); m = mmap.mmap(f, 4096); "
                       "os.truncate(f, 0); m[0]"):
            for env in (harness.CLEAN, environment):
                status, _, errors = harness.run([sys.executable, "-c", script], env)
                self.assertEqual((status, errors), (-signal.SIGBUS, b""))

    def test_a_handler_of_the_program_gets_its_own(self):
        script = ("import signal, os; signal.signal(signal.SIGBUS, lambda *_: print('seen', flush=True)); "
                  "os.kill(os.getpid(), signal.SIGBUS)")
        status, output, _ = harness.run([sys.executable, "-c", script], harness.preloaded(self.blocks))
        self.assertEqual((status, output), (0, b"seen\n"))

    def test_ignored_stays_ignored(self):
        """A child inherits that, and would not if there were a handler."""
        script = "import os, signal; os.kill(os.getpid(), signal.SIGBUS); print(signal.getsignal(signal.SIGBUS).name)"
        command = ["env", "--ignore-signal=BUS", sys.executable, "-c", script]
        status, output, _ = harness.run(command, harness.preloaded(self.blocks))
        self.assertEqual((status, output), (0, b"SIG_IGN\n"))

    @unittest.skipUnless(os.geteuid() == 0, "only root can mount")
    def test_no_room_for_profiles(self):
        """The program does what it should, one line tells of it, and no part of a profile is left."""
        if harness.run(["unshare", "-m", "true"], harness.CLEAN)[0] != 0:
            self.skipTest("mounting is not allowed here")
        script = ("import os, sys; a = [bytes(1000) for _ in range(20000)]; "
                  "print(len(a), [n for n in os.listdir(sys.argv[1]) if 'profile' in n])")
        full = os.path.join(self.folder, "full")
        os.mkdir(full)
        settings = harness.preloaded(self.blocks, MEMBUDGET_LIMIT="4M", MEMBUDGET_PROFILE="64K",
                                     MEMBUDGET_PROFILE_DIR=full, MEMBUDGET_PYTHONMALLOC="malloc")
        settings = [f"{name}={value}" for name, value in settings.items() if name.startswith(("MEMBUDGET_", "LD_"))]
        lost = rb"\Amembudget: MEMBUDGET_PROFILE_DIR=[^\n]* \(No space left on device\)\n\Z"
        for size, left, says in (("4k", "[]", lost), ("1m", "['", rb"\A\Z")):
            mount = 'mount -t tmpfs -o size="$1" none "$2" || exit 99; shift 2; exec env "$@"'
            command = ["unshare", "-m", "sh", "-c", mount, "sh", size, full, *settings, sys.executable, "-c", script, full]
            status, output, errors = harness.run(command, harness.CLEAN)
            self.assertEqual(status, 0, size)
            self.assertRegex(errors, says, size)
            self.assertTrue(output.decode().startswith("20000 " + left), (size, output))


if __name__ == "__main__":
    harness.main()
