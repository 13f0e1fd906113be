"""The application as uWSGI loads it: what is inherited stays out of the garbage collector's reach."""

import membudget
import uwsgi
from catalogue import application

__all__ = ["application"]

# In the master, before it forks. With lazy-apps each worker gets here by itself, and shares nothing.
if uwsgi.worker_id() == 0:
    membudget.prepare_fork()
    uwsgi.post_fork_hook = membudget.after_fork
