"""Compiles the Python modules of a tree with the tree's own Python, so that guests needn't.

The compiler runs from the tree (its interpreter, its libraries, nothing of this machine's), with a fixed seed. What it
writes depends on the source alone: version 2 of the marshal format has no references, whose presence depends on how
often an object happens to be used.
"""

from __future__ import annotations

import os
import stat
import subprocess
import tempfile
from pathlib import Path

from ringfort.compute.errors import ImageError
from ringfort.compute.tree import Tree

LIBRARIES = "usr/lib/x86_64-linux-gnu"
NEEDED = ("usr/lib/python3.11/", f"{LIBRARIES}/", "usr/bin/python3.11")
SOURCES = ("usr/lib/python3.11/", "usr/lib/ringfort/")

PROGRAM = """
import importlib.util, marshal, os, sys
root = sys.argv[1]
for line in sys.stdin:
    path = line.rstrip("\\n")
    with open(os.path.join(root, path), "rb") as file:
        source = file.read()
    try:
        code = compile(source, "/" + path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        continue
    # PEP 552: flags 1 = by hash, not checked
    head = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(source)
    folder, name = os.path.split(path)
    cache = os.path.join(root, folder, "__pycache__")
    os.makedirs(cache, exist_ok=True)
    with open(os.path.join(cache, name[:-3] + ".cpython-311.pyc"), "wb") as file:
        file.write(head + marshal.dumps(code, 2))
"""


def compile_all(tree: Tree) -> None:
    """Add the byte code of every module to the tree.

    Raises:
        ImageError: the tree's Python doesn't run here.
    """
    names = [
        path
        for path, entry in tree.sorted()
        if path.endswith(".py") and path.startswith(SOURCES) and stat.S_ISREG(entry.mode)
    ]
    with tempfile.TemporaryDirectory(prefix="ringfort-image-") as directory:
        root = Path(directory)
        for path, entry in tree.sorted():
            if path.startswith(NEEDED) or path in names:
                _put(root / path, entry.mode, entry.data)
        _run(root, "".join(f"{name}\n" for name in names))
        for name in names:
            source = Path(name)
            compiled = source.parent / "__pycache__" / f"{source.stem}.cpython-311.pyc"
            if (root / compiled).exists():
                tree.file(str(compiled), (root / compiled).read_bytes())


def _put(path: Path, mode: int, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if stat.S_ISLNK(mode) and not data.startswith(b"/"):
        path.symlink_to(data.decode())
    elif stat.S_ISREG(mode):
        path.write_bytes(data)
        path.chmod(stat.S_IMODE(mode))


def _run(root: Path, names: str) -> None:
    loader = root / LIBRARIES / "ld-linux-x86-64.so.2"
    command = [str(loader), "--library-path", str(root / LIBRARIES), str(root / "usr/bin/python3.11"), "-S", "-B"]
    environment = {"PYTHONHOME": str(root / "usr"), "PYTHONHASHSEED": "0", "PATH": os.defpath, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [*command, "-c", PROGRAM, str(root)], input=names, text=True, capture_output=True, check=False, env=environment
    )
    if done.returncode != 0:
        raise ImageError("image-not-built", f"the guests' Python refuses: {done.stderr.strip()[-300:]}")
