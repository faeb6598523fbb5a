#!/usr/bin/env python3
"""Compiles the commonest slips and reads what the compiler says.

  compile_errors_test.py [--table] SOURCE COMPILER...

SOURCE is the root of the repository. A slip passes if its sentence stands in the first line
with "error:", if there is no other such line, and if at most two lines are notes; source
excerpts and lines that say where a template is instantiated do not count. Valid calls that
look like slips must compile without a warning. --table prints the number of lines, errors and
notes of every slip.
"""

import argparse
import collections
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile

PRELUDE = """
#include <polycache/polycache.h>
#include <deque>
#include <functional>
#include <iostream>
#include <list>
#include <map>
#include <string>
#include <vector>

using namespace std::chrono_literals;
struct Struct {
  int number = 0;
  std::string text;
};
inline void nothing() {}
inline const char* maybe() { return nullptr; }
inline std::nullptr_t null() { return nullptr; }
inline const polycache::Key<std::string> profile{"profile"};
inline const polycache::Key<long> visits{"visits"};
inline void by_value(polycache::Cache) {}
template <int>
struct Id {};
template <int line>
std::vector<Id<line>> ids() { return {}; }
template <int line>
polycache::TypedKey<Id<line>> keys() { return polycache::Key<Id<line>>("key")(); }
template <int>
struct Plain {};
struct HalfCodec {};
template <>
struct polycache::Codec<HalfCodec> {
  static std::string_view encode(const HalfCodec&, std::string&) { return "half"; }
};
"""

TIMEOUT = "a number has no unit"
KEY = "a key is text"
OPTIONS = r"the options are written \{\.version = 2\}"
TYPED = "the value is not of the type that its key names"
NULL_KEY = "a key cannot be null"
DEFAULT = r"get\(\) takes no default"
NULL_VALUE = "no value is null"
CODEC = r"include <polycache/codec_json\.h>.*BinaryCodec<T>"
VERSION = r"\{\.version = 2\}"
PART = "strings, numbers, bools and enums"
DELTA = "delta is a whole number"
COPY = "auto&"
ALIAS = "alias"

