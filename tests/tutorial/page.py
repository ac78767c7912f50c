"""What a tutorial asks its reader to do, read from its Markdown: commands with what they print, and files to write.

- A block ```console holds commands, each behind ``$ ``, and what they print. A comment `# exits with N` says so.
- Any other block is a file; its path is the last `code` of the line before the block.
- ``…`` within a line stands for anything, on a line of its own for any lines.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ELLIPSIS = "…"
FENCE = re.compile(r"^```(\w*)")
EXITS = re.compile(r"\s+# exits with (\d+)$")
CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command as printed, where it stands, and what it must print."""

    line: int
    text: str
    prints: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        found = EXITS.search(self.text)
        return int(found[1]) if found else 0


@dataclass(frozen=True, kw_only=True)
class File:
    """A file to write."""

    line: int
    path: str
    text: str


Step = Command | File


def steps(page: Path) -> Iterator[tuple[int, Step]]:
    """Yield each step with the number of its section (`## 1. …`), in order. Raises `ValueError` for a file unnamed."""
    section, before, block, begun = 0, "", None, 0
    kind = ""
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        fence = FENCE.match(line)
        if block is None and fence:
            kind, block, begun = fence[1], [], number
        elif block is not None and line == "```":
            for step in _block(kind, block, begun, before):
                yield section, step
            block = None
        elif block is not None:
            block.append(line)
        else:
            section += bool(re.match(r"## \d+\.", line))
            before = (line.strip() and line) or before
    if block is not None:
        raise ValueError(f"{page}:{begun}: a block that does not end")


def _block(kind: str, lines: list[str], begun: int, before: str) -> Iterator[Step]:
    if kind != "console":
        named = CODE.findall(before)
        if not named:
            raise ValueError(f"line {begun}: the line before a file's block must name it")
        yield File(line=begun, path=named[-1], text="".join(f"{line}\n" for line in lines))
        return
    starts = [at for at, line in enumerate(lines) if line.startswith("$ ")]
    if lines and starts[:1] != [0]:
        raise ValueError(f"line {begun}: a console block begins with a command")
    for at, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        yield Command(line=begun + 1 + at, text=lines[at][2:], prints=tuple(lines[at + 1 : end]))


def difference(wanted: Sequence[str], printed: Sequence[str]) -> str | None:
    """Tell the first line that is not as wanted; None when all are."""
    if ELLIPSIS not in wanted:
        for at, line in enumerate(wanted):
            if at >= len(printed):
                return f"missing: {line}"
            if not _alike(line, printed[at]):
                return f"wanted:  {line}\n    printed: {printed[at]}"
        return f"too much: {printed[len(wanted)]}" if len(printed) > len(wanted) else None
    first = list(wanted).index(ELLIPSIS)
    head, tail = wanted[:first], wanted[first + 1 :]
    missed = difference(head, printed[: len(head)])
    if missed is not None:
        return missed
    rest = printed[len(head) :]
    for skipped in range(len(rest) + 1):
        if difference(tail, rest[skipped:]) is None:
            return None
    return f"after the lines left out, missing: {tail[0]}"


def _alike(wanted: str, printed: str) -> bool:
    parts = wanted.rstrip().split(ELLIPSIS)
    return re.fullmatch(".*".join(map(re.escape, parts)), printed.rstrip()) is not None
