"""What Batch and AsyncBatch do after MemoryError, step by step: see again() and in_parts().

Both are generators, so that one can sleep where the other awaits. They yield seconds to sleep, or items (a dict) to
process, and are sent whether process_batch took these, or was refused memory. perform() carries them out; AsyncBatch
has its own.
"""

import contextlib
import time
from itertools import islice

from ._turn import Turn

LOOK_AGAIN_S = 0.02  # how often those who wait for memory look whether there is some
_MOST_LOOKS = 1500  # 30 s without any flush of the others
_MOST_LOOKS_IN_ALL = 10 * _MOST_LOOKS  # who is passed over for so long had better say so
_TRIES_OF_A_TURN = 25  # half a second
_BETWEEN_TURNS_S = 2.5 * LOOK_AGAIN_S  # the others have looked by then
_PATIENT_TRIES = 50  # of those: for a second
_MOST_REFUSED = 16  # items by themselves, one after the other: there is no room at all then


def perform(steps, process):
    """Carries them out with process(items); what they return."""
    with contextlib.closing(steps):
        answer = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                return end.value
            if isinstance(step, float):
                time.sleep(step)
                continue
            try:
                process(step)
                answer = True
            except MemoryError:
                answer = False
            step = None


def again(budget, reserve, function):
    """The steps to function(), which was refused memory, and what it returns.

    Where this process is alone it is called once more. In a group the others fill what room there is, find the budget
    crossed, and flush: then there is room for a moment, for one of those that wait for their turn. Who has waited in
    vain holds nothing that could be flushed: from then on it may have what is kept free for flushes, too.
    """
    _trim(budget)
    tries = 0
    try:
        with contextlib.closing(_patience(budget)) as patience:
            for pause in patience:
                if pause is not None:
                    yield pause
                    continue
                tries += 1
                try:
                    if tries == _PATIENT_TRIES:
                        reserve.flush_begins()
                    return function()
                except MemoryError:
                    pass
                _trim(budget)  # what it got before it failed: the others need it
        return function()
    except MemoryError as error:
        raise _explained(error, budget, "there is no room for it, although nothing is held in the batch any more")
    finally:
        if tries >= _PATIENT_TRIES:
            reserve.flush_ends()


def in_parts(budget, reserve, items):
    """The steps to hand `items` over after process_batch was refused memory for all of them.

    In halves, in order, each let go before the next; those that are too much by themselves at the end, when everything
    else is gone. What has been processed is taken out of `items`; the others are in there at the end, whatever happens.

    The flush that was refused ends before: what it takes to get by with less is not to be kept free from here on.
    """
    reserve.flush_ends()
    size, put_off = len(items), {}
    try:
        while items and len(items) + len(put_off) > 1:
            _trim(budget)
            size = min(size, len(items))
            if (yield from _is_handed_over(items, size)):
                size *= 2
            elif size > 1:
                size = (size + 1) // 2
            elif len(put_off) < _MOST_REFUSED:
                key = next(iter(items))
                put_off[key] = items.pop(key)
            else:
                break
            if _has_company(budget):
                yield LOOK_AGAIN_S
        items.update(put_off)
        put_off = {}
        while items:
            yield from _hand_over_one(budget, reserve, items)
    finally:
        items.update(put_off)
        reserve.flush_begins()  # for who ends it


def _is_handed_over(items, size):
    """Whether the first `size` items are processed, and gone."""
    try:
        keys = list(islice(items, size))
        part = {key: items[key] for key in keys}
    except MemoryError:
        return False
    if not (yield part):
        return False
    del part
    for key in keys:
        items.pop(key, None)
    return True


def _hand_over_one(budget, reserve, items):
    reserve.flush_begins()  # nothing else is left: it may have what is kept free for flushes
    try:
        yield from _hand_over_one_of(budget, items)
    finally:
        reserve.flush_ends()


def _hand_over_one_of(budget, items):
    _trim(budget)
    if (yield from _is_handed_over(items, 1)):
        return
    with contextlib.closing(_patience(budget)) as patience:
        for pause in patience:
            if pause is not None:
                yield pause
            elif (yield from _is_handed_over(items, 1)):
                return
            else:
                _trim(budget)
    what = f"process_batch takes more than there is for one item by itself, of {len(items)} that are still in the batch"
    raise _explained(MemoryError(), budget, what)


def _has_company(budget):
    return getattr(getattr(budget, "_view", None), "has_company", False)


def _trim(budget):
    try:
        budget.trim()
    except MemoryError:
        pass


def _patience(budget):
    """None: try now; else seconds to sleep. Over and over; nothing at all where this process is alone.

    A turn is short: who waits for its own may hold the memory that this one lacks, and need some more to let go of it.
    The others may have taken even what small objects take: that is waited for, too, and next to nothing made meanwhile.
    """
    if not _has_company(budget):
        return
    looks, turn = _looks(budget), None
    try:
        while True:
            for _ in looks:
                turn = _asked_for(turn, budget)
                if turn and turn.is_mine:
                    break
                yield LOOK_AGAIN_S
            else:
                return
            for _ in islice(looks, _TRIES_OF_A_TURN):
                yield None
                yield LOOK_AGAIN_S
            turn.leave()
            turn = None
            yield _BETWEEN_TURNS_S
    finally:
        if turn:
            turn.leave()


def _looks(budget):
    """None as often as there is patience for: as long as the others hand over what they hold, there is hope."""
    flushes, left = None, _MOST_LOOKS
    for _ in range(_MOST_LOOKS_IN_ALL):
        with contextlib.suppress(MemoryError):  # a number is made to compare
            now = budget._view.header().flushes
            if now != flushes:
                flushes, left = now, _MOST_LOOKS
        if left == 0:
            return
        left -= 1
        yield None


def _asked_for(turn, budget):
    try:
        turn = turn or Turn(budget._view.header().name.decode())
        turn.take()
    except MemoryError:
        pass
    return turn


def _explained(error, budget, what):
    """The same error, with the figures where it has no text of its own."""
    if not error.args:
        view = getattr(budget, "_view", None)
        limit, overhead, of_the_group = budget.limit_bytes, 0, ""
        if view is not None:
            header = view.header()
            limit, overhead = header.hard_limit_bytes or limit, header.overhead_bytes
            of_the_group = _counted_by_the_group(budget)
        error.args = (
            f"membudget: {what}; {budget.counted_bytes:,} bytes are counted{of_the_group}, {overhead:,} are overhead,"
            f" and {limit:,} is the most there may be",
        )
    return error


def _counted_by_the_group(budget):
    """What the limit holds for: the budget's own figure is that of this process."""
    if not _has_company(budget):
        return ""
    try:
        return f" in this process, {budget.group.counted_bytes:,} in all of its group"
    except (OSError, RuntimeError, ValueError, MemoryError):
        return " in this process"
