"""Members of a group that execute a program without the library: static, set-uid, or with another environment."""

import os

from children import COMMON, MIB, PYTHON_PACKAGE, Children
import harness


class Exec(Children):
    def test_executes_a_program_without_the_library(self):
        """What it had counted is gone with its memory, the level falls, and the rest of the group goes on."""
        self.start("""
holds(20)
def child():
    global more
    more = bytearray(300 << 20)
    says(os.getpid())
    os.execve("/bin/sleep", ["sleep", "1000"], {})
pid = forks(child)
says(pid)
waits()
os.kill(pid, signal.SIGKILL); os.waitpid(pid, 0)
says(pid)
signal.pause()
""", MEMBUDGET_LIMIT="200M")
        child = self.hear(2)[0]
        self.eventually(lambda: set(self.members()) == {self.process.pid}, "the child counts no more")
        report = self.show()
        self.assertEqual((report["level_name"], report["crossings"]), ("none", 1))
        self.assertAlmostEqual(report["live_bytes"], 20 * MIB, delta=MIB * 5)
        self.assertEqual(self.listed(), {self.process.pid: "group"})
        self.assertEqual(self.cli("show", str(child), "--json")[0], 3)
        self.process.stdin.close()
        self.hear()
        self.assertEqual(set(self.members()), {self.process.pid})

    def test_is_seen_by_members_alone(self):
        """Nobody reads the block: a member that goes on allocating brings the level in line."""
        self.start("""
import time, membudget
budget = membudget.attach()
def child():
    global more
    more = bytearray(300 << 20)
    os.execve("/bin/sleep", ["sleep", "1000"], {})
forks(child)
while not budget.crossed: time.sleep(0.001)
end = time.monotonic() + 20
while budget.crossed and time.monotonic() < end: held = [bytearray(100_000) for _ in range(10)]
says(int(budget.crossed))
signal.pause()
""", MEMBUDGET_LIMIT="200M", PYTHONPATH=PYTHON_PACKAGE)
        self.assertEqual(self.hear(), [0])

    def test_executes_one_program_after_the_other(self):
        """The only member leaves the counts with a program that has not the library, and comes back with one that has: in
        the same block, with the same limit, counted once."""
        back = COMMON + "holds(30); says(os.getpid()); waits()"
        self.start(f"""
import shlex
holds(300)
says(os.getpid())
waits()
again = " ".join(f"{{name}}={{shlex.quote(value)}}" for name, value in os.environ.items()
                 if name.startswith(("MEMBUDGET_", "LD_PRELOAD")))
code = {back!r}
script = f"read -r line; exec env {{again}} {{sys.executable}} -c {{shlex.quote(code)}}"
os.execve("/bin/bash", ["bash", "-c", script], {{}})
""", MEMBUDGET_LIMIT="200M")
        self.hear()
        self.assertEqual(self.cli("set", "group", "--limit", "250M")[0], 0)
        self.assertEqual(self.show()["level_name"], "critical")
        created = os.stat(os.path.join(self.blocks, "membudget-group")).st_ino
        self.process.stdin.write("x")
        self.process.stdin.flush()
        self.eventually(lambda: self.listed() == {}, "it counts no more")
        report = self.show()
        self.assertEqual((report["level_name"], report["live_bytes"], report["limit_bytes"]), ("none", 0, 250 * MIB))
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.assertEqual(self.hear(), [self.process.pid])
        report = self.show()
        self.assertEqual(os.stat(os.path.join(self.blocks, "membudget-group")).st_ino, created)
        self.assertEqual((report["limit_bytes"], report["crossings"]), (250 * MIB, 1))
        self.assertEqual(set(self.members()), {self.process.pid})
        self.assertAlmostEqual(report["live_bytes"], 30 * MIB, delta=5 * MIB)
        self.end()
        self.check_nothing_is_left()


if __name__ == "__main__":
    harness.main()
