// For the program that owns the precompiled header (tests/CMakeLists.txt).

int main() { return 0; }
