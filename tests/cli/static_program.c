// A program that no library can be preloaded into: it is linked statically.
int main(void) { return 0; }
