"""membudget doctor: each thing it finds, provoked."""

import json
import os
import resource
import shutil
import subprocess
import textwrap

from cli_case import LIBRARY, MIB, NOBODY, STATIC, CLI, CliCase, as_root, main

PYTHON = "/usr/bin/python3"


class DoctorCase(CliCase):
    def diagnose(self, *command, **options):
        """The findings by id; its exit status says whether there are any."""
        result = self.run_cli("doctor", "--json", *(["--", *command] if command else []), **options)
        self.assertEqual(result.stderr, "")
        report = json.loads(result.stdout)
        self.assertEqual(result.returncode, 1 if report["findings"] else 0, report)
        for finding in report["findings"]:
            self.assertTrue(finding["what"] and finding["advice"], finding)
        self.notes = " ".join(report["notes"])
        self.advice = {finding["id"]: finding["advice"] for finding in report["findings"]}
        return {finding["id"]: finding["what"] for finding in report["findings"]}

    def compile(self, name, source, *flags):
        path = os.path.join(self.scratch(), name)
        subprocess.run(["cc", "-O2", "-x", "c", "-", "-o", path, *flags], input=source, text=True, check=True)
        return path

    def script(self, name, text, mode=0o755):
        path = os.path.join(self.scratch(), name)
        with open(path, "w") as file:
            file.write(textwrap.dedent(text))
        os.chmod(path, mode)
        return path


class Fine(DoctorCase):
    def test_nothing_found(self):
        self.assertEqual(self.diagnose(), {})
        self.assertEqual(self.diagnose("sort"), {})
        self.assertIn("Nothing found", self.succeed("doctor", "--", "sort"))

    def test_the_command_is_not_run_and_nothing_is_left(self):
        path = os.path.join(self.folder, "started")
        self.assertEqual(self.diagnose("touch", path), {})
        self.assertEqual(os.listdir(self.folder), [])

    def test_for_people(self):
        result = self.run_cli("doctor", "--", STATIC)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stdout, r"\Astatic\n  ")
        words = " ".join(result.stdout.split())  # where lines are broken depends on the path's length
        self.assertIn(f"'{STATIC}' cannot run under membudget: it is statically linked", words)
        self.assertRegex(result.stdout, r"\n  -> build it with dynamic linking\n\Z")

    def test_no_such_command(self):
        self.refuse(127, "doctor", "--", "no-such-command", says="no-such-command")
        self.refuse(126, "doctor", "--", self.folder, says="directory")
        self.refuse(2, "doctor", "--frobnicate", says="--frobnicate")


class Programs(DoctorCase):
    def test_static(self):
        self.assertIn("statically", self.diagnose(STATIC)["static"])

    def test_sanitizer(self):
        for program in os.environ["MEMBUDGET_TEST_SANITIZED"].split(":"):
            with self.subTest(program):
                self.assertIn("AddressSanitizer", self.diagnose(program)["sanitizer"])

    @as_root
    def test_set_uid(self):
        program = shutil.copy("/usr/bin/true", os.path.join(self.scratch(), "true"))
        os.chmod(program, 0o4755)
        if os.statvfs(program).f_flag & os.ST_NOSUID:
            self.skipTest("set-uid has no effect here (nosuid)")
        os.chmod(self.folder, 0o777)
        self.assertIn("set-uid", self.diagnose(program, user=NOBODY, extra_groups=()))
        self.assertEqual(self.diagnose(program), {})  # root gains nothing by it

    @as_root
    def test_file_capabilities(self):
        program = shutil.copy("/usr/bin/true", os.path.join(self.scratch(), "true"))
        subprocess.run(["setcap", "cap_net_raw+ep", program], check=True)
        os.chmod(self.folder, 0o777)
        self.assertIn("file-capabilities", self.diagnose(program, user=NOBODY, extra_groups=()))

    def test_a_malloc_of_its_own(self):
        program = self.compile("own", "void *malloc(unsigned long n) { return 0; } int main(void) { return 0; }", "-rdynamic")
        self.assertIn("defines malloc", self.diagnose(program)["own-malloc"])

    def test_an_allocator_linked_in(self):
        program = self.compile("rust", 'int puts(const char *); int main(void) { return puts("_rjem_mallocx"); }', "-s")
        self.assertIn("Rust's jemalloc", self.diagnose(program)["own-malloc"])

    def test_go(self):
        program = self.compile("go", '__attribute__((section(".go.buildinfo"))) int info = 1; int main(void) { return info; }')
        self.assertIn("Go's runtime", self.diagnose(program)["own-malloc"])

    def test_a_module_with_an_allocator(self):
        script = self.script("query.py", "import os\nimport duckdb\n")
        self.assertIn("duckdb", self.diagnose(PYTHON, script)["own-malloc"])
        self.assertIn("polars", self.diagnose(PYTHON, "-c", "import sys; from polars import col")["own-malloc"])

    def test_deepbind(self):
        source = """#define _GNU_SOURCE
            #include <dlfcn.h>
            int main(int argc, char **argv) { return dlopen(argv[1], %s) == 0; }"""
        for flags in ((), ("-fno-plt",), ("-fcf-protection=none",), ("-O0",)):
            program = self.compile("deep", source % "RTLD_NOW | RTLD_DEEPBIND", *flags)
            self.assertIn("RTLD_DEEPBIND", self.diagnose(program).get("deepbind", ""), flags)
            self.assertEqual(self.diagnose(self.compile("plain", source % "RTLD_NOW | RTLD_GLOBAL", *flags)), {})

    def test_deepbind_in_a_script(self):
        script = self.script("deep.py", "import os, sys\nsys.setdlopenflags(os.RTLD_NOW | os.RTLD_DEEPBIND)\n")
        self.assertIn("deepbind", self.diagnose(PYTHON, script))

    def test_pymalloc(self):
        self.assertIn("left on", self.diagnose(PYTHON, "x.py")["pymalloc"])
        script = self.script("service", "#!/usr/bin/env -S python3\n".replace("-S ", "") + "print()\n")
        self.assertIn("pymalloc", self.diagnose(script))
        explicit = {"PYTHONMALLOC": "pymalloc", "MEMBUDGET_ALLOCATOR": "mimalloc"}
        self.assertIn("PYTHONMALLOC=pymalloc", self.diagnose(PYTHON, settings=explicit)["pymalloc"])
        for settings in ({"MEMBUDGET_ALLOCATOR": "mimalloc"}, {"MEMBUDGET_PYTHONMALLOC": "malloc"},
                         {"PYTHONMALLOC": "malloc"}, {"MEMBUDGET_PYTHONMALLOC": "keep"}):
            self.assertEqual(self.diagnose(PYTHON, settings=settings), {}, settings)

    def test_a_runtimes_heap_is_noted(self):
        program = shutil.copy("/usr/bin/true", os.path.join(self.scratch(), "java"))
        self.assertEqual(self.diagnose(program), {})
        self.assertIn("java's own heap", self.notes)


