# title: a preloaded program under strace, and under gdb
# needs: strace gdb gcc
# packages: strace gdb gcc libc6-dev
# version: gdb --version
# note: The debuggers run preloaded themselves.
cat > job.c <<'END'
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
static void *work(void *arg) {
  for (long i = 1; i < 2000; i++) { char *p = malloc(i * 7 % 5000 + 1); memset(p, 1, 1); p = realloc(p, i); free(p); }
  return arg;
}
int stop_here(int n) { char *text = strdup("stopped"); n += (int)strlen(text); free(text); return n; }
int main(void) {
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, work, NULL);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  pid_t child = fork();
  if (child == 0) { work(NULL); _exit(3); }
  int status;
  waitpid(child, &status, 0);
  printf("%d %d\n", WEXITSTATUS(status), stop_here(1));
  return 0;
}
END
[[ -x $CACHE/job ]] || gcc -g -O0 -pthread -o "$CACHE/job" job.c
ln -s "$CACHE/job" job
if ! strace -o /dev/null true 2> /dev/null; then echo "tracing is not allowed here" >&2; exit 77; fi
strace -f -q -o trace ./job
grep -c 'exited with' trace
grep -o 'exited with 3' trace
strace -c -f -o counts ./job && grep -c total counts
gdb -q -nx -batch -ex 'set confirm off' -ex 'set debuginfod enabled off' -ex 'break stop_here' -ex run -ex 'bt' \
  -ex 'print (int)getpid() > 0' -ex 'call (char *)strdup("called by gdb")' -ex 'info threads' -ex finish -ex continue ./job 2>&1 |
  grep -E '^(#|\$|Run till|\[Inferior 1|[0-9]+ [0-9]+$)|stop_here' | sed -E 's/0x[0-9a-f]+/ADDRESS/g; s/process [0-9]+/process/g; s/LWP [0-9]+/LWP/g'
gdb -q -nx -batch -ex 'set debuginfod enabled off' -ex 'python print(sum(len(str(i)) for i in range(200000)))' 2>&1
