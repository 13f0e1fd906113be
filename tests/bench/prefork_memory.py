#!/usr/bin/env python3
"""What prepare_fork() and after_fork() save: the private memory of four workers that inherited 200 MiB of rows from
the server that forked them, when they are idle, have collected garbage, have read a tenth of it and all of it.

A server of its own for each figure: what was copied once stays so. Prints a table in Markdown.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))

import prefork  # noqa: E402

CLI = os.path.join(ROOT, "build", "release", "control", "cli", "membudget")
WORKERS = 4
MIB = 2**20
SERVERS = (
    ("gunicorn", lambda path: prefork.gunicorn(path, "--preload"), prefork.gunicorn),
    ("uWSGI", lambda path: prefork.uwsgi(path, module="catalogue"), prefork.uwsgi),
)


def actions(rows):
    """[(what the workers do, the request for it)]."""
    return [
        ("nothing", "/"), ("collect garbage", "/collect"), ("read a tenth", f"/sum?rows={rows // 10}"),
        ("read all", "/sum"),
    ]


def private_bytes(make_command, mib, url):
    """The mean USS of a worker once all have answered `url`."""
    with tempfile.TemporaryDirectory(prefix="membudget-prefork.") as folder:
        environment = dict(os.environ, MEMBUDGET_DIR=folder)
        path = os.path.join(folder, "socket")
        command = [CLI, "run", "--name", "server", "--", *make_command(path)]
        server = prefork.Server(command, path, environment, mib)
        try:
            workers = server.everyone("/") | server.everyone(url)
            shown = subprocess.run([CLI, "show", "server", "--json"], env=environment, stdout=subprocess.PIPE, check=True)
            members = json.loads(shown.stdout)["group"]["processes"]
            sizes = [member["uss_bytes"] for member in members if member["pid"] in workers]
            assert len(sizes) == WORKERS, members
            server.stop()
        finally:
            server.kill()
    return sum(sizes) / WORKERS


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench-prefork", description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=200, help="how much is inherited (default 200)")
    options = parser.parse_args()
    missing = [program for program in ("uwsgi", "gunicorn") if not shutil.which(program)]
    if missing:
        return f"scripts/bench-prefork: missing: {' '.join(missing)}; scripts/setup installs them"
    rows = (options.mib << 20) // 512
    print(f"Private memory of each of {WORKERS} workers, MiB, of {options.mib} MiB inherited:\n")
    print("| the workers | " + " | ".join(f"{name} | {name}, prepared" for name, _, _ in SERVERS) + " |")
    print("| --- |" + " ---: | ---: |" * len(SERVERS))
    for name, url in actions(rows):
        cells = []
        for _, plain, prepared in SERVERS:
            cells += [f"{private_bytes(make, options.mib, url) / MIB:.1f}" for make in (plain, prepared)]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
