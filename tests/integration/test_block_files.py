"""What is in the way of a shared block: no folder, a folder that cannot be written, is full, or has something
else of that name. The program runs on, is told in one line, and what was there stays as it was."""

import contextlib
import os
import stat
import subprocess

import harness

IS_ROOT = os.geteuid() == 0


class BlockFiles(harness.Case):
    def setUp(self):
        super().setUp()
        self.path = os.path.join(self.blocks, "membudget-group")

    def check_runs_on(self, folder, prefix=(), **settings):
        """The program does what it should, with one line on standard error at most; returns that."""
        settings.setdefault("MEMBUDGET_NAME", "group")
        environment = harness.preloaded(folder, **settings)
        command = [*prefix, "seq", "3"]
        status, output, errors = harness.run(command, environment, timeout=20)
        self.assertEqual((status, output), (0, b"1\n2\n3\n"), errors)
        return errors.decode().splitlines()

    def check_one_line(self, folder, **settings):
        lines = self.check_runs_on(folder, **settings)
        self.assertEqual(len(lines), 1, lines)
        self.assertRegex(lines[0], "^membudget: ")
        return lines[0]

    def test_no_such_folder(self):
        missing = os.path.join(self.folder, "missing")
        self.assertIn(missing, self.check_one_line(missing))
        self.assertFalse(os.path.exists(missing))

    def test_a_file_instead_of_a_folder(self):
        self.check_one_line(self.file("file", "text"))

    def test_a_folder_that_takes_no_files(self):
        self.check_one_line("/proc/self/fd" if IS_ROOT else self.read_only_folder())

    def read_only_folder(self):
        folder = self.file("read-only")
        os.mkdir(folder)
        os.chmod(folder, 0o555)
        self.addCleanup(os.chmod, folder, 0o755)
        return folder

    @contextlib.contextmanager
    def living_block(self):
        """A block that a program is a member of."""
        program = subprocess.Popen(["cat"], env=harness.preloaded(self.blocks, MEMBUDGET_NAME="group"),
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        program.stdin.write(b"\n")
        program.stdin.flush()
        program.stdout.read(1)
        self.assertTrue(os.path.exists(self.path))
        yield program
        program.communicate()

    def block_content(self):
        with self.living_block(), open(self.path, "rb") as file:
            return bytearray(file.read())

    def write(self, content):
        with open(self.path, "wb") as file:
            file.write(content)
        os.chmod(self.path, 0o600)

    def check_refused(self, content):
        self.write(content)
        self.check_one_line(self.blocks)
        with open(self.path, "rb") as file:
            self.assertTrue(file.read() == content, "the file was changed")

    def test_a_block_of_another_version(self):
        content = self.block_content()
        content[8:12] = (77).to_bytes(4, "little")
        self.check_refused(content)

    def test_something_that_is_no_block(self):
        self.check_refused(b"a text that somebody keeps here\n")
        self.check_refused(os.urandom(1 << 20))

    def test_a_block_of_nobody_is_taken_over(self):
        """What is left of a group whose processes are all gone is no obstacle."""
        self.write(self.block_content())
        self.assertEqual(self.check_runs_on(self.blocks), [])

    def test_a_truncated_block(self):
        content = self.block_content()
        for length in (0, 1, 100, 4096, len(content) // 2, len(content) - 1):
            with self.subTest(length=length):
                self.write(content[:length])
                self.assertLessEqual(len(self.check_runs_on(self.blocks)), 1)

    def test_a_folder_of_that_name(self):
        os.mkdir(self.path)
        self.check_one_line(self.blocks)
        self.assertTrue(os.path.isdir(self.path))

    def test_a_symbolic_link_is_not_followed(self):
        target = self.file("target", "precious")
        os.symlink(target, self.path)
        self.check_one_line(self.blocks)
        with open(target, encoding="utf-8") as file:
            self.assertEqual(file.read(), "precious")
        os.unlink(self.path)
        os.symlink(self.file("not there"), self.path)
        self.check_one_line(self.blocks)
        self.assertFalse(os.path.exists(self.file("not there")))

    def test_a_pipe_is_not_waited_for(self):
        os.mkfifo(self.path)
        self.check_one_line(self.blocks)
        self.assertTrue(stat.S_ISFIFO(os.stat(self.path).st_mode))

    def test_the_file_is_private(self):
        os.umask(0)
        with self.living_block():
            status = os.stat(self.path)
        self.assertEqual((stat.S_IMODE(status.st_mode), status.st_uid), (0o600, os.geteuid()))

    def test_one_unlinked_while_in_use(self):
        with self.living_block():
            os.unlink(self.path)

    def test_a_limit_on_file_sizes(self):
        lines = self.check_runs_on(self.blocks, prefix=["prlimit", "--fsize=4096"])
        self.assertLessEqual(len(lines), 2)  # prlimit itself is under the library, without that limit

    def test_no_file_descriptors_left(self):
        lines = self.check_runs_on(self.blocks, prefix=["prlimit", "--nofile=4"])
        self.assertLessEqual(len(lines), 2)


if __name__ == "__main__":
    harness.main()
