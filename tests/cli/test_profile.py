"""membudget profile: what it says of programs of which it is known who holds what."""

import glob
import json
import os
import re
import signal
import struct
import subprocess
import textwrap
import xml.dom.minidom

from cli_case import CLI, MIB, Target, eventually, main
from pprof_file import Profile
from profile_case import PYTHON, SITES, SUFFIX, UNTIL_CLOSED, ProfileCase

LEAKS = """\
import asyncio, json, sys, threading
kept = []
def leak():
    kept.append(bytes(200_000))
def generate():
    for i in range(100):
        kept.append(bytearray(100_000))
        yield i
async def cooperate():
    for i in range(100):
        kept.append(bytes(150_000))
        await asyncio.sleep(0)
def in_thread():
    for i in range(100):
        kept.append(bytes(120_000))
def in_except():
    try:
        raise KeyError
    except KeyError:
        kept.append(bytes(10_000_000))
def recurse(depth):
    if depth:
        return recurse(depth - 1)
    for i in range(100):
        leak()
recurse(30)
sum(generate())
asyncio.run(cooperate())
thread = threading.Thread(target=in_thread)
thread.start()
thread.join()
in_except()
print("ready", flush=True)
"""
LINES = {"leak": 4, "generate": 7, "cooperate": 11, "in_thread": 15, "in_except": 20}
BYTES = {"leak": 20e6, "generate": 10e6, "cooperate": 15e6, "in_thread": 12e6, "in_except": 10e6}


class KnownSites(ProfileCase):
    def check(self, allocator, *options):
        process, known = self.start("--allocator", allocator, "--profile=8K", *options, command=[SITES],
                                    MEMBUDGET_PROFILE_DIR=self.scratch())
        report = self.report(str(process.pid))
        # How good the estimates are, test_profile_estimates.py tells; here none is wrong by far.
        for name, exact in known.items():
            live, error, allocated = self.sites(report, name + " ")
            self.assertLessEqual(abs(live - exact), 6 * error, f"{allocator} {name}: {live} of {exact}")
            self.assertGreaterEqual(allocated, live)
        self.assertGreater(self.sites(report, "freed_elsewhere ")[2], 25e6)
        self.assertGreater(report["live_bytes"], 64 * MIB)
        self.assertLess(abs(report["estimated_live_bytes"] / report["live_bytes"] - 1), 0.05, allocator)
        self.assertEqual(report["lost_blocks"], 0)

    def test_ptmalloc(self):
        self.check("ptmalloc")

    def test_lines_where_no_table_tells_the_units(self):
        """As clang leaves it out, and gcc does not."""
        program = os.path.join(self.scratch(), "sites")
        subprocess.run(["objcopy", "--remove-section=.debug_aranges", SITES, program], check=True)
        process, known = self.start("--profile=8K", command=[program], MEMBUDGET_PROFILE_DIR=self.scratch())
        where = [site["where"] for site in self.report(str(process.pid))["sites"]]
        for name in known:
            self.assertTrue([place for place in where if re.fullmatch(rf"{name} .*profile_sites\.c:\d+", place)], where)

    def test_jemalloc(self):
        self.check("jemalloc")

    def test_mimalloc_under_a_hard_limit(self):
        self.check("mimalloc", "--hard-limit", "1G")

    def test_tcmalloc(self):
        self.check("tcmalloc")


