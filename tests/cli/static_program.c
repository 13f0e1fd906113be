// A program that no library can be preloaded into: it is linked statically, or with the AddressSanitizer.
int main(void) { return 0; }
