"""Batch and SIGTERM."""

import os
import signal
import threading
import time
import unittest

from batches import BatchTestCase

import membudget


class SigtermTest(BatchTestCase):
    def setUp(self):
        super().setUp()
        self.seen = []
        previous = signal.signal(signal.SIGTERM, self.on_sigterm)
        self.addCleanup(signal.signal, signal.SIGTERM, previous)

    def on_sigterm(self, number, frame):
        self.seen.append(number)

    def terminate(self):
        os.kill(os.getpid(), signal.SIGTERM)

    def process_terminated(self, items):
        self.terminate()
        self.written.append(items)

    def test_flushes_and_exits(self):
        with self.assertRaises(SystemExit) as caught:
            with self.batch(on_sigterm=True) as batch:
                batch["a"] = 1
                self.terminate()
                time.sleep(10)
        self.assertEqual((caught.exception.code, self.written), (143, [{"a": 1}]))
        self.assertEqual(signal.getsignal(signal.SIGTERM), self.on_sigterm)

    def test_does_not_interrupt_process_batch(self):
        with self.assertRaises(SystemExit):
            with membudget.Batch(self.process_terminated, max_items=2, budget=self.budget, on_sigterm=True) as batch:
                for key in range(10):
                    batch[key] = key
        self.assertEqual(self.written, [{0: 0, 1: 1}])

    def test_at_the_end(self):
        with self.assertRaises(SystemExit):
            with membudget.Batch(self.process_terminated, budget=self.budget, on_sigterm=True) as batch:
                batch["a"] = 1
        self.assertEqual(self.written, [{"a": 1}])
        self.assertEqual(signal.getsignal(signal.SIGTERM), self.on_sigterm)

    def test_second_signal_changes_nothing(self):
        with self.assertRaises(SystemExit):
            with membudget.Batch(self.process_terminated, budget=self.budget, on_sigterm=True) as batch:
                batch["a"] = 1
                self.terminate()
        self.assertEqual(self.written, [{"a": 1}])

    def test_is_left_to_who_handles_it(self):
        for on_sigterm in (None, False):
            with self.batch(on_sigterm=on_sigterm) as batch:
                batch["a"] = 1
                self.terminate()
        self.assertEqual(self.seen, [signal.SIGTERM] * 2)

    def test_is_taken_where_nobody_handles_it(self):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with self.assertRaises(SystemExit):
            with self.batch() as batch:
                batch["a"] = 1
                self.terminate()
                time.sleep(10)
        self.assertEqual(self.written, [{"a": 1}])
        self.assertIs(signal.getsignal(signal.SIGTERM), signal.SIG_DFL)
        with self.batch(on_sigterm=False):
            self.assertIs(signal.getsignal(signal.SIGTERM), signal.SIG_DFL)

    def test_forked_child_does_not_flush(self):
        with self.batch(on_sigterm=True) as batch:
            batch["a"] = 1
            child = os.fork()
            if child == 0:
                try:
                    os.kill(os.getpid(), signal.SIGTERM)
                finally:
                    os._exit(7 if self.seen == [signal.SIGTERM] and not self.written else 1)
            self.assertEqual(os.waitpid(child, 0)[1], 7 << 8)
        self.assertEqual(self.sizes(), [1])

    def test_in_another_thread(self):
        def run():
            with self.batch(on_sigterm=True) as batch:
                batch["a"] = 1

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        self.assertEqual(self.written, [{"a": 1}])


if __name__ == "__main__":
    unittest.main()