class Python(ProfileCase):
    def check(self, python, *options):
        process, _ = self.start("--profile=16K", *options, command=[python, self.script(LEAKS + UNTIL_CLOSED)],
                                MEMBUDGET_PROFILE_DIR=self.scratch())
        report = self.report(str(process.pid))
        for name, exact in BYTES.items():
            live, error, _ = self.sites(report, f"{name} ")
            self.assertLess(abs(live - exact), max(6 * error, exact / 50), f"{name}: {live}")
            where = [site["where"] for site in report["sites"] if site["where"].startswith(name + " ")]
            self.assertEqual([place.rsplit(":", 1)[1] for place in where if "[" not in place], [str(LINES[name])])
        return process

    def test_every_leak_is_named_by_its_line(self):
        self.check(PYTHON)

    def test_other_versions(self):
        """Those there are: Debian has one, pyenv may have more."""
        for version in ("3.9", "3.10", "3.12", "3.13"):
            places = [f"/usr/bin/python{version}",
                      *sorted(glob.glob(os.path.expanduser(f"~/.pyenv/versions/{version}.*/bin/python{version}")))]
            for python in [place for place in places if os.path.exists(place)][:1]:
                with self.subTest(version):
                    self.check(python)

    def test_names_beyond_ascii(self):
        """Of one, two and four bytes a character, in functions and in the file's name."""
        names = ("gr\u00f6\u00dfe", "\u51fd\u6570", "\U00010400x")
        path = os.path.join(self.scratch(), "pr\u00f6gr\u00e4m\u6570.py")
        with open(path, "w", encoding="utf-8") as file:
            file.write("import json, sys\nkept = []\n")
            for name in names:
                file.write(f"def {name}():\n    for i in range(100): kept.append(bytes(100_000))\n{name}()\n")
            file.write("print('ready', flush=True)\n" + UNTIL_CLOSED)
        for limit in ("C.UTF-8", "C"):
            process, _ = self.start("--profile=16K", command=[PYTHON, "-X", "utf8", path], LC_ALL=limit)
            report = self.report(str(process.pid))
            for name in names:
                live, error, _ = self.sites(report, f"{name} ")
                self.assertLess(abs(live - 10e6), max(6 * error, 2e5), f"{name}: {[site['where'] for site in report['sites']][:8]}")
            self.assertIn("pr\u00f6gr\u00e4m\u6570.py:", report["sites"][0]["where"])

    def test_stacks_are_whole(self):
        process = self.check(PYTHON, "--hard-limit", "1G")
        path = os.path.join(self.scratch(), "memory.pb.gz")
        self.assertEqual(self.succeed("profile", str(process.pid), "-o", path), "")
        profile = Profile(path)
        self.assertEqual(profile.types, ["alloc_objects", "alloc_space", "inuse_objects", "inuse_space"])
        self.assertEqual(profile.default_type, "inuse_space")
        self.assertTrue(any(build_id for build_id in profile.build_ids))
        stacks = [[name for name, _, _ in stack] for stack, _ in profile.samples]
        whole = [stack for stack in stacks if "leak" in stack]
        self.assertTrue(whole)
        for stack in whole:
            self.assertEqual(stack.count("recurse"), 31)
            self.assertLess(stack.index("leak"), stack.index("recurse"))
            self.assertLess(stack.index("recurse"), stack.index("<module>"))
            self.assertNotIn("_PyEval_EvalFrameDefault", stack)
        self.assertFalse([stack for stack in stacks if "in_thread" in stack and "<module>" in stack])

    def test_small_objects_are_found_by_their_arenas(self):
        script = self.script("import json, sys\nkept = []\nfor i in range(300_000):\n"
                             "    kept.append({'key': i})\nprint('ready', flush=True)\n" + UNTIL_CLOSED)
        process, _ = self.start("--profile=64K", "--pythonmalloc", "keep", command=[PYTHON, script],
                                MEMBUDGET_PROFILE_DIR=self.scratch())
        report = self.report(str(process.pid))
        # An arena is mapped by the line that needed one more pool: at times by the loop's own, for its number.
        by_line = [self.sites(report, f"program.py:{line} [mapped]")[0] for line in (3, 4)]
        self.assertGreater(sum(by_line), 60e6)
        self.assertGreater(by_line[1], by_line[0])
        self.assertLess(abs(report["estimated_mapped_bytes"] / report["mapped_bytes"] - 1), 0.05)

    def test_a_child_goes_on_with_what_it_inherited(self):
        script = self.script(LEAKS + textwrap.dedent("""\
            import os
            if os.fork() == 0:
                own = [bytes(300_000) for i in range(50)]
                print("pid", os.getpid(), flush=True)
            """) + UNTIL_CLOSED)
        process, _ = self.start("--profile=16K", command=[PYTHON, script], MEMBUDGET_PROFILE_DIR=self.scratch())
        child = int(process.stdout.readline().split()[1])
        report = self.report(str(child))
        self.assertLess(abs(self.sites(report, "leak ")[0] - 20e6), 2e6)
        self.assertLess(abs(self.sites(report, "<listcomp> ")[0] - 15e6), 2e6)


