// A program that does nothing: an ELF file that is no shared library.

int main() { return 0; }
