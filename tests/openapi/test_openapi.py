"""The OpenAPI document against the real server: requests that schemathesis makes of it.

Guarantees: the number of requests and what they are made of are fixed, so that a run is like the one before; every
operation is asked with what its schema allows, in a world where it can succeed, and with what it forbids.
It is not a test of what operations do: tests of each domain are.
"""

import itertools
import re
import unittest

import hypothesis
import schemathesis
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from world import PASSWORD, QUESTION, QUICK, WAITING, World

# How many requests of each kind an operation gets.
ALLOWED, FORBIDDEN = 6, 10
# A field, without the entry of an array before it and the place in it.
PLACE = re.compile(r"(?:\[\d+\]\.?)?([^.\[]*)")
CONFORMANCE = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# What no schema can say: the fields that the server may refuse though they are of the schema, since it depends on
# what there is. `*` is any field.
DEPENDS = {
    "getApiTokens": {"cursor"},
    "postApiEvents": {"channel", "data", ""},
    "project.register": {"root"},
    "fs.read": {"path"},
    "fs.list": {"path"},
    "git.clone": {"url"},
    "shell.open": {"cwd", "command"},
    "session.start": {"agent", "prompt", "pty", "resume", "worktree"},
    "session.resolve_permission": {"optionId"},
    "workflow.run.start": {"definition", "file", "inputs"},
    "workflow.validate": {"file"},
    "workflow.run.rerun": {"from"},
}

# What is asked with a token of a login.
OF_A_LOGIN = {"postApiAuthLogout", "postApiAuthPassword", "getApiAuthLogins", "deleteApiAuthLoginsId"}

# The longest branch, in bytes: the shortest of the bounds that count them.
BRANCH_BYTES = 200


def fields_of(case):
    """The fields of a body that is an object."""
    return case.body.items() if isinstance(case.body, dict) else ()


def settings(count):
    """A bounded number of requests, the same in every run."""
    return hypothesis.settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )


