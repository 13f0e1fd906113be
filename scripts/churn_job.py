"""The workload of scripts/churn: the data of users, of mixed sizes, loaded and dropped, round after round."""

import argparse
import random
import time


def load_user(rng):
    """A profile, some messages, a few documents; now and then a large export. Mostly touched, as real data is."""
    sizes = [rng.randint(100, 2_000) for _ in range(20)]
    sizes += [int(rng.lognormvariate(8, 1)) + 513 for _ in range(20)]
    sizes += [rng.randint(140_000, 1_500_000) for _ in range(rng.randint(1, 4))]
    if rng.random() < 0.02:
        sizes.append(rng.randint(2_000_000, 12_000_000))
    return [bytearray(size) for size in sizes]


def work(options):
    rng = random.Random(1)
    users = {}
    for _ in range(options.rounds):
        for _ in range(options.users):
            users[rng.randrange(10 * options.users)] = load_user(rng)
        for key in rng.sample(sorted(users), len(users) - options.users // 20):  # one in twenty stays
            del users[key]
    time.sleep(options.rest)  # what is resident now is kept for nobody


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=200, help="users loaded in each round")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--rest", type=float, default=1.5, help="seconds at the end, when all but a few are dropped")
    work(parser.parse_args())
