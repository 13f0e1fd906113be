"""The manual and the completions: complete, well-formed, installed where they are looked for."""

import os
import re
import shutil
import subprocess

from cli_case import CLI, CliCase, Target, main

SOURCE = os.path.realpath(os.path.join(os.path.dirname(__file__), "../../control"))
PAGES = ("membudget.1", "membudget.3", "membudget-abi.7", "libmembudget.8")
COMMANDS = ("run", "ls", "show", "top", "watch", "wait", "set", "trim", "compare", "balloon", "doctor", "profile")
COMPLETE = """
    PATH=$(dirname "$CLI"):$PATH; source "$1"; shift
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _membudget; printf '%s\\n' "${COMPREPLY[@]}"
"""


def read(*path):
    with open(os.path.join(SOURCE, *path)) as file:
        return file.read()


def plain(page):
    """The words of a page, without what roff makes of them."""
    return re.sub(r"\\f.|\\(?=-)|\\", "", read("man", page))


class Manual(CliCase):
    def test_every_option_is_in_it(self):
        manual = plain("membudget.1")
        for command in COMMANDS:
            self.assertRegex(manual, rf"(?m)^\.BR {command} ")
            for option in re.findall(r"^ +(?:-\w,)?(--[a-z-]+)", self.succeed(command, "--help"), re.MULTILINE):
                self.assertRegex(manual, rf"{option}\b", command)

    def test_every_key_of_the_report_is_in_it(self):
        target = Target(self)
        import json
        for key in json.loads(self.succeed("show", str(target.pid), "--json")):
            self.assertRegex(plain("membudget.1"), rf"\b{key}\b")

    def test_every_setting_and_function_is_in_it(self):
        for name in re.findall(r'"(MEMBUDGET_[A-Z_]+)"', read("block", "settings.cc")):
            self.assertRegex(plain("libmembudget.8"), rf"\b{name}\b")
        for name in re.findall(r"^MEMBUDGET_API [^(]*?(membudget_\w+)\(", read("include/membudget/membudget.h"), re.MULTILINE):
            self.assertGreater(plain("membudget.3").count(name), 1, name)

    def test_roff_finds_nothing_wrong(self):
        if not shutil.which("groff"):
            self.skipTest("groff is not installed")
        for page in PAGES:
            result = subprocess.run(["groff", "-man", "-ww", "-z", os.path.join(SOURCE, "man", page)], stderr=subprocess.PIPE, text=True)
            self.assertEqual((result.returncode, result.stderr), (0, ""), page)


class Completion(CliCase):
    def complete(self, *words):
        script = os.path.join(SOURCE, "completion/membudget.bash")
        result = subprocess.run(["bash", "-c", COMPLETE, "bash", script, "membudget", *words], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment({"CLI": CLI}))
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return result.stdout.split()

    def test_commands(self):
        self.assertLessEqual(set(COMMANDS) | {"--library", "--version", "--help"}, set(self.complete("")))
        self.assertEqual(self.complete("ba"), ["balloon"])

    def test_options(self):
        self.assertLessEqual({"--limit", "--hard-limit", "--allocator", "--summary", "--help"}, set(self.complete("run", "--")))
        self.assertEqual(self.complete("balloon", "--ho"), ["--hold"])
        self.assertEqual(self.complete("wait", "x", "--level", "cr"), ["critical"])
        self.assertEqual(self.complete("run", "--allocator", "je"), ["jemalloc"])

    def test_targets(self):
        target = Target(self, "--name", "completed")
        self.assertEqual(sorted(self.complete("show", "")), sorted([str(target.pid), "completed"]))
        self.assertEqual(self.complete("trim", "comp"), ["completed"])

    def test_the_command_after_the_dashes(self):
        self.assertIn("true", self.complete("run", "--limit", "1G", "--", "tru"))

    def test_zsh(self):
        if not shutil.which("zsh"):
            self.skipTest("zsh is not installed")
        subprocess.run(["zsh", "-n", os.path.join(SOURCE, "completion/_membudget")], check=True)


class Installed(CliCase):
    def test_where_they_are_looked_for(self):
        prefix = self.scratch()
        build = os.path.join(os.path.dirname(CLI), "..")
        for part in ("man", "completion"):
            subprocess.run(["cmake", "--install", os.path.join(build, part), "--prefix", prefix], check=True,
                           stdout=subprocess.DEVNULL)
        for page in PAGES:
            self.assertTrue(os.path.exists(f"{prefix}/share/man/man{page[-1]}/{page}"), page)
        self.assertTrue(os.path.exists(f"{prefix}/share/bash-completion/completions/membudget"))
        self.assertTrue(os.path.exists(f"{prefix}/share/zsh/site-functions/_membudget"))


if __name__ == "__main__":
    main()
