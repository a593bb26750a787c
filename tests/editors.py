"""An editor that debugs a run with ``gradviz dap``: Microsoft's own client side over the pipes of a real process.

Client and schema are those of debugpy, the debugger of Python in VS Code. Every message either side sends is checked
against the schema.
"""

import contextlib
import importlib.util
import json
import os
import queue
import socket
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path

from debugpy.common.messaging import JsonIOStream, JsonMessageChannel, MessageHandlers
from jsonschema import Draft4Validator

from gradviz.debugger.dap.server import serve

SCHEMA = "_vendored/pydevd/_pydevd_bundle/_debug_adapter/debugProtocol.json"
SECONDS = 60


class RefusedError(Exception):
    """The server has answered that it cannot do this."""


class Stream(JsonIOStream):
    """What comes from the server and goes to it, with every message that went through."""

    def __init__(self, reader, writer):
        super().__init__(reader, writer, "gradviz dap")
        self.messages = []

    def read_json(self, decoder=None):
        message = super().read_json(decoder)
        self.messages.append(json.loads(json.dumps(message)))
        return message

    def write_json(self, value, encoder=None):
        self.messages.append(json.loads(json.dumps(value)))
        super().write_json(value, encoder)


class Client:
    """A client: ``ask`` waits for the answer, ``event`` for an event."""

    def __init__(self, reader, writer):
        self.writer = writer
        self.stream = Stream(reader, writer)
        self._events = queue.Queue()
        handlers = MessageHandlers(event=self._events.put, disconnect=lambda: self._events.put(None))
        self.channel = JsonMessageChannel(self.stream, handlers)
        self.channel.start()
        self._checked = 0

    def request(self, command, **arguments):
        """Send a request; the answer can be had with ``answer``."""
        return self.channel.send_request(command, arguments)

    def answer(self, request):
        """Return the body of the answer to a request."""
        answers = queue.Queue()
        request.on_response(answers.put)
        answer = answers.get(timeout=SECONDS)
        self.check()
        if not answer.success:
            raise RefusedError(str(answer.body))
        return answer.body

    def ask(self, command, **arguments):
        """Send a request and return the body of its answer."""
        return self.answer(self.request(command, **arguments))

    def event(self, name):
        """Wait for an event of this name and return its body; those before it are passed over."""
        while (event := self._events.get(timeout=SECONDS)) is not None:
            if event.event == name:
                self.check()
                return event.body
        raise EOFError("the server has ended")

    def check(self):
        """Check the messages that have not been checked yet."""
        while self._checked < len(self.stream.messages):
            check(self.stream.messages[self._checked])
            self._checked += 1

    def start(self, **arguments):
        """Introduce the client as an editor does, open the run and return what the server can do."""
        client = {"clientID": "tests", "pathFormat": "path", "linesStartAt1": True, "columnsStartAt1": True}
        capabilities = self.ask("initialize", adapterID="gradviz", supportsVariablePaging=True, **client)
        self.ask("launch", noDebug=False, **arguments)
        self.event("initialized")
        return capabilities

    def begin(self, **arguments):
        """Start, set nothing, and return the event of the first stop."""
        self.start(**arguments)
        self.ask("configurationDone")
        return self.event("stopped")

    def move(self, command, **arguments):
        """Send a request that moves and return the event of the stop it ends in."""
        self.ask(command, threadId=1, **arguments)
        return self.event("stopped")

    # -- what an editor shows

    @property
    def frames(self):
        """The stack."""
        return self.ask("stackTrace", threadId=1)["stackFrames"]

    @property
    def where(self):
        """The position in the name of the first frame."""
        return self.frames[0]["name"].split()[0]

    def scope(self, name, frame=1):
        """Return the variables of a scope by name."""
        scopes = {scope["name"]: scope for scope in self.ask("scopes", frameId=frame)["scopes"]}
        return self.inside(scopes[name])

    def inside(self, parent, **page):
        """Return what is inside of a scope or variable by name."""
        found = self.ask("variables", variablesReference=parent["variablesReference"], **page)["variables"]
        return {variable["name"]: variable for variable in found}

    def evaluate(self, expression, context="watch"):
        """Return what an expression comes to."""
        return self.ask("evaluate", expression=expression, context=context)["result"]

    def leave(self):
        """Take leave; return the exit status and what was written to stderr."""
        self.ask("disconnect")
        return self.wait()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.end()
        self.channel.close()
        self.channel.wait()


class Editor(Client):
    """A client of a real ``gradviz dap``."""

    def __init__(self, *line, cwd=None):
        self.line = [sys.executable, "-m", "gradviz", "dap", *map(str, line)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(self.line, stdin=pipe, stdout=pipe, stderr=pipe, cwd=cwd, env=surroundings())
        super().__init__(self.process.stdout, self.process.stdin)

    def wait(self):
        """Wait for the server to end; return the exit status and what was written to stderr."""
        status = self.process.wait(SECONDS)
        return status, self.process.stderr.read().decode()

    def end(self):
        """End the server, whatever it does."""
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()


class Neighbour(Client):
    """A client of the server in a thread of this process: quicker to start."""

    def __init__(self, folder):
        self._folder = folder
        self._socket, theirs = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, args=(theirs,), daemon=True)
        self._thread.start()
        super().__init__(self._socket.makefile("rb"), self._socket.makefile("wb"))

    def _serve(self, theirs):
        serve(theirs.recv, theirs.sendall, str(self._folder / "run"))
        theirs.shutdown(socket.SHUT_RDWR)
        theirs.close()

    def start(self, **arguments):
        """Start in the folder of the run."""
        return super().start(**{"cwd": str(self._folder), **arguments})

    def wait(self):
        """Wait for the server to end; return the exit status it would have."""
        self._thread.join(SECONDS)
        return int(self._thread.is_alive()), ""

    def end(self):
        """End the server as a client that disappears."""
        with contextlib.suppress(OSError):  # it has ended already
            self._socket.shutdown(socket.SHUT_WR)
        self.wait()
        self._socket.close()


def surroundings():
    """Return the environment of a Python that finds what this one finds."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def framed(body):
    """Return a body with its header."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return b"Content-Length: %d\r\n\r\n%s" % (len(data), data)


def messages_in(data):
    """Return the messages that some bytes are."""
    found = []
    while data:
        header, _, rest = data.partition(b"\r\n\r\n")
        length = int(header.removeprefix(b"Content-Length: "))
        found.append(json.loads(rest[:length]))
        data = rest[length:]
    return found


@cache
def definitions():
    """Return the official schema's definitions, which the debugger of Python brings along."""
    folder = Path(importlib.util.find_spec("debugpy").origin).parent
    return json.loads((folder / SCHEMA).read_text("utf-8"))["definitions"]


@cache
def validator(name):
    """Return what checks one definition."""
    return Draft4Validator({"definitions": definitions(), "$ref": f"#/definitions/{name}"})


def check(message):
    """Fail for a message that is not as the schema wants it, or that the schema does not know."""
    command = message.get("command", message.get("event", ""))
    kind = message["type"].capitalize()
    name = command[:1].upper() + command[1:] + kind
    if message["type"] == "response" and not message["success"]:
        name = "ErrorResponse"
    assert name in definitions(), name
    validator(name).validate(message)