class Occasions(ProfileCase):
    def block_word(self, name, offset):
        with open(os.path.join(self.folder, f"membudget-{name}"), "rb") as file:
            return struct.unpack("=I", os.pread(file.fileno(), 4, offset))[0]

    def test_turned_on_later(self):
        target = Target(self)
        refused = self.refuse(1, "profile", str(target.pid), says="membudget set")
        self.assertIn("--profile", refused)
        self.assertEqual(self.succeed("set", str(target.pid), "--profile", "4K"), "")
        self.profile_of(target)  # waits until it has begun
        target.tell("a 3000000")
        report = self.profile_of(target)
        self.assertLess(abs(self.sites(report, "allocate ")[0] - 3e6), 2e5)
        self.assertEqual([name for name in os.listdir(self.folder) if name.endswith(SUFFIX)], [])

    def profile_of(self, target):
        """Of a program that allocates only when it is told to."""
        process = subprocess.Popen([CLI, "profile", str(target.pid), "--json"], stdout=subprocess.PIPE,
                                   env=self.environment())
        while process.poll() is None:
            target.tell("a 16")
            target.tell("f")
        output, _ = process.communicate()
        self.assertEqual(process.returncode, 0)
        return json.loads(output)

    def test_a_request_that_timed_out_leaves_nothing(self):
        target = Target(self, MEMBUDGET_PROFILE="4K")
        self.refuse(4, "profile", str(target.pid), "--timeout", "0.1", says="next malloc or free")
        target.tell("a 3000000")
        self.assertEqual([name for name in os.listdir(self.folder) if name.endswith(SUFFIX)], [])

    def test_one_that_was_asked_ends_and_another_gets_its_slot(self):
        """It is not taken for the other: it has ended, though the other lives, and may be asked by others."""
        Target(self, "--name", "both", "--limit", "1G")  # has the group stay; takes no stacks
        asked = Target(self, "--name", "both", "--profile=4K")
        second_slot = self.block_word("both", 12) + self.block_word("both", 24)  # header_bytes, process_bytes
        command = subprocess.Popen([CLI, "profile", "both", "--timeout", "600"], stderr=subprocess.PIPE, text=True,
                                   env=self.environment())
        self.addCleanup(command.stderr.close)
        self.addCleanup(command.kill)
        eventually(lambda: self.block_word("both", second_slot + 144) == 1, "the request")  # profile_request
        command.send_signal(signal.SIGSTOP)
        asked.end()
        other = Target(self, "--name", "both", "--profile=4K")
        self.assertEqual(self.block_word("both", second_slot + 4), other.pid)
        command.send_signal(signal.SIGCONT)
        self.assertEqual(command.wait(60), 3)
        self.assertIn("ended", command.stderr.read())

    def test_requests_at_the_same_time(self):
        """Each gets a profile of its own; the process answers one after the other."""
        target = Target(self, MEMBUDGET_PROFILE="4K")
        target.tell("a 3000000")
        command = [CLI, "profile", str(target.pid), "--json", "--timeout", "60"]
        for _ in range(3):
            asking = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                       env=self.environment()) for _ in range(6)]
            while any(one.poll() is None for one in asking):
                target.tell("a 16")
                target.tell("f")
            said = [(one.returncode, one.communicate()[1]) for one in asking]
            self.assertEqual(said, [(0, "")] * len(asking))
        self.assertEqual([name for name in os.listdir(self.folder) if name.endswith(SUFFIX)], [])

    def test_at_a_crossing(self):
        folder = self.scratch()
        script = self.script("batch = []\nwhile len(batch) < 700:\n    batch.append(bytes(100_000))\n"
                             "batch.clear()\nwhile len(batch) < 700:\n    batch.append(bytes(100_000))\n")
        self.succeed("run", "--name", "job", "--limit", "64M", "--", PYTHON, script,
                     settings={"MEMBUDGET_PROFILE": "64K", "MEMBUDGET_PROFILE_DIR": folder})
        (name,) = os.listdir(folder)  # the second crossing is too soon
        self.assertRegex(name, rf"^job-\d+-crossing-0{SUFFIX}$")
        report = self.report(os.path.join(folder, name))
        live, error, _ = self.sites(report, "program.py:3")
        self.assertLess(abs(live - 64 * MIB), 6 * MIB)

    def test_at_exit(self):
        folder = self.scratch()
        script = self.script("kept = [bytes(100_000) for i in range(300)]\nimport os\nos.system('true')\n")
        self.succeed("run", "--name", "job", "--profile=16K", "--", PYTHON, script, cwd=folder)
        (name,) = os.listdir(folder)
        self.assertRegex(name, rf"^job-\d+-exit{SUFFIX}$")
        self.assertGreater(self.sites(self.report(os.path.join(folder, name)), "program.py:1")[2], 25e6)

    def test_the_difference_to_a_base(self):
        script = self.script("import json, sys\nkept = [bytes(100_000) for i in range(200)]\nprint('ready', flush=True)\n"
                             "import select\n"
                             "while not select.select([sys.stdin], [], [], 0.001)[0]:\n    json.dumps(list(range(3000)))\n"
                             "sys.stdin.readline()\n"
                             "kept.extend(bytes(50_000) for i in range(200))\nprint('more', flush=True)\n" + UNTIL_CLOSED)
        process, _ = self.start("--profile=16K", command=[PYTHON, script], MEMBUDGET_PROFILE_DIR=self.scratch())
        base = os.path.join(self.scratch(), "base.pb.gz")
        self.succeed("profile", str(process.pid), "-o", base)
        process.stdin.write("go on\n")
        process.stdin.flush()
        self.assertEqual(process.stdout.readline(), "more\n")
        report = self.report(str(process.pid), "--base", base)
        self.assertLess(abs(self.sites(report, "program.py:8")[0] - 10e6), 2e6)
        # The list itself may have been sampled there, and has moved on.
        self.assertLess(abs(self.sites(report, "program.py:2")[0]), 0.1e6)
        self.assertLess(abs(report["live_bytes"] - 10e6), 1e6)

    def test_the_errors_of_a_difference(self):
        """Of two estimates: pprof's format keeps no errors, but blocks and bytes, which tell them."""
        process, _ = self.start("--profile=16K", command=[SITES], MEMBUDGET_PROFILE_DIR=self.scratch())
        base = os.path.join(self.scratch(), "base.pb.gz")
        self.succeed("profile", str(process.pid), "-o", base)
        alone = self.sites(self.report(str(process.pid)), "many_small ")
        both = self.sites(self.report(str(process.pid), "--base", base), "many_small ")
        self.assertEqual(both[0], 0)  # they are all there still
        self.assertGreater(alone[1], 100_000)
        self.assertLess(abs(both[1] / alone[1] - 2 ** 0.5), 0.05)


