"""What belongs to a group: children of all kinds under each mode of MEMBUDGET_CHILDREN, more of them than there
are slots, daemons, children that change user or root, and the processes of a pipeline and of multiprocessing."""

import os
import signal
import subprocess
import unittest

from children import COMMON, MIB, PYTHON_PACKAGE, Children
import harness

NOBODY = 65534
SLOTS = 256


class Slots(Children):
    def test_more_children_than_slots(self):
        """They run uncounted, and the block says how many; the slots are there again when others have ended."""
        self.start("""
holds(20)
def child():
    mine = list(range(10000)); waits()
pids = [forks(child) for _ in range(300)]
says(os.getpid())
waits()
succeeds(*pids)
pid = forks(lambda: (says(0), signal.pause()))
says(pid)
signal.pause()
""")
        self.hear()
        self.eventually(lambda: self.show()["group"]["uncounted_processes"] == 301 - SLOTS, "all have looked for a slot")
        report = self.show()
        self.assertEqual(len(report["group"]["processes"]), SLOTS)
        self.assertIn(f"and {301 - SLOTS} so far that found no free slot", self.cli("show", "group")[1].decode())
        self.assertLess(report["live_bytes"], 20 * MIB + SLOTS * MIB)
        self.process.stdin.close()
        late = sum(self.hear(2))
        self.assertEqual(set(self.members()), {self.process.pid, late})
        self.assertEqual(self.show()["group"]["uncounted_processes"], 301 - SLOTS)


class Kinds(Children):
    def test_daemon(self):
        """It forks twice and outlives its parents: the group, the block and the bytes stay."""
        self.start("""
holds(30)
def daemon():
    global more
    more = bytearray(10 << 20)
    says(os.getpid())
    waits()
def session():
    os.setsid()
    forks(daemon)
if not os.fork():
    session()
    os._exit(0)
os.wait()
""")
        daemon = self.hear()[0]
        self.assertEqual(self.process.wait(20), 0)
        self.assertEqual(set(self.members()), {daemon})
        member = self.members()[daemon]
        self.assertGreater(member["inherited_bytes"], 30 * MIB)
        self.assertAlmostEqual(member["live_bytes"], 40 * MIB, delta=4 * MIB)
        self.assertAlmostEqual(self.show()["live_bytes"], 10 * MIB, delta=MIB)
        self.process.stdin.close()
        self.check_nothing_is_left()

    def test_spawned(self):
        """By posix_spawn, and by vfork as subprocess does: members that inherited nothing."""
        self.start(f"""
import subprocess
code = {COMMON + "holds(20); says(os.getpid()); waits()"!r}
spawned = os.posix_spawn(sys.executable, [sys.executable, "-c", code], os.environ)
child = subprocess.Popen([sys.executable, "-c", code], close_fds=False)
assert child.wait() == 0
succeeds(spawned)
""")
        pids = self.hear(2)
        members = self.members()
        self.assertEqual(set(members), {self.process.pid, *pids})
        for pid in pids:
            self.assertEqual((members[pid]["inherited_bytes"], members[pid]["copied_bytes"]), (0, 0))
            self.assertGreater(members[pid]["live_bytes"], 20 * MIB)
        self.assertLess(members[self.process.pid]["live_bytes"], 20 * MIB)
        self.end()

    @unittest.skipUnless(os.geteuid() == 0, "only root can do this")
    def test_changes_user(self):
        """The slot is the child's already: it counts on."""
        self.start(f"""
holds(20)
def child():
    global more
    os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
    more = bytearray(15 << 20)
    forks(lambda: (says(os.getpid()), waits()))
    waits()
pid = forks(child)
says(pid)
succeeds(pid)
""")
        pids = self.hear(2)
        members = self.members()
        self.assertEqual(set(members), {self.process.pid, *pids})
        self.assertAlmostEqual(self.show()["live_bytes"], members[self.process.pid]["live_bytes"] + 15 * MIB, delta=MIB)
        self.end()

    @unittest.skipUnless(os.geteuid() == 0, "only root can do this")
    def test_changes_root(self):
        """Without /proc and the block's file in sight."""
        empty = self.file("empty")
        os.mkdir(empty)
        self.start(f"""
holds(20)
def child():
    global more
    os.chroot({empty!r}); os.chdir("/")
    more = bytearray(15 << 20)
    for _ in range(3): succeeds(forks(lambda: None))
    forks(lambda: (says(os.getpid()), waits()))
    waits()
pid = forks(child)
says(pid)
succeeds(pid)
""")
        pids = self.hear(2)
        members = self.members()
        self.assertEqual(set(members), {self.process.pid, *pids})
        self.assertAlmostEqual(self.show()["live_bytes"], members[self.process.pid]["live_bytes"] + 15 * MIB, delta=MIB)
        self.end()
        self.check_nothing_is_left()

    def test_the_footprint_has_what_a_child_copies(self):
        """As CPython does by reading what it inherited: no allocation tells of it, and the budget is crossed by it."""
        self.start("""
import gc, membudget, time
rows = [(number, str(number)) for number in range(600_000)]
gc.disable()
budget = membudget.attach()
budget.limit_bytes = budget.counted_bytes + (50 << 20)
def is_crossed(seconds):  # it is measured now and then while memory grows
    end = time.monotonic() + seconds
    while not budget.crossed and time.monotonic() < end: more = [bytearray(100 << 10) for _ in range(100)]
    return int(budget.crossed)
def child():
    before = is_crossed(0.5)
    for row in rows: row[1]
    after = is_crossed(20)
    says(before, after, os.getpid(), budget.limit_bytes - budget.counted_bytes)
    os.close(0)
    signal.pause()
forks(child)
waits()
""", MEMBUDGET_MEASURE="footprint", MEMBUDGET_PYTHONMALLOC="malloc", PYTHONPATH=PYTHON_PACKAGE)
        before, after, child, left = self.hear()
        if self.show().get("cgroup", {}).get("limit_bytes"):
            self.skipTest("in a cgroup with a limit all that it charges is measured, whoever copied it")
        self.assertEqual((before, after), (0, 1))
        self.assertGreater(left, 30 * MIB)
        self.assertGreater(self.members()[child]["copied_bytes"], 50 * MIB)
        os.kill(child, signal.SIGKILL)
        self.end()

    def test_limit_of_a_running_group(self):
        """The level follows at once, for all of its members, in both directions."""
        self.start("""
holds(50)
def child():
    more = bytearray(30 << 20)
    says(os.getpid())
    waits()
pid = forks(child)
says(os.getpid())
succeeds(pid)
""")
        self.hear(2)
        counted = self.show()["counted_bytes"]
        self.assertGreater(counted, 80 * MIB)
        for share, level in ((0.8, "critical"), (1.5, "none"), (1, "critical"), (1.025, "medium"), (1.08, "low"), (2, "none")):
            limit = str(int(counted * share))
            self.assertEqual(self.cli("set", "group", "--limit", limit)[0], 0)
            self.assertEqual(self.show()["level_name"], level, limit)
        self.end()


