# title: a preloaded program under valgrind's memcheck
# needs: valgrind gcc
# packages: valgrind gcc libc6-dev libc6-dbg
# version: valgrind --version
# quick: yes
# allow: ^==[0-9]+==|^membudget: valgrind's malloc is in the place of every other: not counted$
# note: valgrind puts its own malloc in the place of every other: it finds its errors and leaks as without the library, which says so in a line and counts nothing.
cat > job.c <<'END'
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static void *work(void *arg) {
  for (long i = 1; i < 300; i++) { char *p = calloc(1, i * 7 % 5000 + 1); p = realloc(p, i); p[0] = 1; free(p); }
  return arg;
}
int main(int count, char **arguments) {
  (void)arguments;
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, work, NULL);
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  if (count > 1) { char *block = malloc(10); block[10] = 1; free(block); static char *lost; lost = malloc(100); lost = NULL; return lost != NULL; }
  puts("clean");
  return 0;
}
END
[[ -x $CACHE/job ]] || gcc -g -O0 -pthread -o "$CACHE/job" job.c
ln -s "$CACHE/job" job
valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite ./job
valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite ./job wrong 2> errors || echo "status $?"
grep -oE 'Invalid write of size 1|[0-9]+ bytes in [0-9]+ blocks are definitely lost|0 bytes after a block of size 10' errors
