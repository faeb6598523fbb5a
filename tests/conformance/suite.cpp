// The conformance suite, compiled once for all programs of this folder.

#include "polycache/testing/backend_conformance.h"
