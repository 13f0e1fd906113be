// Memory whose file is cut short, and the program's own business with SIGBUS. Each test in a process of its own, where
// the handler has not been put in yet.
#include "control/block/guard.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <thread>
#include <vector>

#include "tests/unit/child.h"

namespace membudget {
namespace {

constexpr size_t kPage = 4096, kBytes = 3 * kPage;

// A mapped file that can be cut short; all of it says 'x'.
class File {
 public:
  File() : fd_(memfd_create("guarded", MFD_CLOEXEC)) {
    if (ftruncate(fd_, kBytes) != 0) abort();
    bytes = static_cast<volatile char *>(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0));
    memset(address(), 'x', kBytes);
  }
  ~File() {
    munmap(address(), kBytes);
    close(fd_);
  }
  File(const File &) = delete;
  File &operator=(const File &) = delete;

  void *address() const { return const_cast<char *>(bytes); }
  void cut(size_t left = 0) const {
    if (ftruncate(fd_, static_cast<off_t>(left)) != 0) abort();
  }
  void expect_zeros() const {
    for (size_t i = 0; i < kBytes; ++i) ASSERT_EQ(bytes[i], 0) << "at " << i;
  }

  volatile char *bytes;

 private:
  int fd_;
};

int losses;
void *lost;
void note_loss(void *address) {
  __atomic_add_fetch(&losses, 1, __ATOMIC_RELAXED);
  lost = address;
}

void guard(const File &file) {
  guard_on_loss(note_loss);
  guard_add(file.address(), kBytes);
}

sigjmp_buf out;
volatile int handled, handled_signal;
void *volatile handled_address;

void handle_plainly(int signal) {
  handled = handled + 1;
  handled_signal = signal;
  siglongjmp(out, 1);
}

void handle_with_info(int signal, siginfo_t *info, void *context) {
  handled_address = context ? info->si_addr : nullptr;
  handle_plainly(signal);
}

struct sigaction action_of(void (*handler)(int), int flags = 0) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  return action;
}

struct sigaction action_with_info(int flags = 0) {
  struct sigaction action = {};
  action.sa_sigaction = handle_with_info;
  action.sa_flags = SA_SIGINFO | flags;
  return action;
}

void set(const struct sigaction &action) { ASSERT_EQ(sigaction(SIGBUS, &action, nullptr), 0); }

// Whether the program's handler was called for the touch.
bool is_handled(const File &file) {
  handled = 0;
  if (sigsetjmp(out, 1) == 0) file.bytes[0] = 'y';
  return handled == 1 && handled_signal == SIGBUS;
}