# Name, statements with a `polycache::Cache& cache`, the sentence (a regular expression). A
# compiler says each instantiation once a program, so the slips differ in their types: numbers
# of several types, Id<__LINE__> as a key, Plain<__LINE__> as a value.
SLIPS = [
    # Timeouts without a unit.
    ("set_timeout", 'cache.set("k", "v", 30);', TIMEOUT),
    ("set_timeout_result", 'bool done = cache.set("k", 1, 30L); (void)done;', TIMEOUT),
    ("set_timeout_float", 'cache.set("k", "v", 0.5);', TIMEOUT),
    ("set_timeout_null", 'cache.set("k", "v", nullptr);', "polycache::never"),
    ("set_timeout_nullopt", 'cache.set("k", "v", std::nullopt);', "polycache::never"),
    ("set_timeout_text", 'cache.set("k", "v", "30s");', "a timeout is a duration"),
    ("set_timeout_steady", 'cache.set("k", "v", std::chrono::steady_clock::now());', "system_clock"),
    ("set_read_options", 'cache.set("k", "v", polycache::ReadOptions{});', "options such as"),
    ("set_load_options", 'cache.set("k", "v", polycache::LoadOptions{});', "options such as"),
    ("touch_write_options", 'cache.touch("k", polycache::WriteOptions{});', "options such as"),
    ("erase_read_options", 'cache.erase("k", polycache::ReadOptions{});', r"\.version"),
    ("set_two_numbers", 'cache.set("k", "v", 30, 2);', r"\.version"),
    ("set_duration_and_version", 'cache.set("k", "v", 30s, 2U);', r"\.version"),
    ("add_timeout", 'cache.add("k", "v", 30LL);', TIMEOUT),
    ("touch_timeout", 'cache.touch("k", 30U);', TIMEOUT),
    ("touch_timeout_result", 'if (cache.touch("k", 30UL)) nothing();', TIMEOUT),
    ("get_or_set_timeout", 'cache.get_or_set("k", [] { return 1; }, 30ULL);', TIMEOUT),
    ("get_or_set_timeout_result",
     'int n = cache.get_or_set("k", [] { return 1; }, 0.5F) + 1; (void)n;', TIMEOUT),
    ("get_or_set_named_timeout", 'cache.get_or_set<long>("k", 5, short{30});', TIMEOUT),
    ("set_many_timeout", 'cache.set_many({{"a", 1}, {"b", 2}}, true);', TIMEOUT),
    ("set_many_map_timeout", "cache.set_many(std::map<std::string, int>(), 0.5L);", TIMEOUT),

    # A default, or a bare version.
    ("get_default", 'cache.get("k", "default");', DEFAULT),
    ("get_default_auto", 'auto v = cache.get("k", "one"); if (v) nothing();', DEFAULT),
    ("get_default_string", 'std::string v = cache.get("k", "three"); v = cache.get("k", "three");',
     DEFAULT),
    ("get_default_printed", 'std::cout << cache.get("k", "has expired") << 1;', DEFAULT),
    ("get_default_variable", 'std::string d; auto v = cache.get("k", d);', DEFAULT),
    ("get_default_int", 'int n = cache.get<int>("k", 0); (void)n;', r"\.value_or"),
    ("get_default_nullopt", 'cache.get("k", std::nullopt);', DEFAULT),
    ("get_default_struct", 'cache.get<int>("k", Struct());', DEFAULT),
    ("get_version", 'if (auto v = cache.get("k", 2L)) nothing();', VERSION),
    ("get_write_options", 'cache.get("k", polycache::WriteOptions{});', "options are written"),
    ("pop_default", 'cache.pop("k", "default");', r"pop\(\) takes no default"),
    ("pop_default_string", 'std::string v = cache.pop("k", "five");', r"pop\(\) takes no default"),
    ("pop_version", 'cache.pop<int>("k", 2U);', VERSION),
    ("contains_version", 'cache.contains("k", 2UL);', VERSION),
    ("erase_version", 'cache.erase("k", 2LL);', VERSION),
    ("get_many_version", 'cache.get_many({"a", "b"}, 2ULL);', VERSION),
    ("get_many_range_version", "cache.get_many(std::vector<std::string>(), short{2});", VERSION),
    ("get_many_map_version", 'cache.get_many_map<int>({"a", "b"}, true);', VERSION),
    ("erase_many_version", "cache.erase_many({\"a\"}, 'a');", VERSION),
    ("final_key_version", "cache.final_key(\"a\", u'a');", VERSION),
    ("get_entry_version", 'cache.get_entry("k", Id<__LINE__>());', OPTIONS),
    ("pop_entry_version", 'cache.pop_entry<long>("k", Id<__LINE__>());', OPTIONS),
    ("expire_version", 'cache.expire("k", Id<__LINE__>());', OPTIONS),
    ("persist_version", 'cache.persist("k", Id<__LINE__>());', OPTIONS),
    ("get_lifetime", 'cache.get("k", 30min);', r"renews is written \{\.touch = 30min\}"),
    ("scan_version", "cache.scan(\"a*\", u8'a');", VERSION),
    ("erase_pattern_version", "cache.erase_pattern(\"a*\", U'a');", VERSION),

    # Keys that are no text.
    ("set_key", 'cache.set(42, "v");', KEY),
    ("set_key_zero", 'cache.set(0L, "v");', KEY),
    ("set_key_timeout", 'cache.set(Id<__LINE__>(), "v", 30s);', KEY),
    ("set_key_options", 'cache.set(Id<__LINE__>(), "v", {.timeout = 30s});', KEY),
    ("set_key_and_timeout", 'cache.set(Id<__LINE__>(), "v", 30);', KEY),
    ("add_key", 'cache.add(Id<__LINE__>(), "v");', KEY),
    ("get_key", "cache.get(Id<__LINE__>());", KEY),
    ("get_key_result", "if (auto v = cache.get<int>(Id<__LINE__>())) nothing();", KEY),
    ("get_key_value", "int n = cache.get<int>(Id<__LINE__>()).value_or(0); (void)n;", KEY),
    ("get_key_options", "cache.get(Id<__LINE__>(), {.version = 2});", KEY),
    ("get_or_set_key", "cache.get_or_set(Id<__LINE__>(), [] { return 1; });", KEY),
    ("touch_key", "cache.touch(Id<__LINE__>());", KEY),
    ("touch_key_timeout", "cache.touch(Id<__LINE__>(), 30s);", KEY),
    ("contains_key", "if (cache.contains(Id<__LINE__>())) nothing();", KEY),
    ("erase_key", "cache.erase(Id<__LINE__>());", KEY),
    ("erase_pattern_key", "std::size_t n = cache.erase_pattern(Id<__LINE__>()); (void)n;", KEY),
    ("scan_key", "for (auto& e : cache.scan(Id<__LINE__>())) cache.erase(e.key);", KEY),
    ("get_entry_key", "cache.get_entry(Id<__LINE__>());", KEY),
    ("get_entry_key_options", "auto e = cache.get_entry<int>(Id<__LINE__>(), {.touch = 1h});", KEY),
    ("pop_entry_key", "cache.pop_entry(Id<__LINE__>());", KEY),
    ("expire_key", "bool b = cache.expire(Id<__LINE__>()); (void)b;", KEY),
    ("persist_key", "cache.persist(Id<__LINE__>());", KEY),
    ("typed_value", "cache.set(profile(1), 5);", TYPED),
    ("typed_value_timeout", 'cache.set(visits(1), "text", 30s);', TYPED),
    ("typed_value_options", "cache.add(visits(1), Struct(), {.timeout = 30s});", TYPED),
    ("typed_fraction", "cache.set(visits(1), 2.5);", TYPED),
    ("typed_bool", "cache.add(visits(1), true);", TYPED),
    ("typed_null", "cache.set(profile(1), nullptr);", TYPED),
    ("typed_function", "auto v = cache.get_or_set(visits(1), [] { return 2.5; });", TYPED),
    ("typed_void_function", "cache.get_or_set(profile(1), [] {}, 30s);", TYPED),
    ("typed_get", "auto v = cache.get<int>(profile(1));", "the key says which type"),
    ("typed_get_entry", "cache.get_entry<long>(profile(1));", "the key says which type"),
    ("typed_timeout", 'cache.set(profile(1), "v", Id<__LINE__>());', "options such as"),
    ("typed_touch_timeout", "cache.touch(profile(1), Id<__LINE__>());", "options such as"),
    ("typed_visit", "cache.visit(keys<__LINE__>(), [](std::string_view) {});", "takes no typed key"),
    ("typed_incr", "cache.incr(keys<__LINE__>());", "takes no typed key"),
    ("typed_get_many", "cache.get_many({keys<__LINE__>()});", "takes no typed key"),
    ("typed_part", "profile(std::optional<short>(3));", "an optional is no part"),
    ("pop_key", "cache.pop(Id<__LINE__>());", KEY),
    ("visit_key", "cache.visit(Id<__LINE__>(), [](std::string_view) {});", KEY),
    ("incr_key", "cache.incr(Id<__LINE__>());", KEY),
    ("decr_key", "cache.decr(Id<__LINE__>(), 2);", KEY),
    ("incr_version_key", "cache.incr_version(Id<__LINE__>());", KEY),
    ("decr_version_key", "cache.decr_version(Id<__LINE__>());", KEY),
    ("final_key_key", "cache.final_key(Id<__LINE__>());", KEY),
    ("get_many_keys", "auto v = cache.get_many<int>(ids<__LINE__>()); if (v[0]) nothing();", KEY),
    ("get_many_braced", "cache.get_many({Id<__LINE__>(), Id<__LINE__>()});", KEY),
    ("get_many_one", 'cache.get_many("k");', "range of keys"),
    ("get_many_map_keys", "cache.get_many_map(ids<__LINE__>());", KEY),
    ("get_many_map_braced", "cache.get_many_map({Id<__LINE__>()});", KEY),
    ("erase_many_keys", "cache.erase_many(ids<__LINE__>());", KEY),
    ("erase_many_braced", "cache.erase_many({Id<__LINE__>()});", KEY),
    ("set_many_keys", "cache.set_many(std::vector<std::pair<Id<__LINE__>, int>>());", KEY),
    ("set_many_braced", 'cache.set_many({{Id<__LINE__>(), 1}, {"b", 2}});', KEY),
    ("set_many_values", "cache.set_many(std::vector<std::string>());", "pairs"),
    ("key_of_optional", "cache.get(std::optional<std::string>());", KEY),
    ("key_of_char", "cache.get('k');", KEY),

    # Null.
    ("null_set", 'cache.set(nullptr, "v");', NULL_KEY),
    ("null_name", "polycache::key(static_cast<const std::nullptr_t&>(nullptr), 1);", NULL_KEY),
    ("null_part", 'polycache::key("a", nullptr);', "no part of a key is null"),
    ("null_value", 'cache.set("k", nullptr);', NULL_VALUE),
    ("nullopt_value", 'cache.set("k", std::nullopt);', NULL_VALUE),
    ("alias_null", "polycache::caches[nullptr];", ALIAS),
    ("alias_zero", "polycache::caches[0];", ALIAS),

    # Parts of keys.
    ("key_number_name", "polycache::key(42, 1);", "the name comes first"),
    ("key_optional", 'polycache::key("a", std::optional<int>(1));', "optional"),
    ("key_optional_text", 'auto k = polycache::key("a", std::optional<std::string>());', "optional"),
    ("key_vector", 'polycache::key("a", std::vector<int>());', PART),
    ("key_pointer", 'int n = 1; polycache::key("a", &n);', PART),
    ("key_duration", 'polycache::key("a", 30s);', PART),

    # Values.
    ("optional_value", 'cache.set("k", std::optional<int>(1));', "optional"),
    ("optional_get_or_set", 'cache.get_or_set("k", std::optional<long>(1));', "optional"),
    ("age_without_unit", 'cache.get_or_set("k", [] { return 1; }, {.refresh_after = 50});',
     "an age is a share"),
    ("span_without_unit", 'cache.get_or_set("k", [] { return 1; }, {.stale_if_error = 50});',
     "a number has no unit"),
    ("background_copy",
     'const auto own = [p = std::make_unique<int>(1)] { return *p; };'
     'cache.get_or_set("k", polycache::in_background(own));', "can be moved into it"),
    ("load_many", 'cache.get_or_set_many<int>({"a"}, [] { return std::vector<int>{1}; });',
     r"get_or_set_many\(\) calls f"),
    ("void_function", 'cache.get_or_set("k", nothing);', "returns void"),
    ("void_lambda", 'auto v = cache.get_or_set("k", [] {});', "returns void"),
    ("void_lambda_timeout", 'cache.get_or_set("k", [] {}, 30s);', "returns void"),
    ("void_lambda_options", 'cache.get_or_set("k", [] {}, {.timeout = 30s});', "returns void"),
    ("update_of_a_value", 'cache.update<long>("k", [](long old) { return old + 1; });',
     "which returns a T or a"),
    ("update_to_another_type", 'cache.update<long>("k", [](std::optional<long>) { return "1"; });',
     "returns a T or a std::optional<T>"),
    ("update_without_type", 'cache.update("k", [](std::optional<long>) { return 1L; });',
     "name the type of the value"),
    ("update_key", "cache.update<long>(Id<__LINE__>(), [](std::optional<long>) { return 1L; });",
     KEY),
    ("update_timeout", 'cache.update<long>("k", [](std::optional<long>) { return 1L; }, (signed char)30);',
     TIMEOUT),
    ("function_with_argument", 'cache.get_or_set("k", [](int n) { return n; });', "no argument"),
    ("lambda_value", 'cache.set("k", [] { return 1; });', "get_or_set"),
    ("function_value", 'cache.set("k", nothing);', "get_or_set"),
    ("struct_value", 'cache.set("k", Struct());', CODEC),
    ("vector_of_struct", 'cache.set("k", std::vector<Struct>());', CODEC),
    ("get_without_codec", 'auto v = cache.get<Plain<__LINE__>>("k"); if (v) nothing();', CODEC),
    ("get_or_set_without_codec", 'auto v = cache.get_or_set("k", [] { return Plain<__LINE__>(); });',
     CODEC),
    ("add_without_codec", 'cache.add("k", Plain<__LINE__>());', CODEC),
    ("pop_without_codec", 'cache.pop<Plain<__LINE__>>("k");', CODEC),
    ("get_many_without_codec", 'cache.get_many<Plain<__LINE__>>({"k"});', CODEC),
    ("get_many_map_without_codec", 'cache.get_many_map<Plain<__LINE__>>({"k"});', CODEC),
    ("set_many_without_codec", 'cache.set_many({{"k", Plain<__LINE__>()}});', CODEC),
    ("set_many_map_without_codec", "cache.set_many(std::map<std::string, Plain<__LINE__>>());",
     CODEC),
    ("half_a_codec", 'cache.set("k", HalfCodec());', r"encode.*decode"),
    ("get_pointer", 'cache.get<const char*>("k"); cache.pop<const char*>("k");', "std::string"),
    ("get_view", 'auto v = cache.get<std::string_view>("k");'
     'cache.get_many<std::string_view>({"k"}); cache.get_or_set<std::string_view>("k", "v");',
     "std::string"),
    ("get_const", 'cache.get<const int>("k");', "const"),
    ("visit_function", 'cache.visit("k", [](int) {});', "std::string_view"),

    # Counters.
    ("incr_float", 'cache.incr("k", 1.9);', DELTA),
    ("incr_float_result", 'auto n = cache.incr("k", 1.9F); (void)(n + 1);', DELTA),
    ("incr_bool", 'cache.incr("k", true);', DELTA),
    ("incr_wide", 'cache.incr("k", 18446744073709551615ull);', DELTA),
    ("incr_size", 'cache.incr("k", std::string().size());', DELTA),
    ("incr_int128", '__extension__ __int128 n = 1; cache.incr("k", n);', DELTA),
    ("incr_text", 'cache.incr("k", "1");', DELTA),
    ("incr_version_number", 'cache.incr("k", 1, 2);', r"\.initial"),
    ("incr_write_options", 'cache.incr("k", 1, polycache::WriteOptions{});', r"\.initial"),
    ("decr_float", 'cache.decr("k", 1.9L, {.initial = 0});', DELTA),
    ("decr_wide", 'const auto n = 1ull; cache.decr("k", n);', DELTA),
    ("initial_float", 'cache.incr("k", 1, {.initial = 0.5});', "whole number"),
    ("initial_bool", 'cache.incr("k", 1, {.initial = true});', "whole number"),
    ("initial_wide", 'cache.incr("k", 1, {.initial = 1ull});', "whole number"),
    ("version_float", 'cache.get("k", {.version = 1.5});', "whole number"),
    ("version_bool", 'cache.set("k", 1, {.version = true});', "whole number"),
    ("incr_version_float", 'const auto n = 1.5; cache.incr_version("k", n);', DELTA),
    ("incr_version_wide", 'cache.incr_version("k", 4294967297);', DELTA),
    ("decr_version_bool", 'const bool b = true; cache.decr_version("k", b);', DELTA),
    ("incr_version_version", "cache.incr_version(\"k\", 1, L'a');", VERSION),

    # Caches are not copied.
    ("copy", 'auto cache_of_x = polycache::caches["x"];', COPY),
    ("assign", 'cache = polycache::caches["x"];', "auto&"),
]

