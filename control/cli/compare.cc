// membudget compare: the same command under each allocator, in turn, and what each takes.
#include <errno.h>
#include <fmt/format.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>

#include "control/cli/comparison.h"
#include "control/cli/library.h"
#include "control/cli/options.h"
#include "control/cli/probe.h"
#include "control/cli/program.h"
#include "control/cli/text.h"

namespace membudget::cli {
namespace {

constexpr const char *kDefaultAllocators = "ptmalloc,jemalloc,mimalloc,tcmalloc";
constexpr unsigned kMostRuns = 1000;

constexpr const char *kFooter =
    "Plain glibc, without the library, always runs along. The command reads nothing, and what it prints is\n"
    "thrown away. RSS is sampled every 10 ms, of the command and what it starts. Medians are told, with the\n"
    "spread of the middle half; the sentence at the end ranks by CPU time times mean RSS, and says how sure\n"
    "the first place is (a rank test against the second).\n"
    "Exit status: 0; 1 the command failed in a run; 2 wrong arguments or settings; 126, 127 no such command.\n\n"
    "  membudget compare --runs 10 -o compare.html -- python3 job.py";

struct Request {
  std::vector<std::string> allocators;
  bool are_chosen = false;  // by the user: then all must be there
  unsigned runs = 5;
  std::string file;
  bool as_json = false;
  Arguments command;
};

std::vector<std::string> split(const std::string &list) {
  std::vector<std::string> names;
  for (size_t start = 0; start <= list.size();) {
    size_t end = std::min(list.find(',', start), list.size());
    std::string name = list.substr(start, end - start);
    if (name.empty()) throw Failure{kUsage, fmt::format("--allocators {}: an empty name; write A,B,C", list)};
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    start = end + 1;
  }
  return names;
}

Request parse_request(const Arguments &arguments) {
  Options app("compare", "Run a command under each allocator in turn, and compare what it takes.", kFooter);
  app.set_usage("\nUsage: membudget compare [OPTIONS] -- COMMAND [ARGUMENTS...]");
  Request request;
  std::string allocators = kDefaultAllocators;
  auto *chosen =
      app.add_option("--allocators", allocators, "Which, between commas (default: ptmalloc,jemalloc,mimalloc,tcmalloc)")
          ->type_name("A,B,...");
  app.add_option("--runs", request.runs, "How often each (default: 5)")
      ->type_name("N")
      ->check(CLI::Range(1u, kMostRuns).description(""));
  app.add_option("-o,--output", request.file, "Write a page with the RSS curves, too")->type_name("FILE.html");
  app.add_flag("--json", request.as_json, "Print a JSON object, with all runs and curves");
  app.add_directory();
  request.command = app.read_with_command(arguments);
  request.are_chosen = chosen->count() > 0;
  request.allocators = split(allocators);
  std::erase(request.allocators, kPlain);
  request.allocators.insert(request.allocators.begin(), kPlain);
  if (request.command.empty()) throw Failure{kUsage, "compare: no command given; see `membudget compare --help`"};
  return request;
}

Environment environment_for(const std::string &allocator) {
  Environment environment;
  unload(&environment);
  if (allocator == kPlain) return environment;
  environment.set("MEMBUDGET_ALLOCATOR", allocator);
  environment.unset("MEMBUDGET_NAME");
  preload(&environment, find_library());
  return environment;
}

// Those that can be used. One that was asked for and cannot be is an error; of the default ones it is left out.
std::vector<Contender> find_contenders(const Request &request) {
  std::vector<Contender> contenders;
  for (const std::string &name : request.allocators) {
    std::vector<std::string> errors = name == kPlain ? std::vector<std::string>{} : try_settings(environment_for(name));
    if (errors.empty())
      contenders.push_back({name, {}});
    else if (request.are_chosen || errors[0].find("MEMBUDGET_ALLOCATOR") == std::string::npos)
      throw Failure{kUsage, errors[0]};
    else
      fmt::print(stderr, "membudget: without {}: {}\n", name, errors[0]);
  }
  return contenders;
}

void show_progress(size_t done, size_t all, const std::string &name) {
  if (isatty(STDERR_FILENO)) fmt::print(stderr, "\r\033[Krun {} of {}: {}", done + 1, all, printable(name));
}

void end_progress() {
  if (isatty(STDERR_FILENO)) fmt::print(stderr, "\r\033[K");
}

// Interleaved, and each round in an order of its own, so that whatever drifts does so for all.
void run_all(const Request &request, const std::string &path, Comparison *comparison) {
  // Another pid namespace may have the same pid in the same folder.
  auto began_ns = std::chrono::system_clock::now().time_since_epoch().count();
  size_t done = 0, count = comparison->contenders.size();
  for (unsigned round = 0; round < request.runs; ++round)
    for (size_t i = 0; i < count; ++i, ++done) {
      Contender &contender = comparison->contenders[(i + round) % count];
      show_progress(done, request.runs * count, contender.name);
      std::string group = contender.name == kPlain ? "" : fmt::format("compare-{}-{:x}-{}", getpid(), began_ns, done);
      contender.runs.push_back(measure_run(path, request.command, environment_for(contender.name), group));
      int signal = contender.runs.back().signal;
      if (signal == SIGINT || signal == SIGTERM || signal == SIGHUP || signal == SIGQUIT) {
        end_progress();
        throw Failure{128 + signal, "interrupted"};
      }
    }
  end_progress();
}

// The first run that failed, in words; empty where none did.
std::string failure_of(const Comparison &comparison) {
  for (const Contender &contender : comparison.contenders)
    for (const Run &run : contender.runs) {
      if (run.exit_status == 0) continue;
      std::string how = run.signal != 0 ? fmt::format("was killed by signal {}", run.signal)
                                        : fmt::format("ended with status {}", run.exit_status);
      return fmt::format("the command {} under {}{}", how, contender.name,
                         run.last_words.empty() ? "" : fmt::format("; it said: {}", run.last_words));
    }
  return "";
}

}  // namespace

int compare_command(const Arguments &arguments) {
  Request request = parse_request(arguments);
  std::string path = find_program(request.command[0], Environment());
  check_program(path);
  Comparison comparison;
  for (const std::string &word : request.command) comparison.command += (comparison.command.empty() ? "" : " ") + word;
  comparison.contenders = find_contenders(request);
  std::ofstream page;
  if (!request.file.empty()) {  // before hours of runs
    page.open(request.file);
    if (!page) throw Failure{kUsage, fmt::format("cannot write {}: {}", request.file, strerror(errno))};
  }
  run_all(request, path, &comparison);
  if (request.as_json)
    fmt::print("{}\n", json_line(comparison_json(comparison)));
  else
    fmt::print("{}", comparison_text(comparison));
  if (page.is_open() && !(page << comparison_html(comparison) << std::flush))
    throw Failure{kFailed, fmt::format("cannot write {}", request.file)};
  if (std::string failure = failure_of(comparison); !failure.empty()) throw Failure{kFailed, failure};
  return kOk;
}

}  // namespace membudget::cli
