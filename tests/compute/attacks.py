"""What hostile guests do, all of it as root in the guest, and places for guests on a platform that counts what arrives.

A guest listens on its port for what to be: ``busy`` (a well-behaved guest that computes), or one of `ATTACKS`, each for
so many seconds.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import subprocess
from contextlib import ExitStack
from typing import Any

from ringfort.compute import application
from ringfort.compute.guest.launch import Launch, Layers
from ringfort.compute.sandbox import Wire
from ringfort.environment.topology import HOST_INTERFACE
from ringfort.kernel import nft
from ringfort.kernel.netns import inside
from ringfort.node.instances import wiring

PORT = 8080
BANDWIDTH = 1
"""Mbit/s of each guest; less than one under TCG can send."""

DECLARED = f"""
application: guest
runtime: python
command: [main.py]
resources: {{bandwidth: {BANDWIDTH}}}
endpoints: [{{name: web, port: {PORT}, public-name: guest.example, tls: "off"}}]
"""

GUEST = application.load(DECLARED.encode())

ATTACKS = ("cpu", "forks", "memory", "disk", "flood", "spoof", "scan", "slow", "log", "ports")

PROGRAM = """
import ctypes, mmap, os, random, signal, socket, struct, subprocess, sys, threading, time
GATEWAY = "192.0.0.1"
PLATFORM = ["10.200.0.1", "10.200.1.1", "10.200.0.2", "10.200.1.2", "192.0.0.3", "169.254.169.254", "10.10.4.10"]

def busy(until):
    while time.monotonic() < until:
        sum(range(20000))

def cpu(until):
    for _ in range(3):
        if os.fork() == 0:
            while True:
                pass
    busy(until)

def forks(until):
    while time.monotonic() < until:
        try:
            if os.fork() == 0:
                while True:
                    try:
                        os.fork()
                    except OSError:
                        pass
        except OSError:
            pass

def memory(until):
    while time.monotonic() < until:
        pid = os.fork()
        if pid == 0:
            kept = []
            while True:
                kept.append(bytearray(b"x") * (1 << 20))
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            pass

def disk(until):
    while time.monotonic() < until:
        try:
            with open("/data/full", "wb", buffering=0) as file:
                while time.monotonic() < until:
                    file.write(os.urandom(1 << 16))
                    os.fsync(file.fileno())
        except OSError:
            pass

def flood(until):
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.setblocking(False)
    while time.monotonic() < until:
        for address in (GATEWAY, *PLATFORM):
            try:
                one.sendto(bytes(1400), (address, random.randrange(1, 65536)))
            except OSError:
                pass

def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF

def spoof(until):
    one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    one.bind(("eth0", 0))
    towards = bytes.fromhex("0200c0000001")
    own, foreign = one.getsockname()[4], bytes.fromhex("0200deadbeef")
    def packet(source, destination):
        ends = socket.inet_aton(source) + socket.inet_aton(destination)
        head = struct.pack("!BBHHHBBH8s", 0x45, 0, 28, 0, 0, 64, 17, 0, ends)
        head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
        return head + struct.pack("!HHHH", 53, 53, 8, 0)
    one_address, other = socket.inet_aton(GATEWAY), socket.inet_aton("10.200.0.1")
    arp = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 2, foreign, one_address, bytes(6), other)
    frames = [b"\\xff" * 6 + foreign + b"\\x08\\x06" + arp, towards + own + b"\\x08\\x06" + arp, os.urandom(60)]
    for target in PLATFORM:
        frames.append(towards + foreign + b"\\x08\\x00" + packet("192.0.0.2", target))
        frames.append(towards + own + b"\\x08\\x00" + packet("10.200.0.2", target))
        frames.append(towards + own + b"\\x08\\x00" + packet("127.0.0.1", target))
        frames.append(towards + own + b"\\x81\\x00\\x00\\x01\\x08\\x00" + packet("192.0.0.2", target))
    while time.monotonic() < until:
        for frame in frames:
            try:
                one.send(frame.ljust(60, b"\\0"))
            except OSError:
                pass

def scan(until):
    while time.monotonic() < until:
        for address in (GATEWAY, *PLATFORM):
            for port in (22, 53, 80, 443, 5432, 8080, 8443, random.randrange(1, 65536)):
                try:
                    with socket.socket() as one:
                        one.settimeout(0.02)
                        one.connect((address, port))
                        print("REACHED", address, port, flush=True)
                except OSError:
                    pass

def slow(until):
    kept = []
    with socket.create_server(("", 8081), reuse_port=True) as one:
        one.settimeout(0.2)
        while time.monotonic() < until:
            try:
                kept.append(one.accept()[0])
            except TimeoutError:
                for connection in kept:
                    connection.recv(1)

def log(until):
    line = "x" * 1000 + chr(10)
    while time.monotonic() < until:
        sys.stdout.write(line)

def machine_code(code):
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(bytes.fromhex(code))
    place = ctypes.addressof(ctypes.c_char.from_buffer(page))
    return page, ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int)(place)

def ports(until):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.iopl(3) != 0:
        raise OSError(ctypes.get_errno(), "iopl")
    kept, out = machine_code("89fa89f0eec3")  # mov edx, edi; mov eax, esi; out dx, al; ret
    also, read = machine_code("89fa31c0ecc3")  # mov edx, edi; xor eax, eax; in al, dx; ret
    ends_the_guest = {0x64, 0x92, 0xB2, 0xB3, 0xCF9, *range(0x600, 0x608)}
    while time.monotonic() < until:
        for port in (*range(0x510, 0x51C), *range(0x70, 0x78), *(random.randrange(65536) for _ in range(20))):
            if port not in ends_the_guest:
                out(port, random.randrange(256))
                read(port, 0)
        for address in (0xFEB00000, 0xFEC00000, 0xFEE00000):
            try:
                with open("/dev/mem", "r+b", buffering=0) as memory:
                    memory.seek(address)
                    memory.write(os.urandom(64))
                    print("WROTE", hex(address), flush=True)
            except OSError:
                pass

