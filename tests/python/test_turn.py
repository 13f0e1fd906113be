"""Turn: one process of a group at a time, whatever becomes of it."""

import os
import signal
import unittest

from support import BlockTestCase

from membudget._turn import Turn


class TurnTest(BlockTestCase):
    def setUp(self):
        super().setUp()
        with open(self.path("group"), "wb"):
            pass

    def hold_in_a_child(self):
        """Its pid, once it has the turn."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writing, b"1" if Turn("group").take() else b"0")
            signal.pause()
        self.addCleanup(self.end, child)
        self.assertEqual(os.read(reading, 1), b"1")
        os.close(reading)
        os.close(writing)
        return child

    @staticmethod
    def end(child):
        """Also when the test fails: who waits for what it prints would wait for the child."""
        try:
            if os.waitpid(child, os.WNOHANG)[0] == 0:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
        except ChildProcessError:
            pass  # it is gone already

    def test_is_had_by_one_process(self):
        turn, child = Turn("group"), self.hold_in_a_child()
        self.assertFalse(turn.take())
        self.end(child)
        self.assertTrue(turn.take(), "it ends with the process that had it")
        self.assertTrue(turn.take(), "and is had already")
        turn.leave()

    def test_is_left(self):
        first, second = Turn("group"), Turn("group")
        self.assertTrue(first.take())
        self.assertFalse(second.take())
        first.leave()
        self.assertTrue(second.take())
        second.leave()

    def test_without_a_block_nobody_waits(self):
        first, second = Turn("none"), Turn("none")
        self.assertTrue(first.take() and second.take())
        first.leave()
        second.leave()


if __name__ == "__main__":
    unittest.main()
