// membudget/membudget.hpp: <membudget/membudget.h> as RAII, for C++17 and later. Header only; link with
// libmembudget-client all the same (pkg-config membudget, or CMake's membudget::client).
//
//   auto budget = membudget::Budget::self();
//   for (const Event &event : events) {
//     batch.add(event);
//     if (budget.crossed()) batch.flush();
//   }
//
//   auto other = membudget::Budget::open("my-service");
//   if (!other.wait_for(membudget::Level::low, 10s)) std::puts("at ease");
//
// Errors are thrown as std::system_error of the generic category, but where a std::error_code is passed.
#ifndef MEMBUDGET_HPP
#define MEMBUDGET_HPP

#include <membudget/membudget.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <exception>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

namespace membudget {

enum class Level : std::uint32_t {
  none = MEMBUDGET_NONE,
  low = MEMBUDGET_LOW,
  medium = MEMBUDGET_MEDIUM,
  critical = MEMBUDGET_CRITICAL,
};

using Snapshot = struct ::membudget_snapshot;

// A budget: this process's, another's, or a group's. Movable, not copyable. Calls on a const object may be
// made from several threads at once.
class Budget {
 public:
  // No budget: it reads as zeros and Level::none and never presses; to wait for it or change it is EINVAL.
  Budget() noexcept = default;

  // This process's; empty when it does not run under membudget. After fork() the child asks anew.
  static Budget self() noexcept { return Budget(::membudget_self()); }

  // The process of that pid or the group of that name.
  static Budget open(const std::string &target) { return checked(open_raw(nullptr, target)); }
  static Budget open(const std::string &target, std::error_code &error) noexcept {
    return noted(open_raw(nullptr, target), error);
  }

  // The same, looked for in the folder `directory`.
  static Budget open_at(const std::string &directory, const std::string &target) {
    return checked(open_raw(directory.c_str(), target));
  }
  static Budget open_at(const std::string &directory, const std::string &target, std::error_code &error) noexcept {
    return noted(open_raw(directory.c_str(), target), error);
  }

  // The group of that name, and never a process: see membudget_open_group().
  static Budget open_group(const std::string &name) {
    membudget_t *handle = nullptr;
    int error = ::membudget_open_group(nullptr, name.c_str(), &handle);
    return checked({error, handle});
  }

  Budget(Budget &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Budget &operator=(Budget &&other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  Budget(const Budget &) = delete;
  Budget &operator=(const Budget &) = delete;
  ~Budget() { ::membudget_close(handle_); }

  // Whether there is a budget.
  explicit operator bool() const noexcept { return handle_ != nullptr; }

  // One load from memory, no system call.
  Level level() const noexcept { return static_cast<Level>(::membudget_level(handle_)); }
  // The level is critical: the budget is crossed.
  bool crossed() const noexcept { return level() >= Level::critical; }

  std::int64_t live_bytes() const noexcept { return ::membudget_live_bytes(handle_); }
  std::int64_t counted_bytes() const noexcept { return ::membudget_counted_bytes(handle_); }
  // 0: no limit.
  std::int64_t limit_bytes() const noexcept { return ::membudget_limit_bytes(handle_); }

  void set_limit(std::int64_t bytes) { check(::membudget_set_limit(handle_, bytes)); }

  // All counters, in one reading.
  Snapshot snapshot() const {
    Snapshot out{};
    check(::membudget_snapshot(handle_, &out, sizeof out));
    return out;
  }

  // How far below the limit the level is critical already; negative: learned from flushes. The own budget only.
  void set_reserve(std::int64_t bytes) { check(::membudget_set_reserve(handle_, bytes)); }

  // Lives as long as a flush, from which the reserve is learned. Without a budget it does nothing.
  class Flush {
   public:
    explicit Flush(Budget &budget) noexcept : handle_(budget.handle_) { ::membudget_flush_begins(handle_); }
    ~Flush() { ::membudget_flush_ends(handle_); }
    Flush(const Flush &) = delete;
    Flush &operator=(const Flush &) = delete;

   private:
    membudget_t *handle_;
  };

  // Sleeps until the level is at least `level`. Throws ESRCH when the target has ended.
  void wait(Level level) { wait_until(level, Clock::time_point::max()); }

  // The same, for so long at most. Whether it was reached.
  template <typename Rep, typename Period>
  bool wait_for(Level level, std::chrono::duration<Rep, Period> timeout) {
    auto now = Clock::now();
    if (timeout >= std::chrono::hours(24 * 365)) return wait_until(level, Clock::time_point::max());
    return wait_until(level, now + std::chrono::ceil<Clock::duration>(timeout));
  }

  // Has free memory handed back to the kernel.
  void trim() { check(::membudget_trim(handle_)); }

  // For the functions of the C interface.
  membudget_t *get() const noexcept { return handle_; }

 private:
  using Clock = std::chrono::steady_clock;
  using Raw = std::pair<int, membudget_t *>;

  explicit Budget(membudget_t *handle) noexcept : handle_(handle) {}

  static Raw open_raw(const char *directory, const std::string &target) noexcept {
    membudget_t *handle = nullptr;
    int error = ::membudget_open_at(directory, target.c_str(), &handle);
    return {error, handle};
  }

  static Budget checked(Raw raw) {
    check(raw.first);
    return Budget(raw.second);
  }

  static Budget noted(Raw raw, std::error_code &error) noexcept {
    error.assign(-raw.first, std::generic_category());
    return Budget(raw.second);
  }

  static void check(int result) {
    if (result < 0) throw std::system_error(-result, std::generic_category(), "membudget");
  }

  // Goes on after signals, until the deadline.
  bool wait_until(Level level, Clock::time_point deadline) {
    for (;;) {
      std::int64_t left_ms = -1;
      if (deadline != Clock::time_point::max()) {
        auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
        left_ms = left.count() > 0 ? left.count() : 0;
      }
      int result = ::membudget_wait(handle_, static_cast<std::uint32_t>(level), left_ms);
      if (result == -ETIMEDOUT) return false;
      if (result == -EINTR) continue;
      check(result);
      return true;
    }
  }

  membudget_t *handle_ = nullptr;
};

// Calls each(const Snapshot &) for every process under membudget in $MEMBUDGET_DIR (or /dev/shm). What it
// throws ends the round and comes out here.
template <typename Function>
void for_each(Function &&each) {
  struct Context {
    std::remove_reference_t<Function> *each;
    std::exception_ptr thrown;
  } context{&each, nullptr};
  int result = ::membudget_for_each(
      nullptr,
      [](const Snapshot *process, void *opaque) -> int {
        auto *to = static_cast<Context *>(opaque);
        try {
          (*to->each)(*process);
          return 0;
        } catch (...) {
          to->thrown = std::current_exception();
          return 1;
        }
      },
      &context);
  if (context.thrown) std::rethrow_exception(context.thrown);
  if (result < 0) throw std::system_error(-result, std::generic_category(), "membudget");
}

}  // namespace membudget

#endif
