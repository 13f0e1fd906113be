"""membudget balloon: lazily freed pages go under pressure, held ones stay, and nobody is killed for it."""

import json
import os
import subprocess

from cli_case import CLI, MIB, NOBODY, TARGET, CliCase, Target, as_root, eventually, main


class Balloon(CliCase):
    def cgroup(self, limit):
        with open("/proc/self/cgroup") as file:
            entries = [line.rstrip("\n").split(":", 2) for line in file]
        own = next((path for _, controllers, path in entries if "memory" in controllers.split(",")), None)
        if own is None:
            self.skipTest("no version 1 memory controller")  # version 2 lets nobody split a cgroup with processes
        path = f"/sys/fs/cgroup/memory{own.rstrip('/')}/balloon-test-{os.getpid()}"
        try:
            os.mkdir(path)
        except OSError as error:
            self.skipTest(str(error))
        self.addCleanup(lambda: eventually(lambda: not subprocess.call(["rmdir", path]), "removed"))
        with open(f"{path}/memory.limit_in_bytes", "w") as file:
            file.write(str(limit))
        return path

    def target_in(self, cgroup, name):
        return Target(self, "--name", name, command=("sh", "-c", f"echo $$ >{cgroup}/cgroup.procs && exec {TARGET}"))

    @as_root
    def test_what_was_freed_goes_and_what_is_held_stays(self):
        cgroup = self.cgroup(256 * MIB)
        freed, held = self.target_in(cgroup, "freed"), self.target_in(cgroup, "held")
        freed.tell(f"l {100 * MIB}")
        held.tell(f"a {60 * MIB}")
        report = json.loads(self.succeed("balloon", "--size", "160M", "--hold", "0.2", "--into", "freed", "--json"))
        self.assertEqual((report["size_bytes"], report["taken_bytes"]), (160 * MIB, 160 * MIB))
        targets = {target["name"]: target for target in report["targets"]}
        self.assertGreater(targets["freed"]["lazy_free_before_bytes"], 98 * MIB)
        self.assertLess(targets["freed"]["lazy_free_after_bytes"], 40 * MIB)
        fell = targets["freed"]["rss_before_bytes"] - targets["freed"]["rss_after_bytes"]
        self.assertGreater(fell, 60 * MIB)
        self.assertGreater(targets["held"]["rss_after_bytes"], 60 * MIB)
        self.assertEqual((freed.tell("a 1") > 0, held.tell("a 1") > 0), (True, True))  # both live

    @as_root
    def test_refuses_what_would_kill(self):
        cgroup = self.cgroup(128 * MIB)
        target = self.target_in(cgroup, "held")
        target.tell(f"a {60 * MIB}")
        error = self.refuse(1, "balloon", "--size", "100M", "--into", "held", says="of its 128.0 MiB in use")
        self.assertRegex(error, r"taking 100\.0 MiB could get processes killed: .* at most \d+\.\d MiB can be taken")
        self.assertGreater(target.tell("a 1"), 0)

    @as_root
    def test_of_its_own_cgroup(self):
        cgroup = self.cgroup(128 * MIB)
        command = f'echo $$ >{cgroup}/cgroup.procs && exec "$@"'

        def balloon(size):
            return subprocess.run(["sh", "-c", command, "sh", CLI, "balloon", "--hold", "0", "--size", size],
                                  capture_output=True, text=True, env=self.environment())
        self.assertEqual(balloon("64M").returncode, 0)
        self.assertEqual(balloon("120M").returncode, 1)
        self.assertEqual(balloon("50%").returncode, 0)

    @as_root
    def test_the_right_that_is_missing(self):
        os.chmod(self.folder, 0o777)
        cgroup = self.cgroup(128 * MIB)
        process = subprocess.Popen(["sh", "-c", f"echo $$ >{cgroup}/cgroup.procs; exec setpriv --reuid {NOBODY} --clear-groups "
                                    f"{CLI} run --name theirs -- sleep 60"], env=self.environment())
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        eventually(lambda: "theirs" in self.run_cli("ls").stdout, "the process is listed")
        self.refuse(1, "balloon", "--size", "1M", "--into", "theirs", user=NOBODY, extra_groups=(), says=("cgroup.procs", "root"))

    def test_for_people(self):
        target = Target(self, "--name", "people")
        text = self.succeed("balloon", "--size", "1M", "--hold", "0")
        self.assertRegex(text, r"\ATook 1\.0 MiB of at most .*\.\n *PID +LAZYFREE BEFORE +AFTER +RSS BEFORE +AFTER +NAME +COMMAND\n")
        self.assertIn(f"{target.pid} ", text)

    def test_wrong_arguments(self):
        self.refuse(2, "balloon", says="--size")
        for size in ("lots", "0", "none", "-1"):
            self.refuse(2, "balloon", "--size", size)
        self.refuse(2, "balloon", "--size", "1M", "--hold", "long", says="--hold")
        self.refuse(3, "balloon", "--size", "1M", "--into", "nobody-there", says="nobody-there")
        self.refuse(1, "balloon", "--size", "1000T", says="can be taken")


if __name__ == "__main__":
    main()
