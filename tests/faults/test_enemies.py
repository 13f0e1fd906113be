"""Another user in a folder that everybody may write to, and a user who runs a set-uid program: neither gets to read,
change or plant anything. Takes root, to be two users."""

import os
import shutil
import stat
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
import harness  # noqa: E402

NOBODY = 65534
SECURE_READER = os.environ["TEST_SECURE_READER"]


class Names(harness.Case):
    """A name leads to a file in the folder, or nowhere."""

    NAMES = ("../x", "..", ".", "a/b", "/x", "a\nb", "a\x1b[2J", "a b", "x" * 65, "x" * 5000, "\xff", "a%s", "*")

    def test_of_a_group(self):
        outside = set(os.listdir(self.folder))
        inside = os.path.join(self.folder, "inside")
        os.mkdir(inside)
        for name in self.NAMES:
            environment = harness.preloaded(inside, MEMBUDGET_NAME=name)
            status, output, errors = harness.run(["/bin/ls", inside], environment)
            names = output.decode().split()
            self.assertEqual(status, 0)
            self.assertEqual(len(names), 1)
            if name in (".", ".."):  # plain names, behind the prefix
                self.assertEqual(names, ["membudget-" + name])
            else:
                self.assertRegex(names[0], r"\Amembudget-[0-9]+\Z")
                self.assertEqual(errors.count(b"\n"), 1, (name, errors))
                self.assertRegex(errors, rb"\Amembudget: MEMBUDGET_NAME=[ -~\x80-\xff]*\n\Z")
        self.assertEqual(set(os.listdir(self.folder)) - outside, {"inside"})

    def test_of_a_target(self):
        with open(os.path.join(self.folder, "membudget-x"), "wb") as file:
            file.write(b"precious")
        for name in self.NAMES:
            for command in (["show", name], ["set", name, "--limit", "1M"], ["trim", name], ["wait", name],
                            ["profile", name]):
                environment = dict(harness.CLEAN, MEMBUDGET_DIR=self.blocks)
                status, output, errors = harness.run([harness.CLI, *command], environment, timeout=20)
                self.assertIn(status, (1, 2, 3), command)
                self.assertEqual((output, errors.count(b"\n")), (b"", 1), (command, errors))
                self.assertNotIn(b"\x1b", errors)


