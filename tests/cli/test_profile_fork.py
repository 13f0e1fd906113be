"""Forks while a profile is written: it is whole, and the children work on, with profiles of their own."""

import os

from cli_case import main
from pprof_file import Profile
from profile_case import PYTHON, ProfileCase

# Forks without a pause, now and then a child that stays; each allocates, frees, and is sampled.
FORKS = """\
import json, os, select, signal, sys
signal.alarm(150)
kept = [bytearray(9000 + i % 7) for i in range(6000)]
def works():
    mine = [json.dumps(list(range(300))) for _ in range(40)]
    del kept[:3000]
    return mine
def stays():
    mine = works()
    while True: json.dumps(list(range(3000)))
def fork(function):
    pid = os.fork()
    if pid: return pid
    try: function(); os._exit(0)
    finally: os._exit(1)
print("ready", flush=True)
staying, forks = [], 0
while not select.select([sys.stdin], [], [], 0)[0]:
    pid = fork(works)
    json.dumps(list(range(3000)))  # who is asked for a profile answers by what it allocates
    assert os.waitpid(pid, 0)[1] == 0
    forks += 1
    if forks % 20 == 0 and len(staying) < 3:
        staying.append(fork(stays))
        print("child", staying[-1], flush=True)
for child in staying:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
print("forks", forks, flush=True)
"""


class Forks(ProfileCase):
    def check(self, pid, least_bytes):
        report = self.report(pid)
        self.assertGreater(report["live_bytes"], least_bytes)
        self.assertLess(abs(report["estimated_live_bytes"] / report["live_bytes"] - 1), 0.25)

    def test_while_a_profile_is_written(self):
        process, _ = self.start("--profile=8K", "--name", "forks", command=[PYTHON, self.script(FORKS)])
        path = os.path.join(self.scratch(), "forks.pb.gz")
        for _ in range(8):
            self.check(str(process.pid), 50e6)
            self.succeed("profile", str(process.pid), "-o", path)
            self.assertGreater(len(Profile(path).samples), 3)
            os.unlink(path)
        for _ in range(3):
            word, child = process.stdout.readline().split()
            self.assertEqual(word, "child")
            self.check(child, 25e6)
        process.stdin.write("\n")
        process.stdin.flush()
        word, forks = process.stdout.readline().split()
        self.assertEqual(word, "forks")
        self.assertGreaterEqual(int(forks), 60)
        self.assertEqual(process.wait(timeout=60), 0)


if __name__ == "__main__":
    main()
