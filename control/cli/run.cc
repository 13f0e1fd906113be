// membudget run: check the settings, then run a command under the library, in this process's place.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "control/cli/environment.h"
#include "control/cli/library.h"
#include "control/cli/limits.h"
#include "control/cli/options.h"
#include "control/cli/probe.h"
#include "control/cli/program.h"
#include "control/cli/summary.h"
#include "control/cli/supervise.h"
#include "control/cli/target.h"

namespace membudget::cli {
namespace {

struct Setting {
  const char *option;
  const char *variable;
  const char *type;
  const char *help;
  bool is_limit = false;  // belongs to the group: whoever comes first sets it
};

constexpr Setting kSettings[] = {
    {"--limit", "MEMBUDGET_LIMIT", "SIZE", "The budget: a size, or a share of the memory cgroup like 80%", true},
    {"--allocator", "MEMBUDGET_ALLOCATOR", "NAME", "ptmalloc, jemalloc, mimalloc, tcmalloc, or a library's path"},
    {"--hard-limit", "MEMBUDGET_HARD_LIMIT", "SIZE", "Where allocations begin to fail", true},
    {"--name", "MEMBUDGET_NAME", "NAME", "The group's name (default: the command's pid, or PID-2 and so on)"},
    {"--measure", "MEMBUDGET_MEASURE", "WHAT", "What is held against the limit: counted or footprint", true},
    {"--low", "MEMBUDGET_LOW", "SIZE", "Where level low begins (default: 90% of the limit)", true},
    {"--medium", "MEMBUDGET_MEDIUM", "SIZE", "Where level medium begins (default: 97%)", true},
    {"--release", "MEMBUDGET_RELEASE", "SIZE", "How far below its mark a level falls (default: 2%)", true},
    {"--children", "MEMBUDGET_CHILDREN", "HOW", "Child processes: join, own or ignore"},
    {"--dir", "MEMBUDGET_DIR", "DIR", "Where the shared blocks live (default: /dev/shm)"},
    {"--mmap-threshold", "MEMBUDGET_MMAP_THRESHOLD", "SIZE",
     "ptmalloc: from where on blocks are mapped (128K; default)"},
    {"--trim-threshold", "MEMBUDGET_TRIM_THRESHOLD", "SIZE",
     "ptmalloc: how much may lie free at its end (128K; default)"},
    {"--arenas", "MEMBUDGET_ARENAS", "N", "ptmalloc: how many arenas at the most (default)"},
    {"--pythonmalloc", "MEMBUDGET_PYTHONMALLOC", "HOW", "CPython's small objects: auto, malloc or keep"},
    {"--profile-dir", "MEMBUDGET_PROFILE_DIR", "DIR",
     "Where profiles are written at crossings and at exit (with --profile: the working directory)"},
    {"--log", "MEMBUDGET_LOG", "HOW", "What the library says on standard error: quiet, warn or info"},
};

struct Request {
  std::vector<std::string> values = std::vector<std::string>(std::size(kSettings));
  std::vector<std::string> variables;  // NAME=VALUE
  std::string profile;                 // mean bytes between sampled stacks; empty: as the environment says
  bool with_summary = false;
  bool as_json = false;
  bool sets_limits = false;
  Arguments command;
};

constexpr const char *kFooter =
    "Without --summary the command replaces this process: same pid, its own exit status. Settings not given\n"
    "here are taken from the environment (MEMBUDGET_LIMIT and so on).\n"
    "Exit status: the command's; 2 wrong arguments or settings, or a command that no library can be "
    "preloaded\n"
    "into; 126 it may not be executed; 127 there is none.\n\n"
    "  membudget run --limit 512M -- python3 service.py\n"
    "  membudget run --limit 80% --allocator jemalloc --name web --summary -- ./server --port 80";

Request parse_request(const Arguments &arguments) {
  Request request;
  Options app("run", "Run a command under a memory budget.", kFooter);
  app.set_usage("\nUsage: membudget run [OPTIONS] -- COMMAND [ARGUMENTS...]");
  for (size_t i = 0; i < std::size(kSettings); ++i)
    app.add_option(kSettings[i].option, request.values[i], kSettings[i].help)->type_name(kSettings[i].type);
  app.add_flag("--profile{512K}", request.profile,
               "Take stacks of blocks that far apart, 512K unless given; see `membudget profile`");
  app.add_flag("--summary", request.with_summary, "Stay as its parent, and print what it used at the end");
  app.add_flag("--json", request.as_json, "With --summary: print it as a JSON object, on standard error, too")
      ->needs("--summary");
  app.add_option("--env", request.variables, "Set a variable for the command; may be given again")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
  request.command = app.read_with_command(arguments);
  if (request.command.empty()) throw Failure{kUsage, "run: no command given; see `membudget run --help`"};
  for (size_t i = 0; i < std::size(kSettings); ++i) {
    if (request.values[i].empty() && app.count(kSettings[i].option) > 0)
      throw Failure{kUsage, fmt::format("run: {} is given nothing; leave it out for the default", kSettings[i].option)};
    request.sets_limits |= kSettings[i].is_limit && !request.values[i].empty();
  }
  return request;
}

// A command started from within a group, without a name for its own, gets a budget of its own.
void leave_own_group(Environment *environment) {
  Snapshot own{};
  if (membudget_snapshot(membudget_self(), &own, sizeof own) == 0 && environment->get("MEMBUDGET_NAME") == own.name)
    environment->unset("MEMBUDGET_NAME");
}

Environment make_environment(const Request &request) {
  Environment environment;
  leave_own_group(&environment);
  for (const std::string &variable : request.variables) {
    size_t equals = variable.find('=');
    if (equals == 0 || equals == std::string::npos)
      throw Failure{kUsage, fmt::format("run: --env {}: write NAME=VALUE", variable)};
    environment.set(variable.substr(0, equals), variable.substr(equals + 1));
  }
  for (size_t i = 0; i < std::size(kSettings); ++i)
    if (!request.values[i].empty()) environment.set(kSettings[i].variable, request.values[i]);
  if (!request.profile.empty()) {
    environment.set("MEMBUDGET_PROFILE", request.profile);
    if (environment.get("MEMBUDGET_PROFILE_DIR").value_or("").empty())
      environment.set("MEMBUDGET_PROFILE_DIR", std::filesystem::current_path().string());
  }
  preload(&environment, find_library());
  return environment;
}

std::string value_or(const Environment &environment, const char *variable, const char *fallback) {
  std::string value = environment.get(variable).value_or("");
  return value.empty() ? fallback : value;
}

bool is_running(const std::string &directory, const std::string &name) {
  membudget_t *group = nullptr;
  bool is_there = !name.empty() && membudget_open_group(directory.c_str(), name.c_str(), &group) == 0;
  membudget_close(group);
  return is_there;
}

// Limits belong to the group: one that runs already keeps its own.
void warn_of_limits(const Request &request, const Environment &environment, const std::string &directory,
                    const std::string &name) {
  std::string warning;
  if (!is_running(directory, name))
    warning = hard_limit_warning(environment);
  else if (request.sets_limits)
    warning = fmt::format("group '{0}' runs already and keeps its limits; change them with `membudget set {0}`", name);
  if (!warning.empty()) fmt::print(stderr, "membudget: {}\n", warning);
}

// In the process that becomes the command. Without a name the library finds one: the pid, unless others have it.
[[noreturn]] void become(const Request &request, const std::string &path, Environment environment) {
  std::string name = value_or(environment, "MEMBUDGET_NAME", std::to_string(getpid()).c_str());
  if (request.with_summary) environment.set(SummaryKeeper::kKeepVariable, name);
  if (!request.profile.empty()) environment.set("MEMBUDGET_PROFILE_EXIT", std::to_string(getpid()));
  membudget_leave_group();
  execute(path, request.command, environment);
}

int run_with_summary(const Request &request, const std::string &path, const Environment &environment,
                     SummaryKeeper *keeper) {
  auto start = [&] {
    try {
      become(request, path, environment);
    } catch (const Failure &failure) {
      fmt::print(stderr, "membudget: {}\n", failure.message);
      _exit(failure.status);
    }
  };
  Outcome outcome =
      supervise(start, keeper->changes_fd(), [&](pid_t child, bool ended) { keeper->look(child, ended); });
  keeper->clear_up();
  fmt::print(stderr, "{}",
             request.as_json ? keeper->json(outcome, request.command) : keeper->text(outcome, request.command));
  return outcome.exit_status;
}

}  // namespace

int run_command(const Arguments &arguments) {
  Request request = parse_request(arguments);
  Environment environment = make_environment(request);
  probe_settings(environment);
  std::string path = find_program(request.command[0], environment);
  check_program(path);
  std::string directory = value_or(environment, "MEMBUDGET_DIR", MEMBUDGET_DEFAULT_DIR);
  std::string name = value_or(environment, "MEMBUDGET_NAME", "");
  warn_of_limits(request, environment, directory, name);
  if (!request.with_summary) become(request, path, environment);
  SummaryKeeper keeper(directory, name);
  return run_with_summary(request, path, environment, &keeper);
}

}  // namespace membudget::cli