@unittest.skipUnless(os.geteuid() == 0, "only root can be two users")
class Enemies(harness.Case):
    def setUp(self):
        super().setUp()
        for folder in (self.blocks, self.folder):
            os.chmod(folder, 0o1777)
        self.path = os.path.join(self.blocks, "membudget-group")
        self.library = self.copy(harness.LIBRARY)

    def copy(self, path, mode=0o755):
        """Where nobody can read it, whoever may read the build folder."""
        copy = shutil.copy(path, self.folder)
        os.chmod(copy, mode)
        return copy

    def as_nobody(self, command, environment=None, **options):
        return harness.run(command, environment or dict(harness.CLEAN, MEMBUDGET_DIR=self.blocks), "/", user=NOBODY,
                           group=NOBODY, extra_groups=[], **options)

    def victim(self):
        """A program of root's with a block in the folder."""
        program = subprocess.Popen(["cat"], env=harness.preloaded(self.blocks, MEMBUDGET_NAME="group"),
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(program.communicate)
        program.stdin.write(b"\n")
        program.stdin.flush()
        program.stdout.read(1)
        return program

    def test_a_block_is_nobody_elses(self):
        umask = os.umask(0)
        self.addCleanup(os.umask, umask)
        self.victim()
        about = os.stat(self.path)
        self.assertEqual((stat.S_IMODE(about.st_mode), about.st_uid, about.st_nlink), (0o600, 0, 1))
        with open(self.path, "rb") as file:
            before = file.read(4096)
        cli = self.copy(harness.CLI)
        for script in ('cat "$1"', 'echo x >> "$1"', ': > "$1"', 'truncate -s 0 "$1"', 'rm -f "$1"', 'chmod 666 "$1"',
                       'mv "$1" "$1.x"', 'ln "$1" "$1.x" && cat "$1.x"'):
            self.assertNotEqual(self.as_nobody(["sh", "-c", script, "sh", self.path])[0], 0, script)
        for command in (["show", "group"], ["set", "group", "--limit", "1M"], ["trim", "group"], ["profile", "group"]):
            status, output, errors = self.as_nobody([cli, *command])
            self.assertEqual((status, output, errors.count(b"\n")), (3, b"", 1), (command, errors))
        with open(self.path, "rb") as file:
            self.assertEqual(file.read(4096), before)

    def check_not_taken_in(self):
        """Root's program runs, says so in one line, and leaves what is there alone."""
        status, output, errors = harness.run(["seq", "2"], harness.preloaded(self.blocks, MEMBUDGET_NAME="group"))
        self.assertEqual((status, output, errors.count(b"\n")), (0, b"1\n2\n", 1), errors)
        self.assertRegex(errors, rb"\Amembudget: ")

    def test_planted(self):
        precious = self.file("precious", "as it was")
        os.chmod(precious, 0o600)
        plants = {
            "file": 'head -c 20000000 /dev/zero > "$1"; chmod 666 "$1"', "empty": ': > "$1"; chmod 666 "$1"',
            "folder": 'mkdir -m 777 "$1"', "fifo": 'mkfifo -m 666 "$1"',
            "link": f'ln -s "{precious}" "$1"', "dangling": f'ln -s "{self.folder}/new" "$1"',
            "device": 'ln -s /dev/zero "$1"', "loop": 'ln -s "$1" "$1"',
            "socket": 'python3 -c "import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])" "$1"'}
        for kind, script in plants.items():
            with self.subTest(kind):
                self.assertEqual(self.as_nobody(["sh", "-c", script, "sh", self.path])[0], 0)
                before = os.lstat(self.path)
                self.check_not_taken_in()
                after = os.lstat(self.path)
                self.assertEqual((before.st_ino, before.st_size, before.st_mtime_ns),
                                 (after.st_ino, after.st_size, after.st_mtime_ns))
                (os.rmdir if kind == "folder" else os.unlink)(self.path)
        with open(precious, encoding="utf-8") as file:
            self.assertEqual(file.read(), "as it was")
        self.assertFalse(os.path.exists(os.path.join(self.folder, "new")))

    def test_a_copy_of_a_block(self):
        """As good as a block can be, but for its owner."""
        victim = self.victim()
        shutil.copy(self.path, self.path + "2")
        victim.communicate()
        os.rename(self.path + "2", self.path)
        os.chown(self.path, NOBODY, NOBODY)
        self.check_not_taken_in()

    def test_a_link_to_another_block_of_ours(self):
        """Root's own file: only its name is wrong."""
        self.victim()
        other = os.path.join(self.blocks, "membudget-other")
        os.link(self.path, other)
        status, output, errors = harness.run(["seq", "2"], harness.preloaded(self.blocks, MEMBUDGET_NAME="other"))
        self.assertEqual((status, output, errors.count(b"\n")), (0, b"1\n2\n", 1), errors)

    def test_profiles_are_not_written_through_links(self):
        """Into a folder that everybody may write to, at a crossing."""
        precious = self.file("precious", "as it was")
        script = "a = [bytes(1000) for _ in range(20000)]"
        environment = harness.preloaded(self.blocks, MEMBUDGET_NAME="group", MEMBUDGET_LIMIT="4M",
                                        MEMBUDGET_PROFILE="64K", MEMBUDGET_PROFILE_DIR=self.blocks,
                                        MEMBUDGET_PYTHONMALLOC="malloc")
        # The pid is known beforehand: the shell's own, which becomes the program.
        plant = (f'for end in "" .part; do ln -s "{precious}" "{self.blocks}/group-$$-crossing-0.membudget-profile$end"; '
                 'done; exec "$@"')
        status, _, _ = harness.run(["sh", "-c", plant, "sh", sys.executable, "-c", script], environment)
        self.assertEqual(status, 0)
        profiles = [name for name in os.listdir(self.blocks) if "crossing-0" in name]
        self.assertEqual(len(profiles), 1)
        self.assertFalse(os.path.islink(os.path.join(self.blocks, profiles[0])))
        with open(precious, encoding="utf-8") as file:
            self.assertEqual(file.read(), "as it was")

    def test_a_set_uid_reader_ignores_the_environment(self):
        if os.statvfs(self.folder).f_flag & os.ST_NOSUID:
            self.skipTest("set-uid has no effect here (nosuid)")
        self.victim()
        environment = dict(harness.CLEAN, MEMBUDGET_DIR=self.blocks)
        program = self.copy(SECURE_READER)
        self.assertEqual(harness.run([program, "group"], environment)[1], b"opened\n")
        os.chmod(program, 0o4755)
        self.assertEqual(self.as_nobody([program, "group"], environment)[1], b"No such file or directory\n")


if __name__ == "__main__":
    harness.main()
