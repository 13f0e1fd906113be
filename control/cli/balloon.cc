// membudget balloon: take memory for a while, so that the kernel reclaims what others gave back with MADV_FREE.
#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "control/cli/cgroup.h"
#include "control/cli/options.h"
#include "control/cli/report.h"
#include "control/cli/text.h"

namespace membudget::cli {
namespace {

constexpr int64_t kStepBytes = 4 << 20;  // between two looks at what is left

constexpr const char *kFooter =
    "Pages that a process gave back with MADV_FREE stay in its RSS until the kernel needs memory. This takes and\n"
    "touches SIZE bytes in a memory cgroup, its own or that of --into, and prints each target's LazyFree and RSS\n"
    "before and after: what falls was free, what stays is in use.\n"
    "It takes no more than the cgroup and the machine can give without killing anybody: before it starts, and again\n"
    "every 4 MiB, it looks at what is left, and refuses or stops with the figures. Should the kernel have to kill\n"
    "all the same, the balloon is the first to go.\n"
    "Exit status: 0; 1 refused, or stopped before SIZE was reached; 2 wrong arguments; 3 no such target.\n\n"
    "  membudget balloon --size 1G --into web";

struct Request {
  int64_t size_bytes = 0;
  double hold_s = 1;
  std::string into;
  bool as_json = false;
};

struct Sight {
  Snapshot counters;
  std::optional<ProcessMemory> before, after;
};

// What the child tells when it has done what it can.
struct Result {
  int64_t taken_bytes = 0;
  int error = 0;  // errno of what failed, or 0
};

void write_text(const std::string &path, const std::string &text, int *error) {
  int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, text.data(), text.size()) < 0) *error = errno;
  if (fd >= 0) close(fd);
}

// In the child. Steps are taken as long as what is left allows.
Result inflate(int64_t size_bytes) {
  Result result;
  size_t size = static_cast<size_t>(size_bytes);
  void *memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return result.error = errno, result;
  madvise(memory, size, MADV_NOHUGEPAGE);  // or a step could take more than was looked at
  while (result.taken_bytes < size_bytes) {
    int64_t step = std::min(kStepBytes, size_bytes - result.taken_bytes);
    if (read_headroom(getpid()).bytes < step) break;
    memset(static_cast<char *>(memory) + result.taken_bytes, 1, static_cast<size_t>(step));
    result.taken_bytes += step;
  }
  return result;
}

// The process that takes the memory: the kernel's first choice if it has to kill.
class Balloon {
 public:
  // Starts it in the cgroup of that folder, unless that is empty; waits until it is blown up.
  Balloon(int64_t size_bytes, const std::string &folder) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0 || (child_ = fork()) < 0)
      throw Failure{kFailed, fmt::format("cannot start a process: {}", strerror(errno))};
    if (child_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      Result result;
      int ignored = 0;
      write_text("/proc/self/oom_score_adj", "1000", &ignored);
      if (!folder.empty()) write_text(folder + "/cgroup.procs", std::to_string(getpid()), &result.error);
      if (result.error == 0) result = inflate(size_bytes);
      if (write(ends[1], &result, sizeof result) != sizeof result) _exit(1);
      for (;;) pause();
    }
    close(ends[1]);
    is_alive_ = read(ends[0], &result_, sizeof result_) == static_cast<ssize_t>(sizeof result_);
    close(ends[0]);
  }

  ~Balloon() {
    kill(child_, SIGKILL);
    while (waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {}
  }

  Balloon(const Balloon &) = delete;
  Balloon &operator=(const Balloon &) = delete;

  bool is_alive() const { return is_alive_; }  // false: it was killed
  const Result &result() const { return result_; }

 private:
  pid_t child_ = -1;
  bool is_alive_ = false;
  Result result_;
};

Request parse_request(const Arguments &arguments) {
  Options app("balloon", "Press on memory, so that the kernel takes what was lazily freed.", kFooter);
  Request request;
  std::string size;
  app.add_option("--size", size, "How much to take")->required()->type_name("SIZE");
  app.add_seconds("--hold", &request.hold_s, 0, "How long to hold it before looking again (default: 1)");
  app.add_option("--into", request.into, "Press in the memory cgroup of this pid or group")->type_name("TARGET");
  app.add_flag("--json", request.as_json, "Print a JSON object");
  app.add_directory();
  app.read(arguments);
  request.size_bytes = parse_size("--size", size, whole_memory_bytes(getpid()));
  if (request.size_bytes <= 0) throw Failure{kUsage, fmt::format("--size {}: nothing to take", size)};
  return request;
}

void hold(double seconds) {
  timespec left{static_cast<time_t>(seconds), static_cast<long>((seconds - std::floor(seconds)) * 1e9)};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) {}
}

