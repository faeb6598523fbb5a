#!/usr/bin/env python3
"""Shows scripts/check-layers small trees that break one rule each, and one that breaks none.

  check_layers_test.py CHECK_LAYERS
"""

import contextlib
import importlib.machinery
import importlib.util
import io
import pathlib
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("check_layers", sys.argv.pop())
check_layers = importlib.util.module_from_spec(importlib.util.spec_from_loader("check_layers", loader))
loader.exec_module(check_layers)

GOOD = {
    "core/include/polycache/author/backend.h": '#include <string>\n#include "polycache/error.h"\n',
    "core/include/polycache/cache.h": '#include "polycache/author/backend.h"\n',
    "core/include/polycache/codec_json.h": "#include <nlohmann/json.hpp>\n",
    "core/src/plugins/library.cpp": '#include <boost/dll/shared_library.hpp>\n#include "plugins/own.h"\n',
    "core/src/plugins/own.h": "#include <unistd.h>\n",
    "core/src/registry/builder.cpp": '#include "plugins/own.h"\n#include "polycache/config.h"\n',
    "core/src/front/cache_state.h": '#include "polycache/cache_info.h"\n#include "polycache/policy.h"\n',
    "core/src/base/wide.h": "#include <string>\n",
    "backends/redis/src/connection.cpp": '#include "connection.h"\n#include "reply_reader.h"\n',
    "backends/redis/src/connection.h": '#include "polycache/author/backend.h"\n#include "polycache/net/socket.h"\n',
    "backends/redis/src/reply_reader.cpp": '#include <hiredis/hiredis.h>\n#include "reply_reader.h"\n',
    "backends/redis/src/reply_reader.h": '#include "polycache/author/backend.h"\n',
    "core/net/include/polycache/net/socket.h": '#include "polycache/error.h"\n',
    "core/net/src/tls.cpp": '#include <openssl/ssl.h>\n#include "polycache/net/socket.h"\n',
    "backends/redis/test/redis_test.cpp": '#include <gtest/gtest.h>\n#include "polycache/polycache.h"\n',
    "backends/memcached/src/libmemcached.cpp": "#include <libmemcached/memcached.h>\n",
    "transforms/aead/src/aead.cpp": '#include <sodium.h>\n#include "polycache/transforms/aead.h"\n',
    "transforms/aead/include/polycache/transforms/aead.h": '#include "polycache/author/plugin.h"\n',
    "transforms/aead/test/aead_test.cpp": '#include "polycache/transforms/zstd.h"\n',
    "testing/include/polycache/testing/suite.h": '#include <gtest/gtest.h>\n#include "polycache/cache.h"\n',
    "plugins/redis.cpp": '#include "polycache/backends/redis.h"\n',
    "plugins/zstd.cpp": '#include "polycache/transforms/zstd.h"\n',
    "plugins/hashed.cpp": '#include <openssl/evp.h>\n#include "polycache/author/plugin.h"\n',
    "recipes/memoize/include/polycache/memoize.h": '#include "polycache/cache.h"\n',
    "recipes/functions/src/library.cpp": '#include "polycache/author/plugin.h"\n',
    "examples/hello/main.cpp": "#include <polycache/polycache.h>\n",
    "examples/custom_backend/folder.cpp": "#include <polycache/author/plugin.h>\n",
}

