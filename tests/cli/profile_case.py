"""What the tests of `membudget profile` share: programs that say what they hold, and reports on them."""

import json
import os
import subprocess

from cli_case import CLI, CliCase

SITES = os.environ["MEMBUDGET_TEST_PROFILE_SITES"]
PYTHON = "/usr/bin/python3"
SUFFIX = ".membudget-profile"

UNTIL_CLOSED = """\
import select
while not select.select([sys.stdin], [], [], 0.001)[0]:
    json.dumps(list(range(3000)))
"""


class ProfileCase(CliCase):
    def start(self, *options, command, **settings):
        process = subprocess.Popen([CLI, "run", *options, "--", *command], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, env=self.environment(settings), text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.stdin.close)
        said = {}
        for line in process.stdout:
            if line == "ready\n":
                return process, said
            name, number = line.split()
            said[name] = int(number)
        self.fail("it ended early")

    def script(self, text, name="program.py"):
        path = os.path.join(self.scratch(), name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def report(self, *arguments):
        return json.loads(self.succeed("profile", *arguments, "--json", "--top", "1000"))

    def sites(self, report, word):
        found = [site for site in report["sites"] if word in site["where"]]
        live = sum(site["live_bytes"] for site in found)
        error = sum(site["standard_error_bytes"] ** 2 for site in found) ** 0.5
        return live, error, sum(site["allocated_bytes"] for site in found)