// The signal that a child in which `body` runs ends by, 0 when by none.
template <typename F>
int ending_of(F body) {
  const pid_t child = fork();
  if (child == 0) body(), _exit(0);
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

TEST(Guard, PutsZerosInThePlaceOfWhatIsGone) {
  unit::in_child([] {
    const File file, other;
    guard(file);
    guard(other);
    file.cut(kPage);  // the rest of it goes, too: it is one block
    errno = 123;
    EXPECT_EQ(file.bytes[2 * kPage + 5], 0);
    EXPECT_EQ(errno, 123);
    file.expect_zeros();
    EXPECT_EQ(losses, 1);
    EXPECT_EQ(lost, file.address());
    memset(file.address(), 'z', kBytes);
    EXPECT_EQ(file.bytes[kBytes - 1], 'z');
    EXPECT_EQ(other.bytes[0], 'x');
    other.cut();
    other.bytes[7] = 'a';
    EXPECT_EQ(other.bytes[7], 'a');
    EXPECT_EQ(losses, 2);
  });
}

TEST(Guard, LeavesOtherFaultsTheirDefaultAction) {
  unit::in_child([] {
    const File file, foreign;
    guard(file);
    foreign.cut();
    EXPECT_EQ(ending_of([&] { foreign.bytes[0] = 1; }), SIGBUS);
    EXPECT_EQ(ending_of([] { raise(SIGBUS); }), SIGBUS);
    EXPECT_EQ(ending_of([] { kill(getpid(), SIGBUS); }), SIGBUS);
    EXPECT_EQ(ending_of([&] {
                file.cut();
                file.bytes[0] = 1;
                if (losses == 1) raise(SIGBUS);
              }),
              SIGBUS);
  });
}

TEST(Guard, LeavesIgnoredAsItIs) {
  for (const int flags : {0, SA_SIGINFO})
    unit::in_child([=] {
      set(action_of(SIG_IGN, flags));
      const File file;
      guard(file);
      struct sigaction now = {};
      sigaction(SIGBUS, nullptr, &now);
      EXPECT_EQ(now.sa_handler, SIG_IGN);
      EXPECT_EQ(ending_of([] { raise(SIGBUS); }), 0);
      file.cut();
      EXPECT_EQ(ending_of([&] { file.bytes[0] = 1; }), SIGBUS) << "the kernel's doing";
    });
}

TEST(Guard, TakesDefaultForItWhateverTheFlags) {
  unit::in_child([] {
    set(action_of(SIG_DFL, SA_SIGINFO));
    const File file, foreign;
    guard(file);
    file.cut();
    EXPECT_EQ(file.bytes[0], 0);
    foreign.cut();
    EXPECT_EQ(ending_of([&] { foreign.bytes[0] = 1; }), SIGBUS);
    EXPECT_EQ(ending_of([] { raise(SIGBUS); }), SIGBUS);
  });
}

TEST(Guard, CallsAPlainHandlerThatWasThereBefore) {
  unit::in_child([] {
    set(action_of(handle_plainly));
    const File file, foreign;
    guard(file);
    foreign.cut();
    EXPECT_TRUE(is_handled(foreign));
    EXPECT_TRUE(is_handled(foreign));
    file.cut();
    EXPECT_FALSE(is_handled(file));
    EXPECT_EQ(losses, 1);
    handled = 0;
    if (sigsetjmp(out, 1) == 0) raise(SIGBUS);
    EXPECT_EQ(handled, 1);
  });
}

TEST(Guard, CallsAHandlerWithInfoThatWasThereBefore) {
  unit::in_child([] {
    set(action_with_info());
    const File file, foreign;
    guard(file);
    foreign.cut();
    EXPECT_TRUE(is_handled(foreign));
    EXPECT_EQ(handled_address, foreign.address());
    file.cut();
    EXPECT_FALSE(is_handled(file));
  });
}

TEST(Guard, KeepsWhatAHandlerAskedFor) {
  unit::in_child([] {
    struct sigaction once = action_of(handle_plainly, static_cast<int>(SA_RESETHAND | SA_NODEFER));
    sigaddset(&once.sa_mask, SIGUSR2);
    set(once);
    const File file, foreign;
    guard(file);
    struct sigaction now = {};
    sigaction(SIGBUS, nullptr, &now);
    EXPECT_TRUE(now.sa_flags & SA_NODEFER);
    EXPECT_FALSE(now.sa_flags & SA_RESTART);
    EXPECT_EQ(sigismember(&now.sa_mask, SIGUSR2), 1);
    foreign.cut();
    EXPECT_TRUE(is_handled(foreign));
    EXPECT_EQ(ending_of([&] { foreign.bytes[0] = 1; }), SIGBUS) << "it was for one time";
  });
}

struct sigaction chained_to;
volatile int seen_by_chain;

void chain(int signal, siginfo_t *info, void *context) {
  seen_by_chain = seen_by_chain + 1;
  chained_to.sa_sigaction(signal, info, context);
}

TEST(Guard, IsCalledByAHandlerThatCameLater) {
  unit::in_child([] {
    set(action_of(handle_plainly));
    const File file, foreign;
    guard(file);
    struct sigaction later = {};
    later.sa_sigaction = chain;
    later.sa_flags = SA_SIGINFO;
    sigaction(SIGBUS, &later, &chained_to);
    file.cut();
    EXPECT_EQ(file.bytes[0], 0);
    EXPECT_EQ(seen_by_chain, 1);
    foreign.cut();
    EXPECT_TRUE(is_handled(foreign));
    EXPECT_EQ(seen_by_chain, 2);
  });
}

TEST(Guard, YieldsToAHandlerThatCameLater) {
  unit::in_child([] {
    const File file;
    guard(file);
    set(action_with_info());
    file.cut();
    EXPECT_TRUE(is_handled(file));
    EXPECT_EQ(handled_address, file.address());
    EXPECT_EQ(losses, 0);
    const File another;
    guard(another);  // puts nothing in its place
    another.cut();
    EXPECT_TRUE(is_handled(another));
  });
}

const File *touched_by_handler;
volatile char found_by_handler = 'x';
void touch(int) { found_by_handler = touched_by_handler->bytes[kPage]; }

TEST(Guard, WorksInAHandler) {
  unit::in_child([] {
    const File file;
    guard(file);
    touched_by_handler = &file;
    signal(SIGUSR1, touch);
    file.cut();
    raise(SIGUSR1);
    EXPECT_EQ(found_by_handler, 0);
    file.expect_zeros();
  });
}

TEST(Guard, WorksOnTheThreadsOtherStack) {
  unit::in_child([] {
    static char memory[64 << 10];
    stack_t stack = {};
    stack.ss_sp = memory;
    stack.ss_size = sizeof memory;
    ASSERT_EQ(sigaltstack(&stack, nullptr), 0);
    const File file;
    guard(file);
    file.cut();
    file.expect_zeros();
  });
}

TEST(Guard, WorksInManyThreadsAtOnce) {
  unit::in_child([] {
    for (int round = 0; round < 50; ++round) {
      const File file;
      losses = 0;
      guard(file);
      file.cut();
      std::vector<std::thread> threads;
      int ready = 0;
      for (size_t i = 0; i < 4; ++i)
        threads.emplace_back([&, i] {
          __atomic_add_fetch(&ready, 1, __ATOMIC_RELAXED);
          while (__atomic_load_n(&ready, __ATOMIC_RELAXED) < 4) std::this_thread::yield();
          file.bytes[i * 700] = static_cast<char>(i + 1);
        });
      for (std::thread &thread : threads) thread.join();
      ASSERT_EQ(losses, 1);
      for (size_t i = 0; i < 4; ++i) ASSERT_EQ(file.bytes[i * 700], static_cast<char>(i + 1));
      guard_remove(file.address());
    }
  });
}

TEST(Guard, IsNotSurvivedWhereSigbusIsBlocked) {
  unit::in_child([] {
    const File file;
    guard(file);
    file.cut();
    EXPECT_EQ(ending_of([&] {
                sigset_t bus;
                sigemptyset(&bus);
                sigaddset(&bus, SIGBUS);
                pthread_sigmask(SIG_BLOCK, &bus, nullptr);
                file.bytes[0] = 1;
              }),
              SIGBUS);
  });
}

TEST(Guard, ReplacesOnRequestOnce) {
  unit::in_child([] {
    const File file;
    EXPECT_FALSE(guard_replace(file.address()));
    guard(file);
    errno = 99;
    EXPECT_TRUE(guard_replace(file.address()));
    EXPECT_EQ(errno, 99);
    file.expect_zeros();
    EXPECT_FALSE(guard_replace(file.address()));
    EXPECT_EQ(losses, 0) << "not by a fault";
  });
}

TEST(Guard, ForgetsWhatWasRemoved) {
  unit::in_child([] {
    const File file;
    guard(file);
    guard_remove(file.address());
    file.cut();
    EXPECT_EQ(ending_of([&] { file.bytes[0] = 1; }), SIGBUS);
    EXPECT_FALSE(guard_replace(file.address()));
    guard(file);
    EXPECT_EQ(file.bytes[0], 0);
  });
}

TEST(Guard, HasRoomForAHundred) {
  unit::in_child([] {
    std::vector<std::unique_ptr<File>> files;
    for (int i = 0; i < 200; ++i) {
      files.push_back(std::make_unique<File>());
      guard(*files.back());
    }
    files[99]->cut();
    EXPECT_EQ(files[99]->bytes[0], 0);
    files[199]->cut();
    EXPECT_EQ(ending_of([&] { files[199]->bytes[0] = 1; }), SIGBUS);
  });
}

}  // namespace
}  // namespace membudget