# The same instantiations again: said once for all of them, and no second error follows.
AGAIN = [
    ("null_keys", 'cache.get(nullptr); cache.erase(nullptr); cache.touch(nullptr, 30s);'
     'cache.set_many({{nullptr, 1}}); cache.incr(nullptr); cache.get_or_set(nullptr, 1);', NULL_KEY),
    ("null_keys_in_lists", 'cache.get_many({nullptr}); cache.get_many_map({nullptr});'
     'cache.erase_many({nullptr});', NULL_KEY),
    ("null_values", 'cache.add("k", nullptr); cache.set("k", nullptr, 30s);'
     'cache.get_or_set("k", nullptr); cache.get_or_set("k", null);'
     'cache.get_or_set<std::string>("k", nullptr); cache.set_many({{"k", nullptr}});'
     'cache.set_many(std::map<std::string, std::nullptr_t>());', NULL_VALUE),
    ("null_texts", "polycache::caches[nullptr].get(\"k\"); polycache::global_registry()[nullptr];"
     "polycache::global_registry().open(nullptr)->close();"
     "polycache::global_registry().contains(nullptr); polycache::Config::from_json(nullptr);"
     "polycache::Config::from_file(nullptr); polycache::Config().apply(nullptr);"
     "polycache::register_key_function(nullptr, {});", ALIAS),
    ("copies", 'auto a = polycache::cache(); polycache::Cache b = polycache::caches["x"];'
     'a.set("k", 1); auto f = [cache] {}; f(); by_value(cache);'
     'auto c = *polycache::global_registry().open("x");', COPY),
]