class Loader(DoctorCase):
    def test_other_preloads_before_ours(self):
        other = self.compile("other.so", "int other_function(void) { return 1; }", "-shared", "-fPIC")
        self.assertIn("before libmembudget.so", self.diagnose(settings={"LD_PRELOAD": f"{other}:{LIBRARY}"})["preload"])
        self.assertEqual(self.diagnose(settings={"LD_PRELOAD": f"{LIBRARY}:{other}"}), {})
        self.assertEqual(self.diagnose(settings={"LD_PRELOAD": other}), {})  # `run` puts ours before it

    def test_another_malloc_preloaded(self):
        other = self.compile("other.so", "void *__libc_malloc(unsigned long);"
                             "void *malloc(unsigned long n) { return __libc_malloc(n); }", "-shared", "-fPIC")
        self.assertIn("defines malloc", self.diagnose(settings={"LD_PRELOAD": other})["preload"])
        self.assertEqual(self.advice["preload"].split("=")[-1], other)
        named = shutil.copy(other, os.path.join(self.scratch(), "libjemalloc.so.2"))
        self.diagnose(settings={"LD_PRELOAD": named})
        self.assertEqual(self.advice["preload"].split("=")[-1], "jemalloc")

    def test_audit(self):
        audit = self.compile("audit.so", "unsigned la_version(unsigned v) { return v; }", "-shared", "-fPIC")
        self.assertIn(audit, self.diagnose(settings={"LD_AUDIT": audit})["audit"])

    def test_a_library_that_is_not_there(self):
        self.assertIn("MEMBUDGET_LIBRARY", self.diagnose(settings={"MEMBUDGET_LIBRARY": "/nonexistent"})["library"])

    def test_missing_allocators(self):
        folder = self.scratch()
        for name in ("libmimalloc.so.2", "libtcmalloc_minimal.so.4"):
            with open(os.path.join(folder, name), "w") as file:
                file.write("no library\n")
        settings = {"LD_LIBRARY_PATH": folder}
        self.assertIn("cannot be used", self.diagnose(settings=settings)["allocator-missing"])
        text = self.run_cli("doctor", settings=settings).stdout
        self.assertEqual(text.count("allocator-missing\n"), 2, text)
        self.assertIn("mimalloc", self.diagnose(settings={**settings, "MEMBUDGET_ALLOCATOR": "mimalloc"})["settings"])

    def test_settings(self):
        findings = self.diagnose(settings={"MEMBUDGET_LIMIT": "lots"})
        self.assertIn("MEMBUDGET_LIMIT=lots", findings["settings"])


