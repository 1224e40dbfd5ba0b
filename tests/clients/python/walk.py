"""The walk of python-socketio, `sync` or `async` (the one argument): see ../matrix/walk.js.

Guarantees: one JSON object a line on standard output; exit code 0 only at the end of the walk.
It is not a test: the driver judges.
"""

import asyncio
import json
import os
import sys
import threading
import time

import socketio

WALK = json.loads(os.environ["WALK"])
# With both, the library upgrades only where it is asked for neither.
TRANSPORTS = None if WALK["transport"] == "upgrade" else WALK["transports"]
OPTIONS = {"reconnection_delay": 0.05, "reconnection_delay_max": 0.5, "randomization_factor": 0}
# A refusal that hangs does so now and then; one that did is enough.
REFUSALS = 8
TOO_LONG_S = 5


def say(name, **rest):
    print(json.dumps({"say": name, **rest}), flush=True)


class Place:
    """Where the client is in the channel, and what it does next."""

    def __init__(self):
        self.position = {"seq": 0}

    def request(self):
        return {"channel": WALK["channel"], "since": self.position}

    def subscribed(self, answer):
        say("subscribed", answer=answer)
        self.position = {"epoch": answer["epoch"], "seq": self.position["seq"]}

    def take(self, message):
        """Says what came; gives the number of a note."""
        if message["type"] == "server.hello":
            say("hello", data=message["data"])
        # A notice about the channel has no number.
        if message.get("channel") != WALK["channel"] or "seq" not in message:
            return None
        self.position = {**self.position, "seq": message["seq"]}
        say("note", n=message["data"]["n"], seq=message["seq"])
        return message["data"]["n"]


class Threads:
    """Takes each message in its turn: the synchronous library calls a handler in a thread of its own for each."""

    def __init__(self, place):
        self.place, self.waiting, self.lock = place, {}, threading.Lock()

    def take(self, message):
        """Gives the numbers of the notes whose turn it was."""
        with self.lock:
            if message.get("channel") != WALK["channel"] or "seq" not in message:
                self.place.take(message)
                return []
            self.waiting[message["seq"]] = message
            taken = []
            while (after := self.place.position["seq"] + 1) in self.waiting:
                taken.append(self.place.take(self.waiting.pop(after)))
            return taken


class Refusals:
    """What refusals said, and how long the slowest took."""

    def __init__(self):
        self.errors, self.slowest = [], 0

    def wanted(self):
        return len(self.errors) < REFUSALS and self.slowest < TOO_LONG_S

    def add(self, began):
        self.slowest = max(self.slowest, time.monotonic() - began)

    def tell(self):
        error = self.errors[-1]
        say("refused", message=error["message"], data=error.get("data"), afterMs=round(self.slowest * 1000))


def walk_sync():
    refusals = Refusals()
    while refusals.wanted():
        client, began = socketio.Client(reconnection=False), time.monotonic()
        client.on("connect_error", refusals.errors.append)
        try:
            client.connect(WALK["url"], auth={"token": WALK["wrong"]}, transports=TRANSPORTS, wait_timeout=15)
        except socketio.exceptions.ConnectionError:
            refusals.add(began)
        else:
            raise AssertionError("a wrong token was let in")
        client.disconnect()
    refusals.tell()

    client, place, done = socketio.Client(**OPTIONS), Place(), threading.Event()
    threads = Threads(place)

    @client.event
    def connect():
        client.emit("subscribe", place.request(), callback=place.subscribed)

    @client.event
    def message(message):
        taken = threads.take(message)
        if WALK["live"] in taken:
            client.emit("publish", WALK["publication"], callback=lambda answer: say("published", answer=answer))
        if WALK["last"] in taken:
            done.set()

    client.connect(WALK["url"], auth={"token": WALK["token"]}, transports=TRANSPORTS, wait_timeout=15)
    done.wait()
    client.disconnect()


async def walk_async():
    refusals = Refusals()
    while refusals.wanted():
        client, began = socketio.AsyncClient(reconnection=False), time.monotonic()
        client.on("connect_error", refusals.errors.append)
        try:
            await client.connect(WALK["url"], auth={"token": WALK["wrong"]}, transports=TRANSPORTS, wait_timeout=15)
        except socketio.exceptions.ConnectionError:
            refusals.add(began)
        else:
            raise AssertionError("a wrong token was let in")
        await client.shutdown()
    refusals.tell()

    client, place, done = socketio.AsyncClient(**OPTIONS), Place(), asyncio.Event()

    @client.event
    async def connect():
        await client.emit("subscribe", place.request(), callback=place.subscribed)

    @client.event
    async def message(message):
        n = place.take(message)
        if n == WALK["live"]:
            await client.emit("publish", WALK["publication"], callback=lambda answer: say("published", answer=answer))
        if n == WALK["last"]:
            done.set()

    await client.connect(WALK["url"], auth={"token": WALK["token"]}, transports=TRANSPORTS, wait_timeout=15)
    await done.wait()
    await client.shutdown()


if sys.argv[1:] == ["async"]:
    asyncio.run(walk_async())
else:
    walk_sync()
say("done")
