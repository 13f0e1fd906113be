"""AsyncBatch: Batch for asyncio."""

import asyncio
import os
import subprocess
import sys
import time
import unittest
from unittest import mock

from support import PYTHONPATH
import membudget
from batches import MIB, FakeBudget
from test_batch_memory_error import Refusing


class AsyncBatchTest(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        self.budget = FakeBudget()
        self.written = []
        self.inside = 0

    async def process(self, items):
        self.inside += 1
        self.assertEqual(self.inside, 1)
        before = len(items)
        await asyncio.sleep(0.001)
        self.assertEqual(len(items), before)
        self.written.append(dict(items))
        self.inside -= 1

    def batch(self, process=None, **options):
        self.budget.batch = membudget.AsyncBatch(process or self.process, budget=self.budget, **options)
        return self.budget.batch

    def sizes(self):
        return [len(items) for items in self.written]

    async def fill(self, batch, task, count):
        for number in range(count):
            await batch.add((task, number), number)
            if number % 7 == 0:
                await asyncio.sleep(0)

    async def test_when_crossed_and_at_the_end(self):
        async with self.batch() as batch:
            await self.fill(batch, 0, 250)
        self.assertEqual(self.sizes(), [100, 100, 50])
        async with self.batch():
            pass
        self.assertEqual(len(self.written), 3)

    async def test_is_a_mapping(self):
        async with self.batch() as batch:
            await batch.add("a", 1)
            await batch.add("a", 2)
            self.assertEqual((batch["a"], batch.get("b"), len(batch), list(batch), "a" in batch), (2, None, 1, ["a"], True))
        self.assertEqual(self.written, [{"a": 2}])

    async def test_max_items(self):
        async with self.batch(max_items=10) as batch:
            await self.fill(batch, 0, 25)
        self.assertEqual(self.sizes(), [10, 10, 5])

    async def test_tasks(self):
        async with self.batch() as batch:
            await asyncio.wait_for(asyncio.gather(*(self.fill(batch, task, 500) for task in range(6))), 20)
        keys = [key for items in self.written for key in items]
        self.assertEqual(sorted(keys), [(task, number) for task in range(6) for number in range(500)])
        self.assertLessEqual(max(self.sizes()), 106)

    async def test_others_wait_while_there_is_no_room(self):
        entered, go_on = asyncio.Event(), asyncio.Event()

        async def process(items):
            self.written.append(dict(items))
            self.budget.elsewhere = 0 if len(self.written) > 1 else 100 * MIB
            entered.set()
            await go_on.wait()
            self.budget.elsewhere = 0

        async with self.batch(process) as batch:
            first = asyncio.create_task(self.fill(batch, 0, 100))
            await entered.wait()
            late = asyncio.create_task(batch.add("late", 1))
            await asyncio.sleep(0.1)
            self.assertEqual((late.done(), len(batch)), (False, 0))
            go_on.set()
            await asyncio.wait_for(asyncio.gather(first, late), 20)
        self.assertEqual(self.sizes(), [100, 1])

    async def test_others_go_on_while_there_is_room(self):
        entered, go_on = asyncio.Event(), asyncio.Event()

        async def process(items):
            self.written.append(items)
            entered.set()
            await go_on.wait()

        async with self.batch(process, max_items=60) as batch:
            first = asyncio.create_task(self.fill(batch, 0, 60))
            await entered.wait()
            await self.fill(batch, 1, 50)
            go_on.set()
            await first
        self.assertEqual(self.sizes(), [60, 50])

    async def test_adding_from_process_batch(self):
        async def process(items):
            self.written.append(dict(items))
            if len(self.written) == 1:
                await batch.add("left over", 1)

        async with self.batch(process, max_items=1) as batch:
            await batch.add("a", 1)
            self.assertEqual(dict(batch), {"left over": 1})
        self.assertEqual(self.written, [{"a": 1}, {"left over": 1}])

    async def test_max_age(self):
        async with self.batch(max_age=0.05) as batch:
            await batch.add("a", 1)
            await batch.add("b", 1)
            self.assertEqual(self.written, [])
            self.assertTrue(0 < batch.due_in <= 0.05)
            await asyncio.sleep(0.3)
            self.assertEqual(self.written, [{"a": 1, "b": 1}])
            await batch.add("c", 1)
            await asyncio.sleep(0.3)
            self.assertEqual(len(self.written), 2)

    async def test_max_age_flush_that_fails_is_tried_again(self):
        process = mock.AsyncMock(side_effect=[OSError("disk full"), None])
        handler = mock.Mock()
        asyncio.get_running_loop().set_exception_handler(handler)
        async with self.batch(process, max_age=0.05) as batch:
            await batch.add("a", 1)
            deadline = time.monotonic() + 10
            while batch and time.monotonic() < deadline:
                await asyncio.sleep(0.01)
            self.assertEqual(process.await_count, 2)
        self.assertIsInstance(handler.call_args[0][1]["exception"], OSError)

    async def test_errors_keep_the_items(self):
        process = mock.AsyncMock(side_effect=[OSError("disk full"), None])
        async with self.batch(process, max_items=2) as batch:
            await batch.add("a", 1)
            with self.assertRaises(OSError):
                await batch.add("b", 2)
            self.assertEqual(dict(batch), {"a": 1, "b": 2})
            await batch.add("c", 3)
        self.assertEqual(process.await_args[0], ({"a": 1, "b": 2, "c": 3},))

    async def test_own_error_ends_the_block(self):
        process = mock.AsyncMock(side_effect=OSError("disk full"))
        with self.assertRaises(OSError):
            async with self.batch(process, max_items=1) as batch:
                await batch.add("a", 1)
        self.assertEqual((process.await_count, dict(batch)), (1, {"a": 1}))

    async def test_other_error_ends_the_block(self):
        with self.assertRaises(KeyError):
            async with self.batch() as batch:
                await batch.add("a", 1)
                raise KeyError("of the loop")
        self.assertEqual(self.written, [{"a": 1}])

    async def test_cancellation_waits_for_the_flush(self):
        entered = asyncio.Event()

        async def process(items):
            entered.set()
            await asyncio.sleep(0.1)
            self.written.append(items)

        async def consume():
            async with self.batch(process, max_items=2) as batch:
                await self.fill(batch, 0, 10)

        task = asyncio.create_task(consume())
        await entered.wait()
        task.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await task
        self.assertEqual(self.sizes(), [2])

    async def test_closed(self):
        batch = self.batch()
        await batch.add("a", 1)
        await batch.close()
        with self.assertRaisesRegex(RuntimeError, "closed"):
            await batch.add("b", 2)
        self.assertEqual(self.sizes(), [1])

    async def test_memory_error(self):
        async with self.batch() as batch:
            await batch.add("a", 1)
            batch._items = Refusing(1, batch._items)
            await batch.add("b", 2)
            self.assertEqual((self.written, dict(batch)), ([{"a": 1}], {"b": 2}))
            self.assertEqual(await batch.guard(mock.Mock(side_effect=[MemoryError, 5]), 1), 5)
            self.assertEqual(len(self.written), 2)

    async def test_wrong_arguments(self):
        with self.assertRaises(TypeError):
            membudget.AsyncBatch(None)
        with self.assertRaises(ValueError):
            self.batch(max_items=0)


class ProgramTest(unittest.TestCase):
    """Whole programs, which end in one way or the other."""

    def run_program(self, body, before=""):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(body=body, before=before)],
            env={**os.environ, "PYTHONPATH": PYTHONPATH},
            timeout=20, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        return done.returncode, done.stdout, done.stderr

    def test_sigterm_while_waiting(self):
        body = "os.kill(os.getpid(), signal.SIGTERM); await asyncio.sleep(10)"
        self.assertEqual(self.run_program(body), (143, "written 1\n", ""))

    def test_sigterm_while_processing(self):
        body = "state.append(1); await batch.add(2, 2); await asyncio.sleep(10)"
        self.assertEqual(self.run_program(body), (143, "written 2\n", ""))

    def test_sigterm_is_left_to_who_handles_it(self):
        before = "signal.signal(signal.SIGTERM, lambda *_: print('mine'))"
        body = "os.kill(os.getpid(), signal.SIGTERM); await asyncio.sleep(0.05)"
        self.assertEqual(self.run_program(body, before), (0, "mine\nwritten 1\n", ""))

    def test_sigint(self):
        returncode, written, errors = self.run_program("os.kill(os.getpid(), signal.SIGINT); await asyncio.sleep(10)")
        if sys.version_info >= (3, 11):  # before, asyncio does not end its tasks in order
            self.assertEqual(written, "written 1\n")
        self.assertIn("KeyboardInterrupt", errors)
        self.assertNotEqual(returncode, 0)

    def test_asyncio_is_not_loaded_without_need(self):
        code = "import membudget, sys; membudget.Batch(print); assert 'asyncio' not in sys.modules"
        subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": PYTHONPATH}, timeout=20, check=True)
        self.assertIn("AsyncBatch", membudget.__all__)
        with self.assertRaises(AttributeError):
            membudget.nothing


PROGRAM = """
import asyncio, membudget, os, signal
state = []
async def process(items):
    if state:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.1)
    print("written", len(items), flush=True)
async def main():
    {before}
    async with membudget.AsyncBatch(process, max_items=2) as batch:
        await batch.add(1, 1)
        {body}
asyncio.run(main())
"""


if __name__ == "__main__":
    unittest.main()
