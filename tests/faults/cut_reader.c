/* A program of somebody else's that reads a group's budget through the client library: opens it, says so, and reads
 * all there is, once for each line that comes in. Ends with 0; it has no handlers of its own. */
#include <stdio.h>
#include <string.h>

#include <membudget/membudget.h>

int main(int count, char **arguments) {
  membudget_t *budget = NULL;
  struct membudget_snapshot snapshot;
  char line[16];
  if (count != 2 || membudget_open(arguments[1], &budget) != 0) return 2;
  do {
    printf("%u %d %d %d\n", membudget_level(budget), membudget_live_bytes(budget) > 0,
           membudget_snapshot(budget, &snapshot, sizeof snapshot), membudget_wait(budget, MEMBUDGET_CRITICAL, 1));
    fflush(stdout);
  } while (fgets(line, sizeof line, stdin));
  membudget_close(budget);
  return 0;
}
