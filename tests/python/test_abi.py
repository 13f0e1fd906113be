"""The structures of _abi.py are those of <membudget/abi.h>, to the byte."""

import ctypes
import os
import shutil
import subprocess
import tempfile
import unittest

from support import ROOT
from membudget import _abi

STRUCTURES = {
    "membudget_amount": _abi.Amount,
    "membudget_shard": _abi.Shard,
    "membudget_process": _abi.Process,
    "membudget_header": _abi.Header,
}
CONSTANTS = {
    "MEMBUDGET_MAGIC": _abi.MAGIC,
    "MEMBUDGET_ABI_VERSION": _abi.ABI_VERSION,
    "MEMBUDGET_NAME_MAX": _abi.NAME_MAX,
    "MEMBUDGET_SHARDS": _abi.SHARDS,
    "MEMBUDGET_PROCESSES": _abi.PROCESSES,
    "MEMBUDGET_HEADER_BYTES": _abi.HEADER_BYTES,
    "MEMBUDGET_BLOCK_BYTES": _abi.BLOCK_BYTES,
    "MEMBUDGET_PROCESS_FREE": _abi.PROCESS_FREE,
    "MEMBUDGET_PROCESS_STARTING": _abi.PROCESS_STARTING,
    "MEMBUDGET_PROCESS_LIVE": _abi.PROCESS_LIVE,
    "MEMBUDGET_PROCESS_LEAVING": _abi.PROCESS_LEAVING,
    "MEMBUDGET_PROCESS_EXECED": _abi.PROCESS_EXECED,
    "MEMBUDGET_NONE": _abi.NONE,
    "MEMBUDGET_LOW": _abi.LOW,
    "MEMBUDGET_MEDIUM": _abi.MEDIUM,
    "MEMBUDGET_CRITICAL": _abi.CRITICAL,
}


def c_program():
    """Prints `name number` for every constant, size, offset and member's size."""
    prints = [f'  printf("{name} %llu\\n", (unsigned long long){name});' for name in CONSTANTS]
    for name, structure in STRUCTURES.items():
        prints.append(f'  printf("{name} %zu\\n", sizeof(struct {name}));')
        for field, *_ in structure._fields_:
            member = f"((struct {name} *)0)->{field}"
            prints.append(
                f'  printf("{name}.{field} %zu %zu\\n", offsetof(struct {name}, {field}), sizeof {member});'
            )
    return (
        "#include <stddef.h>\n#include <stdio.h>\n#include <membudget/abi.h>\n"
        "int main(void) {\n" + "\n".join(prints) + "\n}\n"
    )


def expected():
    lines = [f"{name} {value}" for name, value in CONSTANTS.items()]
    for name, structure in STRUCTURES.items():
        lines.append(f"{name} {ctypes.sizeof(structure)}")
        for field, *_ in structure._fields_:
            descriptor = getattr(structure, field)
            lines.append(f"{name}.{field} {descriptor.offset} {descriptor.size}")
    return lines


class AbiTest(unittest.TestCase):
    def test_equals_the_header(self):
        compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
        with tempfile.TemporaryDirectory() as folder:
            program = os.path.join(folder, "offsets")
            subprocess.run(
                [compiler, "-I", os.path.join(ROOT, "control/include"), "-x", "c", "-", "-o", program],
                input=c_program(), text=True, check=True,
            )
            printed = subprocess.run([program], stdout=subprocess.PIPE, text=True, check=True).stdout
        self.assertEqual(printed.splitlines(), expected())

    def test_strings(self):
        with open(os.path.join(ROOT, "control/include/membudget/abi.h")) as file:
            text = file.read()
        self.assertIn(f'#define MEMBUDGET_FILE_PREFIX "{_abi.FILE_PREFIX}"', text)
        self.assertIn(f'#define MEMBUDGET_DEFAULT_DIR "{_abi.DEFAULT_DIR}"', text)


if __name__ == "__main__":
    unittest.main()
