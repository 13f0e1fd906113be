"""membudget show: the kernel's view explained. Whose the uncounted memory is; what waits to be taken, what the
allocator keeps, and what the program holds."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
import time

from cli_case import CLI, MIB, NOBODY, CliCase, Target, as_root, eventually, main


class Explained(CliCase):
    def show(self, target):
        return json.loads(self.succeed("show", str(target.pid), "--json"))

    def note(self, target, words):
        """The one note that has these words; the same is in the text, with figures of its own moment."""
        found = [note for note in self.show(target)["notes"] if words in note]
        self.assertEqual(len(found), 1, (words, self.show(target)["notes"]))
        text = " ".join(self.succeed("show", str(target.pid)).split())
        self.assertIn(re.sub(r"[0-9.]+", "#", found[0]), re.sub(r"[0-9.]+", "#", text))
        return found[0]

    def notes(self, target):
        return " ".join(self.show(target)["notes"])

    def about(self, bytes_, expected, slack=2 * MIB):
        self.assertTrue(expected - slack <= bytes_ <= expected + slack, (bytes_ / MIB, expected / MIB))

    def test_parts_add_up(self):
        target = Target(self)
        for command in ("a", "m", "r", "s", "l"):
            target.tell(f"{command} {16 * MIB}")
        report = self.show(target)
        parts = report["uncounted"]
        total = sum(parts[f"{part}_bytes"] for part in ("allocator", "stack", "file", "runtime"))
        self.about(total + report["lazy_free_bytes"], report["uncounted_bytes"], slack=64 << 10)

    def test_lazily_freed_is_no_leak(self):
        target = Target(self)
        target.tell(f"l {64 * MIB}")
        report = self.show(target)
        self.about(report["lazy_free_bytes"], 64 * MIB)
        self.about(report["rss_bytes"], 66 * MIB, slack=4 * MIB)
        self.assertIn("no leak", self.note(target, "MADV_FREE"))
        self.assertLess(report["uncounted"]["allocator_bytes"], MIB)

    def test_held_by_the_program(self):
        target = Target(self)
        target.tell(f"a {64 * MIB}")
        self.assertEqual(self.show(target)["lazy_free_bytes"], 0)
        self.note(target, "the program leaks")
        self.assertNotIn("MADV_FREE", self.notes(target))

    def test_kept_by_the_allocator(self):
        target = Target(self)
        for _ in range(640):
            target.tell("a 100000")  # below the mmap threshold: from the heap, which the last block pins
        target.tell("h")
        report = self.show(target)
        self.about(report["uncounted"]["allocator_bytes"], 640 * 100_000)
        self.assertGreater(report["fragmentation_ratio"], 3)
        self.assertIn(f"membudget trim {target.pid}", self.note(target, "held by the allocator"))
        self.trim(target)
        self.assertLess(self.show(target)["uncounted"]["allocator_bytes"], 10 * MIB)

    def trim(self, target):
        """The target answers when it next allocates."""
        process = subprocess.Popen([CLI, "trim", str(target.pid)], env=self.environment(), stdout=subprocess.DEVNULL)
        while process.poll() is None:
            target.tell("a 16")
            time.sleep(0.01)
        self.assertEqual(process.returncode, 0)

    def test_a_garbage_collectors_heap(self):
        target = Target(self)
        target.tell(f"r {64 * MIB}")
        report = self.show(target)
        self.about(report["uncounted"]["runtime_bytes"], 64 * MIB)
        self.assertIn("garbage collector", self.note(target, "did not come through malloc"))

    def test_node(self):
        if not shutil.which("node"):
            self.skipTest("node is not installed")
        process = subprocess.Popen([CLI, "run", "--", "node", "-e",
                                    "a=[];for(i=0;i<1e6;i++)a.push({i});console.log(1);setInterval(()=>{},1e6)"],
                                   stdout=subprocess.PIPE, env=self.environment())
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        process.stdout.readline()
        self.assertIn("V8", self.show(process)["uncounted"]["runtime"])
        self.assertGreater(self.show(process)["uncounted"]["runtime_bytes"], 20 * MIB)

    def test_pymalloc(self):
        process = subprocess.Popen([CLI, "run", "--", "/usr/bin/python3", "-c",
                                    "d=[str(i) for i in range(400000)]; print(1, flush=True); input()"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self.environment())
        self.addCleanup(process.communicate)
        process.stdout.readline()
        self.note(process, "CPython's arenas")

    def test_thread_stacks(self):
        target = Target(self)
        for _ in range(4):
            target.tell(f"s {8 * MIB}")
        self.about(self.show(target)["uncounted"]["stack_bytes"], 32 * MIB)
        self.assertIn("5 threads", self.note(target, "stacks"))

    def test_an_allocator_linked_in(self):
        folder = self.scratch()
        source, program = os.path.join(folder, "own.c"), os.path.join(folder, "own")
        with open(source, "w") as file:
            file.write("""#include <stdio.h>
                #include <string.h>
                #include <unistd.h>
                #include <sys/mman.h>
                #include <sys/syscall.h>
                const char *mark = "duckdb_je_mallocx";
                int main(void) {
                  long memory = syscall(SYS_mmap, 0, 64 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                  memset((void *)memory, 1, 64 << 20);
                  puts(mark); fflush(stdout);
                  return getchar(); }""")
        subprocess.run(["cc", "-O1", source, "-o", program], check=True)
        process = subprocess.Popen([CLI, "run", "--", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   env=self.environment())
        self.addCleanup(process.communicate)
        process.stdout.readline()
        self.assertEqual(self.show(process)["uncounted"]["own_allocators"], ["DuckDB's jemalloc (own)"])
        self.note(process, "DuckDB's jemalloc")

    def test_not_touched_yet(self):
        process = subprocess.Popen([CLI, "run", "--", "/usr/bin/python3", "-c",
                                    "import mmap; m=mmap.mmap(-1, 64<<20, flags=mmap.MAP_PRIVATE|mmap.MAP_ANONYMOUS)\n"
                                    "print(1, flush=True); input()"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self.environment())
        self.addCleanup(process.communicate)
        process.stdout.readline()
        self.note(process, "not been touched yet")

    def test_a_groups_shared_pages_count_once(self):
        target = Target(self, "--name", "cow")
        target.tell(f"a {32 * MIB}")
        target.tell("k")
        eventually(lambda: self.family()["group"]["processes"][1:], "the child is a member")
        report = self.family()
        self.about(report["uncounted_bytes"], 0)
        self.about(report["anonymous_bytes"], 32 * MIB)
        self.assertEqual(report["anonymous_bytes"] - report["counted_bytes"], report["uncounted_bytes"])
        text = self.succeed("show", "cow")
        self.assertRegex(text, r"anonymous +3[23]\.\d MiB +heap.* shared pages counted once")
        self.about(report["footprint_bytes"], 32 * MIB)

    def family(self):
        return json.loads(self.succeed("show", "cow", "--json"))

    @as_root
    def test_without_the_right_to_look(self):
        """The block can be read, the process's /proc cannot: it says which right is missing."""
        target = Target(self, "--name", "theirs")
        os.chown(os.path.join(self.folder, "membudget-theirs"), NOBODY, NOBODY)
        with open(os.path.join(self.folder, "membudget-theirs"), "r+b") as block:
            block.seek(44)  # owner_uid, see abi.h
            block.write(NOBODY.to_bytes(4, sys.byteorder))
        text = self.succeed("show", str(target.pid), user=NOBODY, extra_groups=())
        self.assertIn("CAP_SYS_PTRACE", text)
        self.assertNotIn("RSS", text)


class Colours(CliCase):
    def output_on_a_terminal(self, *arguments, **settings):
        main_end, terminal = pty.openpty()
        process = subprocess.Popen([CLI, *arguments], stdout=terminal, env=self.environment({"TERM": "xterm", **settings}))
        os.close(terminal)
        text = b""
        while True:
            try:
                part = os.read(main_end, 65536)
            except OSError:
                break
            if not part:
                break
            text += part
        os.close(main_end)
        self.assertEqual(process.wait(), 0)
        return text.decode()

    def test_on_a_terminal_only(self):
        target = Target(self, "--limit", "1M", "--name", "colourful")
        target.tell(f"a {2 * MIB}")
        for command in (("ls",), ("show", str(target.pid))):
            with self.subTest(command):
                coloured = self.output_on_a_terminal(*command)
                self.assertIn("\x1b[1;31m", coloured)
                self.assertNotIn("\x1b", self.succeed(*command))
                for settings in ({"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": ""}):
                    self.assertNotIn("\x1b", self.output_on_a_terminal(*command, **settings))
                self.assertIn("\x1b", self.output_on_a_terminal(*command, NO_COLOR=""))

    def test_columns_stay_aligned(self):
        Target(self, "--limit", "1M", "--name", "first"), Target(self, "--limit", "1G", "--name", "second")
        plain = re.sub("\x1b[^m]*m", "", self.output_on_a_terminal("ls"))
        starts = {line.index(word) for line, word in zip(plain.splitlines(), ("LEVEL", "none", "none"))}
        self.assertEqual(len(starts), 1, plain)


if __name__ == "__main__":
    main()
