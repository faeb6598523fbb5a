"""Real requests to examples/shop, with its configurations: shop_example_test.py PROGRAM FOLDER

FOLDER has shop.json and shop-redis.json. What needs redis is skipped where there is no server.
"""

import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

PROGRAM = None
FOLDER = None
REDIS = shutil.which("redis-server")
# Generous: what takes that long hangs.
LIMIT = 300


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.header = response.getheader
        self.text = response.read().decode()

    def json(self):
        return json.loads(self.text)


class Shop:
    """The program, which ends with the test."""

    def __init__(self, test, folder, config, *, port=0, env=None):
        self.process = subprocess.Popen(
            [PROGRAM, "--config", config, "--database", folder / "goods.sqlite3", "--port", str(port)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
        self.limit = threading.Timer(LIMIT, self.process.kill)
        self.limit.start()
        test.addCleanup(self.kill)
        line = self.process.stdout.readline()
        test.assertRegex(line, r"^http://127\.0\.0\.1:\d+/$")
        self.port = int(line.rsplit(":", 1)[1].strip("/\n"))

    def kill(self):
        self.limit.cancel()
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def stop(self):
        """Ends it as a service manager does. Returns its exit status and what it said."""
        self.process.send_signal(signal.SIGTERM)
        said = self.process.communicate()[1]
        return self.process.returncode, said


class Visitor:
    """A browser: keeps the cookie."""

    def __init__(self, shop):
        self.shop = shop
        self.cookie = None

    def ask(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.shop.port, timeout=LIMIT)
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookie:
            fields["Cookie"] = "theme=dark; shop=" + self.cookie
        connection.request(method, path, body, fields)
        answer = Answer(connection.getresponse())
        connection.close()
        cookie = answer.header("Set-Cookie")
        if cookie:
            self.cookie = cookie.split(";")[0].removeprefix("shop=")
        return answer

    def get(self, path, **headers):
        return self.ask("GET", path, **headers)

    def post(self, path, **body):
        return self.ask("POST", path, json.dumps(body), Content_Type="application/json")

    def log_in(self, name="ada", password="lovelace-1815"):
        return self.post("/login", name=name, password=password)


class Case(unittest.TestCase):
    def setUp(self):
        # Short, for the paths of sockets; its owner's alone, as configurations have to be.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="shop", dir="/tmp"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def config(self, name, **settings):
        """A copy of the example's file, with other values of some members."""
        text = (FOLDER / name).read_text()
        for member, value in settings.items():
            text, count = re.subn(rf'"{member}": ("[^"]*"|[^,}}\s]+)',
                                  f'"{member}": {json.dumps(value)}', text)
            self.assertGreater(count, 0, member)
        file = self.folder / name
        file.write_text(text)
        file.chmod(0o600)
        return file

    def buyers(self, shop, count):
        """Visitors who are logged in, each with the last kettle in the cart."""
        visitors = [Visitor(shop) for _ in range(count)]
        for visitor in visitors:
            self.assertEqual(visitor.log_in().status, 200)
            self.assertEqual(visitor.post("/cart", product=4, count=1).status, 200)
        return visitors

    def check_that_the_last_item_is_sold_once(self, shops):
        visitors = [visitor for shop in shops for visitor in self.buyers(shop, 8 // len(shops))]
        self.assertIn("1 in stock", Visitor(shops[0]).get("/products/4").text)
        start = threading.Barrier(len(visitors))
        statuses = []

        def buy(visitor):
            start.wait()
            answer = visitor.post("/checkout")
            while answer.status == 503:  # it waited for too long, on a busy machine
                self.assertIsNotNone(answer.header("Retry-After"))
                answer = visitor.post("/checkout")
            statuses.append(answer.status)

        threads = [threading.Thread(target=buy, args=(visitor,)) for visitor in visitors]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(statuses), [200] + [409] * (len(visitors) - 1))
        for shop in shops:
            self.assertIn("0 in stock", Visitor(shop).get("/products/4").text)
        # Who bought it has an empty cart, the others still have theirs.
        carts = [len(visitor.get("/cart").json()["cart"]) for visitor in visitors]
        self.assertEqual(sorted(carts), [0] + [1] * (len(visitors) - 1))

    def check_that_a_price_is_seen_at_once(self, changing, others):
        """`others`: visitors of the shops that share the cache."""
        for visitor in others:
            for path in ("/", "/products/2", "/products/1"):  # the mug is a suggestion of the pot
                visitor.get(path)
                kept = visitor.get(path)
                self.assertIsNotNone(kept.header("Age"), path)
                self.assertIn("8.50", kept.text)
        self.assertEqual(changing.log_in("grace", "hopper-1906").status, 200)
        self.assertEqual(changing.post("/products/2", price=905).status, 200)
        for visitor in others:
            for path in ("/", "/products/2", "/products/1"):
                page = visitor.get(path)
                self.assertIn("9.05", page.text)
                self.assertNotIn("8.50", page.text)


class OnLocmem(Case):
    def setUp(self):
        super().setUp()
        self.shop = Shop(self, self.folder, self.config("shop.json", login_attempts=1000))
        self.visitor = Visitor(self.shop)

    def test_pages_come_from_the_cache_with_an_etag(self):
        first = self.visitor.get("/products/1")
        self.assertEqual(first.status, 200)
        self.assertIsNone(first.header("Age"))
        self.assertIn("24.50, 12 in stock", first.text)
        second = self.visitor.get("/products/1?utm=x")
        self.assertIsNotNone(second.header("Age"))
        self.assertEqual(second.text, first.text)
        self.assertEqual(second.header("Cache-Control"), "no-cache")
        third = self.visitor.get("/products/1", If_None_Match=first.header("ETag"))
        self.assertEqual((third.status, third.text), (304, ""))
        self.assertGreater(self.visitor.get("/statistics").json()["default"]["hits"], 0)

    def test_a_product_that_is_not_there_is_404_and_not_kept(self):
        for _ in range(2):
            answer = self.visitor.get("/products/77")
            self.assertEqual((answer.status, answer.header("Age")), (404, None))

    def test_names_are_escaped(self):
        self.assertIn("Tea &amp; &lt;herbs&gt;", self.visitor.get("/").text)

    def test_suggestions_are_what_was_ordered_together(self):
        text = self.visitor.get("/products/1").text
        self.assertIn("/products/2", text)
        self.assertIn("/products/3", text)
        self.assertNotIn("/products/4", text)

    def test_a_new_price_is_seen_at_once(self):
        self.check_that_a_price_is_seen_at_once(Visitor(self.shop), [self.visitor])

    def test_only_the_staff_changes_prices(self):
        self.assertEqual(self.visitor.post("/products/2", price=1).status, 401)
        self.visitor.log_in()
        self.assertEqual(self.visitor.post("/products/2", price=1).status, 403)
        self.visitor.log_in("grace", "hopper-1906")
        for price in (-1, 1.5, "1", None, True, 2 ** 63, 10 ** 30):
            self.assertEqual(self.visitor.post("/products/2", price=price).status, 400, price)
        self.assertEqual(self.visitor.post("/products/77", price=1).status, 404)
        self.assertIn("8.50", self.visitor.get("/products/2").text)

    def test_the_last_item_is_sold_once(self):
        self.check_that_the_last_item_is_sold_once([self.shop])

    def test_a_login_changes_the_id_of_the_session(self):
        self.visitor.post("/cart", product=2, count=3)
        before = self.visitor.cookie
        self.assertRegex(before, "^[0-9a-f]{32}$")
        answer = self.visitor.log_in()
        self.assertNotEqual(self.visitor.cookie, before)
        for attribute in ("HttpOnly", "SameSite=Lax", "Path=/"):
            self.assertIn(attribute, answer.header("Set-Cookie").split("; "))
        self.assertEqual(self.visitor.get("/cart").json(),
                         {"user": "ada", "cart": [{"product": 2, "count": 3}]})
        older = Visitor(self.shop)
        older.cookie = before
        self.assertEqual(older.get("/cart").json(), {"user": None, "cart": []})

    def test_a_logout_ends_the_session(self):
        self.visitor.log_in()
        cookie = self.visitor.cookie
        self.assertEqual(self.visitor.post("/logout").status, 200)
        self.visitor.cookie = cookie
        self.assertIsNone(self.visitor.get("/cart").json()["user"])

    def test_wrong_passwords_and_names_get_one_answer(self):
        answers = [self.visitor.log_in(name, password) for name, password in
                   (("ada", "wrong"), ("eve", "wrong"), ("ada", ""), ("' OR 1 --", "x"))]
        self.assertEqual({answer.status for answer in answers}, {401})
        self.assertEqual(len({answer.text for answer in answers}), 1)
        self.assertIsNone(self.visitor.cookie)

    def test_a_form_of_another_site_changes_nothing(self):
        self.visitor.log_in()
        for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data"):
            answer = self.visitor.ask("POST", "/cart", '{"product": 2, "count": 1}',
                                      Content_Type=kind)
            self.assertIn(answer.status, (400, 415), kind)
        self.assertEqual(self.visitor.get("/cart").json()["cart"], [])

    def test_a_body_that_is_no_json_object_is_refused(self):
        for body in ("", "{", "[]", "1", '{"product": 2', "\xff"):
            answer = self.visitor.ask("POST", "/cart", body.encode("latin-1"),
                                      Content_Type="application/json")
            self.assertEqual(answer.status, 400, body)

    def test_an_order_needs_a_login_and_a_cart(self):
        self.visitor.post("/cart", product=2, count=1)
        self.assertEqual(self.visitor.post("/checkout").status, 401)
        self.visitor.log_in()
        self.assertEqual(self.visitor.post("/checkout").status, 200)
        self.assertIn("39 in stock", self.visitor.get("/products/2").text)
        self.assertEqual(self.visitor.post("/checkout").status, 409)

    def test_an_order_of_too_many_changes_nothing(self):
        self.visitor.log_in()
        self.visitor.post("/cart", product=2, count=40)
        self.visitor.post("/cart", product=4, count=2)
        answer = self.visitor.post("/checkout")
        self.assertEqual(answer.status, 409)
        self.assertIn("product 4", answer.json()["error"])
        self.assertIn("40 in stock", self.visitor.get("/products/2").text)
        self.assertEqual(len(self.visitor.get("/cart").json()["cart"]), 2)

    def test_one_visitor_cannot_order_a_cart_twice(self):
        self.visitor.log_in()
        self.visitor.post("/cart", product=2, count=1)
        statuses = []
        threads = [threading.Thread(
            target=lambda: statuses.append(self.visitor.post("/checkout").status)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(statuses.count(200), 1, statuses)
        self.assertIn("39 in stock", self.visitor.get("/products/2").text)

    def test_it_is_ready(self):
        answer = self.visitor.get("/ready")
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.json(), {"status": "ready", "database": True,
                                         "stores": {"default": True, "state": True}})

    def test_it_ends_in_order_and_begins_again_with_its_database(self):
        self.visitor.log_in()
        self.visitor.post("/cart", product=4, count=1)
        self.visitor.post("/checkout")
        self.assertEqual(self.shop.stop(), (0, ""))
        again = Shop(self, self.folder, self.folder / "shop.json")
        self.assertIn("0 in stock", Visitor(again).get("/products/4").text)

    def test_cookies_are_secure_unless_it_is_said(self):
        config = self.config("shop.json", secure_cookies=True)
        answer = Visitor(Shop(self, self.folder, config)).post("/cart", product=1, count=1)
        self.assertIn("Secure", answer.header("Set-Cookie").split("; "))


class Limits(Case):
    def test_too_many_logins_are_429_with_the_time_to_wait(self):
        # Five at once, and one more each twelve seconds, however slow the machine is.
        visitor = Visitor(Shop(self, self.folder, self.config("shop.json")))
        for attempt in range(1, 1000):
            answer = visitor.post("/login")  # counts, before any work is done for it
            if answer.status != 400:
                break
        self.assertEqual(answer.status, 429)
        self.assertGreater(attempt, 5)
        wait = int(answer.header("Retry-After"))
        self.assertTrue(1 <= wait <= 12, wait)
        self.assertEqual(visitor.get("/").status, 200)


class Errors(Case):
    def run_with(self, *arguments):
        ended = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=LIMIT)
        self.assertEqual((ended.returncode, ended.stdout), (1, ""))
        return ended.stderr

    def test_a_port_that_is_taken(self):
        config = self.config("shop.json")
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            said = self.run_with("--config", config, "--database", self.folder / "x", "--port",
                                 str(port))
        self.assertIn(f"cannot listen on 127.0.0.1:{port}", said)

    def test_a_port_that_another_shop_has(self):
        config = self.config("shop.json")
        shop = Shop(self, self.folder, config)
        said = self.run_with("--config", config, "--database", self.folder / "x", "--port",
                             str(shop.port))
        self.assertIn(f"cannot listen on 127.0.0.1:{shop.port}", said)

    def test_a_database_that_cannot_be_opened(self):
        config = self.config("shop.json")
        file = str(self.folder / "nowhere" / "goods.sqlite3")
        said = self.run_with("--config", config, "--database", file)
        self.assertIn(f'cannot open "{file}": the database: unable to open', said)
        said = self.run_with("--config", config, "--database", config)
        self.assertIn("file is not a database", said)

    def test_a_configuration_that_is_wrong(self):
        config = self.config("shop.json", login_attempts=0)
        said = self.run_with("--config", config, "--database", self.folder / "x")
        self.assertIn("shop.login_attempts", said)
        self.assertIn("nowhere.json", self.run_with("--config", self.folder / "nowhere.json"))

    def test_arguments_that_are_wrong(self):
        self.assertIn("--port: expected a number", self.run_with("--port", "80x"))
        self.assertIn("--nix: unknown", self.run_with("--nix", "1"))
        self.assertIn("--port: expected a value", self.run_with("--port"))


@unittest.skipUnless(REDIS, "redis-server is not installed")
class OnRedis(Case):
    def setUp(self):
        super().setUp()
        self.socket = self.folder / "redis"
        self.start_redis()
        self.env = {**os.environ, "SHOP_CACHE": f"unix://{self.socket}?db=0",
                    "SHOP_STATE": f"unix://{self.socket}?db=1"}
        # Long limits, for a machine that is busy. A server that is gone is noticed at once.
        self.file = self.config("shop-redis.json", login_attempts=1000, timeout="60s",
                                connect_timeout="60s")

    def start_redis(self):
        self.redis = subprocess.Popen(
            [REDIS, "--port", "0", "--unixsocket", self.socket, "--save", "", "--appendonly", "no",
             "--dir", self.folder], stdout=subprocess.DEVNULL)
        self.addCleanup(self.kill_redis, self.redis)
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(str(self.socket))
                    return
                except OSError:
                    time.sleep(0.02)
        self.fail("redis did not start")

    def kill_redis(self, process):
        if process.poll() is None:
            process.kill()
        process.wait()

    def start(self):
        return Shop(self, self.folder, self.file, env=self.env)

    def test_a_new_price_is_seen_at_once_in_all_processes(self):
        shops = [self.start(), self.start()]
        self.check_that_a_price_is_seen_at_once(Visitor(shops[0]), [Visitor(shop) for shop in shops])

    def test_the_last_item_is_sold_once_by_all_processes(self):
        self.check_that_the_last_item_is_sold_once([self.start(), self.start()])

    def test_a_session_survives_a_restart(self):
        visitor = Visitor(self.start())
        visitor.log_in()
        visitor.post("/cart", product=2, count=1)
        self.assertEqual(visitor.shop.stop(), (0, ""))
        visitor.shop = self.start()
        self.assertEqual(visitor.get("/cart").json(),
                         {"user": "ada", "cart": [{"product": 2, "count": 1}]})
        self.assertEqual(visitor.post("/checkout").status, 200)

    def test_without_redis_pages_are_answered_and_carts_are_not(self):
        visitor = Visitor(self.start())
        visitor.log_in()
        visitor.get("/")
        self.assertIsNotNone(visitor.get("/").header("Age"))
        self.kill_redis(self.redis)
        for path in ("/", "/products/1"):
            answer = visitor.get(path)
            self.assertEqual((answer.status, answer.header("Age")), (200, None))
        for answer in (visitor.get("/cart"), visitor.post("/cart", product=2, count=1),
                       visitor.log_in(), visitor.post("/checkout")):
            self.assertEqual(answer.status, 503)
            self.assertIsNotNone(answer.header("Retry-After"))
        ready = visitor.get("/ready")
        self.assertEqual(ready.status, 200)
        self.assertEqual(ready.json(), {"status": "degraded", "database": True,
                                        "stores": {"default": False, "state": False}})
        self.start_redis()
        self.wait_until(lambda: visitor.get("/ready").json()["status"] == "ready")
        self.wait_until(lambda: visitor.get("/cart").status == 200)
        self.wait_until(lambda: visitor.get("/").header("Age") is not None)

    def wait_until(self, is_so):
        end = time.monotonic() + LIMIT
        while not is_so():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)

    def test_it_starts_without_redis(self):
        self.kill_redis(self.redis)
        self.assertEqual(Visitor(self.start()).get("/").status, 200)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    FOLDER = pathlib.Path(sys.argv.pop(1))
    unittest.main()
