"""Runs every strategy in a cgroup of its own, by turns, and tables the outcome."""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile

import picture
import stream
from cgroup import Cgroup, Unavailable
from strategies import NAMES, command_of

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
MEMBUDGET = os.path.join(ROOT, "build/release/control/cli/membudget")
SECONDS = 600


def run_once(name, path, scratch, limit_bytes):
    """One run; its report with `killed` and `error`, or None where the strategy cannot be had (v1's event on v2)."""
    report_path = os.path.join(scratch, "report.json")
    database = os.path.join(scratch, "events.sqlite")
    for old in (report_path, database, database + "-journal"):
        if os.path.exists(old):
            os.unlink(old)
    with Cgroup(limit_bytes) as group:
        if name.startswith("event") and group.version != 1:
            return None
        consumer = [sys.executable, os.path.join(HERE, "consumer.py"), name, path, database, group.folder, report_path]
        result = subprocess.run(
            command_of(name, consumer, MEMBUDGET), preexec_fn=group.enter, timeout=SECONDS,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
        )
        killed = group.kills() > 0
    report = {"events": 0, "batches": [], "at_flush": [], "retries": 0, "peak": 0, "seconds": 0, "done": False}
    if os.path.exists(report_path):
        with open(report_path) as file:
            report = json.load(file)
    report["killed"] = killed
    report["error"] = "" if killed or result.returncode == 0 else (result.stderr.strip().splitlines() or ["?"])[-1]
    return report


def summary_of(reports):
    """One row: medians over the runs that came to the end."""
    whole = [r for r in reports if r["done"]]
    row = {
        "runs": len(reports),
        "killed": sum(r["killed"] for r in reports) / len(reports),
        "failed": sum(bool(r["error"]) for r in reports) / len(reports),
        "errors": sorted({r["error"] for r in reports if r["error"]}),
        "retries": sum(r["retries"] for r in reports),
    }
    if whole and all(r["batches"] for r in whole):
        median = lambda values: statistics.median(list(values))
        row["at_flush"] = median(median(r["at_flush"]) for r in whole)
        row["peak"] = max(r["peak"] for r in whole)
        row["smallest"] = min(min(r["batches"]) for r in whole)
        row["median"] = median(median(r["batches"]) for r in whole)
        row["ratio"] = median(r["events"] / (sum(r["batches"]) + r["rest"]) for r in whole)
        row["per_second"] = median(r["events"] / r["seconds"] for r in whole)
    return row


def line_of(name, row):
    """A row of the table, in Markdown."""
    cells = [f"`{name}`", f"{row['killed']:.0%}"]
    if row["failed"]:
        cells[1] += f" (+{row['failed']:.0%} failed)"
    if "peak" in row:
        cells += [f"{row['at_flush']:.3f}", f"{row['peak']:.3f}", f"{row['smallest']:,}", f"{row['median']:,.0f}",
                  f"{row['ratio']:.2f}", f"{row['per_second']:,.0f}"]
    else:
        cells += ["-"] * 6
    return "| " + " | ".join(cells) + " |"


HEAD = (
    "| strategy | killed | used at the flush | at the peak | smallest batch | median batch | de-duplication | events/s |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- |"
)


def write_results(folder, arguments, rows):
    """bench-cgroup.md, .json and .svg."""
    os.makedirs(folder, exist_ok=True)
    text = [
        f"A cgroup of {arguments.limit} MiB without swap, {arguments.events:,} events, {arguments.runs} runs each; "
        f"{platform.machine()}, Linux {platform.release()}, {os.cpu_count()} CPUs, {datetime.date.today()}."
    ]
    for mix, of_mix in rows.items():
        text += [f"\n{mix}: {stream.MIXES[mix]}\n", HEAD] + [line_of(name, row) for name, row in of_mix.items()]
    with open(os.path.join(folder, "bench-cgroup.md"), "w") as out:
        out.write("\n".join(text) + "\n")
    with open(os.path.join(folder, "bench-cgroup.json"), "w") as out:
        json.dump(rows, out, indent=1)
    with open(os.path.join(folder, "bench-cgroup.svg"), "w") as out:
        out.write(picture.of(rows))


def parse_arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench-cgroup", description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="seeds for each strategy and mix (20)")
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--limit", type=int, default=256, help="of the cgroup, in MiB (256)")
    parser.add_argument("--mix", action="append", choices=list(stream.MIXES), help="only this one; may be repeated")
    parser.add_argument("--strategy", action="append", help="only those whose name begins so; may be repeated")
    parser.add_argument("--list", action="store_true", help="the strategies' names")
    parser.add_argument("--results", default=os.path.join(ROOT, "results"))
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    if arguments.list:
        print("\n".join(NAMES))
        return 0
    names = [n for n in NAMES if not arguments.strategy or any(n.startswith(s) for s in arguments.strategy)]
    rows = {}
    with tempfile.TemporaryDirectory(prefix="membudget-cgroup-", dir=os.environ.get("TMPDIR", "/var/tmp")) as scratch:
        for mix in arguments.mix or stream.MIXES:
            reports = {name: [] for name in names}
            for seed in range(1, arguments.runs + 1):
                path = stream.path_of(scratch, mix, seed, arguments.events)
                for name in names:
                    try:
                        report = run_once(name, path, scratch, arguments.limit << 20)
                    except Unavailable as error:
                        print(f"bench-cgroup: {error}", file=sys.stderr)
                        return 1
                    if report:
                        reports[name].append(report)
                        print(f"{mix} {seed} {line_of(name, summary_of([report]))} {report['error']}", flush=True)
                os.unlink(path)
            rows[mix] = {name: summary_of(of_name) for name, of_name in reports.items() if of_name}
            print(f"\n{mix}: {stream.MIXES[mix]}\n{HEAD}", *(line_of(n, r) for n, r in rows[mix].items()), sep="\n", flush=True)
            write_results(arguments.results, arguments, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
