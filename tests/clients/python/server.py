"""The real server under test, for the Python clients.

Guarantees: a data directory of its own, port 0, nothing of the tests' environment; what it
started is ended by `stop`. It is not a mock: it runs the binary that SERVER_BINARY names.
"""

import asyncio
import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[3]
BINARY = os.environ.get("SERVER_BINARY", str(ROOT / "target/debug/tidings"))
ENVIRONMENT = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
PATIENCE_S = 30


async def until(condition, what):
    """Waits until `condition` gives something true, and gives that."""
    deadline = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain for {what}")
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 0.01)
    return value


class Server:
    """A running server, with this `tidings.toml`."""

    def __init__(self, config=""):
        self.home = tempfile.mkdtemp(prefix="tidings-python-")
        pathlib.Path(self.home, "tidings.toml").write_text(config)
        self.lines = []
        self.port = 0
        self._start()

    def _start(self):
        words = [BINARY, "serve", "--listen", f"127.0.0.1:{self.port}", "--data-dir", f"{self.home}/data"]
        self.process = subprocess.Popen(
            words, cwd=self.home, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        ready = threading.Event()
        self.port = 0
        self.reader = threading.Thread(target=self._read, args=(self.process.stdout, ready), daemon=True)
        self.reader.start()
        ready.wait(PATIENCE_S)
        if not self.port:
            raise AssertionError("the server does not listen:\n" + "".join(self.lines[-50:]))
        self.url = f"http://127.0.0.1:{self.port}"

    def _read(self, stream, ready):
        with stream:
            for line in stream:
                self.lines.append(line)
                address = re.search(r"listening on http://127\.0\.0\.1:(\d+)", line)
                if address:
                    self.port = int(address[1])
                    ready.set()
        ready.set()

    def kill9(self):
        """Kills the server as the kernel does."""
        self.process.kill()
        self.process.wait()
        self.reader.join()

    def restart(self):
        """Starts the server again on the same port and data."""
        self._start()

    def stop(self):
        """Ends the server and removes what it wrote."""
        self.kill9()
        shutil.rmtree(self.home, ignore_errors=True)

    def token(self, user="tester", roles=(), grants=(), ttl="1h"):
        """A token signed with the server's key, by its command line."""
        words = [BINARY, "token", "--data-dir", f"{self.home}/data", "--subject", user, "--ttl", ttl]
        for role in roles:
            words += ["--role", role]
        for grant in grants:
            words += ["--grant", grant]
        done = subprocess.run(words, cwd=self.home, env=ENVIRONMENT, text=True, capture_output=True, check=True)
        return done.stdout.strip()

    def publish(self, events, token):
        """Publishes events; False where the server is not there to take them."""
        request = urllib.request.Request(
            f"{self.url}/api/events",
            json.dumps(events).encode(),
            {"authorization": f"Bearer {token}", "content-type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                return json.load(answer)["results"]
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise AssertionError(f"not published: {error.read()}") from error
            return False
        except OSError:
            return False
