// A stack of its own to run on, known to the sanitizers.
#pragma once

#include <ucontext.h>

#include <functional>
#include <memory>

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace membudget::unit {

class Fiber {
 public:
  // Without start(): the stack that the thread runs on anyway.
  Fiber() = default;
  Fiber(const Fiber &) = delete;
  Fiber &operator=(const Fiber &) = delete;
#if defined(__SANITIZE_THREAD__)
  ~Fiber() {
    if (stack_) __tsan_destroy_fiber(tsan_);
  }
#endif

  // `body` must not return.
  void start(std::function<void()> body) {
    body_ = std::move(body);
    stack_ = std::make_unique<char[]>(kStackBytes);
    getcontext(&context_);
    context_.uc_stack.ss_sp = stack_.get();
    context_.uc_stack.ss_size = kStackBytes;
    const auto self = reinterpret_cast<uintptr_t>(this);
    makecontext(&context_, reinterpret_cast<void (*)()>(enter), 2, static_cast<unsigned>(self >> 32),
                static_cast<unsigned>(self));
#if defined(__SANITIZE_THREAD__)
    tsan_ = __tsan_create_fiber(0);
#endif
  }

  // Leaves `from`, which is the running one, until somebody switches back to it.
  static void switch_between(Fiber &from, Fiber &to) {
#if defined(__SANITIZE_THREAD__)
    if (!from.tsan_) from.tsan_ = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(to.tsan_, 0);
#endif
#if defined(__SANITIZE_ADDRESS__)
    void *fake_stack = nullptr;
    coming_from = &from;
    __sanitizer_start_switch_fiber(&fake_stack, to.bottom_ ? to.bottom_ : to.stack_.get(),
                                   to.bottom_ ? to.bytes_ : size_t{kStackBytes});
    swapcontext(&from.context_, &to.context_);
    __sanitizer_finish_switch_fiber(fake_stack, &coming_from->bottom_, &coming_from->bytes_);
#else
    swapcontext(&from.context_, &to.context_);
#endif
  }

 private:
  static constexpr size_t kStackBytes = 256 << 10;

  static void enter(unsigned high, unsigned low) {
    auto *self = reinterpret_cast<Fiber *>(static_cast<uintptr_t>(high) << 32 | low);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &coming_from->bottom_, &coming_from->bytes_);
#endif
    self->body_();
  }

  ucontext_t context_{};
  std::unique_ptr<char[]> stack_;
  std::function<void()> body_;
#if defined(__SANITIZE_THREAD__)
  void *tsan_ = nullptr;
#endif
#if defined(__SANITIZE_ADDRESS__)
  const void *bottom_ = nullptr;  // of the stack, as the sanitizer told
  size_t bytes_ = 0;
  static inline Fiber *coming_from;
#endif
};

}  // namespace membudget::unit
