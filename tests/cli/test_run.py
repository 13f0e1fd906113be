"""membudget run: settings, exit statuses, what it refuses to start."""

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig

from cli_case import CLI, LIBRARY, NOBODY, STATIC, TARGET, CliCase, Target, as_root, is_root, main

SHOW_ENVIRONMENT = (sys.executable, "-c", "import os; print('\\n'.join(f'{k}={v}' for k, v in os.environ.items()))")
SETTINGS = {
    "--limit": ("MEMBUDGET_LIMIT", "300M"), "--allocator": ("MEMBUDGET_ALLOCATOR", "jemalloc"),
    "--hard-limit": ("MEMBUDGET_HARD_LIMIT", "400M"), "--name": ("MEMBUDGET_NAME", "web"),
    "--measure": ("MEMBUDGET_MEASURE", "counted"), "--low": ("MEMBUDGET_LOW", "50%"),
    "--medium": ("MEMBUDGET_MEDIUM", "60%"), "--release": ("MEMBUDGET_RELEASE", "1%"),
    "--children": ("MEMBUDGET_CHILDREN", "ignore"), "--pythonmalloc": ("MEMBUDGET_PYTHONMALLOC", "keep"),
    "--mmap-threshold": ("MEMBUDGET_MMAP_THRESHOLD", "1M"), "--trim-threshold": ("MEMBUDGET_TRIM_THRESHOLD", "default"),
    "--arenas": ("MEMBUDGET_ARENAS", "2"), "--log": ("MEMBUDGET_LOG", "quiet"),
}
MULTIARCH = f"/usr/lib/{sysconfig.get_config_var('MULTIARCH')}"


class RunCase(CliCase):
    def environment_of(self, *options, **settings):
        lines = self.succeed("run", *options, "--", *SHOW_ENVIRONMENT, settings=settings).splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def executable(self, text, mode=0o755, name="program"):
        path = os.path.join(self.scratch(), name)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, mode)
        return path


