#include "tests/unit/child.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

namespace membudget::unit {

pid_t start_child(const std::function<void()> &body) {
  fflush(nullptr);
  pid_t child = fork();
  if (child != 0) return child;
  body();
  fflush(nullptr);
  _exit(::testing::Test::HasFailure() ? 1 : 0);
}

void expect_child_succeeds(pid_t child, int seconds) {
  ASSERT_GT(child, 0);
  int status = 0;
  pid_t ended = 0;
  for (int i = 0; i < seconds * 2000 && ended == 0; ++i) {
    ended = waitpid(child, &status, WNOHANG);
    if (ended == 0) usleep(500);
  }
  if (ended == 0) {
    kill_child(child);
    FAIL() << "the child was still running after " << seconds << " s";
  }
  EXPECT_TRUE(WIFEXITED(status)) << "ended by signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

void kill_child(pid_t child) {
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}

}  // namespace membudget::unit