std::vector<Sight> look_before() {
  std::vector<Sight> sights;
  for (const Snapshot &process : list_processes())
    sights.push_back({process, read_memory(process.seen_pid), std::nullopt});
  return sights;
}

// The process whose cgroup is pressed in.
pid_t pressed_pid(const Request &request) {
  if (request.into.empty()) return getpid();
  Budget budget = open_target(request.into);
  Snapshot snapshot = read_snapshot(budget.get(), request.into);
  std::vector<Snapshot> members = list_processes(snapshot.name);
  if (snapshot.pid == 0 && members.empty()) throw Failure{kNoTarget, fmt::format("'{}' has ended", request.into)};
  return snapshot.pid != 0 ? snapshot.seen_pid : members[0].seen_pid;
}

std::string folder_for(const Request &request, pid_t pid) {
  if (request.into.empty()) return "";
  auto folder = cgroup_folder(pid);
  if (!folder) throw Failure{kFailed, "the target's memory cgroup cannot be seen from here"};
  if (access((*folder + "/cgroup.procs").c_str(), W_OK) != 0)
    throw Failure{kFailed, fmt::format("{} is not yours to write; run this as root, or inside that cgroup",
                                       *folder + "/cgroup.procs")};
  return *folder;
}

int64_t lazy(const std::optional<ProcessMemory> &memory) { return memory ? memory->lazy_free_bytes : 0; }
int64_t rss(const std::optional<ProcessMemory> &memory) { return memory ? memory->rss_bytes : 0; }

Json sights_json(const std::vector<Sight> &sights) {
  Json targets = Json::array();
  for (const Sight &sight : sights) {
    Json json{{"pid", sight.counters.pid}, {"name", sight.counters.name}};
    if (sight.before && sight.after) {
      json["lazy_free_before_bytes"] = lazy(sight.before);
      json["lazy_free_after_bytes"] = lazy(sight.after);
      json["rss_before_bytes"] = rss(sight.before);
      json["rss_after_bytes"] = rss(sight.after);
    }
    targets.push_back(json);
  }
  return targets;
}

std::string sights_text(const std::vector<Sight> &sights) {
  std::vector<std::vector<std::string>> rows = {
      {"PID", "LAZYFREE BEFORE", "AFTER", "RSS BEFORE", "AFTER", "NAME", "COMMAND"}};
  for (const Sight &sight : sights) {
    auto cell = [](const std::optional<ProcessMemory> &memory, int64_t bytes) {
      return memory ? human_bytes(bytes) : std::string("?");
    };
    rows.push_back({std::to_string(sight.counters.pid), cell(sight.before, lazy(sight.before)),
                    cell(sight.after, lazy(sight.after)), cell(sight.before, rss(sight.before)),
                    cell(sight.after, rss(sight.after)), printable(sight.counters.name),
                    printable(sight.counters.command)});
  }
  return sights.empty() ? "Nothing runs under membudget.\n" : table(rows, 0x1f, terminal_width());
}

}  // namespace

int balloon_command(const Arguments &arguments) {
  Request request = parse_request(arguments);
  pid_t pressed = pressed_pid(request);
  std::string folder = folder_for(request, pressed);
  Headroom headroom = read_headroom(pressed);
  if (request.size_bytes > headroom.bytes)
    throw Failure{kFailed, fmt::format("taking {} could get processes killed: {}; at most {} can be taken",
                                       human_bytes(request.size_bytes), headroom.reason, human_bytes(headroom.bytes))};
  std::vector<Sight> sights = look_before();
  Balloon balloon(request.size_bytes, folder);
  if (!balloon.is_alive()) throw Failure{kFailed, "the kernel killed the balloon, as the first choice for memory"};
  if (balloon.result().error != 0)
    throw Failure{kFailed,
                  fmt::format("cannot take {}: {}", human_bytes(request.size_bytes), strerror(balloon.result().error))};
  hold(request.hold_s);
  for (Sight &sight : sights) sight.after = read_memory(sight.counters.seen_pid);
  int64_t taken = balloon.result().taken_bytes;
  if (request.as_json)
    fmt::print("{}\n", json_text({{"size_bytes", request.size_bytes},
                                  {"taken_bytes", taken},
                                  {"available_bytes", headroom.bytes},
                                  {"targets", sights_json(sights)}}));
  else
    fmt::print("Took {} of at most {}.\n{}", human_bytes(taken), human_bytes(headroom.bytes), sights_text(sights));
  if (taken < request.size_bytes)
    throw Failure{kFailed, fmt::format("stopped at {} of {}: {}", human_bytes(taken), human_bytes(request.size_bytes),
                                       read_headroom(pressed).reason)};
  return kOk;
}

}  // namespace membudget::cli
