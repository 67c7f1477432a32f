"""A sheet of characters to draw on, each with a style; printed plain or with colours of the terminal."""

from __future__ import annotations

from collections.abc import Mapping

STYLES: Mapping[str, str] = {
    "title": "1",
    "dim": "2",
    "internet": "1;35",
    "provider": "35",
    "router": "1;33",
    "backbone": "33",
    "site": "1",
    "edge": "1;34",
    "front-end": "1;36",
    "back-end": "1;32",
    "data": "1;33",
    "administration": "1;31",
    "customer": "1;35",
    "hypervisor": "1;37",
    "mutual": "32",
    "server": "36",
    "none": "33",
}
"""Style -> parameters of the SGR control sequence (ECMA-48, 8.3.117)."""


class Canvas:
    """Rows grow as they are written to, up to ``width``; unwritten places are blank."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._rows: list[list[tuple[str, str]]] = []

    @property
    def height(self) -> int:
        """Rows written to so far."""
        return len(self._rows)

    def put(self, row: int, column: int, text: str, style: str = "") -> int:
        """Write ``text`` and return the column after it. What would leave the sheet is cut off."""
        after = column + len(text)
        text = text[max(0, -column) : max(0, self._width - column)]
        column = max(0, column)
        while len(self._rows) <= row:
            self._rows.append([])
        line = self._rows[row]
        line.extend((" ", "") for _ in range(column + len(text) - len(line)))
        line[column : column + len(text)] = [(character, style) for character in text]
        return after

    def text(self, *, colour: bool) -> str:
        """The sheet as lines without trailing blanks, each ended by a newline."""
        return "".join(f"{_line(row, colour=colour)}\n" for row in self._rows)


def _line(row: list[tuple[str, str]], *, colour: bool) -> str:
    if not colour:
        return "".join(character for character, _ in row).rstrip()
    while row and row[-1][0] == " ":
        row = row[:-1]
    parts: list[str] = []
    current = ""
    for character, style in row:
        if style != current:
            parts.append("\x1b[0m" if current else "")
            parts.append(f"\x1b[{STYLES[style]}m" if style else "")
            current = style
        parts.append(character)
    return "".join(parts) + ("\x1b[0m" if current else "")