class Settings(RunCase):
    def test_every_option_sets_its_variable(self):
        for option, (variable, value) in SETTINGS.items():
            with self.subTest(option):
                self.assertEqual(self.environment_of(option, value)[variable], value)

    def test_options_win_over_the_environment_which_wins_over_nothing(self):
        self.assertEqual(self.environment_of(MEMBUDGET_LIMIT="111M")["MEMBUDGET_LIMIT"], "111M")
        self.assertEqual(self.environment_of("--limit", "222M", MEMBUDGET_LIMIT="111M")["MEMBUDGET_LIMIT"], "222M")

    def test_dir(self):
        other = self.scratch()
        script = "import os; print(sorted(os.listdir(os.environ['MEMBUDGET_DIR'])))"
        out = self.succeed("run", "--dir", other, "--name", "here", "--", sys.executable, "-c", script)
        self.assertEqual(out, "['membudget-here']\n")

    def test_env_sets_variables(self):
        env = self.environment_of("--env", "COLOUR=blue", "--env", "EMPTY=", "--env", "SUM=1=1")
        self.assertEqual((env["COLOUR"], env["EMPTY"], env["SUM"]), ("blue", "", "1=1"))

    def test_env_must_be_an_assignment(self):
        for word in ("COLOUR", "=blue"):
            self.refuse(2, "run", "--env", word, "--", "true", says="NAME=VALUE")

    def test_library_goes_first_in_ld_preload_and_what_was_there_stays(self):
        self.assertEqual(self.environment_of()["LD_PRELOAD"], LIBRARY)
        places = [f"/lib/{sysconfig.get_config_var('MULTIARCH')}", "/lib64", "/lib"]
        libm = next(f"{place}/libm.so.6" for place in places if os.path.exists(f"{place}/libm.so.6"))
        self.assertEqual(self.environment_of(LD_PRELOAD=libm)["LD_PRELOAD"], f"{LIBRARY}:{libm}")
        for there in (f"{libm}:{LIBRARY}", f"{LIBRARY} {libm}", f"{libm}::/other/place/libmembudget.so"):
            with self.subTest(there):
                out = self.run_cli("run", "--", "sh", "-c", "echo $LD_PRELOAD", settings={"LD_PRELOAD": there}).stdout
                self.assertEqual(out, f"{LIBRARY}:{libm}\n")

    def test_beside_an_auditing_library(self):
        """Which leaves too little room for the library's thread-local memory."""
        script = "echo $GLIBC_TUNABLES; echo $LD_PRELOAD"
        for before, tunables in (("", "glibc.rtld.optional_static_tls=4096"),
                                 ("glibc.malloc.check=0", "glibc.malloc.check=0:glibc.rtld.optional_static_tls=4096"),
                                 ("glibc.rtld.optional_static_tls=8192", "glibc.rtld.optional_static_tls=8192")):
            settings = {"LD_AUDIT": os.environ["MEMBUDGET_TEST_AUDIT"]}
            if before:
                settings["GLIBC_TUNABLES"] = before
            out = self.succeed("run", "--", "sh", "-c", script, settings=settings)
            self.assertEqual(out, f"{tunables}\n{LIBRARY}\n")

    def test_an_allocator_with_static_thread_local_memory(self):
        """Which can be loaded by its path only where room for that is kept."""
        jemalloc = f"{MULTIARCH}/libjemalloc.so.2"
        if not os.path.exists(jemalloc):
            self.skipTest(f"no {jemalloc}")
        env = self.environment_of("--allocator", jemalloc, GLIBC_TUNABLES="glibc.malloc.check=0")
        self.assertEqual(env["GLIBC_TUNABLES"], "glibc.malloc.check=0:glibc.rtld.optional_static_tls=4096")
        show = self.succeed("run", "--allocator", jemalloc, "--", "sh", "-c", f"{CLI} show $$ --json; :")
        self.assertIn(f'"allocator": "{jemalloc}"', show)
        bare = {"LD_PRELOAD": LIBRARY, "MEMBUDGET_ALLOCATOR": jemalloc}
        errors = self.run_cli("--version", settings=bare).stderr
        for says in ("static TLS", "GLIBC_TUNABLES=glibc.rtld.optional_static_tls=", "MEMBUDGET_ALLOCATOR=jemalloc)"):
            self.assertIn(says, errors)
        self.assertEqual(self.run_cli("--version", settings={
            **bare, "GLIBC_TUNABLES": re.search(r"GLIBC_TUNABLES=(\S+=\d+)", errors)[1]}).stderr, "")
        self.assertNotIn("GLIBC_TUNABLES", self.environment_of("--allocator", "jemalloc"))

    def test_a_hard_limit_below_the_limit(self):
        """The budget is then never crossed: one line says so, and the command runs."""
        for options, is_told in ((("--limit", "64M", "--hard-limit", "48M"), True),
                                 (("--limit", "48M", "--hard-limit", "48M"), False),
                                 (("--hard-limit", "48M"), False),
                                 (("--limit", "100%", "--hard-limit", "95%"), True),
                                 (("--limit", "100%", "--hard-limit", "99%"), False)):  # Batch keeps a reserve there
            result = self.run_cli("run", *options, "--", "echo", "runs")
            self.assertEqual((result.returncode, result.stdout), (0, "runs\n"))
            self.assertRegex(result.stderr, r"\Amembudget: the hard limit, [^\n]*\n\Z" if is_told else r"\A\Z", options)

    def test_name_defaults_to_the_pid(self):
        process = subprocess.run([CLI, "run", "--", sys.executable, "-c",
                                  "import os; print(os.getpid(), os.environ['MEMBUDGET_NAME'])"],
                                 stdout=subprocess.PIPE, text=True, env=self.environment())
        pid, name = process.stdout.split()
        self.assertEqual(pid, name)

    def test_run_within_a_run_is_a_group_of_its_own(self):
        names = self.succeed("run", "--name", "outer", "--", CLI, "run", "--", "sh", "-c", "echo $MEMBUDGET_NAME $$")
        self.assertEqual(len(set(names.split())), 1)

    def test_run_within_a_run_leaves_the_outer_group(self):
        script = f"{CLI} run -- {CLI} show outer --json"
        out = self.succeed("run", "--name", "outer", "--", "sh", "-c", script + "; :")
        self.assertEqual(out.count('"inherited_bytes"'), 1, out)

    def test_limits_of_a_group_that_runs_already_are_not_taken_silently(self):
        Target(self, "--name", "first", "--limit", "64M")
        script = f"{CLI} show first --json"
        result = self.run_cli("run", "--name", "first", "--limit", "1M", "--", "sh", "-c", script)
        self.assertEqual(result.returncode, 0)
        self.assertRegex(result.stderr, r"\Amembudget: group 'first' [^\n]*membudget set first[^\n]*\n\Z")
        self.assertIn('"limit_bytes": 67108864', result.stdout)
        self.succeed("run", "--name", "first", "--", "true")

    def test_a_group_that_is_called_like_a_process_of_another(self):
        other = Target(self, "--name", "other")
        self.assertEqual(self.succeed("run", "--name", str(other.pid), "--limit", "1M", "--", "echo", "x"), "x\n")

    def test_leaves_no_block_behind(self):
        self.succeed("run", "--limit", "1G", "--", "true")
        self.refuse(2, "run", "--limit", "wrong", "--", "true")
        self.assertEqual(self.blocks(), [])


