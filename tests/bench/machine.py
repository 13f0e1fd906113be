"""What it was measured on."""

import datetime
import os
import platform
import re
import subprocess

import variants


def first_match(path, pattern, default="unknown"):
    try:
        with open(path, encoding="utf-8") as file:
            found = re.search(pattern, file.read(), re.MULTILINE)
    except OSError:
        return default
    return found[1].strip() if found else default


def revision():
    """The commit that was measured; "+" when there are changes on top of it."""
    try:
        done = subprocess.run(["git", "describe", "--always", "--dirty=+"], cwd=variants.REPOSITORY, text=True,
                              capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def describe(command):
    """Everything that one has to know to compare the figures with others."""
    return {
        "date": datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "command": command,
        "commit": revision(),
        "cpu": first_match("/proc/cpuinfo", r"^model name\s*:\s*(.*)$", platform.machine()),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "system": first_match("/etc/os-release", r'^PRETTY_NAME="?([^"\n]*)"?$'),
        "libc": " ".join(platform.libc_ver()),
        "load_before": round(os.getloadavg()[0], 2),
    }


def sentence(machine):
    """The same in a line or two."""
    return (f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB; {machine['kernel']}, "
            f"{machine['system']}, {machine['libc']}; load average before: {machine['load_before']}")