class OpenApi(unittest.TestCase):
    """Each operation of the document that the server serves."""

    @classmethod
    def setUpClass(cls):
        cls.world = World()
        cls.addClassCleanup(cls.world.end)
        cls.schema = schemathesis.openapi.from_url(f"{cls.world.server.url}/openapi.json")
        cls.operations = [operation.ok() for operation in cls.schema.get_all_operations()]
        cls.numbers = itertools.count(1)

    def names(self):
        """What the segments of paths name here, for operations that leave things as they are."""
        world = self.world
        return {
            "projectId": world.project,
            "sessionId": world.session,
            "terminalId": world.terminal,
            "runId": world.run,
            "stepId": "one",
            "userId": world.user,
            "id": world.user,
            "channel": f"project:{world.project}",
        }

    def prepared(self, name, case):
        """A request that the schema allows, made to find what it names."""
        world, names = self.world, self.names()
        anew = {
            "session.cancel": lambda: {"sessionId": world.new_session()},
            "session.pause": lambda: {"sessionId": world.new_session()},
            "session.resume": lambda: {"sessionId": world.new_session()},
            "session.interrupt": lambda: {"sessionId": world.asking_session()},
            "session.resolve_permission": lambda: {"sessionId": world.asking_session(), "requestId": "r1"},
            "session.answer_question": world.question,
            "session.cancel_message": world.queued_message,
            "shell.input": lambda: {"terminalId": world.new_terminal()},
            "shell.close": lambda: {"terminalId": world.new_terminal()},
            "project.remove": lambda: {"projectId": world.new_project()},
            "project.remove_member": world.member,
            "git.clone": lambda: {"projectId": world.new_project()},
            "git.cancel": world.cloning,
            "workflow.run.approve": lambda: {"runId": world.new_run(WAITING, "waiting"), "stepId": "ask"},
            "workflow.run.cancel": lambda: {"runId": world.new_run(WAITING, "waiting")},
            "deleteApiAuthLoginsId": lambda: {"id": world.own_login()},
            "deleteApiUsersId": lambda: {"id": world.new_user()},
            "deleteApiChannelsChannel": lambda: {"channel": f"session:{world.new_session()}"},
        }
        names.update(anew[name]() if name in anew else {})
        if name.startswith("git."):
            world.settled()
        for segment in case.path_parameters or {}:
            case.path_parameters[segment] = names[segment]
        body = case.body if isinstance(case.body, dict) else {}
        for field in body.keys() & {"projectId", "operationId"}:
            body[field] = names[field]
        self.exists(name, case.query, body)
        if name == "postApiEvents":
            for event in case.body if isinstance(case.body, list) else [case.body]:
                event["data"].update({field: names[field] for field in names if field not in ("id", "channel", "stepId")})
                event.pop("channel", None)
        # A key that was used is a repeat, or a conflict, and the body may name the same key only.
        key = (case.headers or {}).get("Idempotency-Key")
        if key is not None:
            # Shorter than it may be, so that there is room for the number.
            rest = key.strip('"')[:100].rstrip()
            unused = f"{next(self.numbers)}{rest}"
            case.headers["Idempotency-Key"] = f'"{unused}"' if key.startswith('"') else unused
            body.pop("commandId", None)
        return case

    def exists(self, name, query, body):
        """What there is, in place of texts by chance: programs, folders, agents, users."""
        world = self.world
        there = {
            "command": lambda: ["true"],
            "agent": lambda: "asks",
            "definition": lambda: QUICK,
            "root": lambda: str(world.new_folder()),
            "url": lambda: f"file://{world.server.home}/project-1",
            "rev": lambda: "HEAD",
            "refreshToken": lambda: world.login()["refreshToken"],
        }
        if name == "postApiAuthLogin":
            body.update(username=world.username, password=PASSWORD)
        if name == "postApiAuthPassword":
            body.update(current=PASSWORD, password=PASSWORD)
        for field in body.keys() & there.keys():
            if body[field] is not None:
                body[field] = there[field]()
        if name == "session.answer_question" and body.get("answers") is not None:
            # Which questions there are, and that it is one or the other, no schema can say.
            body["answers"] = {QUESTION: "Both"}
            body.pop("decline", None)
        if name == "fs.read":
            query["path"] = "a.txt"

    def ask(self, name, case):
        """The answer to a request. What concerns a login is asked with a token of a fresh one."""
        token = self.world.login()["token"] if name in OF_A_LOGIN else self.world.token
        return case.call(base_url=self.world.server.url, headers={"authorization": f"Bearer {token}"})

    def allow(self, name, operation, done):
        """Requests that the document allows: the classes of what they are answered go into `done`."""

        @settings(ALLOWED)
        @hypothesis.given(case=operation.as_strategy(GenerationMode.POSITIVE))
        def one(case):
            case = self.prepared(name, case)
            response = self.ask(name, case)
            case.validate_response(response, checks=CONFORMANCE)
            done.add(response.status_code // 100)
            if response.status_code in (400, 422):
                problem = response.json()
                # A schema counts characters, and these are bounded in bytes.
                long = {field for field, value in fields_of(case) if len(str(value).encode()) > BRANCH_BYTES}
                fields = {PLACE.match(field)[1] for field in problem.get("fields", {})} or {"*"}
                self.assertLessEqual(fields - long, DEPENDS.get(name, set()), (case.as_curl_command(), case.headers, problem))

        one()

    def forbid(self, name, operation):
        """Requests that the document forbids."""

        @settings(FORBIDDEN)
        @hypothesis.given(case=operation.as_strategy(GenerationMode.NEGATIVE))
        def one(case):
            response = self.ask(name, case)
            case.validate_response(response, checks=CONFORMANCE + [negative_data_rejection])

        one()

    def test_what_the_document_allows_is_taken_and_answered_as_it_says(self):
        missed = []
        for operation in self.operations:
            name, done = operation.definition.raw["operationId"], set()
            with self.subTest(name):
                self.allow(name, operation, done)
            if 2 not in done:
                missed.append(name)
        self.assertEqual(missed, [], "operations that never succeeded")

    def test_what_the_document_forbids_is_refused(self):
        for operation in self.operations:
            raw = operation.definition.raw
            if raw.get("parameters") or "requestBody" in raw:
                with self.subTest(raw["operationId"]):
                    self.forbid(raw["operationId"], operation)


if __name__ == "__main__":
    unittest.main()
