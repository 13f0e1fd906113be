"""What only root can set up: a full folder, another user's files, a set-uid program. CTest shows these as
skipped where we are not root."""

import os
import shutil
import unittest

import harness

NOBODY = 65534


@unittest.skipUnless(os.geteuid() == 0, "only root can do this")
class AsRoot(harness.Case):
    def setUp(self):
        super().setUp()
        for folder in (self.blocks, self.folder):
            os.chmod(folder, 0o1777)
        # Where nobody can read it, whoever may read the build folder.
        self.library = shutil.copy(harness.LIBRARY, self.file("libmembudget.so"))
        os.chmod(self.library, 0o755)

    def run_as_nobody(self, command, **settings):
        environment = harness.preloaded(self.blocks, LD_PRELOAD=self.library, **settings)
        return harness.run(command, environment, "/", user=NOBODY, group=NOBODY, extra_groups=[])

    def one_line(self, errors):
        lines = errors.decode().splitlines()
        self.assertEqual(len(lines), 1, lines)
        self.assertRegex(lines[0], "^membudget: ")

    def test_a_folder_that_cannot_be_written(self):
        os.chmod(self.blocks, 0o755)
        status, output, errors = self.run_as_nobody(["seq", "2"])
        self.assertEqual((status, output), (0, b"1\n2\n"))
        self.one_line(errors)
        self.assertEqual(os.listdir(self.blocks), [])

    def test_a_block_of_another_user(self):
        path = os.path.join(self.blocks, "membudget-group")
        with open(path, "wb") as file:
            file.write(b"of root")
        os.chmod(path, 0o666)
        status, output, errors = self.run_as_nobody(["seq", "2"], MEMBUDGET_NAME="group")
        self.assertEqual((status, output), (0, b"1\n2\n"))
        self.one_line(errors)
        with open(path, "rb") as file:
            self.assertEqual(file.read(), b"of root")

    def test_root_does_not_join_a_users_block(self):
        """Whoever owns the file could change it under root's feet."""
        path = os.path.join(self.blocks, "membudget-group")
        with open(path, "wb") as file:
            file.write(b"of nobody")
        os.chown(path, NOBODY, NOBODY)
        status, output, errors = harness.run(["seq", "2"], harness.preloaded(self.blocks, MEMBUDGET_NAME="group"))
        self.assertEqual((status, output), (0, b"1\n2\n"))
        self.one_line(errors)
        with open(path, "rb") as file:
            self.assertEqual(file.read(), b"of nobody")

    def test_a_set_uid_program_is_left_alone(self):
        """The dynamic linker drops a library given by its path; by its name, from a trusted folder, it would not."""
        program = shutil.copy("/usr/bin/seq", self.file("seq"))
        os.chmod(program, 0o4755)
        if os.statvfs(self.folder).f_flag & os.ST_NOSUID:
            self.skipTest("set-uid has no effect here (nosuid)")
        status, output, errors = self.run_as_nobody([program, "2"])
        self.assertEqual((status, output, errors), (0, b"1\n2\n", b""))
        self.assertEqual(os.listdir(self.blocks), [])


@unittest.skipUnless(os.geteuid() == 0, "only root can mount")
class FullFolder(harness.Case):
    """A tmpfs too small for a block, in a mount namespace of its own."""

    def run_in_tmpfs(self, size, script):
        if harness.run(["unshare", "-m", "true"], harness.CLEAN)[0] != 0:
            self.skipTest("mounting is not allowed here")
        environment = harness.preloaded(self.blocks)
        settings = [f"{name}={environment[name]}" for name in environment if name.startswith(("MEMBUDGET_", "LD_"))]
        mount = 'mount -t tmpfs -o size="$1" none "$2" || exit 99; shift 2; exec env "$@"'
        return harness.run(["unshare", "-m", "sh", "-c", mount, "sh", size, self.blocks, *settings, "sh", "-c", script],
                           harness.CLEAN)

    def test_full_from_the_start(self):
        for size in ("4k", "8k", "16k", "64k"):
            with self.subTest(size=size):
                status, output, errors = self.run_in_tmpfs(size, "exec seq 2")
                self.assertEqual((status, output), (0, b"1\n2\n"), errors)
                self.assertLessEqual(errors.count(b"\n"), 2)  # sh and seq

    def test_full_later(self):
        """Enough for a few processes and threads, then for no more."""
        script = """for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sh -c "seq $i | sort -rn | head -n 1; sleep 0.2" & done; wait"""
        for size in ("96k", "160k", "400k"):
            with self.subTest(size=size):
                status, output, errors = self.run_in_tmpfs(size, script)
                self.assertEqual(status, 0, errors)
                self.assertEqual(sorted(map(int, output.split())), list(range(1, 13)))

    def test_a_small_one_is_enough(self):
        status, output, errors = self.run_in_tmpfs("1m", "exec seq 2")
        self.assertEqual((status, output, errors), (0, b"1\n2\n", b""))


if __name__ == "__main__":
    harness.main()
