// Preloaded, it makes a kernel look old: system calls named in OLD_KERNEL_LACKS (numbers, blanks between) do
// not exist.
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

static int is_lacking(long number) {
  const char *list = getenv("OLD_KERNEL_LACKS");
  while (list && *list) {
    char *end;
    if (strtol(list, &end, 10) == number) return 1;
    if (end == list) return 0;
    list = end;
  }
  return 0;
}

static long call(long number, const long *a) {
  long result;
#if defined(__x86_64__)
  register long r10 __asm__("r10") = a[3];
  register long r8 __asm__("r8") = a[4];
  register long r9 __asm__("r9") = a[5];
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
#elif defined(__aarch64__)
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a[0];
  register long x1 __asm__("x1") = a[1];
  register long x2 __asm__("x2") = a[2];
  register long x3 __asm__("x3") = a[3];
  register long x4 __asm__("x4") = a[4];
  register long x5 __asm__("x5") = a[5];
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
  result = x0;
#else
#error "no system calls known for this processor"
#endif
  return result;
}

long syscall(long number, ...) {
  long a[6];
  va_list rest;
  va_start(rest, number);
  for (int i = 0; i < 6; ++i) a[i] = va_arg(rest, long);
  va_end(rest);
  long result = is_lacking(number) ? -ENOSYS : call(number, a);
  if (result >= 0 || result < -4095) return result;
  errno = (int)-result;
  return -1;
}
