"""Running a blocking call for asyncio. Apart, so that only programs that use asyncio load it."""

import asyncio
import threading


async def run_in_thread(function, *arguments):
    """Awaits function(*arguments), run in a daemon thread.

    Not in the loop's executor: its threads are joined at the end of the program, so that a wait nobody
    is interested in any more would hold it up.
    """
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    def settle(set_it, value):
        if not future.done():
            set_it(value)

    def run():
        try:
            outcome = future.set_result, function(*arguments)
        except Exception as error:
            outcome = future.set_exception, error
        try:
            loop.call_soon_threadsafe(settle, *outcome)
        except RuntimeError:  # the loop has been closed meanwhile
            pass

    threading.Thread(target=run, name="membudget-wait", daemon=True).start()
    return await future