class Outputs(ProfileCase):
    def test_flame_graphs(self):
        process, _ = self.start("--profile=64K", command=[SITES], MEMBUDGET_PROFILE_DIR=self.scratch())
        folder = self.scratch()
        for name in ("memory.svg", "memory.html"):
            self.succeed("profile", str(process.pid), "-o", os.path.join(folder, name))
        with open(os.path.join(folder, "memory.svg"), encoding="utf-8") as file:
            svg = file.read()
        frames = [node.getAttribute("data-name") for node in xml.dom.minidom.parseString(svg).getElementsByTagName("g")]
        for name in ("main", "one_size", "many_small", "by_thread"):
            self.assertIn(name, frames)
        with open(os.path.join(folder, "memory.html"), encoding="utf-8") as file:
            html = file.read()
        self.assertIn("one_size", html)
        self.assertNotRegex(svg + html, r"(src|href)=")  # needs nothing else

    def test_a_table_for_the_terminal(self):
        process, _ = self.start("--profile=64K", command=[SITES], MEMBUDGET_PROFILE_DIR=self.scratch())
        lines = self.succeed("profile", str(process.pid), "--top", "2").splitlines()
        self.assertRegex(lines[1], "live: .* estimated .* exact")
        self.assertEqual(len(lines) - lines.index(next(line for line in lines if "WHERE" in line)), 3)

    def test_mistakes(self):
        self.refuse(3, "profile", "4999999")
        folder = self.scratch()
        self.succeed("run", "--profile=1K", "--name", "x", "--", PYTHON, "-c", "1", cwd=folder)
        (path,) = [os.path.join(folder, name) for name in os.listdir(folder)]
        with open(path, "rb") as file:
            whole = file.read()
        for damaged in (whole[:-8], whole[:100], whole[:120] + b"\xff" * 64 + whole[184:], b"", b"text"):
            with open(path, "wb") as file:
                file.write(damaged)
            self.refuse(1, "profile", path)
        self.refuse(1, "profile", os.path.join(folder, "none" + SUFFIX), says="none")
        self.refuse(2, "run", "--profile=much", "--", "true", says="MEMBUDGET_PROFILE")


if __name__ == "__main__":
    main()
