# title: CPython: its own regression tests
# needs: /usr/bin/python3.11 /usr/lib/python3.11/test/test_dict.py
# packages: python3.11 libpython3.11-testsuite
# version: /usr/bin/python3.11 --version
# processes: /usr/bin/python3.11
# timeout: 1500
# note: The same tests pass, fail and are skipped as without the library.
unset PYTHONDONTWRITEBYTECODE
tests=(test_dict test_list test_set test_tuple test_json test_bytes test_gc test_thread test_queue test_fork1 test_wait4 test_posix
  test_threadsignals test_sqlite3 test_mmap test_memoryview test_array test_struct test_marshal test_zlib test_hashlib
  test_functools test_generators test_coroutines test_context test_exceptions test_atexit test_fileio test_csv test_heapq
  test_deque test_selectors test_code test_ast test_sys_settrace test_pyexpat)
present=()
for test in "${tests[@]}"; do [[ -e /usr/lib/python3.11/test/$test.py || -d /usr/lib/python3.11/test/$test ]] && present+=("$test"); done
run() { /usr/bin/python3.11 -m test -j2 --timeout 300 --junit-xml "$@" > log 2>&1 || true; }
run results.xml "${present[@]}"
run asyncio.xml test_asyncio -m '*Queue*' -m '*SubprocessMixin*'
run processes.xml test_multiprocessing_fork test_subprocess test_threading -m '*WithProcessesTestQueue*' -m '*ProcessTestCase*std*' \
  -m '*test_threading.ThreadTests*' -m '*WithProcessesTestValue*' -m '*WithThreadsTestEvent*'
/usr/bin/python3.11 - results.xml asyncio.xml processes.xml <<'END'
import sys, xml.etree.ElementTree as tree
for path in sys.argv[1:]:
    cases = {}
    for case in tree.parse(path).iter("testcase"):
        what = [part.tag for part in case if part.tag in ("failure", "error", "skipped")] or ["passed"]
        cases[case.get("name")] = what[0]
    print(path, len(cases), {w: sum(v == w for v in cases.values()) for w in sorted(set(cases.values()))})
    for name in sorted(cases):
        if cases[name] not in ("passed", "skipped"): print(name, cases[name])
END
