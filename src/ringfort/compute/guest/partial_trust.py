"""A WebAssembly module in partial trust: it gets the directories, settings, clock and fuel that were granted, no more.

The module is a WASI command (preview 1). Each request is a run of its own in a fresh memory: what one visitor's request
leaves behind, no other's can find. It has no sockets; the runner listens for it on the endpoints that were granted.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from wasmtime import (
    Config,
    Engine,
    ExitTrap,
    FuncType,
    Linker,
    Module,
    Store,
    Trap,
    TrapCode,
    ValType,
    WasiConfig,
    WasmtimeError,
)

LARGEST_OUTPUT = 16 << 20
"""Bytes of an answer."""

NOT_CAPABLE = 76
"""``notcapable`` of WASI's errno."""

_REASONS = {TrapCode.OUT_OF_FUEL: "it ran out of fuel", TrapCode.INTERRUPT: "it took too long"}
_WASI = "wasi_snapshot_preview1"
_CLOCK = {"clock_time_get": (ValType.i32, ValType.i64, ValType.i32), "clock_res_get": (ValType.i32, ValType.i32)}


@dataclass(frozen=True, slots=True)
class Grants:
    """What a module is granted.

    Args:
        directories: where the module sees it -> where it is, and whether it may write there.
        environment: settings.
        fuel: how much it may compute in one run, in wasmtime's units, about one for each instruction.
        memory: MiB of its memory.
        seconds: how long a run may take; what fuel doesn't count is waiting and what the runner does for it.
    """

    directories: Mapping[str, tuple[str, bool]]
    environment: Mapping[str, str]
    clock: bool
    fuel: int
    memory: int = 64
    seconds: int = 30


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run gave: all that it wrote, and why it ended early if it did."""

    output: bytes
    failure: str = ""


class Program:
    """A module, compiled once."""

    def __init__(self, binary: bytes, grants: Grants) -> None:
        """Raises ValueError when it isn't a WebAssembly module that can be linked with what is granted."""
        self._grants = grants
        config = Config()
        config.consume_fuel = True
        config.epoch_interruption = True
        config.parallel_compilation = False
        config.wasm_threads = False
        self._engine = Engine(config)
        threading.Thread(target=self._tick, daemon=True).start()
        self._linker = Linker(self._engine)
        self._linker.allow_shadowing = True
        self._linker.define_wasi()
        if not grants.clock:
            for name, parameters in _CLOCK.items():
                kind = FuncType([one() for one in parameters], [ValType.i32()])
                self._linker.define_func(_WASI, name, kind, lambda *_: NOT_CAPABLE)
        try:
            self._module = Module(self._engine, binary)
            self._ready = self._linker.instantiate_pre(self._module)
        except WasmtimeError as error:
            raise ValueError(f"not a module that runs here: {str(error).splitlines()[0]}") from error

    def _tick(self) -> None:
        while True:
            time.sleep(1)
            self._engine.increment_epoch()

    def run(self, given: bytes, environment: Mapping[str, str]) -> Outcome:
        """Run it from its beginning.

        Args:
            given: its standard input.
            environment: of this run; what was granted is added.
        """
        output = bytearray()

        def take(data: bytes) -> int | None:
            if len(output) + len(data) > LARGEST_OUTPUT:
                return -1
            output.extend(data)
            return None

        store = Store(self._engine)
        store.set_fuel(self._grants.fuel)
        store.set_epoch_deadline(self._grants.seconds)
        store.set_limits(memory_size=self._grants.memory << 20, instances=1, memories=1, table_elements=100_000)
        with tempfile.NamedTemporaryFile() as file:
            file.write(given)
            file.flush()
            store.set_wasi(self._wasi(file.name, environment, take))
            failure = self._call(store)
        return Outcome(bytes(output), failure)

    def _wasi(self, given: str, environment: Mapping[str, str], take: object) -> WasiConfig:
        wasi = WasiConfig()
        wasi.argv = ["application"]
        wasi.env = list({**environment, **self._grants.environment}.items())
        wasi.stdin_file = given
        wasi.stdout_custom = take
        wasi.inherit_stderr()
        for seen_at, (path, writable) in self._grants.directories.items():
            if os.path.isdir(path):
                wasi.preopen_dir(path, seen_at, writable)
        return wasi

    def _call(self, store: Store) -> str:
        try:
            instance = self._ready.instantiate(store)
            instance.exports(store)["_start"](store)  # type: ignore[operator]
        except ExitTrap as end:
            return f"exit code {end.code}" if end.code else ""
        except Trap as trap:
            return (trap.trap_code and _REASONS.get(trap.trap_code)) or trap.message.splitlines()[0]
        except (WasmtimeError, KeyError) as error:
            return str(error).splitlines()[0]
        return ""