JSON_PRELUDE = """
#include <polycache/codec_json.h>
#include <polycache/polycache.h>
#include <vector>
struct Struct {
  int number = 0;
};
template <int>
struct Id {};
struct Half {
  int number = 0;
};
void to_json(nlohmann::json&, const Half&);
"""

MACRO = "NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE"
JSON_SLIPS = [
    ("json_struct", 'cache.set("k", Id<__LINE__>());', MACRO),
    ("json_vector", 'cache.set("k", std::vector<Struct>());', MACRO),
    ("json_half", 'auto v = cache.get<Half>("k"); if (v) return;', MACRO),
    ("json_get_or_set", 'cache.get_or_set("k", [] { return Id<__LINE__>(); });', MACRO),
]

# What looks like a slip and is none.
VALID = r"""
enum Unscoped { few, many };
struct Named {
  operator std::string_view() const { return "named"; }
};
struct Count {
  operator int() const { return 1; }
};
inline void valid(polycache::Cache& cache, polycache::CacheRegistry& registry, const char* text,
                  char* mutable_text, const Named& named) {
  using polycache::never;
  const std::string string = "k";
  const polycache::ReadOptions read{.version = 2};
  const polycache::KeyOptions one{.version = 2};
  polycache::WriteOptions write{.timeout = 30s, .version = 2, .tags = {"posts", string}};
  const polycache::TouchOptions life{.timeout = 30s, .version = 2};
  const polycache::LoadOptions load{.timeout = 30s, .tags = "posts", .record_tags = true};
  cache.set("k", "v");
  cache.set("k", "v", {});
  cache.set(string, text, 30s);
  cache.set(named, named, never);
  cache.set(text, mutable_text, {.timeout = never, .version = 2});
  cache.set(mutable_text, 1, write);
  cache.set(std::string_view("k"), 1.5, polycache::Timeout());
  cache.set(polycache::KeyView("k"), Unscoped::many, std::chrono::system_clock::now() + 1h);
  cache.set(polycache::key("k", 1, 'c', true, 2.5F, few, text, string), std::string("v"), 1.5h);
  cache.set(string + "x", std::vector<std::byte>(), std::chrono::duration<double>(2));
  cache.add("k", 'c', 30s);
  cache.add(string, true, {.timeout = 30s});
  cache.touch("k");
  cache.touch(string, 30s);
  cache.touch(text, {.timeout = never});
  cache.touch("k", life);
  cache.get("k", {});
  cache.get("k", read);
  cache.get<int>(string, {.version = 2});
  cache.get(named, {.version = std::nullopt});
  cache.get(text, {read.version});
  cache.get(text, {2});
  cache.pop("k", {.version = 2U});
  cache.get("k", {.version = 2, .touch = 30min});
  cache.get_entry<int>(text, {.touch = never});
  cache.pop_entry("k", {.version = 2});
  cache.expire(string);
  cache.persist("k", {.version = 2});
  cache.set(profile(1, text), string);
  cache.set(profile(string), "v", 30s);
  cache.set(profile(), text, {.timeout = never});
  cache.add(visits(1), 5);
  cache.get_or_set(profile(1), maybe);
  cache.get_or_set(visits(1), 5, never);
  std::optional<long> seen = cache.get(visits(1), {.touch = 30min});
  seen = cache.get<long>(visits(1));
  cache.get_entry(visits(1));
  cache.touch(profile(1), life);
  cache.pop<std::vector<std::byte>>(string, {.version = 2L});
  cache.contains("k", {.version = few});
  cache.erase("k", one);
  cache.visit("k", [](std::string_view) {});
  cache.visit("k", [](auto bytes) { (void)bytes.size(); }, {.version = 2});
  cache.get_or_set("k", "v", 30s);
  cache.get_or_set("k", string, never);
  cache.get_or_set("k", maybe, {.timeout = 30s});
  cache.get_or_set<long>("k", [] { return 5; }, {.version = 2});
  cache.get_or_set<std::string>("k", [] { return "v"; }, load);
  cache.get_or_set(string, [n = 0]() mutable { return ++n; });
  const std::optional<long> made = cache.get_or_set("k", [] { return std::optional<long>(1); });
  const int sum = cache.get_or_set("k", [](polycache::Load& old) {
    return old.stale<int>().value_or(1);
  });
  cache.get_or_set("k", [](polycache::Load&) -> polycache::Loaded<int> { return std::nullopt; },
                   {.early = 1});
  cache.get_or_set("k", polycache::in_background([p = std::make_unique<long>(sum)] { return *p; }),
                   {.refresh_after = 0.8, .stale_if_error = polycache::off, .hard_limit = 100ms});
  if (made) return;
  cache.get_or_set_many<int>({"a", "b"}, [](std::span<const std::string> keys) {
    return std::vector<int>(keys.size());
  });
  cache.get_many({"a", "b"});
  cache.get_many<int>({"a", "b"}, {.version = 2});
  cache.get_many(std::vector<std::string>(), read);
  cache.get_many(std::list<const char*>());
  cache.get_many(std::vector<polycache::KeyView>());
  cache.get_many_map<int>({"a", string, text}, read);
  cache.get_many_map(std::deque<std::string_view>());
  const std::string_view views[] = {"a", "b"};
  cache.get_many<int>(views);
  cache.set_many({{"a", 1}, {string, "text"}, {text, 1.5}});
  cache.set_many({{"a", 1}, {"b", "text"}}, 30s);
  cache.set_many({{"a", 1}, {"b", "text"}}, {.timeout = 30s});
  cache.set_many({{"a", 1}}, write);
  cache.set_many({});
  const std::map<std::string, int> map;
  cache.set_many(map);
  cache.set_many(map, never);
  cache.set_many(map, {.timeout = never, .version = 2});
  cache.set_many(map, write);
  cache.set_many(std::vector<std::pair<const char*, const char*>>(), 30s);
  cache.erase_many({"a", "b"});
  for (const polycache::EntryInfo& entry : cache.scan("a*")) cache.erase(entry.key);
  for (const auto& entry : cache.scan(std::string("a*"), {.version = 2})) cache.erase(entry.key);
  cache.erase_pattern("a*");
  cache.erase_pattern("a*", {.version = 2});
  cache.erase_pattern("a*", one);
  cache.erase_many(std::vector<std::string>(), {.version = 2});
  const short small = 1;
  cache.incr("k");
  cache.incr("k", 2);
  cache.incr("k", small);
  cache.incr("k", 2U);
  cache.incr("k", 2L);
  cache.incr("k", 2LL);
  cache.incr("k", std::int64_t{1} << 62);
  cache.incr("k", std::uint8_t{2});
  cache.incr("k", few);
  cache.incr("k", Count());
  cache.incr("k", {}, {.initial = 5});
  cache.incr("k", 1, {});
  cache.incr("k", 1, {.initial = 0});
  cache.incr("k", 1, {.timeout = 30s, .initial = std::int64_t{5}});
  cache.incr("k", 1, {.version = 2, .initial = std::nullopt});
  cache.decr(string, 2, polycache::CounterOptions{.initial = 2U});
  cache.incr_version("k");
  cache.incr_version("k", 2, {.version = 1});
  cache.decr_version(text, small, one);
  auto& again = cache;
  const auto* pointer = &cache;
  auto lambda = [&cache] { cache.close(); };
  (void)again, (void)pointer, (void)lambda;
  polycache::caches["x"].clear();
  polycache::caches[text].clear();
  registry[string].clear();
  registry[named].clear();
  registry.open("x")->clear();
  (void)registry.contains(std::string_view("x"));
  (void)polycache::Config::from_file("x");
  (void)polycache::Config::from_file(string);
  (void)polycache::Config::from_file(std::filesystem::path("x"));
  (void)polycache::Config::from_json("{}", "name");
  polycache::Config().apply(string);
  polycache::register_key_function("name", polycache::default_key_function);
  std::optional<int> version = read.version;
  (void)(version == read.version && read.version.value_or(1) == 2 && *write.version == 2);
  static_assert(!std::is_copy_constructible_v<polycache::Cache>);
  static_assert(!std::is_constructible_v<polycache::KeyView, std::nullptr_t>);
  static_assert(!std::is_constructible_v<polycache::KeyView, int>);
  static_assert(!polycache::Cacheable<std::nullptr_t> && !polycache::Cacheable<Struct>);
}
"""

