"""What there is for requests to find: a project with a repository, sessions, terminals, runs, users.

Guarantees: everything is made through the real server, in folders of its own; what one request uses up, such as
a session to be cancelled, is made anew for the next.
"""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "clients/python"))

from server import ENVIRONMENT, PATIENCE_S, Server  # noqa: E402

PLAYER = os.environ.get("PLAYER_BINARY", str(pathlib.Path(__file__).resolve().parents[2] / "target/debug/tidings-player"))
# An agent that asks a person and waits for the answer in the middle of its turn.
ASKING = [
    'expect {"type":"user"}',
    '> {"type":"system","subtype":"init","session_id":"s","tools":["Bash"],"model":"m"}',
    '> {"type":"control_request","request_id":"r1","request":{"subtype":"can_use_tool","tool_name":"Bash","input":{"command":"ls"}}}',
    "hang",
]
# A question of a program that prints events.
QUESTION = "Which?"
WONDERING = {
    "type": "session.question_requested",
    "data": {"requestId": "q1", "questions": [{"question": QUESTION, "options": [{"label": "One"}], "freeText": True}]},
}
# So many are made and left that limits would be met, and clones are of folders.
CONFIG = """
[auth]
login_per_name = 0
login_per_address = 0

[run]
max_per_user = 0
max_per_project = 0
max_total = 0

[shell]
max_per_user = 0
max_per_project = 0
max_total = 0

[workflow]
max_per_user = 0
max_per_project = 0
max_total = 0

[git]
protocols = ["file", "http"]
"""
PASSWORD = "correct horse battery"
FLAGS = ["-p", "--input-format", "stream-json", "--output-format", "stream-json", "--permission-prompt-tool", "stdio"]
WAITING = "name: waits\nsteps:\n  ask:\n    approval:\n      message: Go on?\n"
QUICK = "name: quick\nsteps:\n  one:\n    command: [echo, done]\n"


class World:
    """The server, and ids of what is there."""

    def __init__(self):
        self.scripts = pathlib.Path(tempfile.mkdtemp(prefix="tidings-openapi-"))
        script = self.scripts / "asks.script"
        script.write_text("\n".join(ASKING) + "\n")
        agent = json.dumps([PLAYER, str(script), *FLAGS])
        wondering = json.dumps(["sh", "-c", f"echo '{json.dumps(WONDERING)}'; exec cat"])
        self.server = Server(
            CONFIG
            + f'[agents.asks]\nadapter = "claude-code"\nstdin = "open"\ncommand = {agent}\n'
            + f'[agents.wonders]\nadapter = "events"\ncommand = {wondering}\n'
        )
        self.token = self.server.token(user="root", roles=["admin"])
        self.silent = socket.create_server(("127.0.0.1", 0))
        self.folders = 0
        self.never = threading.Event()
        self.project = self.new_project()
        self.make_repository()
        self.session = self.make("/api/sessions", projectId=self.project, command=["cat"])["id"]
        self.terminal = self.make("/api/shells", projectId=self.project, command=["cat"])["id"]
        self.run = self.new_run(QUICK, "completed")
        self.username = "guest"
        self.make("/api/users", username=self.username, password=PASSWORD)
        self.user = self.new_user()

    def call(self, method, path, body=None, token=None):
        """A request of this world's own: the status and the answer."""
        request = urllib.request.Request(
            self.server.url + path,
            None if body is None else json.dumps(body).encode(),
            {"authorization": f"Bearer {token or self.token}", "content-type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                return answer.status, json.loads(answer.read() or "null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def make(self, path, **body):
        """Makes something, and gives the answer."""
        status, answer = self.call("POST", path, body)
        assert 200 <= status < 300, (path, body, answer)
        return answer

    def until(self, path, condition):
        """Waits until what a path shows is so."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition(shown := self.call("GET", path)[1]):
            assert time.monotonic() < deadline, (path, shown)
            self.never.wait(0.01)

    def new_folder(self):
        self.folders += 1
        folder = pathlib.Path(self.server.home, f"project-{self.folders}")
        folder.mkdir()
        return folder

    def new_project(self):
        return self.make("/api/projects", name="one", root=str(self.new_folder()))["id"]

    def make_repository(self):
        root = pathlib.Path(self.server.home, "project-1")

        def git(*words):
            subprocess.run(["git", *words], cwd=root, env=ENVIRONMENT, check=True, capture_output=True)

        git("init", "-q", "-b", "main")
        git("config", "user.name", "Ada")
        git("config", "user.email", "ada@example.com")
        (root / "a.txt").write_text("one\n")
        git("add", ".")
        git("commit", "-q", "-m", "first")

    def new_user(self):
        self.folders += 1
        return self.make("/api/users", username=f"user{self.folders}", password=PASSWORD)["id"]

    def settled(self):
        """Waits until the server does nothing with the repository: one operation at a time."""

        def is_free(shown):
            # What an event by chance says of a producer's own operation has no end.
            return not any(one["hosted"] for one in shown["git"]["operations"].values())

        self.until(f"/api/projects/{self.project}", is_free)

    def login(self):
        """A fresh login."""
        return self.make("/api/auth/login", username=self.username, password=PASSWORD)

    def own_login(self):
        """A login of the user whose tokens ask, by its id."""
        logins = self.call("GET", "/api/auth/logins", token=self.login()["token"])[1]["logins"]
        return next(login["id"] for login in logins if login["current"])

    def member(self):
        """A member of the project."""
        user = self.new_user()
        self.make(f"/api/projects/{self.project}/members", userId=user, membership="viewer")
        return {"userId": user}

    def new_session(self):
        return self.make("/api/sessions", projectId=self.project, command=["cat"])["id"]

    def asking_session(self):
        session = self.make("/api/sessions", projectId=self.project, agent="asks", prompt="Look")["id"]
        self.until(f"/api/sessions/{session}", lambda shown: shown["conversation"]["permissions"])
        return session

    def question(self):
        """A question that waits."""
        session = self.make("/api/sessions", projectId=self.project, agent="wonders", prompt="Look")["id"]
        self.until(f"/api/sessions/{session}", lambda shown: shown["conversation"]["questions"])
        return {"sessionId": session, "requestId": "q1"}

    def queued_message(self):
        """A message that waits for a busy agent."""
        session = self.asking_session()
        sent = self.make(f"/api/sessions/{session}/messages", content="next")
        return {"sessionId": session, "messageId": sent["id"]}

    def cloning(self):
        """An operation that does not end by itself: its remote takes the connection and never says a word."""
        project = self.new_project()
        begun = self.make(f"/api/projects/{project}/git/clone", url=f"http://127.0.0.1:{self.silent.getsockname()[1]}/a.git")
        return {"projectId": project, "operationId": begun["id"]}

    def new_terminal(self):
        return self.make("/api/shells", projectId=self.project, command=["cat"])["id"]

    def new_run(self, definition, status):
        run = self.make("/api/workflows/runs", projectId=self.project, definition=definition)["id"]
        self.until(f"/api/workflows/runs/{run}", lambda shown: shown["status"] == status)
        return run

    def end(self):
        self.server.stop()
        self.silent.close()
        shutil.rmtree(self.scripts)