class Modes(Children):
    SCRIPT = f"""
import subprocess
holds(20)
forked = forks(lambda: (holds(10), says(os.getpid(), 0), waits()))
child = subprocess.Popen([sys.executable, "-c", {COMMON + "holds(5); says(os.getpid(), 1); waits()"!r}])
assert child.wait() == 0
succeeds(forked)
"""

    def start_family(self, mode):
        self.start(self.SCRIPT, MEMBUDGET_CHILDREN=mode)
        numbers = self.hear(2)
        pids = {kind: pid for pid, kind in zip(numbers[::2], numbers[1::2])}
        return self.process.pid, pids[0], pids[1]

    def test_join(self):
        parent, forked, executed = self.start_family("join")
        self.assertEqual(self.listed(), {parent: "group", forked: "group", executed: "group"})
        self.end()
        self.check_nothing_is_left()

    def test_own(self):
        parent, forked, executed = self.start_family("own")
        self.assertEqual(self.listed(), {parent: "group", forked: f"group.{forked}", executed: f"group.{executed}"})
        for pid, mib in ((parent, 20), (forked, 10), (executed, 5)):
            report = self.show(pid)
            self.assertEqual(report["limit_bytes"], 4096 * MIB)
            self.assertEqual(len(report["group"]["processes"]), 1)
            self.assertGreater(report["group"]["live_bytes"], mib * MIB)
        self.end()
        self.check_nothing_is_left()

    def test_ignore(self):
        parent, _, _ = self.start_family("ignore")
        self.assertEqual(self.listed(), {parent: "group"})
        self.end()
        self.check_nothing_is_left()


class Families(Children):
    def test_pipeline(self):
        """The members of a shell's pipeline, and their exit status and output."""
        script = "set -o pipefail; seq 100000 | sort -R | sort -n | tail -n 1 | (read -r n; echo $n; cat <&3)"
        process = subprocess.Popen(["bash", "-c", f"exec 3<&0; {script}"], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, text=True,
                                   env=harness.preloaded(self.blocks, MEMBUDGET_NAME="group", MEMBUDGET_LIMIT="1G"))
        self.addCleanup(self.kill_one, process)
        self.assertEqual(process.stdout.readline(), "100000\n")
        self.eventually(lambda: len(self.members()) >= 3, "the shell, the subshell, and cat are members")
        self.assertIn(process.pid, self.members())
        process.stdin.close()
        self.assertEqual(process.wait(20), 0)
        self.check_nothing_is_left()

    def kill_one(self, process):
        process.kill()
        process.wait()
        process.stdout.close()

    def multiprocess(self, method):
        """Workers of a pool hold what they are told to; all of it is the group's."""
        path = self.file("pool.py", f"""
import multiprocessing, os, sys
held = []
def work(mib):
    held.append(bytearray(mib << 20))
    barrier.wait()
    return os.getpid()
def begin(shared):
    global barrier
    barrier = shared
if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    data = bytearray(40 << 20)
    with context.Pool(4, begin, [context.Barrier(4)]) as pool:
        pids = pool.map(work, [25] * 4, chunksize=1)
        assert len(set(pids)) == 4
        os.write(1, (" ".join(map(str, pids)) + "\\n").encode())
        os.read(0, 1)
        pool.close()
        pool.join()
""")
        self.start(f"sys.argv = [{path!r}]; os.execv(sys.executable, [sys.executable, {path!r}])")
        pids = self.hear()
        members = self.members()
        self.assertLessEqual({self.process.pid, *pids}, set(members))
        inherited = [members[pid]["inherited_bytes"] for pid in pids]
        for pid in pids:
            own = members[pid]["live_bytes"] - members[pid]["inherited_bytes"]
            self.assertAlmostEqual(own, 25 * MIB, delta=3 * MIB)
        self.assertAlmostEqual(self.show()["live_bytes"], 155 * MIB, delta=15 * MIB)
        self.end()
        self.check_nothing_is_left()
        return inherited

    def test_multiprocessing_fork(self):
        self.assertGreater(min(self.multiprocess("fork")), 40 * MIB)

    def test_multiprocessing_spawn(self):
        self.assertEqual(self.multiprocess("spawn"), [0] * 4)

    def test_multiprocessing_forkserver(self):
        self.assertLess(max(self.multiprocess("forkserver")), 5 * MIB)


if __name__ == "__main__":
    harness.main()
