"""membudget: the memory budget of this program, or of another one.

    budget = membudget.attach()
    if budget.crossed: ...

    with membudget.Batch(process_batch) as batch:
        for key, payload in consumer:
            batch[key] = payload

Sizes are in bytes, times in seconds unless the name says otherwise. Programs are started under a budget
with `membudget run --limit 512M -- python3 app.py`.
"""

from ._attach import attach
from ._batch import Batch
from ._budget import Budget, Snapshot
from ._errors import BadBlock, NotAttached, TargetNotFound
from ._fork import after_fork, prepare_fork
from ._level import Level

__all__ = [
    "AsyncBatch",
    "BadBlock",
    "Batch",
    "Budget",
    "Level",
    "NotAttached",
    "Snapshot",
    "TargetNotFound",
    "after_fork",
    "attach",
    "prepare_fork",
]


def __getattr__(name):
    # AsyncBatch takes asyncio with it, which most programs do not use.
    if name != "AsyncBatch":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ._async_batch import AsyncBatch

    globals()[name] = AsyncBatch
    return AsyncBatch
