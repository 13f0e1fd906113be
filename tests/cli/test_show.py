"""membudget ls and show: figures that are right, for processes and groups, and targets that are not there."""

import json
import os
import re
import signal
import subprocess
import sys

from cli_case import CLI, MIB, NOBODY, TARGET, CliCase, Target, as_root, eventually, main

KEYS = """name pid command allocator limit_bytes hard_limit_bytes level live_bytes mapped_bytes counted_bytes
peak_counted_bytes peak_live_bytes allocations frees crossings threads config_errors rss_bytes pss_bytes uss_bytes
lazy_free_bytes swap_bytes minor_faults major_faults anonymous_bytes uncounted_bytes fragmentation_ratio footprint_bytes
reserve_bytes uncounted notes group""".split()


class ShowCase(CliCase):
    def show(self, target):
        return json.loads(self.succeed("show", str(target), "--json"))


class Show(ShowCase):
    def test_the_group_has_all_keys_too(self):
        Target(self, "--name", "single", "--limit", "64M")
        report = self.show("single")
        self.assertEqual([key for key in KEYS if key not in report], [])

    def test_all_keys_are_there(self):
        target = Target(self, "--limit", "64M", "--name", "keys")
        report = self.show(target.pid)
        self.assertEqual([key for key in KEYS if key not in report], [])
        self.assertEqual((report["name"], report["pid"], report["allocator"]), ("keys", target.pid, "ptmalloc"))
        self.assertTrue(report["command"].endswith("target"), report["command"])
        self.assertEqual(report["config_errors"], [])
        self.assertNotIn("last_crossing", report)
        member = report["group"]["processes"][0]
        for key in "pid live_bytes inherited_bytes rss_bytes pss_bytes uss_bytes".split():
            self.assertIn(key, member)

    def test_counts_to_the_byte(self):
        for allocator in ("ptmalloc", "jemalloc", "mimalloc", "tcmalloc"):
            with self.subTest(allocator):
                target = Target(self, "--allocator", allocator)
                before = self.show(target.pid)
                usable = [target.tell(f"a {size}") for size in (1, 100, 5000, 3 * MIB)]
                after = self.show(target.pid)
                self.assertEqual(after["allocator"], allocator)
                self.assertEqual(after["live_bytes"] - before["live_bytes"], sum(usable))
                self.assertEqual(after["allocations"] - before["allocations"], 4)
                freed = target.tell("f")
                last = self.show(target.pid)
                self.assertEqual(after["live_bytes"] - last["live_bytes"], freed)
                self.assertEqual(last["frees"] - after["frees"], 1)
                self.assertGreaterEqual(last["peak_live_bytes"] + last["peak_error_bytes"], after["live_bytes"])

    def test_mapped_is_counted_beside_live(self):
        target = Target(self)
        before = self.show(target.pid)
        target.tell(f"m {2 * MIB}")
        after = self.show(target.pid)
        self.assertEqual(after["mapped_bytes"] - before["mapped_bytes"], 2 * MIB)
        self.assertEqual(after["counted_bytes"], after["live_bytes"] + after["mapped_bytes"])
        self.assertEqual(after["live_bytes"], before["live_bytes"])

    def test_the_kernels_figures(self):
        target = Target(self)
        target.tell(f"a {8 * MIB}")
        report = self.show(target.pid)
        self.assertGreater(report["anonymous_bytes"], 8 * MIB)
        self.assertLess(report["anonymous_bytes"], 10 * MIB)
        self.assertEqual(report["uncounted_bytes"], report["anonymous_bytes"] - report["counted_bytes"])
        heap = report["uncounted"]["allocator_bytes"] + report["counted_bytes"]
        self.assertAlmostEqual(report["fragmentation_ratio"], heap / report["counted_bytes"], 6)
        self.assertGreaterEqual(report["rss_bytes"], report["uss_bytes"])
        with open(f"/proc/{target.pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        self.assertEqual(report["minor_faults"], int(fields[7]))
        self.assertEqual(report["threads"], 1)

    def test_cgroup(self):
        target = Target(self)
        with open(f"/proc/{target.pid}/cgroup") as file:
            entries = [line.rstrip("\n").split(":", 2) for line in file]
        paths = [path for _, controllers, path in entries if controllers == "" or "memory" in controllers.split(",")]
        report = self.show(target.pid)
        if "cgroup" not in report:
            self.skipTest("no memory cgroup can be seen here")
        self.assertTrue(any(path.startswith(report["cgroup"]["path"]) for path in paths), (report["cgroup"], paths))

    @as_root
    def test_the_tightest_cgroup_above(self):
        outer, inner = self.cgroups()
        target = Target(self, "--limit", "50%", command=("sh", "-c", f"echo $$ >{inner}/cgroup.procs && exec {TARGET}"))
        subprocess.run([CLI, "set", str(target.pid), "--limit", "25%"], env=self.environment(), check=True)
        report = self.show(target.pid)
        self.assertEqual(report["cgroup"]["limit_bytes"], 512 * MIB)
        self.assertTrue(outer.endswith(report["cgroup"]["path"]), (outer, report["cgroup"]))
        self.assertGreater(report["cgroup"]["usage_bytes"], 0)
        self.assertEqual(report["limit_bytes"], 128 * MIB)

    def cgroups(self):
        """A cgroup of 512 MiB, and one of 1 GiB in it that the outer one limits."""
        with open("/proc/self/cgroup") as file:
            entries = [line.rstrip("\n").split(":", 2) for line in file]
        own = next((path for _, controllers, path in entries if "memory" in controllers.split(",")), None)
        if own is None:
            self.skipTest("no version 1 memory controller")  # version 2 lets nobody split a cgroup with processes
        outer = f"/sys/fs/cgroup/memory{own.rstrip('/')}/cli-test-{os.getpid()}"
        inner = f"{outer}/inner"
        try:
            for path, limit in ((outer, 512 * MIB), (inner, 1024 * MIB)):
                os.mkdir(path)
                self.addCleanup(lambda path=path: eventually(lambda: not subprocess.call(["rmdir", path]), "removed"))
                with open(f"{path}/memory.limit_in_bytes", "w") as file:
                    file.write(str(limit))
        except OSError as error:
            self.skipTest(str(error))
        return outer, inner

    def test_crossing(self):
        target = Target(self, "--limit", "4M")
        target.tell(f"a {5 * MIB}")
        report = self.show(target.pid)
        self.assertEqual((report["level"], report["level_name"], report["crossings"]), (255, "critical", 1))
        self.assertGreaterEqual(report["last_crossing"]["live_bytes"], 4 * MIB)
        self.assertRegex(report["last_crossing"]["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")
        target.tell("f")
        report = self.show(target.pid)
        self.assertEqual((report["level"], report["level_name"], report["crossings"]), (0, "none", 1))

    def test_levels_on_the_way(self):
        target = Target(self, "--limit", "100M")
        for size, level in ((89, 0), (2, 50), (7, 100), (3, 255)):
            target.tell(f"a {size * MIB}")
            self.assertEqual(self.show(target.pid)["level"], level)

    def test_limits(self):
        report = self.show(Target(self, "--limit", "64M", "--low", "32M", "--medium", "75%", "--release", "1M",
                                  "--hard-limit", "1G").pid)
        limits = [report[f"{name}_bytes"] for name in ("limit", "low", "medium", "release", "hard_limit")]
        self.assertEqual(limits, [64 * MIB, 32 * MIB, 48 * MIB, MIB, 1024 * MIB])
        report = self.show(Target(self).pid)
        self.assertEqual((report["limit_bytes"], report["hard_limit_bytes"]), (0, 0))

    def test_settings_that_were_not_taken(self):
        process = subprocess.Popen(["sleep", "60"], stderr=subprocess.DEVNULL,
                                   env=self.environment({"LD_PRELOAD": os.environ["MEMBUDGET_TEST_LIBRARY"],
                                                         "MEMBUDGET_LIMIT": "lots", "MEMBUDGET_LOW": "few"}))
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        eventually(lambda: str(process.pid) in self.run_cli("ls").stdout, "the process is listed")
        errors = self.show(process.pid)["config_errors"]
        self.assertEqual(len(errors), 2, errors)
        self.assertIn("MEMBUDGET_LIMIT=lots", errors[0])
        self.assertIn("MEMBUDGET_LIMIT=lots", self.succeed("show", str(process.pid)))

    def test_for_people(self):
        target = Target(self, "--limit", "64M", "--name", "people")
        target.tell(f"a {10 * MIB}")
        text = self.succeed("show", "people")
        for line in (r"Group people: 1 process$", r"level +none", r"limit +64\.0 MiB", r"live +10\.0 MiB", r"RSS +\d"):
            self.assertRegex(text, re.compile(line, re.MULTILINE))
        self.assertIn(f"process {target.pid} of group people", self.succeed("show", str(target.pid)))


class Groups(ShowCase):
    def group(self):
        target = Target(self, "--limit", "64M", "--name", "family")
        target.tell(f"a {4 * MIB}")
        child = target.tell("k")
        eventually(lambda: len(self.show("family")["group"]["processes"]) == 2, "the child is a member")
        return target, child

    def test_inherited_bytes_are_counted_once(self):
        target, child = self.group()
        parent, group, own = self.show(target.pid), self.show("family"), self.show(child)
        self.assertEqual(own["live_bytes"], parent["live_bytes"])
        self.assertEqual(group["live_bytes"], parent["live_bytes"])
        members = {member["pid"]: member for member in group["group"]["processes"]}
        self.assertEqual(sorted(members), sorted([target.pid, child]))
        self.assertEqual(members[target.pid]["inherited_bytes"], 0)
        self.assertEqual(members[child]["inherited_bytes"], own["live_bytes"])
        self.assertEqual(group["pss_bytes"], sum(member["pss_bytes"] for member in members.values()))
        self.assertNotIn("pid", group)
        self.assertEqual(parent["group"]["live_bytes"], group["live_bytes"])

    def test_a_member_killed_is_no_longer_counted(self):
        target, child = self.group()
        os.kill(child, signal.SIGKILL)  # a zombie from now on: nobody waits for it
        eventually(lambda: len(self.show("family")["group"]["processes"]) == 1, "the dead member left the report")
        self.refuse(3, "show", str(child), says=str(child))

    def test_the_level_falls_with_a_member_that_is_killed(self):
        """Also when the others sleep: whoever looks brings it in line."""
        one = Target(self, "--limit", "64M", "--name", "pair")
        other = Target(self, "--name", "pair")
        one.tell(f"a {10 * MIB}")
        other.tell(f"a {60 * MIB}")
        self.assertEqual(self.show("pair")["level_name"], "critical")
        other.end()
        report = self.show("pair")
        self.assertEqual((report["level_name"], report["live_bytes"]), ("none", self.show(one.pid)["live_bytes"]))

    def test_the_hard_limit_knows_that_a_member_is_dead(self):
        one = Target(self, "--hard-limit", "64M", "--name", "pair")
        other = Target(self, "--name", "pair")
        self.assertGreater(other.tell(f"a {50 * MIB}"), 0)
        self.assertEqual(one.tell(f"a {30 * MIB}"), -1)
        other.end()
        self.assertGreater(one.tell(f"a {30 * MIB}"), 0)

    def test_copied_bytes(self):
        """What a child writes to of what it inherited is its own from then on, and no allocation says so."""
        target = Target(self, "--limit", "64M", "--name", "copies")
        target.tell(f"a {20 * MIB}")
        self.assertEqual(self.show("copies")["group"]["copied_bytes"], 0)
        idle, writer = target.tell("k"), target.tell("w")
        eventually(lambda: len(self.show("copies")["group"]["processes"]) == 3, "the children are members")
        members = {member["pid"]: member for member in self.show("copies")["group"]["processes"]}
        self.assertEqual(members[target.pid]["copied_bytes"], 0)
        self.assertLess(members[idle]["copied_bytes"], MIB)
        self.assertAlmostEqual(members[writer]["copied_bytes"], 20 * MIB, delta=MIB)
        group = self.show("copies")["group"]
        self.assertAlmostEqual(group["copied_bytes"], 20 * MIB, delta=2 * MIB)
        self.assertAlmostEqual(group["pss_bytes"], group["counted_bytes"] + group["copied_bytes"], delta=2 * MIB)
        self.assertEqual(self.show(writer)["copied_bytes"], members[writer]["copied_bytes"])
        self.assertRegex(self.succeed("show", "copies"), r"copies: 20\.\d MiB live, 20\.\d MiB counted, 2\d\.\d MiB copied")

    def test_ls_has_a_line_for_the_group(self):
        target, child = self.group()
        lines = self.succeed("ls").splitlines()
        self.assertRegex(lines[0], r"^NAME +PID +ALLOCATOR +LEVEL +LIVE +COUNTED +LIMIT +COMMAND$")
        self.assertRegex(lines[1], r"^family +- .* 64\.0 MiB +\(2 processes\)$")
        self.assertEqual(sorted(int(line.split()[1]) for line in lines[2:]), sorted([target.pid, child]))


class Ls(ShowCase):
    def test_nothing_there(self):
        self.assertEqual(json.loads(self.succeed("ls", "--json")), [])
        self.assertEqual(self.run_cli("ls").stdout, "")

    def test_json(self):
        first, second = Target(self, "--name", "a", "--limit", "1G"), Target(self, "--name", "b", "--allocator", "jemalloc")
        listed = json.loads(self.succeed("ls", "--json"))
        self.assertEqual([(p["name"], p["pid"], p["allocator"], p["level"], p["limit_bytes"]) for p in listed],
                         [("a", first.pid, "ptmalloc", 0, 1024 * MIB), ("b", second.pid, "jemalloc", 0, 0)])
        self.assertEqual(listed[0]["live_bytes"], self.show("a")["live_bytes"])

    def test_removes_stale_blocks_only(self):
        kept, killed = Target(self, "--name", "kept"), Target(self, "--name", "killed")
        killed.end(signal.SIGKILL)
        self.assertEqual(self.blocks(), ["membudget-kept", "membudget-killed"])
        self.assertEqual([p["name"] for p in json.loads(self.succeed("ls", "--json"))], ["kept"])
        self.assertEqual(self.blocks(), ["membudget-kept"])
        kept.tell("a 1")

    def test_directory_option(self):
        target = Target(self, "--name", "elsewhere")
        listed = self.succeed("ls", "--dir", self.folder, "--json", settings={"MEMBUDGET_DIR": "/nonexistent"})
        self.assertEqual([p["pid"] for p in json.loads(listed)], [target.pid])
        self.refuse(1, "ls", "--dir", "/nonexistent", says="/nonexistent")

    def test_commands_cannot_play_with_the_terminal(self):
        process = subprocess.Popen([CLI, "run", "--", sys.executable, "-c", "import time\ntime.sleep(60) #\x1b[31m\t\x07"],
                                   env=self.environment())
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        eventually(lambda: "sleep(60)" in self.run_cli("ls").stdout, "the process is listed")
        for command in (("ls",), ("show", str(process.pid))):
            out = self.succeed(*command)
            self.assertFalse(set(out) & {"\x1b", "\x07", "\t"}, repr(out))
        self.assertIn("\x1b[31m", json.loads(self.succeed("ls", "--json"))[0]["command"])


class NoTarget(ShowCase):
    COMMANDS = (("show",), ("watch",), ("wait",), ("trim",), ("set", "--limit", "1G"))

    def test_no_such_target(self):
        for command in self.COMMANDS:
            with self.subTest(command):
                self.refuse(3, *command, "no-such-group", says=("no-such-group", "membudget ls"))
                self.refuse(3, *command, "999999999", says="999999999")

    def test_a_process_that_does_not_run_under_membudget(self):
        for command in self.COMMANDS:
            with self.subTest(command):
                self.refuse(3, *command, str(os.getpid()), says=(str(os.getpid()), "membudget run"))

    def test_no_target_given(self):
        for command in self.COMMANDS:
            with self.subTest(command):
                self.refuse(2, *command, says="TARGET")

    def test_what_can_be_no_target(self):
        for target in ("a/b", "../../etc/passwd", "x" * 65, "blank here", ""):
            with self.subTest(target):
                self.refuse(2, "show", target)

    def test_ended(self):
        target = Target(self, "--name", "gone")
        target.end(signal.SIGKILL)
        self.refuse(3, "show", "gone")
        self.refuse(3, "show", str(target.pid))

    def test_block_of_another_version(self):
        Target(self, "--name", "newer")
        with open(os.path.join(self.folder, "membudget-newer"), "r+b") as block:
            block.seek(8)
            block.write((2).to_bytes(4, sys.byteorder))
        self.refuse(3, "show", "newer", says=("newer", "version"))
        self.assertEqual(json.loads(self.succeed("ls", "--json")), [])

    @as_root
    def test_somebody_elses(self):
        target = Target(self, "--name", "roots")
        for name in ("roots", str(target.pid)):
            self.refuse(3, "show", name, user=NOBODY, extra_groups=(), says="another user")

    @as_root
    def test_root_sees_everybodys(self):
        os.chmod(self.folder, 0o777)
        process = subprocess.Popen([CLI, "run", "--name", "theirs", "--", "sleep", "60"], user=NOBODY,
                                   extra_groups=(), env=self.environment())
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        eventually(lambda: "theirs" in self.run_cli("ls").stdout, "the process is listed")
        self.assertEqual(self.show("theirs")["pid"], process.pid)


if __name__ == "__main__":
    main()
