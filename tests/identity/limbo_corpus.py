"""x509-limbo's own certificates, as hostile input: none of them is ours, so none is accepted, and none breaks anything.

Run by hand, because the corpus is not part of this tree::

    .venv/bin/python -m tests.identity.limbo_corpus limbo.json
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509

from ringfort.identity.bundle import Bundle
from ringfort.identity.certificates import UNREADABLE
from ringfort.identity.errors import IdentityRefused
from ringfort.identity.verification import anyone, verify

SLOWEST = 1.0
"""Seconds that one verification may take, however the chain is made."""


def judge(case: Mapping[str, Any]) -> str:
    """The code of the refusal, or ``unreadable`` where the library does not even load it."""
    at = datetime.fromisoformat(case["validation_time"]) if case["validation_time"] else datetime.now(UTC)
    try:
        trusted = [x509.load_pem_x509_certificate(one.encode()) for one in case["trusted_certs"]]
        others = [x509.load_pem_x509_certificate(one.encode()) for one in case["untrusted_intermediates"]]
        leaf = x509.load_pem_x509_certificate(case["peer_certificate"].encode())
    except UNREADABLE:
        return "unreadable"
    try:
        verify(leaf, others, Bundle("example.com", tuple(trusted), ()), at, expected=anyone)
    except IdentityRefused as refused:
        return refused.code
    return "ACCEPTED"


def faults(cases: list[Mapping[str, Any]], found: Counter[str]) -> Iterator[str]:
    """Cases that were accepted or took too long; counts what was found."""
    for case in cases:
        start = time.monotonic()
        outcome = judge(case)
        seconds = time.monotonic() - start
        found[outcome] += 1
        if outcome == "ACCEPTED":
            yield f"{case['id']}: accepted"
        if seconds > SLOWEST:
            yield f"{case['id']}: took {seconds:.1f} s"


def main() -> int:
    cases = json.loads(Path(sys.argv[1]).read_text())["testcases"]
    found: Counter[str] = Counter()
    wrong = list(faults(cases, found))
    print(f"{len(cases)} cases: {dict(found)}")
    print("\n".join(wrong) or "none accepted, none slow")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
