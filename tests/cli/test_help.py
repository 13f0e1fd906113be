"""membudget itself: help, version, the library's path, and words that it does not know."""

import os
import re
import shutil
import subprocess
import sysconfig

from cli_case import CLI, LIBRARY, CliCase, main

MULTIARCH = sysconfig.get_config_var("MULTIARCH")
COMMANDS = ("run", "ls", "show", "watch", "wait", "set", "trim", "profile", "top", "balloon", "compare", "doctor")


class Help(CliCase):
    def test_lists_the_commands(self):
        text = self.succeed("--help")
        self.assertEqual(text, self.succeed("-h"))
        listed = re.findall(r"^  (\w+) +\w", text.split("Commands:")[1].split("\n\n")[0], re.MULTILINE)
        self.assertEqual(sorted(listed), sorted(COMMANDS))

    def test_every_command_has_its_own(self):
        for command in COMMANDS:
            text = self.succeed(command, "--help")
            self.assertIn(f"membudget {command}", text)
            self.assertGreater(len(text.splitlines()), 6)

    def test_reads_well(self):
        text = self.succeed("run", "--help")
        for raw in ("{512K}", "Needs:"):
            self.assertNotIn(raw, text)
        self.assertRegex(text, r"\n  --profile\[=SIZE\] +Take stacks")
        self.assertRegex(text, r"\n  --json +With --summary")

    def test_version(self):
        self.assertRegex(self.succeed("--version"), r"\Amembudget \d+\.\d+\.\d+\n\Z")

    def test_unknown_words(self):
        self.refuse(2, says="no command")
        self.refuse(2, "frobnicate", says="frobnicate")
        self.refuse(2, "frobnicate", "--help", says="frobnicate")
        self.refuse(2, "--frobnicate", says="--frobnicate")
        for command in COMMANDS[1:]:
            self.refuse(2, command, "--frobnicate", says="--frobnicate")
        self.refuse(2, "show", "a", "b")
        self.refuse(2, "ls", "extra", says="extra")

    def test_output_that_cannot_be_written(self):
        with open("/dev/full", "w") as full:
            for command in (("--help",), ("--version",), ("ls", "--json"), ("run", "--help")):
                result = subprocess.run([CLI, *command], stdout=full, stderr=subprocess.PIPE, text=True,
                                        env=self.environment())
                self.assertEqual((result.returncode, result.stderr), (1, "membudget: cannot write to standard output\n"))


class Library(CliCase):
    def test_is_the_one_built_with_it(self):
        self.assertEqual(self.succeed("--library"), LIBRARY + "\n")

    def test_preloads(self):
        out = subprocess.run("LD_PRELOAD=$($CLI --library) MEMBUDGET_NAME=bare sh -c '$CLI ls --json; :'", shell=True,
                             stdout=subprocess.PIPE, text=True, env=self.environment({"CLI": CLI})).stdout
        self.assertIn('"name": "bare"', out)

    def test_variable(self):
        copy = os.path.join(self.scratch(), "libmembudget.so")
        shutil.copy(LIBRARY, copy)
        self.assertEqual(self.succeed("--library", settings={"MEMBUDGET_LIBRARY": copy}), copy + "\n")
        for wrong in ("/nonexistent/libmembudget.so", "/"):
            for command in (("--library",), ("run", "--", "true")):
                self.refuse(2, *command, settings={"MEMBUDGET_LIBRARY": wrong}, says=("MEMBUDGET_LIBRARY", wrong))

    def test_a_path_that_cannot_be_preloaded(self):
        folder = os.path.join(self.scratch(), "with blank")
        os.mkdir(folder)
        copy = os.path.join(folder, "libmembudget.so")
        shutil.copy(LIBRARY, copy)
        self.refuse(2, "--library", settings={"MEMBUDGET_LIBRARY": copy}, says="blank")

    def test_a_file_that_is_no_library(self):
        fake = os.path.join(self.scratch(), "libmembudget.so")
        with open(fake, "w") as file:
            file.write("no library\n")
        result = self.run_cli("run", "--", "touch", fake + ".started", settings={"MEMBUDGET_LIBRARY": fake})
        self.assertEqual(result.returncode, 2)
        self.assertIn(f"membudget: {fake}", result.stderr)
        self.assertFalse(os.path.exists(fake + ".started"))

    def test_installed_beside_it(self):
        prefix = self.scratch()
        os.makedirs(os.path.join(prefix, "bin"))
        for place in filter(None, ("lib", "lib64", MULTIARCH and f"lib/{MULTIARCH}")):
            os.makedirs(os.path.join(prefix, place), exist_ok=True)
            command = shutil.copy(CLI, os.path.join(prefix, "bin", "membudget"))
            library = shutil.copy(LIBRARY, os.path.join(prefix, place, "libmembudget.so"))
            out = subprocess.run([command, "--library"], stdout=subprocess.PIPE, text=True, env=self.environment()).stdout
            self.assertEqual(out, library + "\n")
            os.remove(library)
        result = subprocess.run([command, "--library"], stderr=subprocess.PIPE, text=True, env=self.environment())
        self.assertEqual(result.returncode, 2)
        self.assertIn("MEMBUDGET_LIBRARY", result.stderr)


if __name__ == "__main__":
    main()
