"""What libmembudget.so is to the dynamic linker: its symbols, what it needs, that it is silent."""

import os
import re

import harness

EXPECTED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "exported_symbols.txt")


def tool(*command):
    status, output, errors = harness.run(list(command), harness.CLEAN)
    assert status == 0, errors
    return output.decode()


class LibraryFile(harness.Case):
    def test_exports_what_the_list_says(self):
        with open(EXPECTED, encoding="utf-8") as lines:
            expected = {line.strip() for line in lines if line.strip() and not line.startswith("#")}
        exported = {line.split()[-1] for line in tool("nm", "-D", "--defined-only", harness.LIBRARY).splitlines()}
        self.assertEqual(sorted(exported), sorted(expected))

    def test_its_symbols_have_no_version(self):
        """One of a named node would not be found by programs that were linked without it."""
        for line in tool("nm", "-D", "--defined-only", "--with-symbol-versions", harness.LIBRARY).splitlines():
            self.assertNotIn("@", line)

    def test_needs_glibc_only(self):
        needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", tool("readelf", "-d", harness.LIBRARY)))
        self.assertIn("libc.so.6", needed)
        self.assertLessEqual(needed, {"libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"})

    def test_calls_no_point_of_cancellation(self):
        """malloc is none, and cancellation is not switched off for it: open, write and close are jemalloc's."""
        imported = {line.split()[-1].split("@")[0] for line in tool("nm", "-D", "--undefined-only", harness.LIBRARY).splitlines()}
        self.assertIn("syscall", imported)
        self.assertEqual(imported & {"read", "pread", "pwrite", "nanosleep", "clock_nanosleep", "usleep", "sleep", "poll",
                                     "select", "fcntl", "fsync", "openat", "fopen", "waitpid", "sem_wait"}, set())

    def test_needs_no_newer_glibc_than_debian_12_has(self):
        for version in re.findall(r"GLIBC_(\d+)\.(\d+)", tool("nm", "-D", harness.LIBRARY)):
            self.assertLessEqual(tuple(map(int, version)), (2, 36))

    def test_is_bound_like_a_library_that_is_always_there(self):
        """Its thread-local memory has to fit where static TLS is, and it is not unloaded."""
        headers = tool("readelf", "-lW", harness.LIBRARY)
        tls = re.search(r"^\s*TLS\s+\S+\s+\S+\s+\S+\s+\S+\s+(\S+)", headers, re.MULTILINE)
        if tls:
            self.assertLess(int(tls[1], 16), 16384)
        self.assertNotRegex(headers, r"GNU_STACK.*RWE")

    def test_is_silent(self):
        for command in (["true"], ["sh", "-c", "true"], ["env", "-i", "true"]):
            result = harness.run(command, harness.preloaded(self.blocks))
            self.assertEqual(result, (0, b"", b""))
        status, output, errors = harness.run(["echo", "text"], harness.preloaded(self.blocks, MEMBUDGET_LIMIT="1K"))
        self.assertEqual((status, output, errors), (0, b"text\n", b""))

    def test_keeps_exit_status_and_signals(self):
        environment = harness.preloaded(self.blocks)
        self.assertEqual(harness.run(["sh", "-c", "exit 37"], environment)[0], 37)
        self.assertEqual(harness.run(["sh", "-c", "kill -TERM $$"], environment)[0], -15)
        self.assertEqual(harness.run(["sh", "-c", "kill -SEGV $$"], environment)[0], -11)

    def test_works_without_standard_streams(self):
        result = harness.run(["sh", "-c", "exec <&- >&- 2>&-; sh -c 'exit 5'"], harness.preloaded(self.blocks))
        self.assertEqual(result, (5, b"", b""))


if __name__ == "__main__":
    harness.main()
