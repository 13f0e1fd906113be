// The C++ interface, used by a program of its own process. Passes with a budget of 64 MiB and without one.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <membudget/membudget.hpp>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using membudget::Budget;
using membudget::Level;
using namespace std::chrono_literals;

namespace {

void fail(const char *what, int line) {
  std::fprintf(stderr, "consumer.cc:%d: not so: %s\n", line, what);
  std::exit(1);
}
#define CHECK(condition) ((condition) ? (void)0 : fail(#condition, __LINE__))

template <typename Function>
int error_of(Function &&function) {
  try {
    function();
  } catch (const std::system_error &error) { return error.code().value(); }
  return 0;
}

void check_none() {
  Budget none;
  CHECK(!none && none.level() == Level::none && !none.crossed() && none.live_bytes() == 0 && none.limit_bytes() == 0);
  CHECK(error_of([&] { none.set_limit(1); }) == EINVAL && error_of([&] { none.wait(Level::low); }) == EINVAL);
  std::error_code error;
  CHECK(!Budget::open("no-such-group", error) && error == std::errc::no_such_file_or_directory);
  CHECK(error_of([] { Budget::open("a/b"); }) == EINVAL);
  CHECK(error_of([] { Budget::open_group("no-such-group"); }) == ENOENT);
  CHECK(error_of([] { Budget::open_at("/nonexistent", "x"); }) == ENOENT);
}

void check_waiting(Budget &self, Budget &other) {
  CHECK(!other.wait_for(Level::critical, 20ms) && !self.wait_for(Level::low, 0s));
  std::thread grower([] {
    std::this_thread::sleep_for(50ms);
    std::vector<char> large(65 << 20, 'x');
    std::this_thread::sleep_for(50ms);
  });
  other.wait(Level::critical);
  CHECK(other.crossed());
  grower.join();
  CHECK(self.level() == Level::none && self.snapshot().crossings == 1);
}

void check_budget(Budget self) {
  Budget opened = Budget::open(std::to_string(getpid()));
  Budget other = std::move(opened);
  CHECK(other && !opened && self.limit_bytes() == 64 << 20 && other.limit_bytes() == 64 << 20);
  auto before = self.live_bytes();
  auto block = new char[1000];
  CHECK(other.live_bytes() == before + 1000);
  delete[] block;
  CHECK(self.live_bytes() == before && other.snapshot().pid == getpid());
  CHECK(Budget::open_group(self.snapshot().name).snapshot().pid == 0);
  check_waiting(self, other);
  self.set_limit(32 << 20);
  CHECK(other.limit_bytes() == 32 << 20);
  other.trim();
  int seen = 0;
  membudget::for_each([&](const membudget::Snapshot &process) { seen += process.pid == getpid(); });
  CHECK(seen == 1);
  try {
    membudget::for_each([](const membudget::Snapshot &) { throw std::runtime_error("out of here"); });
    CHECK(false);
  } catch (const std::runtime_error &) {}
}

}  // namespace

int main() {
  check_none();
  Budget self = Budget::self();
  CHECK(static_cast<bool>(self) == (std::getenv("LD_PRELOAD") != nullptr));
  if (self) check_budget(std::move(self));
}
