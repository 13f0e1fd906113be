"""Real programs under the library, on one allocator: they do what they do without it, and every process
they are made of is counted to the byte."""

import os
import shutil
import sys

import harness

SHELL = r"""
set -e
seq 1 60000 | sort -rn | awk '{ s += $1 } NR % 5000 == 0 { print NR, s }' | sed 's/0/zero/g' | tr a-z A-Z
for i in 1 2 3 4 5 6 7 8 9 10; do
  text=$(printf '%s-%d\n' "$i" $((i * i)) | cat | grep -c "$i")
  echo "$i: $text"
done
(echo in a subshell; exit 3) || echo "left with $?"
cat > words <<END
the quick brown fox $(echo jumps) over the lazy dog
END
xargs -n 1 echo < words | sort | uniq -c | head -n 5
find . -name 'words' -exec wc -c {} \;
mkdir -p many && (cd many && seq 1 300 | xargs touch && ls | sort -n | tail -n 2)
tar cf - many words | tar tf - | sort | md5sum
gzip -9 < words | gzip -dc | cmp - words && echo the same
{ sleep 0.1; echo from the background; } & wait
exec sh -c 'trap "echo trapped" EXIT; echo at the end'
"""

GIT = r"""
set -e
git init -q -b main repo && cd repo
for i in 1 2 3 4 5 6 7 8; do
  seq $((i * 100)) $((i * 100 + 900)) > "file-$((i % 3))"
  mkdir -p "dir-$i" && seq 1 "$i" | xargs -I{} sh -c 'echo "content of {}" > dir-'"$i"'/{}'
  git add -A && git commit -q -m "commit $i"
done
git checkout -q -b side HEAD~3 && echo side > side && git add side && git commit -q -m side
git checkout -q main && git merge -q --no-ff -m merged side
git gc -q --aggressive --prune=now && git fsck --full --strict
git repack -q -a -d -f --window=20 --threads=2
git log --stat --format='%H %s' && git rev-parse HEAD && git diff HEAD~4 | tail -n 5
git clone -q . ../clone && git -C ../clone status --short --branch && git -C ../clone blame file-1 | md5sum
"""

PYTHON = r"""
import collections, hashlib, json, re, sqlite3, subprocess, sys, threading, zlib
from concurrent.futures import ThreadPoolExecutor
rows = [{"key": i * 7919 % 1000, "text": "x" * (i % 97), "list": list(range(i % 13))} for i in range(20000)]
text = json.dumps(rows)
assert json.loads(text) == rows
kept = {row["key"]: row for row in rows}
counts = collections.Counter(re.findall(r"x+", text))
with ThreadPoolExecutor(4) as pool:
    parts = list(pool.map(lambda i: zlib.crc32(text[i::4].encode()), range(4)))
def dig(depth): return depth if depth == 0 else dig(depth - 1)
threads = [threading.Thread(target=dig, args=(500,)) for _ in range(20)]
for thread in threads: thread.start()
for thread in threads: thread.join()
base = sqlite3.connect(":memory:")
base.execute("create table t (a, b)")
base.executemany("insert into t values (?, ?)", ((row["key"], row["text"]) for row in rows))
print(len(kept), len(counts), parts, base.execute("select count(*), sum(length(b)) from t").fetchone())
print(subprocess.run(["sh", "-c", "echo child | md5sum"], capture_output=True, text=True).stdout.strip())
print(hashlib.sha256(text.encode()).hexdigest(), int.from_bytes(bytes(range(200)), "big") ** 9 % 10**9)
"""

CPP = r"""
#include <algorithm>
#include <iostream>
#include <map>
#include <string>
#include <vector>
template <int N> struct Sum { static constexpr long value = N + Sum<N - 1>::value; };
template <> struct Sum<0> { static constexpr long value = 0; };
int main() {
  std::map<std::string, std::vector<int>> words;
  for (int i = 0; i < 5000; i++) words[std::to_string(i % 77)].push_back(i * 31 % 1009);
  long sum = Sum<400>::value;
  for (auto &[word, list] : words) {
    std::sort(list.begin(), list.end());
    sum += list[list.size() / 2] * static_cast<long>(word.size());
  }
  std::cout << sum << "\n";
}
"""

SQL = """
pragma cache_size = 400;
create table events (id integer primary key, name text, amount real, payload blob);
begin;
with recursive n(i) as (select 1 union all select i + 1 from n where i < 60000)
insert into events select i, 'name ' || (i * 7919 % 1000), i / 7.0, zeroblob(i % 300) from n;
commit;
create index by_name on events (name, amount);
select count(*), count(distinct name), round(sum(amount), 3), sum(length(payload)) from events;
select name, count(*), max(amount) from events group by name order by 3 desc, 1 limit 5;
delete from events where id % 3 = 0;
vacuum;
pragma integrity_check;
"""


class Programs(harness.Case):
    """Each runs plain, then under the library, then behind the reference, in folders of the same name."""

    def compare(self, command, *programs, files=(), **settings):
        plain = self.run_fresh(command, harness.CLEAN, files)
        self.assertEqual(plain[0], 0, plain)
        under = self.run_fresh(command, harness.preloaded(self.blocks, **settings), files)
        self.assertEqual(under, plain)
        report = self.file("report")
        behind = self.run_fresh(command, harness.preloaded(self.blocks, reference=report, **settings), files)
        self.assertEqual(behind, plain)
        self.check_report(report, *programs)

    def run_fresh(self, command, environment, files):
        """In an empty folder: exit status, output, errors, and the content of the files it wrote."""
        work = self.file("work")
        shutil.rmtree(work, ignore_errors=True)
        os.mkdir(work)
        result = harness.run(command, dict(environment, HOME=work), work)
        contents = []
        for name in files:
            with open(os.path.join(work, name), "rb") as file:
                contents.append(file.read())
        return (*result, contents)

    def test_shell(self):
        self.compare(["sh", "-c", SHELL], "sh", "sort", "awk", "sed", "xargs", "find", "tar", "gzip")

    def test_bash(self):
        self.compare(["bash", "-c", SHELL + "\n"], "bash", "sort")

    def test_git(self):
        stamp = [f"GIT_{who}_{what}" for who in ("AUTHOR", "COMMITTER")
                 for what in ("NAME=A", "EMAIL=a@example.org", "DATE=1700000000 +0000")]
        self.compare(["env", *stamp, "GIT_CONFIG_NOSYSTEM=1", "sh", "-c", GIT], "git")

    def test_python(self):
        script = self.file("script.py", PYTHON)
        self.compare([sys.executable, script], "python", "sh")

    def test_python_counts_small_objects_either_way(self):
        script = self.file("script.py", PYTHON)
        for way in ("malloc", "keep"):
            self.compare([sys.executable, script], "python", MEMBUDGET_PYTHONMALLOC=way)

    def test_compiler(self):
        source = self.file("program.cpp", CPP)
        self.compare(["sh", "-c", f"g++ -O1 -std=c++17 -o program {source} && ./program"], "cc1plus", "as", "program",
                     files=["program"])

    def test_sqlite(self):
        script = self.file("script.sql", SQL)
        self.compare(["sqlite3", "-bail", "base.db", f".read {script}"], "sqlite3", files=["base.db"])

    def test_a_budget_changes_nothing(self):
        script = self.file("script.sql", SQL)
        self.compare(["sqlite3", "-bail", "base.db", f".read {script}"], "sqlite3", files=["base.db"],
                     MEMBUDGET_LIMIT="1M", MEMBUDGET_NAME="budget")


if __name__ == "__main__":
    harness.main()
