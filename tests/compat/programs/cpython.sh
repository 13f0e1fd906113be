# title: CPython: its own regression tests
# needs: /usr/bin/python3.11 /usr/lib/python3.11/test/test_dict.py
# packages: python3.11 libpython3.11-testsuite
# version: /usr/bin/python3.11 --version
# processes: /usr/bin/python3.11
# timeout: 1500
# note: The same tests pass, fail and are skipped as without the library.
unset PYTHONDONTWRITEBYTECODE
tests=(test_dict test_list test_set test_tuple test_json test_re test_bytes test_str test_unicode test_int test_float test_gc
  test_weakref test_thread test_threading test_thread_local_bytes test_threadsignals test_queue test_fork1 test_wait4 test_os test_posix
  test_subprocess test_signal test_faulthandler test_sqlite3 test_ctypes test_mmap test_buffer test_memoryview test_array
  test_struct test_pickle test_marshal test_zlib test_bz2 test_lzma test_hashlib test_ssl_basic test_xml_etree_c test_pyexpat
  test_functools test_itertools test_generators test_coroutines test_asyncgen test_context test_contextlib test_exceptions test_capi
  test_atexit test_io test_fileio test_tempfile test_csv test_decimal test_random test_sort test_heapq test_deque
  test_multiprocessing_main_handling test_concurrent_futures_basic test_selectors test_socketserver test_code test_compile test_ast test_sys_settrace)
present=()
for test in "${tests[@]}"; do [[ -e /usr/lib/python3.11/test/$test.py || -d /usr/lib/python3.11/test/$test ]] && present+=("$test"); done
run() { /usr/bin/python3.11 -m test -j2 --timeout 300 --junit-xml "$@" > log 2>&1 || true; }
run results.xml "${present[@]}"
run asyncio.xml test_asyncio -m '*Task*' -m '*Queue*' -m '*Subprocess*'
run processes.xml test_multiprocessing_fork -m '*WithProcessesTestQueue*' -m '*WithProcessesTestPool*' -m '*WithThreadsTestEvent*' -m '*TestProcess*'
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
