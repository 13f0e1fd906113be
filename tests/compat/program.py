"""The programs: one shell script each in programs/, whose first comments say what it needs.

    # title: redis-server: redis-benchmark, RDB and AOF
    # needs: redis-server redis-benchmark     commands; where one is missing the program is skipped
    # packages: redis-server redis-tools      that --install installs
    # version: redis-server --version         a command whose first line of output tells the version
    # processes: redis-server                 that must have been counted
    # uncounted: busybox                      that must not have been
    # user: ordinary                          runs as nobody where we are root
    # quick: yes                              among those of the tests
    # allow: REGEX                            lines on standard error that may differ from those of the plain run
    # note: text                              for the table
"""

import os
import pathlib
import re
import shutil
import subprocess

FOLDER = pathlib.Path(__file__).parent / "programs"
# Debian's own programs, unless they are nowhere but elsewhere
PATH = "/usr/sbin:/usr/bin:/sbin:/bin:" + os.environ.get("PATH", "/usr/local/bin")
FIELDS = ("title", "needs", "packages", "version", "processes", "uncounted", "user", "quick", "allow", "note",
          "timeout")


class Program:
    def __init__(self, path):
        self.name = path.stem
        self.script = path
        self.fields = {}
        for line in path.read_text(encoding="utf-8").splitlines():
            found = re.fullmatch(r"# ([a-z]+): +(.*)", line)
            if not found:
                if line.startswith("#"):
                    continue
                break
            if found[1] not in FIELDS:
                raise ValueError(f"{path}: what is {found[1]}?")
            self.fields[found[1]] = (self.fields.get(found[1], "") + " " + found[2]).strip()
        self.title = self.fields["title"]
        self.note = self.fields.get("note", "")
        self.is_quick = self.fields.get("quick") == "yes"
        self.as_ordinary_user = self.fields.get("user") == "ordinary"
        self.timeout_s = float(self.fields.get("timeout", 300))

    def words(self, field):
        return self.fields.get(field, "").split()

    def missing(self):
        """The commands (and files) that it needs and that are not here."""
        return [need for need in self.words("needs")
                if not (os.path.exists(need) if "/" in need else shutil.which(need, path=PATH))]

    def allows(self, line):
        pattern = self.fields.get("allow")
        return bool(pattern and re.search(pattern, line))

    def version(self):
        command = self.fields.get("version")
        if not command:
            return ""
        done = subprocess.run(command, shell=True, text=True, capture_output=True, check=False,
                              env=dict(os.environ, PATH=PATH))
        lines = (done.stdout + done.stderr).strip().splitlines()
        return lines[0].strip()[:50].replace("|", "/") if lines else ""


def all_programs():
    return [Program(path) for path in sorted(FOLDER.glob("*.sh"))]
