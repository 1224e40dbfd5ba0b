"""python-socketio against the real server: refusals, order, acknowledgements, recovery, bad input.

Guarantees: every client is disconnected at the end of its test. It is not the whole matrix: the
JavaScript clients have that; this shows that a client of another make works alike.
"""

import itertools
import unittest

import socketio
from server import Server, until

TRANSPORTS = {"polling": ["polling"], "websocket": ["websocket"], "upgrade": None}
COUNTER = itertools.count(1)


class Thing:
    """A channel that no other test uses."""

    def __init__(self):
        self.id = f"python-{next(COUNTER)}"
        self.channel = f"session:{self.id}"

    def note(self, n):
        return {"type": "session.note", "data": {"sessionId": self.id, "n": n}, "id": f"{self.id}-{n}"}


class View:
    """What an application keeps of a channel; it resumes at each connect."""

    def __init__(self, client, channel):
        self.client, self.channel = client, channel
        self.messages, self.answers, self.position = [], [], None
        client.on("message", self._take)
        client.on("connect", self._subscribe)

    def _subscribe(self):
        asked = {"channel": self.channel, "since": self.position or {"seq": 0}}
        self.client.emit("subscribe", asked, callback=self._answered)

    def _answered(self, answer):
        if self.position is None:
            self.position = {"epoch": answer["epoch"], "seq": 0}
        self.answers.append(answer)

    def _take(self, message):
        if message.get("channel") == self.channel and "seq" in message:
            until(lambda: self.position, "the answer before the messages")
            self.messages.append(message)
            self.position = {**self.position, "seq": message["seq"]}

    def numbers(self):
        return [message["data"]["n"] for message in list(self.messages)]


class Clients(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.addClassCleanup(cls.server.stop)
        cls.root = cls.server.token("root", ["admin"])

    def client(self, **options):
        client = socketio.Client(
            reconnection_delay=0.02, reconnection_delay_max=0.2, randomization_factor=0, **options
        )
        self.addCleanup(client.shutdown)
        return client

    def connect(self, client, auth, transport):
        client.connect(self.server.url, auth=auth, transports=TRANSPORTS[transport], wait_timeout=20, retry=False)
        if transport == "upgrade":
            until(lambda: client.transport() == "websocket", "the upgrade")
        return client

    def each(self):
        for transport in TRANSPORTS:
            with self.subTest(transport=transport):
                yield transport

    def publish_all(self, thing, first, last, each=50):
        for start in range(first, last + 1, each):
            notes = [thing.note(n) for n in range(start, min(start + each, last + 1))]
            until(lambda notes=notes: self.server.publish(notes, self.root), "the publication")

    def test_without_a_good_token_nobody_is_let_in(self):
        for transport in self.each():
            for auth in [None, {}, {"token": "nonsense"}, {"token": self.root[:-4] + "AAAA"}]:
                client, said = self.client(reconnection=False), []
                client.on("connect_error", said.append)
                with self.assertRaises(socketio.exceptions.ConnectionError):
                    self.connect(client, auth, transport)
                until(lambda said=said: said, "the reason")
                self.assertEqual(said[0]["message"], "Authentication error")

    def test_ten_thousand_events_come_in_order(self):
        for transport in self.each():
            thing, client = Thing(), self.client()
            view = View(client, thing.channel)
            self.connect(client, {"token": self.root}, transport)
            until(lambda view=view: view.answers, "the answer")
            self.publish_all(thing, 1, 10_000, 500)
            until(lambda view=view: len(view.messages) >= 10_000, "ten thousand messages")
            self.assertEqual(view.numbers(), list(range(1, 10_001)))
            self.assertEqual([message["seq"] for message in view.messages], list(range(1, 10_001)))

    def test_publications_of_one_client_take_effect_in_the_order_sent(self):
        for transport in self.each():
            thing, client, answers = Thing(), self.client(), []
            self.connect(client, {"token": self.root}, transport)
            for n in range(1, 501):
                note = thing.note(n)
                client.emit("publish", {"channel": thing.channel, **note}, callback=answers.append)
            until(lambda answers=answers: len(answers) == 500, "500 answers")
            self.assertEqual([answer["seq"] for answer in answers], list(range(1, 501)))

    def test_a_subscriber_misses_nothing_when_the_server_is_killed(self):
        for transport in self.each():
            thing, client = Thing(), self.client()
            view = View(client, thing.channel)
            self.connect(client, {"token": self.root}, transport)
            self.publish_all(thing, 1, 200)
            until(lambda view=view: len(view.messages) >= 200, "the first messages")
            self.server.kill9()
            self.server.restart()
            self.publish_all(thing, 201, 400)
            until(lambda view=view: len(view.messages) >= 400, "the messages after the start")
            self.assertEqual(view.numbers(), list(range(1, 401)))

    def test_bad_input_is_answered_with_its_reason(self):
        table = [
            ("subscribe", "session.123", "invalid_channel"),
            ("subscribe", 5, "bad_request"),
            ("publish", {"channel": "session:1", "type": "session:note", "data": {}}, "invalid_event"),
            ("publish", b"bytes", "bad_request"),
            ("nothing.like_this", {}, "unknown_command"),
        ]
        for transport in self.each():
            client = self.connect(self.client(), {"token": self.root}, transport)
            for event, argument, code in table:
                answer = client.call(event, argument, timeout=20)
                self.assertEqual((answer["ok"], answer["error"]["code"]), (False, code), f"{event} {argument}")
            self.assertTrue(client.call("subscribe", "session:1", timeout=20)["ok"])

    def test_without_a_grant_nothing_is_joined(self):
        token = self.server.token("nobody")
        for transport in self.each():
            client = self.connect(self.client(), {"token": token}, transport)
            answer = client.call("subscribe", "session:1", timeout=20)
            self.assertEqual(answer["error"]["code"], "forbidden")


if __name__ == "__main__":
    unittest.main()