FLAGS = ["-std=c++20", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow",
         "-fsyntax-only"]

# Where something is instantiated; these lines do not count as notes.
WHERE = re.compile(r"in instantiation of|required from|required by substitution")


class Said:
    """What a compiler says about one slip."""

    def __init__(self):
        self.errors = []
        self.notes = []

    def problem(self, sentence):
        if not self.errors:
            return "no error"
        if not re.search(sentence, self.errors[0]):
            return f"the first error does not say /{sentence}/"
        if len(self.errors) > 1:
            return f"{len(self.errors)} errors"
        if len(self.notes) > 2:
            return f"{len(self.notes)} notes"
        return ""


def by_line(said, file):
    """Errors and notes by the line of `file` that they are about; {0: ...}: about none."""
    place = re.compile(rf"(?:^|/){re.escape(file)}:(\d+):")
    result = collections.defaultdict(Said)
    required = 0      # g++ says where before the error
    unplaced = None   # clang says it after
    current = result[0]
    for line in said.splitlines():
        found = place.search(line)
        number = int(found[1]) if found else 0
        if "required from here" in line:
            required = number
        elif re.search(r"\berror:", line):
            current = result[number or required]
            unplaced = None
            if not (number or required):
                current = unplaced = Said()
            current.errors.append(line)
        elif re.search(r"\bnote:", line):
            if unplaced and number:
                result[number].errors += unplaced.errors
                result[number].notes += unplaced.notes
                current, unplaced = result[number], None
            if not WHERE.search(line):
                current.notes.append(line)
        elif re.search(r"In (member )?function|In instantiation of|In substitution of", line):
            required = 0
    if unplaced:
        result[0].errors += unplaced.errors
    return result