class BadSettings(RunCase):
    BAD_SIZES = ("12Q", "-1", "1.5", "abc", "101%", "1 G", "0x10", "1e9", "99999999999999999999", "5%%")

    def refuse_setting(self, option, value, variable):
        marker = os.path.join(self.scratch(), "started")
        self.refuse(2, "run", f"{option}={value}", "--", "touch", marker, says=(variable, value))
        self.assertFalse(os.path.exists(marker), "the command was started all the same")

    def test_sizes(self):
        for option in ("--limit", "--hard-limit", "--low", "--medium", "--release"):
            for value in self.BAD_SIZES:
                with self.subTest(f"{option} {value}"):
                    self.refuse_setting(option, value, SETTINGS[option][0])

    def test_choices(self):
        for option in ("--measure", "--children", "--pythonmalloc", "--log"):
            with self.subTest(option):
                self.refuse_setting(option, "sideways", SETTINGS[option][0])

    def test_names(self):
        for value in ("a/b", "../x", "blank here", "x" * 65, "é"):
            with self.subTest(value):
                self.refuse_setting("--name", value, "MEMBUDGET_NAME")

    def test_allocators(self):
        text = self.executable("no library\n", 0o644)
        for value in ("dlmalloc", "relative.so", "/nonexistent/malloc.so", text, "/"):
            with self.subTest(value):
                self.refuse_setting("--allocator", value, "MEMBUDGET_ALLOCATOR")

    def test_directories(self):
        for value in ("/nonexistent/folder", "relative/folder", "/dev/null"):
            with self.subTest(value):
                self.refuse_setting("--dir", value, "MEMBUDGET_DIR")

    def test_in_our_words(self):
        errors = self.refuse(2, "run", "--dir", "/nonexistent/folder", "--", "true", says="No such file or directory")
        for word in ("probe", "only this process"):
            self.assertNotIn(word, errors)

    def test_nothing(self):
        for option in SETTINGS:
            self.refuse(2, "run", option, "", "--", "true", says=option)

    def test_no_share_at_all(self):
        for option in ("--limit", "--hard-limit"):
            self.refuse_setting(option, "0%", SETTINGS[option][0])

    def test_too_large(self):
        for value in ("9223372036854775807T", "99999999999999999999", "99999999999999999999999999999.5G"):
            self.refuse(2, "run", "--limit", value, "--", "true", says=("MEMBUDGET_LIMIT", value, "too large"))

    def test_marks_above_the_limit(self):
        for mark in ("--low", "--medium"):
            self.refuse(2, "run", "--limit", "64M", mark, "65M", "--", "true", says=(SETTINGS[mark][0], "65M", "above"))
            self.succeed("run", "--limit", "64M", mark, "64M", "--", "true")

    def test_the_library_itself_is_no_allocator(self):
        copy = os.path.join(self.scratch(), "another.so")
        shutil.copy(LIBRARY, copy)
        for path in (LIBRARY, copy):
            self.refuse(2, "run", "--allocator", path, "--", "true", says=(path, "libmembudget.so itself"))

    def test_profiles_that_cannot_be_written(self):
        for folder in ("/nonexistent", "/dev/null"):
            self.refuse(2, "run", "--profile-dir", folder, "--", "true", says=("MEMBUDGET_PROFILE_DIR", folder))

    def test_by_the_environment_too(self):
        self.refuse(2, "run", "--", "true", settings={"MEMBUDGET_LIMIT": "lots"}, says=("MEMBUDGET_LIMIT", "lots"))
        self.refuse(2, "run", "--env", "MEMBUDGET_LOW=lots", "--", "true", says=("MEMBUDGET_LOW", "lots"))

    def test_is_told_even_when_the_library_is_to_be_quiet(self):
        self.refuse(2, "run", "--log", "quiet", "--limit", "lots", "--", "true", says="MEMBUDGET_LIMIT")

    @as_root
    def test_directory_not_writable(self):
        self.refuse(2, "run", "--", "true", user=NOBODY, extra_groups=(), says=("MEMBUDGET_DIR", self.folder))

    @as_root
    def test_full_directory(self):
        folder = self.scratch()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", folder], stderr=subprocess.DEVNULL).returncode:
            self.skipTest("may not mount")
        self.addCleanup(subprocess.run, ["umount", folder])
        with open(os.path.join(folder, "full"), "wb") as file:
            file.write(bytes(4096))
        self.refuse(2, "run", "--dir", folder, "--", "true", says=("MEMBUDGET_DIR", folder))


