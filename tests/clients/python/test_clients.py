"""python-socketio against the real server: refusals, order, acknowledgements, recovery, bad input.

Guarantees: every client is disconnected at the end of its test. It is not the whole matrix: the
JavaScript clients have that; this shows that a client of another make works alike.
"""

import asyncio
import functools
import itertools
import unittest

import socketio
from server import Server, until

TRANSPORTS = {"polling": ["polling"], "websocket": ["websocket"], "upgrade": None}
COUNTER = itertools.count(1)


def each_transport(test):
    """The test over each transport, named where it fails."""

    @functools.wraps(test)
    async def run(self):
        for transport in TRANSPORTS:
            with self.subTest(transport=transport):
                await test(self, transport)

    return run


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

    async def _subscribe(self):
        asked = {"channel": self.channel, "since": self.position or {"seq": 0}}
        await self.client.emit("subscribe", asked, callback=self._answered)

    def _answered(self, answer):
        self.epoch = answer["epoch"]
        self.answers.append(answer)

    def _take(self, message):
        if message.get("channel") == self.channel and "seq" in message:
            self.messages.append(message)
            self.position = {"epoch": self.epoch, "seq": message["seq"]}

    def numbers(self):
        return [message["data"]["n"] for message in self.messages]

    def seqs(self):
        return [message["seq"] for message in self.messages]


class Clients(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.addClassCleanup(cls.server.stop)
        cls.root = cls.server.token("root", ["admin"])

    async def asyncSetUp(self):
        asyncio.get_running_loop().set_debug(False)

    def client(self, **options):
        client = socketio.AsyncClient(
            reconnection_delay=0.02, reconnection_delay_max=0.2, randomization_factor=0, **options
        )
        self.addAsyncCleanup(client.shutdown)
        return client

    async def connect(self, client, auth, transport):
        await client.connect(self.server.url, auth=auth, transports=TRANSPORTS[transport], wait_timeout=20)
        if transport == "upgrade":
            await until(lambda: client.transport() == "websocket", "the upgrade")
        return client

    async def publish_all(self, thing, first, last, each=50):
        for start in range(first, last + 1, each):
            notes = [thing.note(n) for n in range(start, min(start + each, last + 1))]
            published = False
            while not published:
                published = await asyncio.to_thread(self.server.publish, notes, self.root)

    @each_transport
    async def test_without_a_good_token_nobody_is_let_in(self, transport):
        for auth in [None, {}, {"token": "nonsense"}, {"token": self.root[:-8] + "AAAAAAAA"}]:
            client, said = self.client(reconnection=False), []
            client.on("connect_error", said.append)
            with self.assertRaises(socketio.exceptions.ConnectionError):
                await self.connect(client, auth, transport)
            self.assertEqual(said[0]["message"], "Authentication error")

    @each_transport
    async def test_ten_thousand_events_come_in_order(self, transport):
        thing, client = Thing(), self.client()
        view = View(client, thing.channel)
        await self.connect(client, {"token": self.root}, transport)
        await until(lambda: view.answers, "the answer")
        await self.publish_all(thing, 1, 10_000, 500)
        await until(lambda: len(view.messages) >= 10_000, "ten thousand messages")
        self.assertEqual(view.numbers(), list(range(1, 10_001)))
        self.assertEqual(view.seqs(), list(range(1, 10_001)))

    @each_transport
    async def test_publications_of_one_client_take_effect_in_the_order_sent(self, transport):
        thing, client, places = Thing(), self.client(), {}
        await self.connect(client, {"token": self.root}, transport)
        for n in range(1, 501):
            note = {"channel": thing.channel, **thing.note(n)}
            place = functools.partial(lambda n, answer: places.update({n: answer["seq"]}), n)
            await client.emit("publish", note, callback=place)
        await until(lambda: len(places) == 500, "500 answers")
        self.assertEqual(places, {n: n for n in range(1, 501)})

    @each_transport
    async def test_a_subscriber_misses_nothing_when_the_server_is_killed(self, transport):
        thing, client = Thing(), self.client()
        view = View(client, thing.channel)
        await self.connect(client, {"token": self.root}, transport)
        await self.publish_all(thing, 1, 200)
        await until(lambda: len(view.messages) >= 200, "the first messages")
        await asyncio.to_thread(self.server.kill9)
        await asyncio.to_thread(self.server.restart)
        await self.publish_all(thing, 201, 400)
        await until(lambda: len(view.messages) >= 400, "the messages after the start")
        self.assertEqual(view.numbers(), list(range(1, 401)))
        self.assertEqual(view.answers[-1].get("recovered"), True)

    @each_transport
    async def test_bad_input_is_answered_with_its_reason(self, transport):
        table = [
            ("subscribe", "session.123", "invalid_channel"),
            ("subscribe", 5, "bad_request"),
            ("publish", {"channel": "session:1", "type": "session:note", "data": {}}, "invalid_event"),
            ("publish", b"bytes", "bad_request"),
            ("nothing.like_this", {}, "unknown_command"),
        ]
        client = await self.connect(self.client(), {"token": self.root}, transport)
        for event, argument, code in table:
            answer = await client.call(event, argument, timeout=20)
            self.assertEqual((answer["ok"], answer["error"]["code"]), (False, code), f"{event} {argument}")
        answer = await client.call("subscribe", "session:1", timeout=20)
        self.assertTrue(answer["ok"])

    @each_transport
    async def test_without_a_grant_nothing_is_joined(self, transport):
        token = await asyncio.to_thread(self.server.token, "nobody")
        client = await self.connect(self.client(), {"token": token}, transport)
        answer = await client.call("subscribe", "session:1", timeout=20)
        self.assertEqual(answer["error"]["code"], "forbidden")


if __name__ == "__main__":
    unittest.main()
