/* Prints what membudget_open() says of a group. Run as a set-uid program, it must not look where the environment
 * tells it to. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <membudget/membudget.h>

int main(int count, char **arguments) {
  if (count != 2) return 2;
  membudget_t *budget = NULL;
  int error = membudget_open(arguments[1], &budget);
  printf("%s\n", error ? strerror(-error) : "opened");
  membudget_close(budget);
  return 0;
}
