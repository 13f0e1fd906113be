"""Inputs for the whole programs, generated: the same bytes in every run."""

import random

HEADERS = ("algorithm", "array", "deque", "functional", "future", "iostream", "map", "memory", "numeric", "optional",
           "random", "regex", "set", "sstream", "string", "thread", "tuple", "unordered_map", "variant", "vector")

CPP_UNIT = """\
struct Record{n} {{
  std::string name;
  std::array<double, {size}> values;
  std::map<std::string, std::vector<std::optional<int>>> index;
  auto operator<=>(const Record{n} &other) const {{ return name <=> other.name; }}
  bool operator==(const Record{n} &other) const {{ return name == other.name; }}
}};

template <typename T>
std::unordered_map<std::string, std::variant<T, std::string>> fold{n}(const std::vector<T> &records) {{
  std::unordered_map<std::string, std::variant<T, std::string>> folded;
  for (const auto &record : records) folded.try_emplace(record.name + "{n}", record);
  return folded;
}}

double sum{n}(std::vector<Record{n}> records) {{
  std::sort(records.begin(), records.end());
  std::set<std::tuple<std::string, double, int>> seen;
  for (const auto &record : records)
    seen.emplace(record.name, std::accumulate(record.values.begin(), record.values.end(), 0.0), {n});
  std::function<double(double)> scale = [&](double value) {{ return value * static_cast<double>(seen.size()); }};
  return scale(static_cast<double>(fold{n}(records).size()));
}}
"""


def write_cpp(path, scale):
    """A large C++ file that uses much of the standard library."""
    rng = random.Random(11)
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(f"#include <{header}>\n" for header in HEADERS)
        for n in range(max(1, int(10 * scale))):
            file.write("\n" + CPP_UNIT.format(n=n, size=rng.randint(2, 64)))


def write_sql(path, scale):
    """A bulk insert: rows as text and rows out of a query, with indexes."""
    rng = random.Random(13)
    letters = "abcdefghijklmnopqrstuvwxyz"
    with open(path, "w", encoding="utf-8") as file:
        file.write("PRAGMA journal_mode = OFF;\nPRAGMA synchronous = OFF;\n"
                   "CREATE TABLE event (id INTEGER PRIMARY KEY, key TEXT, score REAL, payload TEXT);\n"
                   "CREATE INDEX event_key ON event (key);\nBEGIN;\n")
        for _ in range(int(60_000 * scale)):
            key = "".join(rng.choices(letters, k=12))
            payload = key * rng.randint(1, 30)
            file.write(f"INSERT INTO event (key, score, payload) VALUES ('{key}', {rng.random():.6f}, '{payload}');\n")
        file.write("COMMIT;\nBEGIN;\nCREATE TABLE copy (id INTEGER PRIMARY KEY, key TEXT, line TEXT);\n"
                   "INSERT INTO copy (key, line) SELECT key, printf('%s:%d:%f', key, id, score) FROM event, "
                   "(VALUES (1), (2), (3)) ORDER BY payload;\nCREATE INDEX copy_line ON copy (line, key);\nCOMMIT;\n"
                   "SELECT count(*), sum(length(line)) FROM copy;\n")
