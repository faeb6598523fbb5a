// Another file of the same library, with a name that its first file has, too.

#include <polycache/function_library.h>

namespace more {

int twice(int n) { return 2 * n; }
double warmed(double heat) { return heat; }

}  // namespace more

POLYCACHE_FUNCTION(more::twice);
#ifdef MORE_REPEATS
POLYCACHE_FUNCTION(more::warmed);
#endif
