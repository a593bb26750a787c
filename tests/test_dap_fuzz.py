"""Whatever a client sends, the server answers every request once and goes on."""

import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gradviz
from gradviz import Tensor
from gradviz.debugger.dap.protocol import Malformed, Request, read_messages
from gradviz.debugger.dap.requests import all_requests
from gradviz.debugger.dap.server import serve
from tests.editors import check, framed, messages_in

FIELDS = """
    accessType adapterID breakpoints column columnsStartAt1 condition context count cwd dataId endLine expression filter
    filterId filterOptions filters frameId granularity hitCondition id levels line lines linesStartAt1 logMessage name
    path pathFormat position program run source sourceReference sourceRoots sources start startFrame stepBack
    stopOnEntry targetId text threadId variablesReference
""".split()  # noqa: SIM905
TEXTS = st.sampled_from(
    ["w", "w.grad", "op:mul", "nan", "norm(w) > 1", "1.b.2", "line.py", "repl", "hover", "> 2", "% 0", "indexed",
     "line", "instruction", "seek 1.b.0", "s 3", "w + w", "w @ w", "w[7]", "watch w", "commands 1\nl\nend", "b w;;c",
     "\x00", "\ud800", "{w} {", "../../etc/passwd", "blame", "why w -paths", "x" * 5000]
)  # fmt: skip
NUMBERS = st.one_of(st.integers(-5, 60), st.sampled_from([2**31, 2**63, 10**18, -(10**18)]))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.floats(allow_nan=False), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4)),
    max_leaves=8,
)
COMMANDS = sorted(set(all_requests()) - {"disconnect", "launch", "attach", "initialize"})
ASKED = st.tuples(st.sampled_from(COMMANDS), st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz") / "run"
    w = Tensor(np.arange(1.0, 4.0), name="w")
    with gradviz.trace(folder, params={"w": w}) as log:
        for _ in range(3):
            w.zero_grad()
            loss = np.sum(w * w)
            loss.backward()
            log.step(loss)
            w.data = w.data - 0.1 * w.grad
    return folder


def answered(*requests):
    """Return what the server says to some requests, sent one after the other without waiting."""
    stream = io.BytesIO(
        b"".join(
            framed({"seq": i, "type": "request", "command": command, "arguments": arguments})
            for i, (command, arguments) in enumerate(requests, 1)
        )
    )
    said = io.BytesIO()
    serve(stream.read, said.write)
    return messages_in(said.getvalue())


@given(asked=st.lists(ASKED, min_size=1, max_size=12))
def test_any_arguments_are_answered(run, asked):
    messages = answered(("initialize", {"adapterID": "x"}), ("launch", {"run": str(run)}), *asked)
    answers = [message for message in messages if message["type"] == "response"]
    assert [answer["request_seq"] for answer in answers] == list(range(1, len(asked) + 3))
    for message in messages:
        check(message)
        assert "internal error" not in json.dumps(message), (message, asked)


PIECES = st.lists(st.sampled_from([b"Content-Length: ", b"3", b"\r\n", b"\r\n\r\n", b"{}"])).map(b"".join)


@given(data=st.binary(max_size=400) | PIECES)
def test_any_bytes_are_read(data):
    for message in read_messages(io.BytesIO(data).read):
        assert isinstance(message, Malformed | Request)


@given(pieces=st.lists(st.integers(1, 60), min_size=1), noise=st.binary(max_size=40))
def test_a_message_may_come_in_any_pieces(pieces, noise):
    body = {"seq": 7, "type": "request", "command": "threads"}
    data = framed(noise) + framed(body) + framed(body)
    stream = io.BytesIO(data)
    sizes = iter(pieces * 300)
    found = [one for one in read_messages(lambda size: stream.read(next(sizes))) if isinstance(one, Request)]
    assert [(one.seq, one.command) for one in found][-2:] == [(7, "threads")] * 2
