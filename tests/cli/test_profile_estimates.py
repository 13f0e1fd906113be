"""membudget profile: its estimates and their standard errors, against programs of which it is known who holds what.

Blocks are sampled at random, differently in each run, so each bound here is one that a right sampler goes past in less
than one run in a million.
"""

import os

from cli_case import MIB, main
from profile_case import ProfileCase

MANY_SITES = os.environ["MEMBUDGET_TEST_MANY_SITES"]
RUNS = 3  # of each allocator


class Estimates(ProfileCase):
    def run_once(self, allocator, *options):
        """The distance of each site's estimate from the truth, in standard errors."""
        process, known = self.start("--allocator", allocator, "--profile=4K", *options, command=[MANY_SITES],
                                    MEMBUDGET_PROFILE_DIR=self.scratch())
        report = self.report(str(process.pid))
        process.stdin.close()
        self.assertEqual(process.wait(), 0)
        self.assertEqual(report["lost_blocks"], 0)
        self.assertGreater(report["live_bytes"], 64 * MIB)
        # Its standard error is 0.5 %.
        self.assertLess(abs(report["estimated_live_bytes"] / report["live_bytes"] - 1), 0.05)
        distances = []
        for name, exact in known.items():
            live, error, _ = self.sites(report, f"{name} ")
            distances.append((live - exact) / error)
        return distances

    def check(self, distances, most_beyond, most_mean, squares):
        count = len(distances)
        # Beyond 3 standard errors are 0.3 % of them; 0.6 % if estimates are somewhat skewed.
        beyond = [distance for distance in distances if abs(distance) > 3]
        self.assertLessEqual(len(beyond), most_beyond, beyond)
        # No bias: the mean of n has a standard deviation of 1 / sqrt(n).
        self.assertLess(abs(sum(distances) / count), most_mean)
        # The standard errors are neither too small nor too large: sqrt(2 / n) is that of the mean square.
        square = sum(distance ** 2 for distance in distances) / count
        self.assertGreater(square, squares[0])
        self.assertLess(square, squares[1])

    def test_sites_by_their_standard_errors(self):
        everything = []
        for allocator in ("ptmalloc", "jemalloc", "mimalloc", "tcmalloc"):
            with self.subTest(allocator):
                distances = [distance for _ in range(RUNS) for distance in self.run_once(allocator)]
                self.assertEqual(len(distances), RUNS * 64)
                self.check(distances, 9, 0.45, (0.5, 1.65))
                everything += distances
        self.check(everything, 19, 0.22, (0.75, 1.3))

    def test_blocks_that_grow_under_a_hard_limit(self):
        for allocator in ("ptmalloc", "jemalloc", "mimalloc", "tcmalloc"):
            with self.subTest(allocator):
                distances = [distance for _ in range(2) for distance in self.run_once(allocator, "--hard-limit", "8G")]
                self.check(distances, 7, 0.55, (0.4, 1.9))


if __name__ == "__main__":
    main()
