"""attach() to other processes and groups, by blocks made by hand; and to blocks that are none."""

import os
import random
import stat
import unittest

from support import BlockTestCase
import membudget
from membudget import _abi


class AttachTest(BlockTestCase):
    def setUp(self):
        super().setUp()
        self.process = self.start_process()
        self.pid = self.process.pid

    def test_process_by_pid(self):
        slot = self.make_process(
            self.pid, [(500, 100), (50, 80)], mapped_bytes=30, inherited_live_bytes=200,
            peak_live_bytes=450, peak_counted_bytes=300,
        )
        self.write_block(self.make_header(level_word=0x1232), slot)
        for target in (self.pid, str(self.pid)):
            budget = membudget.attach(target)
            self.assertIs(budget.level, membudget.Level.LOW)
            self.assertIs(budget.crossed, False)
            self.assertEqual((budget.live_bytes, budget.mapped_bytes, budget.counted_bytes), (370, 30, 400))
            self.assertEqual((budget.peak_live_bytes, budget.peak_counted_bytes), (450, 400))
            self.assertEqual(budget.limit_bytes, 1000)

    def test_group_by_name(self):
        other = self.start_process()
        slots = [
            self.make_process(self.pid, [(500, 100)], mapped_bytes=30),
            self.make_process(other.pid, [(700, 100)], inherited_live_bytes=400, inherited_mapped_bytes=50),
            self.make_process(other.pid, [(999, 0)], state=_abi.PROCESS_LEAVING),
            self.make_process(other.pid, [(999, 0)], start_time=1),
        ]
        self.write_block(self.make_header(process_high=4, peak_live_bytes=900, crossings=3), *slots)
        budget = membudget.attach("test")
        self.assertEqual((budget.live_bytes, budget.mapped_bytes, budget.counted_bytes), (600, 30, 630))
        self.assertEqual((budget.peak_live_bytes, budget.peak_counted_bytes), (900, 630))
        snapshot = budget.snapshot()
        self.assertEqual((snapshot.name, snapshot.pid, snapshot.processes), ("test", None, 2))
        self.assertEqual((snapshot.crossings, snapshot.allocations, snapshot.frees), (3, 2, 2))
        self.assertEqual((snapshot.allocator, snapshot.command), ("ptmalloc", "sleep 1000"))

    def test_slot_of_another_program(self):
        """Its process lives, and may take the slot over again: it is not counted, nor found, but the group is there."""
        other = self.start_process()
        slots = [
            self.make_process(self.pid, [(500, 100)], code_end=1, stack_start=1),
            self.make_process(other.pid, [(700, 100)], state=_abi.PROCESS_EXECED),
        ]
        self.write_block(self.make_header(process_high=2), *slots)
        for pid in (self.pid, other.pid):
            with self.assertRaises(membudget.TargetNotFound):
                membudget.attach(pid)
        budget = membudget.attach("test")
        self.assertEqual((budget.live_bytes, budget.snapshot().processes), (0, 0))
        self.assertIs(budget.wait(membudget.Level.LOW, timeout=0.01), False)

    def test_slot_of_the_same_program(self):
        with open(f"/proc/{self.pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        figures = [(int(fields[24]), int(fields[25])), (12345, 0)]  # the latter: of a process without /proc
        for code_end, stack_start in figures:
            slot = self.make_process(self.pid, [(500, 100)], code_end=code_end, stack_start=stack_start)
            self.write_block(self.make_header(), slot)
            self.assertEqual(membudget.attach(self.pid).live_bytes, 400)

    def test_name_of_digits(self):
        self.write_block(self.make_header(name="0123"), self.make_process(self.pid), name="0123")
        self.write_block(self.make_header(name="999999999"), self.make_process(self.pid), name="999999999")
        self.assertEqual(membudget.attach("0123").snapshot().name, "0123")
        self.assertEqual(membudget.attach("999999999").snapshot().name, "999999999")

    def test_group_of_a_process(self):
        other = self.start_process()
        slots = self.make_process(self.pid, [(500, 100)]), self.make_process(other.pid, [(700, 100)])
        name = str(self.pid)  # what a group is called that has no name of its own
        self.write_block(self.make_header(name, process_high=2), *slots, name=name)
        budget = membudget.attach(name)
        self.assertEqual((budget.live_bytes, budget.snapshot().pid), (400, self.pid))
        self.assertEqual((budget.group.live_bytes, budget.group.snapshot().pid), (1000, None))
        self.assertEqual(budget.group.group.live_bytes, 1000)
        with self.assertRaises(membudget.NotAttached):
            membudget.attach(required=False).group

    def test_newest_block_of_a_pid(self):
        self.write_block(self.make_header("old", created_ns=1), self.make_process(self.pid), name="old")
        self.write_block(self.make_header("new", created_ns=2), self.make_process(self.pid), name="new")
        self.assertEqual(membudget.attach(self.pid).snapshot().name, "new")

    def test_level_is_read_anew(self):
        path = self.write_block(self.make_header(), self.make_process(self.pid))
        budget = membudget.attach("test")
        self.assertIs(budget.level, membudget.Level.NONE)
        self.poke(path, _abi.Header.level_word.offset, 0xABCDFF)
        self.assertIs(budget.level, membudget.Level.CRITICAL)
        self.assertTrue(budget.crossed)
        self.poke(path, _abi.Header.level_word.offset, 0x63)
        self.assertIs(budget.level, membudget.Level.LOW)

    def test_nothing_there(self):
        for target in ("nosuch", self.pid, str(self.pid), 2**40):
            with self.assertRaises(membudget.TargetNotFound):
                membudget.attach(target)
            self.assertEqual(membudget.attach(target, required=False).limit_bytes, 0)
        for name in ("", "a/b", "..\0", "x" * 65, "ä"):
            with self.assertRaises(ValueError):
                membudget.attach(name)
        with self.assertRaises(TypeError):
            membudget.attach(b"test")

    def test_ended_process(self):
        self.write_block(self.make_header(), self.make_process(self.pid))
        budget, group = membudget.attach(self.pid), membudget.attach("test")
        self.process.kill()
        self.process.wait()
        for read in (lambda: budget.live_bytes, budget.snapshot, budget.wait, group.wait):
            with self.assertRaises(ProcessLookupError):
                read()
        self.assertEqual(group.live_bytes, 0)
        for target in (self.pid, "test"):
            with self.assertRaises(membudget.TargetNotFound):
                membudget.attach(target)

    def test_same_pid_of_another_time(self):
        self.write_block(self.make_header(), self.make_process(self.pid, start_time=1))
        with self.assertRaises(membudget.TargetNotFound):
            membudget.attach(self.pid)

    def test_slot_that_changed_hands(self):
        path = self.write_block(self.make_header(), self.make_process(self.pid))
        budget = membudget.attach(self.pid)
        self.poke(path, _abi.HEADER_BYTES + _abi.Process.pid.offset, 1)
        with self.assertRaises(ProcessLookupError):
            budget.live_bytes


class BadBlockTest(BlockTestCase):
    def setUp(self):
        super().setUp()
        self.pid = self.start_process().pid

    def assert_bad(self, pattern):
        for required in (True, False):
            with self.assertRaisesRegex(membudget.BadBlock, pattern) as caught:
                membudget.attach("test", required=required)
            self.assertIsInstance(caught.exception, OSError)
            self.assertIsInstance(caught.exception, membudget.NotAttached)
        with self.assertRaises(membudget.TargetNotFound):
            membudget.attach(self.pid)

    def test_header_fields(self):
        for field in (
            "magic", "abi_version", "header_bytes", "block_bytes", "process_bytes", "process_count",
            "shard_offset", "shard_bytes", "shard_count",
        ):
            for value in (0, 1 << 31, 2**32 - 1):
                header = self.make_header(**{field: value})
                self.write_block(header, self.make_process(self.pid))
                with self.subTest(field=field, value=value):
                    self.assert_bad(field)

    def test_cut_off(self):
        path = self.write_block(self.make_header(), self.make_process(self.pid))
        for size in (_abi.BLOCK_BYTES - 1, _abi.HEADER_BYTES, 100, 0):
            os.truncate(path, size)
            self.assert_bad("cut off")

    def test_cut_off_while_attached(self):
        path = self.write_block(self.make_header(), self.make_process(self.pid))
        process, group = membudget.attach(self.pid), membudget.attach("test")
        os.truncate(path, 0)
        for budget in (process, group):
            for read in (lambda: budget.level, lambda: budget.live_bytes, budget.snapshot, budget.wait):
                with self.assertRaises(membudget.BadBlock):
                    read()

    def test_no_files(self):
        os.mkdir(self.path("test"))
        self.assert_bad("not a regular file")
        os.rmdir(self.path("test"))
        os.mkfifo(self.path("test"))
        self.assert_bad("not a regular file")
        os.remove(self.path("test"))
        os.symlink(self.write_block(self.make_header(), name="real"), self.path("test"))
        self.assert_bad("symbolic link")

    def test_another_user(self):
        path = self.write_block(self.make_header(), self.make_process(self.pid))
        if os.geteuid() != 0:
            self.skipTest("only root can give files away")
        os.chown(path, 12345, -1)
        os.chmod(path, stat.S_IRUSR | stat.S_IROTH)
        os.chmod(self.directory, 0o755)
        os.seteuid(12346)
        try:
            with self.assertRaises(PermissionError):
                membudget.attach("test")
        finally:
            os.seteuid(0)

    def test_random_bytes(self):
        dice = random.Random(7)
        for _ in range(20):
            with open(self.path("test"), "wb") as file:
                file.write(dice.randbytes(_abi.HEADER_BYTES * 3))
                file.truncate(_abi.BLOCK_BYTES)
            self.assert_bad("magic")

    def test_scribbled_blocks(self):
        """A good header's identity, and anything else behind it: wrong figures, but no other errors."""
        dice = random.Random(8)
        identity = bytes(self.make_header())[: _abi.Header.boot_id.offset]
        for round_ in range(40):
            slot = self.make_process(self.pid)
            kept = bytes(slot)[: _abi.Process.mapped_bytes.offset]
            with open(self.path("test"), "wb") as file:
                file.write(identity + dice.randbytes(_abi.HEADER_BYTES - len(identity)))
                file.write(kept + dice.randbytes(_abi.PROCESS_BYTES * 3 - len(kept)))
                file.truncate(_abi.BLOCK_BYTES)
            self.poke(self.path("test"), _abi.Header.process_high.offset, round_ % 3 and 2**32 - round_)
            try:
                self.read_everything(membudget.attach("test"))
                self.read_everything(membudget.attach(self.pid))
            except (membudget.NotAttached, ProcessLookupError):
                pass

    def read_everything(self, budget):
        self.assertIsInstance(budget.level, membudget.Level)
        self.assertIsInstance(repr(budget), str)
        self.assertGreaterEqual(budget.peak_counted_bytes, budget.counted_bytes)
        budget.wait(timeout=0)
        budget.snapshot()


if __name__ == "__main__":
    unittest.main()