BAD = {
    "authors' headers know no users": ("core/include/polycache/author/layer.h", "polycache/cache.h"),
    "what lies in a folder of authors is theirs": ("core/include/polycache/net/pool.h", "polycache/key.h"),
    "authors' headers know no details of users": ("core/include/polycache/author/layer.h", "polycache/detail/refusals.h"),
    "authors' headers know no network": ("core/include/polycache/author/layer.h", "polycache/net/socket.h"),
    "authors' headers know no Boost": ("core/include/polycache/author/text.h", "boost/dll/config.hpp"),
    "users' headers know no Boost": ("core/include/polycache/registry.h", "boost/any.hpp"),
    "users' headers know no JSON": ("core/include/polycache/config.h", "nlohmann/json.hpp"),
    "the front knows no registry": ("core/src/front/cache_state.h", "polycache/registry.h"),
    "the front knows no configuration": ("core/src/front/cache_state.h", "polycache/config.h"),
    "Boost.DLL has its file": ("core/src/registry/registry.cpp", "boost/dll/shared_library.hpp"),
    "JSON has its file": ("core/src/config/config.cpp", "nlohmann/json.hpp"),
    "the core knows no store": ("core/src/registry/registry.cpp", "polycache/backends/locmem.h"),
    "the core knows no client library": ("core/src/registry/registry.cpp", "sqlite3.h"),
    "a backend knows no users": ("backends/redis/src/session.cpp", "polycache/registry.h"),
    "a backend knows no other": ("backends/redis/src/session.cpp", "polycache/backends/sqlite.h"),
    "a client library has its files": ("backends/redis/src/session.cpp", "hiredis/hiredis.h"),
    "a client library has one pair of files": ("backends/memcached/src/connection.cpp", "libmemcached/memcached.h"),
    "a connection has its own library": ("backends/redis/src/connection.cpp", "sqlite3.h"),
    "the core knows no network": ("core/src/registry/registry.cpp", "polycache/net/socket.h"),
    "the core knows no OpenSSL": ("core/src/registry/registry.cpp", "openssl/ssl.h"),
    "the network knows no users": ("core/net/src/tls.cpp", "polycache/registry.h"),
    "the network's headers know no OpenSSL": ("core/net/include/polycache/net/tls.h", "openssl/ssl.h"),
    "a store in a file knows no network": ("backends/sqlite/src/session.cpp", "polycache/net/socket.h"),
    "a store speaks TLS by the network": ("backends/redis/src/connection.cpp", "openssl/ssl.h"),
    "a layer knows no backend": ("layers/metrics/metrics.cpp", "polycache/backends/redis.h"),
    "a transform knows no users": ("transforms/zstd/src/zstd.cpp", "polycache/registry.h"),
    "a transform knows no other": ("transforms/aead/src/aead.cpp", "polycache/transforms/zstd.h"),
    "a transform knows no store": ("transforms/aead/src/aead.cpp", "polycache/backends/redis.h"),
    "a transform has its own library": ("transforms/zstd/src/zstd.cpp", "sodium.h"),
    "a transform's header knows no library": (
        "transforms/aead/include/polycache/transforms/aead.h", "sodium.h"),
    "a store knows no transform": ("backends/redis/src/session.cpp", "polycache/transforms/zstd.h"),
    "the core knows no transform": ("core/src/front/transforms.cpp", "polycache/transforms/zstd.h"),
    "nothing private of others": ("backends/redis/src/session.cpp", "no_destructor.h"),
    "nothing by way of paths": ("tools/polycache.cpp", "../core/src/plugins/own.h"),
    "what is for tests knows no store": ("testing/include/polycache/testing/suite.h", "polycache/backends/redis.h"),
    "a plugin knows no registry": ("plugins/redis.cpp", "polycache/registry.h"),
    "a recipe knows no backend": ("recipes/memoize/memoize.cpp", "polycache/author/backend.h"),
    "a recipe loads no plugin": ("recipes/memoize/memoize.cpp", "polycache/author/plugin.h"),
    "an example is a user": ("examples/hello/main.cpp", "polycache/author/plugin.h"),
    "a tool is a user": ("tools/polycache.cpp", "polycache/backends/locmem.h"),
    "the front knows no registry": ("core/src/front/frame.h", "polycache/registry.h"),
    "the front knows no plugins": ("core/src/front/cache.cpp", "plugins/own.h"),
    "the configuration knows no front": ("core/src/config/config.cpp", "polycache/cache.h"),
    "the base knows none above it": ("core/src/base/wide.h", "plugins/own.h"),
    "a room is a folder": ("core/src/attic/lost.h", "plugins/own.h"),
    "no part knows strangers": ("core/src/base/text.cpp", "fmt/format.h"),
}


def run(files, *arguments):
    """Its exit status and what it printed, for a tree of these files."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name, text in files.items():
            file = root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            status = check_layers.main(["--root", folder, *arguments])
        return status, output.getvalue()


class CheckLayers(unittest.TestCase):
    def test_what_keeps_the_rules_passes(self):
        status, output = run(GOOD)
        self.assertEqual(status, 0, output)
        self.assertIn("every part keeps to its layer", output)

    def test_each_broken_rule_is_told_with_its_place(self):
        for rule, (file, include) in BAD.items():
            is_ours = include.startswith(("polycache/", "../", "no_", "plugins/"))
            quoted = f'"{include}"' if is_ours else f"<{include}>"
            with self.subTest(rule):
                text = GOOD.get(file, "")
                status, output = run({**GOOD, file: f"{text}#include {quoted}\n"})
                self.assertEqual(status, 1, output)
                self.assertIn(f"{file}:{text.count(chr(10)) + 1}: ", output)
                self.assertIn("1 problem(s)", output)

    def test_a_plugin_has_one_backend(self):
        _, output = run({**GOOD, "plugins/both.cpp": '#include "polycache/backends/redis.h"\n'
                                                     '#include "polycache/backends/sqlite.h"\n'})
        self.assertIn("plugins/both.cpp:2: ", output)

    def test_what_is_commented_out_does_not_count(self):
        status, output = run({**GOOD, "core/src/base/text.cpp": "//   #include <fmt/format.h>\n"})
        self.assertEqual(status, 0, output)

    def test_no_sources_and_no_library_are_problems(self):
        self.assertEqual(run({})[0], 1)
        self.assertEqual(run(GOOD, "--build", "/nowhere")[0], 1)


if __name__ == "__main__":
    unittest.main()
