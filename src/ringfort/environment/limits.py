"""How large a declaration may be. Past a limit it is refused before it costs memory or time."""

from __future__ import annotations

TOTAL_BYTES = 32 * 1024 * 1024
"""Bytes of all files together: 100,000 hosts written out one by one take about half."""

TOTAL_NODES = 3_000_000
"""Pieces of YAML (scalars, lists, mappings) of all files together, each alias counted as what it stands for."""

NESTING = 32
"""Levels of lists and mappings in each other; the form itself needs 8."""

INCLUDE_DEPTH = 8
"""Files including each other in a chain."""

INCLUDED_FILES = 1000
"""Files of one environment."""

HOSTS = 1_000_000
"""Hosts of one environment, all counts together."""

ITEMS = 100_000
"""Items of one list, or keys of one mapping, below a section's entry: faults in all of them must fit into memory."""

NAME = 63
"""Characters of a name: a DNS label (RFC 1035, 2.3.4)."""
