"""process_batch of the wrong kind: told when a batch is made, and if not then, no item is lost."""

import asyncio
import functools
import types
import unittest
import warnings
from unittest import mock

import support  # noqa: F401  # where the package is
import membudget


async def coroutine_function(items):
    pass


def plain_function(items):
    pass


def generator_function(items):
    yield


async def async_generator_function(items):
    yield


@types.coroutine
def old_coroutine_function(items):
    yield


class Processor:
    async def write(self, items):
        pass

    def write_at_once(self, items):
        pass

    async def __call__(self, items):
        pass


class PlainProcessor:
    def __call__(self, items):
        pass


COROUTINES = (
    coroutine_function, functools.partial(coroutine_function), functools.partial(functools.partial(Processor().write)),
    Processor().write, Processor(), mock.AsyncMock(), old_coroutine_function,
)
PLAIN = (plain_function, functools.partial(plain_function), Processor().write_at_once)
GENERATORS = (generator_function, functools.partial(async_generator_function))


def delegate(items):
    return coroutine_function(items)


class AtConstruction(unittest.TestCase):
    def test_batch_refuses_coroutine_functions(self):
        for function in COROUTINES:
            with self.subTest(function), self.assertRaisesRegex(TypeError, "AsyncBatch"):
                membudget.Batch(function)

    def test_batch_takes_others(self):
        for function in (*PLAIN, PlainProcessor(), print, [].append, dict, mock.Mock(), lambda items: None):
            membudget.Batch(function)

    def test_async_batch_refuses_plain_functions(self):
        for function in PLAIN:
            with self.subTest(function), self.assertRaisesRegex(TypeError, "coroutine function"):
                membudget.AsyncBatch(function)

    def test_async_batch_takes_what_may_be_right(self):
        wrapper = functools.wraps(coroutine_function)(lambda items: coroutine_function(items))
        for function in (*COROUTINES, wrapper, lambda items: coroutine_function(items), PlainProcessor(), mock.Mock()):
            membudget.AsyncBatch(function)

    def test_generators_are_nothings(self):
        for function in GENERATORS:
            for kind in (membudget.Batch, membudget.AsyncBatch):
                with self.subTest(function), self.assertRaisesRegex(TypeError, "generator"):
                    kind(function)

    def test_none_at_all(self):
        for kind in (membudget.Batch, membudget.AsyncBatch):
            with self.assertRaisesRegex(TypeError, "callable"):
                kind(None)


class AtTheFlush(unittest.TestCase):
    def test_an_awaitable_keeps_the_items(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a coroutine that is never awaited
            for function in (lambda items: coroutine_function(items), delegate):
                batch = membudget.Batch(function)
                batch["a"] = 1
                with self.assertRaisesRegex(TypeError, "AsyncBatch"):
                    batch.flush()
                self.assertEqual(dict(batch), {"a": 1})

    def test_no_awaitable_keeps_the_items(self):
        async def fill():
            batch = membudget.AsyncBatch(lambda items: None)
            await batch.add("a", 1)
            with self.assertRaisesRegex(TypeError, "awaitable"):
                await batch.flush()
            return dict(batch)

        self.assertEqual(asyncio.run(fill()), {"a": 1})

    def test_awaitables_of_all_kinds(self):
        async def fill(function):
            async with membudget.AsyncBatch(function) as batch:
                await batch.add("a", 1)
            return dict(batch)

        def future(items):
            return asyncio.get_running_loop().run_in_executor(None, items.copy)

        for function in (*COROUTINES, lambda items: coroutine_function(items), lambda items: future(items)):
            with self.subTest(function):
                self.assertEqual(asyncio.run(fill(function)), {})


if __name__ == "__main__":
    unittest.main()
