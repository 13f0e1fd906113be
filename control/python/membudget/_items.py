"""Items: the part of Batch that runs at every insertion."""

from threading import get_ident


class PlainItems:
    """What _membudget.Items is, in Python: for where that module was not built."""

    def __setitem__(self, key, payload):
        # No local name for the items: it would keep them alive through the flush.
        is_in = is_refused = False
        try:
            if self._sole_thread == get_ident():
                self._sole_depth += 1
                try:
                    if self._sole_thread:  # it may have been taken away just now
                        self._items[key] = payload
                        is_in = True
                finally:
                    self._sole_depth -= 1
            if not is_in:
                self._insert_locked(key, payload)
        except MemoryError:
            is_refused = True
        if is_refused:
            self._insert_again(key, payload)
        if self.budget.crossed or self._must_look:
            self._flush_if_due()

    def __delitem__(self, key):
        self._delete(key)

    def guard(self, function, *arguments, **keywords):
        """function(*arguments, **keywords); upon MemoryError the batch is flushed, and it is called once more.

            batch[key] = batch.guard(json.loads, line)

        In a group of processes again and again, as long as others flush and for 30 s more.
        """
        try:
            return function(*arguments, **keywords)
        except MemoryError:
            pass  # and with it what its traceback holds
        return self._call_again(function, arguments, keywords)


try:
    from _membudget import Items
except ImportError:
    Items = PlainItems
