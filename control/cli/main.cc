// membudget: see and steer the memory budgets of running programs, and start programs under one.
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>

#include <cstdio>

#include "control/cli/command.h"
#include "control/cli/library.h"
#include "control/cli/options.h"

namespace membudget::cli {
namespace {

constexpr Command kCommands[] = {
    {"run", "run a command under a budget", run_command},
    {"ls", "list the groups and processes that run under membudget", ls_command},
    {"show", "report everything known about a process or group", show_command},
    {"top", "show processes and groups, live, in the terminal", top_command},
    {"watch", "print a line about a process or group at an interval", watch_command},
    {"wait", "sleep until a process or group reaches a level", wait_command},
    {"set", "change the limits of a running process or group", set_command},
    {"profile", "tell what holds the memory of a process or group", profile_command},
    {"trim", "have a process or group hand free memory back to the kernel", trim_command},
    {"balloon", "press on memory, so that the kernel takes what was lazily freed", balloon_command},
    {"compare", "run a command under each allocator, and compare what it takes", compare_command},
    {"doctor", "say what would keep a budget from working here", doctor_command},
};

std::string command_list() {
  std::string text = "Commands:\n";
  for (const Command &command : kCommands) text += fmt::format("  {:<9}{}\n", command.name, command.summary);
  return text +
         "\n`membudget COMMAND --help` explains each. A TARGET is a pid or a group's name. Sizes are bytes, "
         "or\n"
         "have a unit: 512M, 1.5G (binary multiples).\n\n"
         "  membudget run --limit 512M -- python3 service.py\n"
         "  LD_PRELOAD=$(membudget --library) MEMBUDGET_LIMIT=512M python3 service.py";
}

[[noreturn]] void refuse_word(const std::string &word) {
  const char *kind = word.starts_with("-") ? "option" : "command";
  throw Failure{kUsage, fmt::format("'{}' is no {}; `membudget --help` lists what there is", word, kind)};
}

int run_top_level(const Arguments &arguments) {
  Options app("", "membudget keeps programs within exact memory budgets.", command_list());
  app.set_usage("\nUsage: membudget COMMAND [ARGUMENTS]\n       membudget --library | --version | --help");
  bool print_library = false, print_version = false;
  app.add_flag("--library", print_library, "Print the path of libmembudget.so, for LD_PRELOAD");
  app.add_flag("--version", print_version, "Print the version");
  app.allow_extras();
  app.read(arguments);
  if (auto extra = app.remaining(); !extra.empty()) refuse_word(extra[0]);
  if (print_version) fmt::print("membudget {}\n", MEMBUDGET_VERSION);
  if (print_library) fmt::print("{}\n", find_library());
  if (!print_version && !print_library)
    throw Failure{kUsage, "no command given; `membudget --help` lists what there is"};
  return kOk;
}

int dispatch(const Arguments &arguments) {
  if (arguments.empty()) return run_top_level(arguments);
  if (arguments[0] == kProbeCommand) return probe_command();
  Arguments rest(arguments.begin() + 1, arguments.end());
  for (const Command &command : kCommands)
    if (arguments[0] == command.name) return command.run(rest);
  if (!arguments[0].starts_with("-")) refuse_word(arguments[0]);  // whatever help is asked for behind it
  return run_top_level(arguments);
}

// A result that could not be written in full is a failure, too.
int finish(int status) {
  if (std::fflush(stdout) == 0 && !std::ferror(stdout)) return status;
  throw Failure{kFailed, "cannot write to standard output"};
}

int report(const Failure &failure) {
  std::fflush(stdout);
  fmt::print(stderr, "membudget: {}\n", failure.message);
  return failure.status;
}

// A block's file that its owner cuts short while we look at it: its pages read as zeros from then on.
void replace_missing_page(int, siginfo_t *info, void *) {
  constexpr uintptr_t kPage = 4096;
  auto page = reinterpret_cast<void *>(reinterpret_cast<uintptr_t>(info->si_addr) & ~(kPage - 1));
  if (mmap(page, kPage, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED) _Exit(1);
}

void survive_truncated_blocks() {
  struct sigaction action {};
  action.sa_sigaction = replace_missing_page;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &action, nullptr);
}

}  // namespace

}  // namespace membudget::cli

int main(int argc, char **argv) {
  using namespace membudget::cli;
  survive_truncated_blocks();
  try {
    return finish(dispatch(Arguments(argv + 1, argv + argc)));
  } catch (const Quit &quit) {
    return std::fflush(stdout) == 0 ? quit.status : report({kFailed, "cannot write to standard output"});
  } catch (const Failure &failure) { return report(failure); } catch (const std::exception &error) {
    return report({kFailed, error.what()});
  }
}
