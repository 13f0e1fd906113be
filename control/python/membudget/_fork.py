"""For servers that load everything, then fork workers: keep the garbage collector from copying it.

A collection writes to every object it looks at, and what a child writes to is copied. So objects made
before the fork are put beyond its reach, and it makes no holes that children would fill.
"""

import gc

_was_enabled = False


def prepare_fork():
    """Call in the parent just before each fork, after everything is loaded. Milliseconds.

    Ends automatic collection in the parent (after_fork turns it on again) and freezes all objects there
    are: they are never collected again.
    """
    global _was_enabled
    _was_enabled = _was_enabled or gc.isenabled()
    gc.disable()
    gc.freeze()


def after_fork():
    """Call in each child, and in the parent if it is to collect garbage again. Does no harm elsewhere."""
    global _was_enabled
    if _was_enabled:
        _was_enabled = False
        gc.enable()
