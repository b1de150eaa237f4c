"""Positions: on which line of a TOML text each key and element stands. Pure.

Owns that alone: tomllib has accepted the text before, and its values are tomllib's. Must not
judge. Read next: reading.py.
"""

from __future__ import annotations

import re

Path = tuple[str | int, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_INLINE_BLANK = re.compile(r"[ \t]*")
_PLAIN = re.compile(r"[^,\]}\n#]*")
_LONG = {
    '"""': re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}', re.DOTALL),
    "'''": re.compile(r"'''.*?'{3,5}", re.DOTALL),
}
_SHORT = {'"': re.compile(r'"(?:[^"\\\n]|\\.)*"'), "'": re.compile(r"'[^'\n]*'")}


def find_positions(text: str) -> dict[Path, int]:
    """Return path -> line, from 1, of all keys, tables, and elements of arrays.

    A table's line is where it is first named. The text must be valid TOML; of any other the
    positions up to the fault are returned.
    """
    return _Scan(text.replace("\r\n", "\n")).lines


class _Fault(Exception):
    """The text is not what tomllib would have accepted."""


class _Scan:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._line, self._counted = 1, 0
        self._last: dict[Path, int] = {}
        """the index of the last element of each array of tables"""
        self.lines: dict[Path, int] = {}
        try:
            self._document()
        except (_Fault, ValueError, RecursionError):
            return

    def _document(self) -> None:
        table: Path = ()
        while True:
            self._skip(_BLANK)
            if self._at >= len(self._text):
                return
            if self._text.startswith("[[", self._at):
                self._at += 2
                *parents, name = self._keys()
                array = (*self._resolve((), parents), name)
                self._last[array] = self._last.get(array, -1) + 1
                table = (*array, self._last[array])
                self._mark(table, from_length=1)
                self._expect("]]")
            elif self._text[self._at] == "[":
                self._at += 1
                table = self._resolve((), self._keys())
                self._mark(table, from_length=1)
                self._expect("]")
            else:
                self._pair(table)

    def _pair(self, table: Path) -> None:
        path = self._resolve(table, self._keys())
        self._mark(path, from_length=len(table) + 1)
        self._expect("=")
        self._value(path)

    def _value(self, path: Path) -> None:
        self._skip(_INLINE_BLANK)
        start = self._text[self._at : self._at + 1]
        if start == "[":
            self._array(path)
        elif start == "{":
            self._inline_table(path)
        elif start in _SHORT and start:
            long = self._text[self._at : self._at + 3]
            self._skip(_LONG[long] if long in _LONG else _SHORT[start])
        else:
            self._skip(_PLAIN)

    def _array(self, path: Path) -> None:
        self._at += 1
        index = 0
        while True:
            self._skip(_BLANK)
            if self._text.startswith("]", self._at):
                self._at += 1
                return
            self._mark((*path, index), from_length=len(path) + 1)
            self._value((*path, index))
            self._skip(_BLANK)
            if self._text.startswith(",", self._at):
                self._at += 1
            index += 1

    def _inline_table(self, path: Path) -> None:
        self._at += 1
        while True:
            self._skip(_BLANK)
            if self._text.startswith("}", self._at):
                self._at += 1
                return
            self._pair(path)
            self._skip(_BLANK)
            if self._text.startswith(",", self._at):
                self._at += 1

    def _keys(self) -> list[str]:
        """Read a dotted key, up to what follows it."""
        keys = []
        while True:
            self._skip(_INLINE_BLANK)
            keys.append(self._key())
            self._skip(_INLINE_BLANK)
            if not self._text.startswith(".", self._at):
                return keys
            self._at += 1

    def _key(self) -> str:
        quote = self._text[self._at : self._at + 1]
        form = _SHORT.get(quote, _BARE)
        found = form.match(self._text, self._at)
        if found is None:
            raise _Fault
        self._at = found.end()
        if quote == '"':
            import tomllib

            return next(iter(tomllib.loads(f"{found[0]} = 0")))
        return found[0][1:-1] if quote == "'" else found[0]

    def _resolve(self, start: Path, keys: list[str]) -> Path:
        """Return the path of a table: the last element of each array of tables on the way."""
        path = start
        for key in keys:
            path = (*path, key)
            if path in self._last:
                path = (*path, self._last[path])
        return path

    def _mark(self, path: Path, from_length: int) -> None:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        for length in range(from_length, len(path) + 1):
            self.lines.setdefault(path[:length], self._line)

    def _skip(self, form: re.Pattern[str]) -> None:
        found = form.match(self._text, self._at)
        if found is None or (not found[0] and self._at >= len(self._text) and form is _PLAIN):
            raise _Fault
        self._at = found.end()

    def _expect(self, word: str) -> None:
        self._skip(_INLINE_BLANK)
        if not self._text.startswith(word, self._at):
            raise _Fault
        self._at += len(word)
