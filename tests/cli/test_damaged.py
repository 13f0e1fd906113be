"""Blocks that are damaged, hostile, or no blocks: every command ends by itself, in time, and says so."""

import os
import random
import struct
import subprocess

from cli_case import CLI, MIB, CliCase, Target, main

STATUSES = {("show",): (0, 2, 3), ("show", "--json"): (0, 2, 3), ("wait", "--timeout", "0.05"): (0, 3, 4),
            ("trim", "--timeout", "0.05"): (0, 3, 4), ("set", "--limit", "1G"): (0, 3)}


class Damaged(CliCase):
    HEADER = 4096

    def setUp(self):
        super().setUp()
        self.other = self.scratch()  # where what we damage lies; the target keeps its own
        target = Target(self, "--limit", "64M", "--name", "good")
        target.tell(f"a {MIB}")
        self.target = target
        with open(os.path.join(self.folder, "membudget-good"), "rb") as file:
            self.image = file.read(self.HEADER)
            self.process_bytes = struct.unpack_from("=I", self.image, 24)[0]
            self.block_bytes = struct.unpack_from("=Q", self.image, 16)[0]
            self.image += file.read(2 * self.process_bytes)

    def plant(self, image, name="bad", size=None):
        path = os.path.join(self.other, f"membudget-{name}")
        with open(path, "wb") as file:
            file.write(image)
            file.truncate(self.block_bytes if size is None else size)
        return path

    def survive(self, target="bad"):
        for (command, *options), statuses in STATUSES.items():
            result = self.run_cli(command, target, *options, "--dir", self.other, timeout=20)
            self.assertIn(result.returncode, statuses, (command, result.stderr))
        for options in ((), ("--json",)):
            self.assertEqual(self.run_cli("ls", *options, "--dir", self.other, timeout=20).returncode, 0)

    def test_the_copy_is_a_good_one(self):
        self.plant(self.image)
        self.assertIn(str(self.target.pid), self.succeed("ls", "--dir", self.other))

    def test_cut_short(self):
        for size in (0, 1, 100, self.HEADER, self.HEADER + self.process_bytes, self.block_bytes - 1):
            self.plant(self.image[:size], size=size)
            self.refuse(3, "show", "bad", "--dir", self.other, says=("damaged", "version"))
            self.survive()

    def test_other_identity(self):
        # magic, version, header_bytes, block_bytes, process_bytes, process_count, shard_offset, shard_bytes, shard_count
        for offset in (0, 8, 12, 16, 24, 28, 32, 40):
            image = bytearray(self.image)
            image[offset] ^= 0x10
            self.plant(image)
            self.refuse(3, "show", "bad", "--dir", self.other, says=("damaged", "version"))
            self.survive()

    def test_no_blocks_at_all(self):
        os.mkfifo(os.path.join(self.other, "membudget-fifo"))
        os.mkdir(os.path.join(self.other, "membudget-folder"))
        os.symlink(os.path.join(self.folder, "membudget-good"), os.path.join(self.other, "membudget-link"))
        os.symlink("membudget-loop", os.path.join(self.other, "membudget-loop"))
        self.plant(os.urandom(1 << 16), "noise")
        for name in ("fifo", "folder", "link", "loop", "noise"):
            self.refuse(3, "show", name, "--dir", self.other)
            self.survive(name)
        self.assertEqual(self.succeed("ls", "--dir", self.other, "--json"), "[]\n")
        self.assertEqual(len(os.listdir(self.other)), 5, "what is no block of ours is left alone")

    def test_strings_without_an_end(self):
        image = bytearray(self.image)
        texts = self.HEADER + 240  # allocator, command, config_errors, padding
        image[texts:texts + 1808] = b"\xff" * 1808
        image[104:176] = b"\xff" * 72  # name
        self.plant(image)
        self.survive()

    def test_counts_without_bounds(self):
        for value in (0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
            for offset in range(256, 512, 4):  # the polled cache line, and what follows it
                image = bytearray(self.image)
                struct.pack_into("=I", image, offset, value)
                self.plant(image)
                self.assertIn(self.run_cli("show", "bad", "--dir", self.other, timeout=20).returncode, (0, 3))
            self.survive()

    def test_scribbled_on(self):
        chance = random.Random(1)
        for _ in range(25):
            image = bytearray(self.image)
            for _ in range(chance.choice((1, 10, 1000))):
                at = chance.randrange(256, len(image))
                image[at:at + 8] = chance.choice((bytes(8), b"\xff" * 8, chance.randbytes(8)))[:len(image) - at]
            self.plant(image)
            self.survive()

    def test_cut_short_while_it_is_read(self):
        path = self.plant(self.image)
        process = self.start_watch()
        process.stdout.readline()
        os.truncate(path, 0)
        self.assertIn(process.wait(20), (0, 3))

    def test_cut_short_while_a_helper_looks(self):
        path = self.plant(self.image)
        process = self.start_watch(interval="30")
        process.stdout.readline()
        os.truncate(path, 0)
        self.target.end()
        self.assertIn(process.wait(20), (0, 3))

    def start_watch(self, interval="0.05"):
        process = subprocess.Popen([CLI, "watch", "bad", "--interval", interval, "--dir", self.other],
                                   stdout=subprocess.PIPE, text=True, env=self.environment())
        self.addCleanup(process.communicate)
        self.addCleanup(lambda: process.poll() is None and process.kill())
        return process


if __name__ == "__main__":
    main()