class ExitStatus(RunCase):
    def status(self, *command, options=()):
        return self.run_cli("run", *options, "--", *command).returncode

    def test_is_the_commands(self):
        for options in ((), ("--summary",)):
            for status in (0, 1, 2, 3, 42, 255):
                self.assertEqual(self.status("sh", "-c", f"exit {status}", options=options), status)

    def test_killed_by_a_signal(self):
        self.assertEqual(self.status("sh", "-c", "kill -KILL $$"), -signal.SIGKILL)  # it is the command
        self.assertEqual(self.status("sh", "-c", "kill -KILL $$", options=("--summary",)), 128 + signal.SIGKILL)
        self.assertEqual(self.status("sh", "-c", "kill -SEGV $$", options=("--summary",)), 128 + signal.SIGSEGV)

    def test_same_pid(self):
        process = subprocess.Popen([CLI, "run", "--", "sh", "-c", "echo $$"], stdout=subprocess.PIPE, text=True,
                                   env=self.environment())
        self.assertEqual(int(process.communicate()[0]), process.pid)

    def test_no_such_command(self):
        self.refuse(127, "run", "--", "no-such-command-here", says=("no-such-command-here", "PATH"))
        self.refuse(127, "run", "--", "/nonexistent/program", says="/nonexistent/program")
        self.refuse(127, "run", "--", "", says="no such command")
        self.refuse(127, "run", "--summary", "--", "no-such-command-here", says="no-such-command-here")

    def test_not_executable(self):
        self.refuse(126, "run", "--", self.executable("#!/bin/sh\n", 0o644), says="permission denied")
        self.refuse(126, "run", "--", "/", says="directory")
        self.refuse(126, "run", "--", self.executable("#!/nonexistent/shell\n"), says="/nonexistent/shell")

    def test_path_is_the_commands_own(self):
        program = self.executable("#!/bin/sh\nexit 9\n", name="only-here")
        path = os.path.dirname(program) + ":" + os.environ["PATH"]
        self.assertEqual(self.status("only-here", options=("--env", f"PATH={path}")), 9)
        self.assertEqual(self.status("only-here"), 127)

    def test_a_file_that_may_not_be_executed_hides_none_further_on(self):
        first = os.path.dirname(self.executable("", 0o644, "twice"))
        second = os.path.dirname(self.executable("#!/bin/sh\nexit 8\n", name="twice"))
        path = f"{first}:{second}:{os.environ['PATH']}"
        self.assertEqual(self.status("twice", options=("--env", f"PATH={path}")), 8)

    def test_a_script_without_interpreter_is_the_shells(self):
        self.assertEqual(self.status(self.executable("exit $1\n"), "6"), 6)

    def test_usage(self):
        self.refuse(2, "run", says="no command given")
        self.refuse(2, "run", "--", says="no command given")
        self.refuse(2, "run", "--no-such-option", "--", "true", says="--no-such-option")
        self.refuse(2, "run", "--limt", "1G", "true", says="--limt")
        self.refuse(2, "run", "--limit", says="--limit")

    def test_dashes_belong_to_the_command(self):
        for words in (("run", "--", "echo", "--limit", "--", "x"), ("run", "echo", "--limit", "--", "x")):
            self.assertEqual(self.succeed(*words), "--limit -- x\n")

    def test_commands_named_like_ours(self):
        program = self.executable("#!/bin/sh\necho theirs $1\n", name="show")
        path = os.path.dirname(program) + ":" + os.environ["PATH"]
        self.assertEqual(self.succeed("run", "--env", f"PATH={path}", "show", "run"), "theirs run\n")


