"""Texts of others on a terminal."""


def printable(words: str) -> str:
    """Whoever wrote it, nothing in it steers a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in words)


def on_one_line(words: str) -> str:
    """The same, and it cannot pass for a line of ours."""
    return printable(" ".join(words.split()))