class Place(DoctorCase):
    def test_no_folder(self):
        for folder in ("/nonexistent", "relative", LIBRARY):
            self.assertIn(folder, self.diagnose(settings={"MEMBUDGET_DIR": folder})["directory"])

    @as_root
    def test_a_folder_that_cannot_be_written(self):
        os.chmod(self.folder, 0o755)
        self.assertIn("written", self.diagnose(user=NOBODY, extra_groups=())["directory"])

    def in_mounts(self, script, *arguments):
        """Runs the doctor after a script, in a mount namespace of its own; the findings by id."""
        if subprocess.run(["unshare", "-m", "true"], stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("mounting is not allowed here")
        command = ["unshare", "-m", "sh", "-ec", script + "\nexec \"$@\"", "sh", CLI, "doctor", "--json", *arguments]
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment())
        self.assertEqual(result.stderr, "")
        report = json.loads(result.stdout)
        self.notes = " ".join(report["notes"])
        self.advice = {finding["id"]: finding["advice"] for finding in report["findings"]}
        return {finding["id"]: finding["what"] for finding in report["findings"]}

    @as_root
    def test_a_small_folder(self):
        mount = 'mount -t tmpfs -o size=128k none "$MEMBUDGET_DIR"'
        self.assertIn("128.0 KiB", self.in_mounts(mount)["directory-full"])

    @as_root
    def test_a_folder_mounted_noexec(self):
        self.assertEqual(self.in_mounts('mount -t tmpfs -o noexec none "$MEMBUDGET_DIR"'), {})
        self.assertIn("noexec", self.notes)

    @as_root
    def test_a_library_mounted_noexec(self):
        folder = self.scratch()
        mount = f"mount -t tmpfs -o noexec none {folder}; cp {LIBRARY} {folder}; export MEMBUDGET_LIBRARY={folder}/libmembudget.so"
        self.assertIn(folder, self.in_mounts(mount)["noexec"])

    @as_root
    def test_strict_overcommit(self):
        setting = os.path.join(self.scratch(), "overcommit")
        with open(setting, "w") as file:
            file.write("2\n")
        self.assertIn("overcommit", self.in_mounts(f"mount --bind {setting} /proc/sys/vm/overcommit_memory"))

    def test_a_limit_above_the_memory(self):
        for variable in ("MEMBUDGET_LIMIT", "MEMBUDGET_HARD_LIMIT"):
            self.assertIn(variable, self.diagnose(settings={variable: "100T"})["limit-above-cgroup"])
            self.assertEqual(self.diagnose(settings={variable: "64M"}), {})

    def test_a_hard_limit_below_the_limit(self):
        settings = {"MEMBUDGET_LIMIT": "64M", "MEMBUDGET_HARD_LIMIT": "48M"}
        self.assertIn("48.0 MiB", self.diagnose(settings=settings)["hard-limit-below-limit"])
        self.assertEqual(self.diagnose(settings={**settings, "MEMBUDGET_LIMIT": "48M"}), {})

    @as_root
    def test_a_limit_above_the_cgroups(self):
        with open("/proc/self/cgroup") as file:
            entries = [line.rstrip("\n").split(":", 2) for line in file]
        own = next((path for _, controllers, path in entries if "memory" in controllers.split(",")), None)
        if own is None:
            self.skipTest("no version 1 memory controller")
        cgroup = f"/sys/fs/cgroup/memory{own.rstrip('/')}/doctor-test-{os.getpid()}"
        try:
            os.mkdir(cgroup)
        except OSError as error:
            self.skipTest(str(error))
        self.addCleanup(os.rmdir, cgroup)
        with open(f"{cgroup}/memory.limit_in_bytes", "w") as file:
            file.write(str(512 * MIB))
        findings = self.in_mounts(f"echo $$ >{cgroup}/cgroup.procs; export MEMBUDGET_LIMIT=1G")
        self.assertRegex(findings["limit-above-cgroup"], "cgroup's limit of 512.0 MiB")

    def test_ulimits(self):
        for which, flag in ((resource.RLIMIT_AS, "-v"), (resource.RLIMIT_DATA, "-d"), (resource.RLIMIT_FSIZE, "-f")):
            limit = 4 * MIB if flag == "-f" else 2**32
            findings = self.diagnose(preexec_fn=lambda: resource.setrlimit(which, (limit, resource.RLIM_INFINITY)))
            self.assertIn(f"ulimit {flag}", findings.get("ulimit", ""), flag)

    @as_root
    def test_other_users_blocks(self):
        for name in ("membudget-theirs", "membudget-1234"):
            path = os.path.join(self.folder, name)
            open(path, "w").close()
            os.chown(path, NOBODY, NOBODY)
        findings = self.diagnose()
        self.assertIn("2 blocks", findings["other-users"])
        self.assertIn("membudget-theirs", findings["other-users"])
        self.assertNotIn("name-taken", findings)
        self.assertIn("theirs", self.diagnose(settings={"MEMBUDGET_NAME": "theirs"})["name-taken"])


if __name__ == "__main__":
    main()
