"""Play the tutorial literally: type its commands, write its files, and compare what is printed with what it says.

    python tests/tutorial/play.py           # in this environment, from the second section on
    python tests/tutorial/play.py --fresh   # in a new clone with a new environment, from the first section on

Exit code 0: everything was as printed; 1: one command was not, and is named with its line. What a city does takes a
moment, so a command that only looks (`inbox read`, `ledger …`) is repeated for a while until it shows what is printed.
"""

import argparse
import os
import queue
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from page import Command, File, difference, steps

PROJECT = Path(__file__).resolve().parents[2]
PAGE = PROJECT / "services/passerelle/scaffold/TUTORIAL.md"
COMMAND_S_MAX = 600.0
"""The longest is `make setup` on a slow line."""
LOOKS = ("passerelle inbox read", "passerelle ledger")
LOOK_S_MAX = 30.0
LOOK_AGAIN_S = 0.5
COLUMNS = "200"
"""Of the terminal, so that no table or help is folded."""


class Different(Exception):
    """A command did not print what the page says, or ended otherwise."""


class Shell:
    """One shell for the whole page, as its reader has: folders, variables and an environment entered stay."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self._bash = subprocess.Popen(
            ["/bin/bash", "--norc", "--noprofile"],
            cwd=folder,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def run(self, text: str) -> tuple[list[str], int]:
        """Type a command; return its lines and its exit code. Raises `Different` when it does not come to an end."""
        mark = f"-- {secrets.token_hex(8)} "
        # Nothing that is typed may read the commands after it.
        self._type(f"{{ {text}\n}} </dev/null\nprintf '\\n{mark}%s\\n' $?\n")
        lines: list[str] = []
        end = time.monotonic() + COMMAND_S_MAX
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise Different(f"it is still running after {COMMAND_S_MAX:.0f} s") from None
            if line is None:
                raise Different("it ended the shell")
            if line.startswith(mark):
                return lines[:-1] if lines and not lines[-1] else lines, int(line.removeprefix(mark))
            lines.append(line)

    def _type(self, text: str) -> None:
        assert self._bash.stdin is not None
        self._bash.stdin.write(text)
        self._bash.stdin.flush()

    def _read(self) -> None:
        assert self._bash.stdout is not None
        for line in self._bash.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def end(self) -> None:
        """End the shell and whatever it still runs in the foreground."""
        if self._bash.poll() is None:
            os.killpg(self._bash.pid, signal.SIGTERM)
        self._bash.wait(60)


def play(shell: Shell, page: Path, *, fresh: bool) -> int:
    """Play it; return how many commands were. Raises `Different` naming the line."""
    played = 0
    for section, step in steps(page):
        if section == 1 and not fresh:
            continue
        if isinstance(step, File):
            heredoc = f"cat > {step.path} <<'END-OF-FILE'\n{step.text}END-OF-FILE"
            _, code = shell.run(heredoc)
            if code:
                raise Different(f"{page}:{step.line}: {step.path} cannot be written")
            continue
        begun = time.monotonic()
        try:
            wrong = _wrong(shell, step)
        except Different as stuck:
            wrong = str(stuck)
        if wrong is not None:
            raise Different(f"{page}:{step.line}: $ {step.text}\n    {wrong}")
        print(f"{time.monotonic() - begun:6.1f} s  $ {step.text}", flush=True)
        played += 1
    return played


def _wrong(shell: Shell, step: Command) -> str | None:
    end = time.monotonic() + LOOK_S_MAX
    while True:
        lines, code = shell.run(step.text)
        wrong = difference(step.prints, lines)
        if wrong is None and code != step.exit_code:
            wrong = f"it ended with {code}, not with {step.exit_code}"
        if wrong is None or not step.text.startswith(LOOKS) or time.monotonic() > end:
            return wrong
        time.sleep(LOOK_AGAIN_S)


def environment(*, fresh: bool) -> dict[str, str]:
    """The reader's: nothing of this project but, unless it is made anew, the environment that we run in."""
    environ = {n: v for n, v in os.environ.items() if not n.startswith("PASSERELLE_") and n != "VIRTUAL_ENV"}
    environ["COLUMNS"] = COLUMNS
    own = str(Path(sys.executable).parent)
    path = [folder for folder in environ["PATH"].split(os.pathsep) if folder != own]
    environ["PATH"] = os.pathsep.join(path if fresh else [own, *path])
    return environ


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--fresh", action="store_true", help="clone the project and make its environment first")
    asked.add_argument("--page", type=Path, default=PAGE, help="another page to play")
    args = asked.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="passerelle-tutorial-") as name:
        clone = Path(name) / "passerelle"
        if args.fresh:
            subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(clone)], check=True)  # noqa: S607
        else:
            clone.mkdir()
        environ = environment(fresh=args.fresh)
        shell = Shell(clone, environ)
        try:
            print(f"all {play(shell, args.page, fresh=args.fresh)} commands are as printed")
        except Different as different:
            print(different, file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
        finally:
            shell.end()
            _end_cities(Path(name), environ)
    return 0


def _end_cities(folder: Path, environ: dict[str, str]) -> None:
    """Whatever happened, nothing that was started stays: each city in the folder is brought down."""
    for manifest in folder.glob("*/city.yaml"):
        down = [sys.executable, "-m", "passerelle.cli", "down"]
        subprocess.run(down, cwd=manifest.parent, env=environ, check=False, stdout=subprocess.DEVNULL, timeout=120)


if __name__ == "__main__":
    sys.exit(main())
