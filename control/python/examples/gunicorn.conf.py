# membudget run --limit 1G -- gunicorn -c gunicorn.conf.py catalogue:application
import membudget

bind = "127.0.0.1:8000"
workers = 4
preload_app = True  # load, then fork


def pre_fork(server, worker):
    """In the parent, before each fork."""
    membudget.prepare_fork()


def post_fork(server, worker):
    """In the worker."""
    membudget.after_fork()