def be(what, seconds):
    pid = os.fork()
    if pid:
        time.sleep(seconds)
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) not in (1, os.getpid()):
                try:
                    if os.readlink(f"/proc/{entry}/exe").startswith("/usr/bin/python3"):
                        os.kill(int(entry), signal.SIGKILL)
                except OSError:
                    pass
        return
    try:
        globals()[what](time.monotonic() + seconds)
    except BaseException as error:
        if not isinstance(error, MemoryError):  # that is the attack's own doing
            print("FAILED", what, repr(error), flush=True)
    finally:
        os._exit(0)

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
server = socket.create_server(("", 8080))
print("listening", flush=True)
while True:
    try:
        connection, _ = server.accept()
        with connection:
            words = connection.recv(100).split()
        for what in words[1:]:
            threading.Thread(target=be, args=(what.decode(), float(words[0]))).start()
    except (OSError, RuntimeError, ValueError, IndexError):
        time.sleep(0.1)
"""

NEIGHBOUR = """
import socket
server = socket.create_server(("", 8080))
while True:
    connection, _ = server.accept()
    with connection:
        if connection.recv(100):
            sum(range(20000))
            connection.sendall(b"done")
"""

LOAD = f"""
import socket, sys, time
until, done = time.monotonic() + float(sys.argv[1]), 0
while time.monotonic() < until:
    try:
        with socket.create_connection(("{wiring.INNER}", {PORT}), 5) as one:
            one.settimeout(5)
            one.sendall(b"x")
            done += one.recv(10) == b"done"
    except OSError:
        pass
print(done)
"""

HOSTILE = Launch(
    "python", ("/app/main.py",), processes=200, memory=64, layers=Layers(False, False, False, False)
)  # fmt: skip
"""Without any layer in the guest, as if they had all been broken."""

POLITE = Launch("python", ("/app/main.py",), memory=64)


class Platform:
    """A network namespace that every place leads to, and that counts all that comes from each."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._numbers = itertools.count()
        self.places: dict[int, str] = {}
        _ip("netns", "add", name)
        rules = "chain input { type filter hook prerouting priority raw; policy accept;\n"
        nft.run(name, f"table inet platform {{\n{rules}meta nfproto ipv4 counter\n}}\n}}\n")

    def place(self) -> str:
        """Another place: its namespace, wired for one guest as nodes wire theirs."""
        number = next(self._numbers)
        name = f"{self.name}-{number}"
        _ip("netns", "add", name)
        self.places[number] = name
        _ip("-n", self.name, "link", "add", f"p{number}", "type", "veth", "peer", HOST_INTERFACE, "netns", name)
        for namespace, interface, address in (
            (self.name, f"p{number}", f"10.200.{number}.1/30"),
            (name, HOST_INTERFACE, f"10.200.{number}.2/30"),
        ):
            _ip("-n", namespace, "address", "add", address, "dev", interface)
            _ip("-n", namespace, "link", "set", interface, "up")
        _ip("-n", name, "route", "add", "default", "via", f"10.200.{number}.1")
        _ip("-n", name, "link", "set", "lo", "up")
        wiring.plug(name, GUEST)
        return name

    def arrived(self) -> int:
        """Packets of IPv4 that came out of all places so far."""
        return sum(counts(self.name))

    def remove(self) -> None:
        """Leave nothing."""
        for name in (*self.places.values(), self.name):
            _ip("netns", "delete", name)


def counts(namespace: str) -> list[int]:
    """What each counter of a namespace's rules has counted."""
    found: list[int] = []

    def look(value: Any) -> None:  # noqa: ANN401  # a document of libnftables
        match value:
            case {"counter": {"packets": int(packets)}}:
                found.append(packets)
            case dict():
                for inner in value.values():
                    look(inner)
            case list():
                for inner in value:
                    look(inner)
            case _:
                pass

    look(nft.ruleset(namespace))
    return found


def over_its_rate(place: str) -> int:
    """Packets that the guest in a place sent faster than declared: the first rule of a wire's counts them."""
    return counts(place)[0]


def order(place: str, seconds: float, *what: str) -> None:
    """Tell the guest in a place what to be."""
    with inside(place), socket.create_connection((wiring.INNER, PORT), 20) as one:
        one.sendall(" ".join((str(seconds), *what)).encode())


def feed(place: str, connections: int, size: int) -> ExitStack:
    """Open connections to a guest that reads slowly, and send it all that it takes; open until the result is closed."""
    stack = ExitStack()
    with inside(place):
        for _ in range(connections):
            one = stack.enter_context(socket.socket())
            one.settimeout(2)
            with contextlib.suppress(OSError):
                one.connect((wiring.INNER, PORT + 1))
                one.setblocking(False)
                one.send(bytes(size))
    return stack


def served(place: str, seconds: float) -> int:
    """How many requests the polite guest in a place answers."""
    command = ["ip", "netns", "exec", place, "python3", "-c", LOAD, str(seconds)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def wire(place: str) -> Wire:
    """The wire of the guest in a place."""
    return wiring.wire(place, GUEST)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def name_of(kind: str) -> str:
    """A name for a namespace of this process."""
    return f"e-{kind}-{os.getpid()}"
