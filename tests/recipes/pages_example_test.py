"""Real requests to examples/pages, on a free port: pages_example_test.py PROGRAM"""

import http.client
import subprocess
import sys
import threading
import unittest

PROGRAM = None


class PagesExample(unittest.TestCase):
    def setUp(self):
        self.server = subprocess.Popen([PROGRAM], stdout=subprocess.PIPE, text=True)
        # A server that hangs ends, and with it whatever waits for its answer.
        self.limit = threading.Timer(300, self.server.kill)
        self.limit.start()
        line = self.server.stdout.readline()
        self.assertRegex(line, r"^http://127\.0\.0\.1:\d+/$")
        self.port = int(line.rsplit(":", 1)[1].strip("/\n"))

    def tearDown(self):
        self.limit.cancel()
        self.server.kill()
        self.server.wait()
        self.server.stdout.close()

    def ask(self, method="GET", path="/", body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, fields)
        answer = connection.getresponse()
        answer.text = answer.read().decode()
        connection.close()
        return answer

    def test_a_page_stays_until_there_is_news(self):
        first = self.ask()
        self.assertEqual((first.status, first.text), (200, "No news.\n"))
        self.assertIsNone(first.getheader("Age"))
        second = self.ask()
        self.assertEqual(second.text, first.text)
        self.assertIsNotNone(second.getheader("Age"))
        self.assertEqual(second.getheader("Content-Type"), "text/plain")
        self.assertEqual(second.getheader("ETag"), first.getheader("ETag"))
        self.assertEqual(self.ask("POST", body="It rains.").status, 303)
        third = self.ask()
        self.assertEqual(third.text, "No news.\nIt rains.\n")
        self.assertIsNone(third.getheader("Age"))
        self.assertNotEqual(third.getheader("ETag"), first.getheader("ETag"))

    def test_a_client_that_has_the_page_gets_304(self):
        etag = self.ask().getheader("ETag")
        answer = self.ask(If_None_Match=etag)
        self.assertEqual((answer.status, answer.text), (304, ""))
        self.assertEqual(answer.getheader("ETag"), etag)
        self.assertEqual(self.ask(If_None_Match='"other"').status, 200)

    def test_head_has_the_length_of_the_page_and_no_body(self):
        self.ask()
        answer = self.ask("HEAD")
        self.assertEqual((answer.status, answer.text), (200, ""))
        self.assertEqual(answer.getheader("Content-Length"), str(len("No news.\n")))
        self.assertIsNotNone(answer.getheader("Age"))

    def test_queries_have_pages_of_their_own(self):
        self.ask()
        self.assertIsNone(self.ask(path="/?page=2").getheader("Age"))
        self.assertIsNotNone(self.ask(path="/?page=2").getheader("Age"))

    def test_requests_with_authorization_are_not_answered_from_the_cache(self):
        self.ask()
        self.assertIsNone(self.ask(Authorization="Basic eDp5").getheader("Age"))

    def test_many_clients_at_once_get_the_page(self):
        texts = []
        clients = [threading.Thread(target=lambda: texts.append(self.ask().text)) for _ in range(16)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        self.assertEqual(texts, ["No news.\n"] * 16)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
