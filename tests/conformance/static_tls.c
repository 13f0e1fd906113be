// A library whose thread-local memory has to be static, in the little that glibc keeps for those that are loaded late.
__attribute__((tls_model("initial-exec"))) static __thread volatile char of_this_thread[STATIC_TLS_BYTES] = {1};

int static_tls_touch(void) {
  of_this_thread[sizeof of_this_thread - 1]++;
  return of_this_thread[0];
}
