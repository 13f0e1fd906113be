"""Prefork servers for tests and measurements: the catalogue of control/python/examples under uWSGI or gunicorn,
on a Unix socket, with every worker made to do the same."""

import concurrent.futures
import http.client
import json
import os
import signal
import socket
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PACKAGE = os.path.join(ROOT, "control", "python")
EXAMPLES = os.path.join(PACKAGE, "examples")
_START_SECONDS = 60


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def uwsgi(path, *options, module="catalogue_uwsgi"):
    """With uwsgi.ini, but for the address and the module, and `options` on top."""
    with open(os.path.join(EXAMPLES, "uwsgi.ini")) as file:
        settings = file.read()
    for shown, wanted in (("127.0.0.1:8000", path), ("module = catalogue_uwsgi", f"module = {module}")):
        assert shown in settings, f"{shown} is not in uwsgi.ini"
        settings = settings.replace(shown, wanted)
    with open(path + ".ini", "w") as file:
        file.write(settings)
    return ["uwsgi", "--ini", path + ".ini", "--disable-logging", *options]


def gunicorn(path, *options):
    """With gunicorn.conf.py, unless `options` do without."""
    configuration = ["--workers", "4"]
    if "--preload" not in options:
        configuration = ["--config", os.path.join(EXAMPLES, "gunicorn.conf.py")]
    return ["gunicorn", *configuration, "--bind", f"unix:{path}", "--log-level", "warning", *options,
            "catalogue:application"]


class Server:
    """A running server. `command` is one of the above, with the same `path`, after what it is run by."""

    def __init__(self, command, path, environment, mib):
        environment = dict(environment, PYTHONPATH=f"{PACKAGE}:{EXAMPLES}", CATALOGUE_MIB=str(mib))
        self.path = path
        self.log = open(path + ".log", "w+b")
        self.process = subprocess.Popen(command, env=environment, cwd=os.path.dirname(path), stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True)
        end = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise AssertionError(f"{command[0]} does not answer:\n{self.output()}")
            time.sleep(0.05)

    def _answers(self):
        try:
            return bool(self.get("/"))
        except OSError:
            return False

    def get(self, url):
        """What the application answers: {"pid": ..., "result": ...}."""
        connection = _UnixConnection(self.path)
        try:
            connection.request("GET", url)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        assert response.status == 200, (response.status, body)
        return json.loads(body)

    def everyone(self, url, workers=4):
        """Has each of the workers answer that, once or more often; returns their pids."""
        pids = set()
        end = time.monotonic() + 60
        with concurrent.futures.ThreadPoolExecutor(2 * workers) as pool:
            while len(pids) < workers:
                assert time.monotonic() < end, f"only {pids} answered {url}"
                pids |= {answer["pid"] for answer in pool.map(self.get, [url] * 2 * workers)}
        return pids

    def output(self):
        """What it has printed."""
        self.log.flush()
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def stop(self):
        """Ends it as an init system would; returns its exit status."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(30)
        self.log.close()
        return status

    def kill(self):
        """Ends it and its workers, however they are."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
