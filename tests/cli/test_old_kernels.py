"""membudget wait on kernels that lack what lets it sleep without a look in between."""

import os
import signal
import subprocess
import time

from cli_case import CLI, MIB, CliCase, Target, main

PIDFD_OPEN, FUTEX_WAITV = 434, 449  # on every processor but Alpha
OLD_KERNEL = os.environ["MEMBUDGET_TEST_OLD_KERNEL"]


class OldKernels(CliCase):
    def wait_for(self, target, lacking, *options):
        settings = {"LD_PRELOAD": OLD_KERNEL, "OLD_KERNEL_LACKS": " ".join(map(str, lacking))}
        process = subprocess.Popen([CLI, "wait", str(target.pid), *options], stderr=subprocess.DEVNULL,
                                   env=self.environment(settings))
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        time.sleep(0.5)
        self.assertIsNone(process.poll())
        return process

    def test_every_lack(self):
        for lacking in ([PIDFD_OPEN], [FUTEX_WAITV], [PIDFD_OPEN, FUTEX_WAITV]):
            with self.subTest(lacking):
                target = Target(self, "--limit", "4M")
                process = self.wait_for(target, lacking)
                start = time.monotonic()
                target.tell(f"a {5 * MIB}")
                self.assertEqual(process.wait(10), 0)
                self.assertLess(time.monotonic() - start, 0.5, "a level is noticed at once")
                target.tell("f")
                process = self.wait_for(target, lacking)
                start = time.monotonic()
                target.end(signal.SIGKILL)
                self.assertEqual(process.wait(10), 3)
                self.assertLess(time.monotonic() - start, 1.8, "the end is noticed within a slice")

    def test_time_out(self):
        target = Target(self, "--limit", "4M")
        start = time.monotonic()
        process = self.wait_for(target, [PIDFD_OPEN, FUTEX_WAITV], "--timeout", "1.5")
        self.assertEqual(process.wait(10), 4)
        self.assertTrue(1.5 <= time.monotonic() - start < 3, time.monotonic() - start)


if __name__ == "__main__":
    main()
