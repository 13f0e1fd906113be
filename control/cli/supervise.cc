#include "control/cli/supervise.h"

#include <errno.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "control/cli/command.h"
#include "control/cli/text.h"

namespace membudget::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kFirstLookMs = 2;  // between two looks: more and more seldom

// All that a supervisor passes on. Not: what faults of our own raise, KILL and STOP.
constexpr int kForwarded[] = {SIGTERM, SIGINT,  SIGHUP,  SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH,
                              SIGALRM, SIGCONT, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG,  SIGPWR};

sigset_t watched_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : kForwarded) sigaddset(&set, signal);
  sigaddset(&set, SIGCHLD);
  return set;
}

// The terminal sends to the whole foreground group, the command included: passed on, it would come twice.
bool came_from_terminal(const signalfd_siginfo &info) { return info.ssi_code == SI_KERNEL; }

// Stops with the command, so that the shell sees its job stopped; goes on with it when the shell says so.
void stop_along(pid_t child) {
  raise(SIGSTOP);
  // cppcheck-suppress unreachableCode  ; a stopped process goes on
  kill(child, SIGCONT);
}

// Whether the child has ended; it stays a zombie. A child that only stopped takes us along.
bool has_ended(pid_t child) {
  siginfo_t info{};
  while (waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WSTOPPED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid != 0) {
    if (info.si_code != CLD_STOPPED) return true;
    waitid(P_PID, static_cast<id_t>(child), &info, WSTOPPED | WNOHANG);
    stop_along(child);
    info = {};
  }
  return false;
}

// Reads one signal and passes it on, unless it tells of the child or the child has it already.
void forward_signal(int signals_fd, pid_t child) {
  signalfd_siginfo info{};
  if (read(signals_fd, &info, sizeof info) != sizeof info) return;
  auto signal = static_cast<int>(info.ssi_signo);
  if (signal != SIGCHLD && !came_from_terminal(info)) kill(child, signal);
}

void watch_child(pid_t child, int signals_fd, int watched_fd, const std::function<void(pid_t, bool)> &look,
                 int64_t longest_pause_ms) {
  int64_t pause_ms = kFirstLookMs;
  while (!has_ended(child)) {
    pollfd fds[2] = {{signals_fd, POLLIN, 0}, {watched_fd, POLLIN, 0}};
    poll(fds, 2, static_cast<int>(pause_ms));
    if ((fds[0].revents & POLLIN) != 0)
      forward_signal(signals_fd, child);
    else
      look(child, false);
    pause_ms = std::min(pause_ms * 2, longest_pause_ms);
  }
  look(child, true);
}

Outcome reap(pid_t child, Clock::time_point start) {
  Outcome outcome;
  int status = 0;
  while (wait4(child, &status, 0, &outcome.usage) < 0 && errno == EINTR) {}
  outcome.wall_s = std::chrono::duration<double>(Clock::now() - start).count();
  outcome.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  outcome.exit_status = outcome.signal != 0 ? 128 + outcome.signal : WEXITSTATUS(status);
  return outcome;
}

// What the shell does with a file that is neither binary nor script.
void execute_with_shell(const std::string &path, const std::vector<std::string> &command,
                        const Environment &environment) {
  std::vector<char *> arguments = {const_cast<char *>("sh"), const_cast<char *>(path.c_str())};
  for (size_t i = 1; i < command.size(); ++i) arguments.push_back(const_cast<char *>(command[i].c_str()));
  arguments.push_back(nullptr);
  execve("/bin/sh", arguments.data(), environment.pointers().data());
}

}  // namespace

void execute(const std::string &path, const std::vector<std::string> &command, const Environment &environment) {
  std::vector<char *> arguments;
  for (const std::string &argument : command) arguments.push_back(const_cast<char *>(argument.c_str()));
  arguments.push_back(nullptr);
  execve(path.c_str(), arguments.data(), environment.pointers().data());
  if (errno == ENOEXEC) execute_with_shell(path, command, environment);
  int error = errno;
  throw Failure{error == ENOENT ? kNotFound : kNotExecutable,
                fmt::format("'{}' cannot be executed: {}", printable(path), strerror(error))};
}

Outcome supervise(const std::function<void()> &start, int watched_fd, const std::function<void(pid_t, bool)> &look,
                  int64_t longest_pause_ms) {
  sigset_t signals = watched_signals(), before;
  sigprocmask(SIG_BLOCK, &signals, &before);
  int signals_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  auto started = Clock::now();
  pid_t child = signals_fd < 0 ? -1 : fork();
  if (child < 0) throw Failure{kFailed, fmt::format("cannot start a process: {}", strerror(errno))};
  if (child == 0) {
    sigprocmask(SIG_SETMASK, &before, nullptr);
    start();
    _exit(kNotExecutable);
  }
  watch_child(child, signals_fd, watched_fd, look, longest_pause_ms);
  close(signals_fd);
  Outcome outcome = reap(child, started);
  sigprocmask(SIG_SETMASK, &before, nullptr);
  return outcome;
}

}  // namespace membudget::cli
