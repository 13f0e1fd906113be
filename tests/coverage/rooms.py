#!/usr/bin/env python3
"""Sums of `llvm-cov export -summary-only` and of its lcov form, by room and by file.

usage: rooms.py ROOT SUMMARY.json LINES.lcov

Prints a table of rooms, one of files, and the lines of each file that did not run.
"""

import json
import os
import sys

ROOMS = ("preload/stacks", "preload/profile", "preload", "allocator", "control/block", "control/client",
         "control/cli", "control/include", "control/python")


def room_of(path):
    return next((room for room in ROOMS if path.startswith(room + "/")), None)


def missed_lines(root, file):
    """File -> its lines that were never reached, as "12-15 20"."""
    missed, path = {}, None
    with open(file, encoding="utf-8") as text:
        for line in text:
            kind, _, value = line.rstrip("\n").partition(":")
            if kind == "SF":
                path = os.path.relpath(value, root)
            elif kind == "DA":
                number, count = value.split(",")[:2]
                if count == "0":
                    missed.setdefault(path, []).append(int(number))
    return {path: ranges(sorted(numbers)) for path, numbers in missed.items()}


def ranges(numbers):
    """[1, 2, 3, 7] -> "1-3 7"."""
    spans = []
    for number in numbers:
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return " ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def row(name, counts):
    covered, total = counts
    share = f"{100 * covered / total:.1f} %" if total else "-"
    return f"| {name} | {total} | {total - covered} | {share} |"


def main():
    root, summary, lcov = sys.argv[1:]
    with open(summary, encoding="utf-8") as text:
        files = json.load(text)["data"][0]["files"]
    by_file, by_room = {}, {room: [0, 0] for room in ROOMS}
    for file in files:
        path = os.path.relpath(file["filename"], root)
        if room := room_of(path):
            lines = file["summary"]["lines"]
            by_file[path] = (lines["covered"], lines["count"])
            for index in (0, 1):
                by_room[room][index] += by_file[path][index]
    missed = missed_lines(root, lcov)
    print("| room | lines | not reached | reached |\n| --- | --- | --- | --- |")
    for room in sorted(room for room in ROOMS if by_room[room][1]):
        print(row(room, by_room[room]))
    print(row("all", [sum(counts[index] for counts in by_room.values()) for index in (0, 1)]))
    print("\n| file | lines | not reached | reached |\n| --- | --- | --- | --- |")
    for path in sorted(by_file):
        print(row(path, by_file[path]))
    print("\nLines not reached:\n")
    for path in sorted(missed):
        if room_of(path):
            print(f"{path}: {missed[path]}")


if __name__ == "__main__":
    main()
