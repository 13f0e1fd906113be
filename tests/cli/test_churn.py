"""scripts/churn: what its job shows, made small: the fixed mmap threshold gives back what the moving one keeps."""

import json
import os
import subprocess

from cli_case import CliCase, main

SCRIPTS = os.path.realpath(os.path.join(os.path.dirname(__file__), "../../scripts"))


class Churn(CliCase):
    def test_the_fixed_threshold_gives_back(self):
        job = ("/usr/bin/python3", f"{SCRIPTS}/churn_job.py", "--users", "60", "--rounds", "4", "--rest", "0.3")
        report = json.loads(self.succeed("compare", "--runs", "1", "--allocators", "ptmalloc", "--json", "--", *job))
        moving, fixed = (contender["end_rss_bytes"]["median"] for contender in report["allocators"])
        self.assertLess(fixed, 0.8 * moving, report["verdict"])

    def test_wrong_usage(self):
        for arguments in (("--users", "many"), ("--runs",), ("--rounds", "0")):
            result = subprocess.run([f"{SCRIPTS}/churn", *arguments], stderr=subprocess.PIPE, text=True)
            self.assertEqual(result.returncode, 2)
            self.assertIn(arguments[0], result.stderr)
        self.assertEqual(subprocess.run([f"{SCRIPTS}/churn", "--help"], stdout=subprocess.DEVNULL).returncode, 0)


if __name__ == "__main__":
    main()
