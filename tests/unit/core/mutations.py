"""Mutating what a scheduler printed, for tests that nothing wrong is ever read from it.

Owns the one strategy. Read next: ../slurm/test_parse.py, ../sge/test_parse.py.
"""

from __future__ import annotations

from hypothesis import strategies as st


@st.composite
def mutated(draw: st.DrawFn, text: str) -> str:
    """Return the text with a few stretches replaced, dropped, doubled or inserted."""
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        length = draw(st.integers(0, 60))
        kind = draw(st.sampled_from(["drop", "double", "insert", "replace"]))
        piece = text[at : at + length]
        noise = draw(st.text(max_size=20))
        new = {"drop": "", "double": piece + piece, "insert": noise + piece, "replace": noise}[kind]
        text = text[:at] + new + text[at + length :]
    return text
