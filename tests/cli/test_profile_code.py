"""membudget profile: code that is stripped, has no frame pointers, or was made at run time."""

import os
import platform
import shutil
import subprocess
import unittest

from cli_case import CLI, main
from pprof_file import Profile
from profile_case import SUFFIX, ProfileCase

CODE = os.environ["MEMBUDGET_TEST_PROFILE_CODE"]

NODE = """\
const kept = [];
function keepOne() { kept.push(Buffer.allocUnsafeSlow(100000).fill(1)); }
function keepMany() { for (let i = 0; i < 400; i++) keepOne(); }
keepMany();
"""


class Code(ProfileCase):
    def perf_map(self, process):
        path = f"/tmp/perf-{process.pid}.map"
        self.addCleanup(lambda: os.path.exists(path) and os.unlink(path))
        return path

    def stacks(self, process):
        path = os.path.join(self.scratch(), "memory.pb.gz")
        self.succeed("profile", str(process.pid), "-o", path)
        profile = Profile(path)
        self.assertIn(os.path.realpath(CODE), [profile.texts[mapping.one(5)] for mapping in profile.mappings])
        return [([name for name, _, _ in stack], values[3]) for stack, values in profile.samples]

    def test_stripped_and_without_frame_pointers(self):
        process, _ = self.start("--profile=2K", command=[CODE], MEMBUDGET_PROFILE_DIR=self.scratch())
        self.perf_map(process)
        stacks = self.stacks(process)
        exported = [(stack, live) for stack, live in stacks if "exported" in stack]
        self.assertLess(abs(sum(live for _, live in exported) - 5e6), 0.2e6)
        for stack, _ in exported:
            self.assertIn("main", stack)
        where = [site["where"] for site in self.report(str(process.pid))["sites"] if site["live_bytes"] > 1e6]
        name = os.path.basename(CODE)
        self.assertTrue(all(place.startswith(f"{name}+0x") for place in where), where)  # the static function

    @unittest.skipUnless(platform.machine() == "x86_64", "the code is x86-64's")
    def test_code_made_at_run_time(self):
        process, _ = self.start("--profile=2K", command=[CODE], MEMBUDGET_PROFILE_DIR=self.scratch())
        self.assertTrue(os.path.exists(self.perf_map(process)))
        made = [(stack, live) for stack, live in self.stacks(process) if "LazyCompile:~made at run time" in stack]
        self.assertLess(abs(sum(live for _, live in made) - 3e6), 0.2e6)
        for stack, _ in made:
            self.assertTrue([name for name in stack[stack.index("LazyCompile:~made at run time"):] if "main" in name])

    @unittest.skipUnless(shutil.which("node"), "node is not installed")
    def test_node(self):
        """At exit: that is when node writes its map."""
        folder = self.scratch()
        path = os.path.join(folder, "program.js")
        with open(path, "w", encoding="utf-8") as file:
            file.write(NODE)
        command = [CLI, "run", "--profile=64K", "--", shutil.which("node"), "--perf-basic-prof",
                   "--interpreted-frames-native-stack", path]
        with subprocess.Popen(command, env=self.environment({"MEMBUDGET_PROFILE_DIR": folder}), cwd=folder) as process:
            self.perf_map(process)
        (name,) = [name for name in os.listdir(folder) if name.endswith(SUFFIX)]
        out = os.path.join(folder, "memory.pb.gz")
        self.succeed("profile", os.path.join(folder, name), "-o", out)
        for function in ("keepOne", "keepMany"):
            allocated = sum(values[1] for stack, values in Profile(out).samples
                            if any(f"{function} " in name for name, _, _ in stack))
            self.assertGreater(allocated, 30e6, function)


if __name__ == "__main__":
    main()
