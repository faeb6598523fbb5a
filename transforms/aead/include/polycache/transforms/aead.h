// The transform "aead": encrypts and authenticates values by libsodium's XChaCha20-Poly1305. A
// value is bound to its final key and to the metadata of its entry: it cannot be changed, moved to
// another key, or given other times without becoming a miss. docs/values.md says what is not
// protected.
//
//   "transform": ["zstd", {"name": "aead", "options": {"keys": ["2026b:${file:/run/secrets/b}",
//                                                               "2026a:${file:/run/secrets/a}"]}}]
//
// Options, in addition to the one of every transform (author/transform.h):
//
//   keys     required: a list of ID:KEY, where ID is a word of 1 to 32 letters, digits, '-', '_',
//            '.', and KEY is 64 hexadecimal digits (32 bytes). One string may hold several,
//            separated by blanks or newlines. The first key encrypts; all of them decrypt. An entry
//            names the ID of its key; an entry whose ID is unknown is a miss with a warning that
//            names the ID
//   require  whether values that were stored without this transform are a miss. Decimal integers
//            are accepted nevertheless, since counters are never transformed; false
//
// Keys are kept in memory that is left out of core dumps, locked where the system's limit allows
// it, and overwritten when the alias goes.

#pragma once

#include "polycache/author/plugin.h"

namespace polycache::aead {

extern const PluginDescriptor plugin;

}  // namespace polycache::aead