class Refusals(RunCase):
    """Programs that run without the library, whatever LD_PRELOAD says."""

    def test_static(self):
        self.refuse(2, "run", "--", STATIC, says="static")

    def test_sanitizer(self):
        for program in os.environ["MEMBUDGET_TEST_SANITIZED"].split(":"):
            with self.subTest(program):
                self.refuse(2, "run", "--", program, says="AddressSanitizer")

    def test_static_interpreter(self):
        self.refuse(2, "run", "--", self.executable(f"#!{STATIC}\n"), says="static")
        nested = self.executable(f"#!{self.executable(f'#! {STATIC} -x{chr(10)}')}\n")
        self.refuse(2, "run", "--", nested, says="static")

    def test_other_class_and_machine(self):
        with open(TARGET, "rb") as file:
            image = bytearray(file.read())
        program = self.executable("")
        for offset, value, says in ((4, 1, "32-bit"), (18, 0xF3, "processor")):
            changed = bytearray(image)
            changed[offset] = value
            with open(program, "wb") as file:
                file.write(changed)
            self.refuse(2, "run", "--", program, says=says)

    @as_root
    def test_set_uid(self):
        program = os.path.join(self.scratch(), "program")
        shutil.copy("/bin/true", program)
        os.chown(program, NOBODY, NOBODY)
        os.chmod(program, 0o4755)
        self.refuse(2, "run", "--", program, says="set-uid")
        os.chmod(program, 0o2755)
        self.refuse(2, "run", "--", program, says="set-gid")
        os.chown(program, 0, 0)
        os.chmod(program, 0o6755)
        self.succeed("run", "--", program)  # changes nothing for root

    @as_root
    def test_file_capabilities(self):
        program = os.path.join(self.scratch(), "program")
        shutil.copy("/bin/true", program)
        try:
            os.setxattr(program, "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))
        except OSError:
            self.skipTest("no file capabilities here")
        os.chmod(self.folder, 0o777)
        self.refuse(2, "run", "--", program, user=NOBODY, group=NOBODY, extra_groups=(), says="file capabilities")
        self.succeed("run", "--", program)

    def test_a_file_that_cannot_be_read_is_let_through(self):
        if is_root:
            self.skipTest("root reads everything")
        program = os.path.join(self.scratch(), "program")
        shutil.copy("/bin/true", program)
        os.chmod(program, 0o111)
        self.succeed("run", "--", program)


if __name__ == "__main__":
    main()