class Compiler:
    def __init__(self, path, include, folder, recipes):
        self.path = path
        version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
        self.every_error = "-ferror-limit=0" if "clang" in version.stdout else "-fmax-errors=0"
        self.flags = [*FLAGS, f"-I{include}", *(f"-I{recipe}" for recipe in recipes)]
        self.folder = folder / pathlib.Path(path).name
        self.folder.mkdir()

    def compile(self, name, text, flags=()):
        file = self.folder / f"{name}.cpp"
        file.write_text(text)
        done = subprocess.run([self.path, *self.flags, *flags, str(file)], capture_output=True,
                              text=True, env={"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]})
        return done.returncode, done.stderr

    def together(self, name, prelude, slips):
        """One program with a function a slip; (slip's name, what was said, what is wrong)."""
        first = prelude.count("\n") + 1
        functions = "".join(f"void slip_{word}(polycache::Cache& cache) {{ {code} }}\n"
                            for word, code, _ in slips)
        _, text = self.compile(name, prelude + functions, ["-w", self.every_error])
        said = by_line(text, f"{name}.cpp")
        for number, (word, _, sentence) in enumerate(slips, first):
            yield word, said[number], said[number].problem(sentence)
            del said[number]
        for number, other in said.items():
            if other.errors:
                yield f"{name}, line {number}", other, "an error of no slip"

    def alone(self, name, text, sentence, flags=()):
        _, answer = self.compile(name, text, ["-w", *flags])
        said = Said()
        said.errors = [line for line in answer.splitlines() if re.search(r"\berror:", line)]
        said.notes = [line for line in answer.splitlines()
                      if re.search(r"\bnote:", line) and not WHERE.search(line)]
        return name, said, said.problem(sentence)


MEMO_PRELUDE = """
#include <polycache/memoize.h>
#include <memory>
#include <string>
#include <vector>

struct Opaque {
  explicit Opaque(int) {}
};
struct Counter {
  int next(int by) { return by; }
};
"""

# What memoize() refuses, each for one reason.
MEMO_SLIPS = [
    ("memoize_void", 'polycache::memoize("f", [](int) {});', "no function without a result"),
    ("memoize_reference", 'polycache::memoize("f", [](int& n) { return n; });',
     "a parameter that it may change"),
    ("memoize_member", 'polycache::memoize("f", &Counter::next);', "that is not const"),
    ("memoize_pointer", 'polycache::memoize("f", [](const int* n) { return *n; });',
     "an address is no key"),
    ("memoize_move_only", 'polycache::memoize("f", [](std::unique_ptr<int>) { return 1; });',
     "can only be moved"),
    ("memoize_rvalue", 'polycache::memoize("f", [](std::string&&) { return 1; });',
     "take it by value"),
    ("memoize_mutable", 'polycache::memoize("f", [n = 0](int) mutable { return ++n; });',
     "such as a mutable lambda"),
    ("memoize_ignoring", 'polycache::memoize<polycache::Ignoring<2>>("f", [](int n) { return n; });',
     "does not have"),
    ("memoize_no_key", 'polycache::memoize("f", [](Opaque) { return 1; })(Opaque(1));',
     "has no text for the key: write std::string key_of"),
    ("memoize_view", 'polycache::memoize("f", polycache::in_background('
     '[](std::vector<std::string_view> all) { return all.size(); }));', "keeps copies"),
    ("memoize_generic", 'polycache::memoize("f", [](auto x) { return *x; })(static_cast<int*>(0));',
     "an address is no key"),
    ("memoize_many_one", 'polycache::memoize_many("f", [](int n) { return n; });',
     "takes a function of one argument"),
    ("memoize_many_two", 'polycache::memoize_many("f", [](std::vector<int> v, int) { return v; });',
     "takes a function of one argument"),
    ("memoize_many_generic", 'polycache::memoize_many("f", [](const auto& v) { return v; });',
     "takes a function of one argument"),
    ("memoize_many_key", 'polycache::memoize_many("f", [](std::vector<Opaque> v) { return v; });',
     "has no text for the key"),
]

FUNCTION_PRELUDE = """
#include <polycache/function.h>
#include <string>
#include <vector>

using polycache::Function;
struct Open {
  explicit Open(int) {}
};
"""

# What cannot be a function by name, each for one reason.
FUNCTION_SLIPS = [
    ("function_generic", "Function([](auto x) { return x; });", "parameters of known types"),
    ("function_reference", "Function([](int& n) { return n; });", "no parameter that it may change"),
    ("function_pointer", "Function([](const int* n) { return *n; });", "takes no pointer"),
    ("function_mutable", "Function([n = 0](int) mutable { return ++n; });",
     "does not change when it is called"),
    ("function_result", "Function([] { return 1; }).call<std::string_view>();", "is a value"),
]


def jobs(compiler, headers):
    yield lambda: compiler.together("slips", PRELUDE, SLIPS)
    yield lambda: compiler.together("again", PRELUDE, AGAIN)
    yield lambda: compiler.together("json", JSON_PRELUDE, JSON_SLIPS)
    yield lambda: compiler.together("memoize", MEMO_PRELUDE, MEMO_SLIPS)
    yield lambda: compiler.together("functions", FUNCTION_PRELUDE, FUNCTION_SLIPS)
    yield lambda: [("valid", Said(), compiler.compile("valid", PRELUDE + VALID)[1])]
    for header in headers:
        name = "cxx17_" + header.replace("/", "_")
        text = f"#include <{header}>\npolycache::Config config;\n"
        # Preprocessing shows the same line in less time.
        flags = [] if header == "polycache/polycache.h" else ["-E", "-o", os.devnull]
        yield lambda name=name, text=text, flags=flags: [
            compiler.alone(name, text, r"polycache needs C\+\+20", ["-std=c++17", *flags])]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--table", action="store_true")
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("compilers", nargs="+")
    args = parser.parse_args()
    include = args.source / "core" / "include"
    recipes = [args.source / "recipes" / name / "include" for name in ("functions", "memoize")]
    headers = sorted(str(h.relative_to(include)) for h in include.rglob("*.h"))
    headers.remove("polycache/abi.h")  # export.h includes it
    total = problems = 0
    with tempfile.TemporaryDirectory() as temporary, \
            concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        compilers = [Compiler(path, include, pathlib.Path(temporary), recipes) for path in args.compilers]
        work = [(compiler, job) for compiler in compilers for job in jobs(compiler, headers)]
        answers = pool.map(lambda item: (item[0], list(item[1]())), work)
        for compiler, answer in answers:
            for name, said, problem in answer:
                total += 1
                problems += bool(problem)
                if args.table or problem:
                    print(f"{pathlib.Path(compiler.path).name:12} {name:32} {len(said.errors):2} errors "
                          f"{len(said.notes):2} notes  {problem}")
                if problem:
                    print("\n".join(said.errors + said.notes))
    print(f"{total} slips, {problems} problem(s)")
    return 1 if problems or total == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
