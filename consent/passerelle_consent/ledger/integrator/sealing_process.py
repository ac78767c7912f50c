"""A process that seals for the integrator, so that a step is sealed on one core while another commits the one before.

It is told of no master key, no signing key and no database: subjects' keys come to it as they are needed. No signal
that is meant for the integrator ends it; when that ends, however it ends, so does its pipe, and with it this one.
"""

import fcntl
import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from passerelle_consent.ledger.integrator.interpreter import settle
from passerelle_consent.ledger.log.tiles import RightEdge
from passerelle_consent.ledger.sealing.batch import SealingFault, Unread
from passerelle_consent.ledger.sealing.sealer import Sealed, Sealer
from passerelle_consent.ledger.sealing.sequence import Draft
from passerelle_schemas.faults import Fault

PIPE_BYTES = 1 << 20
"""A step's entries are 5 to 9 MB: the longer the pipe, the less one side waits for the other."""

OURS = "PASSERELLE_"
"""How the variables begin that say where the databases are, with their passwords: not for this process."""


class SealingAway(Fault):
    """The process that seals was ended. Trying again may help."""


class SealingProcess:
    """`Sealing`, in a process of its own, which `start` begins anew."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._trims = False

    def start(self, edge: RightEdge) -> None:
        """As `Sealing`."""
        self.close()
        # A fresh interpreter, and not a fork: this one has threads. -P: no file of the folder we are in is ours.
        command, pipe = [sys.executable, "-P", "-m", __name__], subprocess.PIPE
        env = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        try:
            process = subprocess.Popen(  # noqa: S603 - this interpreter and this module, nothing from outside
                command, stdin=pipe, stdout=pipe, env=env, start_new_session=True
            )
        except OSError as exc:
            raise SealingAway(f"the process that seals cannot be started ({exc.strerror})") from None
        for end in (process.stdin, process.stdout):
            assert end is not None, "they were asked for"  # noqa: S101 - an invariant, for mypy
            with suppress(OSError, AttributeError):  # a system may allow less, or have no such call: a matter of speed
                fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._process = process
        self._ask("start", edge)

    def take(self, decisions: Sequence[Unread], subjects: set[bytes]) -> set[bytes]:
        """As `Sealing`. Raises `SealingAway` besides."""
        if self._trims:
            self._ask("trim")
            self._trims = False
        unknown: set[bytes] = self._ask("take", decisions, subjects)
        return unknown

    def seal(self, before: Sequence[Draft], after: Sequence[Draft], secrets: Mapping[bytes, bytes]) -> Sealed:
        """As `Sealing`. Raises `SealingAway` besides."""
        sealed: Sealed = self._ask("seal", before, after, secrets)
        return sealed

    def trim(self) -> None:
        """As `Sealing`: with the next step, so that nobody waits for it."""
        self._trims = True

    def close(self) -> None:
        """End the process: it only reckons, there is nothing that it must finish."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _ask(self, what: str, *about: object) -> Any:
        process = self._process
        if process is None:
            raise SealingAway("nothing is begun")
        assert process.stdin is not None, "it was asked for"  # noqa: S101 - an invariant, for mypy
        assert process.stdout is not None, "it was asked for"  # noqa: S101 - as above
        try:
            pickle.dump((what, about), process.stdin, protocol=pickle.HIGHEST_PROTOCOL)
            process.stdin.flush()
            answer = pickle.load(process.stdout)  # noqa: S301 - from our own process
        except (BrokenPipeError, EOFError, pickle.UnpicklingError):
            self.close()
            raise SealingAway("the process that seals was ended", hint="is there memory enough?") from None
        except BaseException:
            self.close()  # half asked: its answer would be taken for the next one's
            raise
        if isinstance(answer, Fault):
            raise answer
        return answer


def main() -> None:
    """Do what the standard input asks for until it ends, and answer each time with the result or a `Fault`."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the integrator's, to which a last step may still come
    settle()
    sealer, asked, answers = Sealer(os.urandom), sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever is printed is no answer
    try:
        while True:
            what, about = pickle.load(asked)  # noqa: S301 - from the process that started this one
            try:
                answer = getattr(sealer, what)(*about)
            except Fault as fault:
                answer = fault
            except Exception as exc:  # noqa: BLE001 - its message and its values may be somebody's: its place is not
                at = traceback.extract_tb(exc.__traceback__)[-1]
                answer = SealingFault(f"{type(exc).__name__} at {Path(at.filename).name}:{at.lineno}")
            pickle.dump(answer, answers, protocol=pickle.HIGHEST_PROTOCOL)
            answers.flush()
    except (EOFError, BrokenPipeError, pickle.UnpicklingError):
        os._exit(0)  # whoever asked is gone: there is nobody to flush for


if __name__ == "__main__":
    main()
