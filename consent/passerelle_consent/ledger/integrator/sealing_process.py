"""A process that seals for the integrator, so that a step is sealed on one core while another commits the one before.

It has no master key, no database and no signing key: subjects' keys come to it as they are needed. Ctrl-C at the
terminal does not reach it; when the integrator ends, however it ends, so does its pipe, and with it this one.
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from passerelle_consent.ledger.integrator.interpreter import settle
from passerelle_consent.ledger.log.tiles import RightEdge
from passerelle_consent.ledger.sealing.batch import Unread
from passerelle_consent.ledger.sealing.sealer import Sealed, Sealer
from passerelle_consent.ledger.sealing.sequence import Draft
from passerelle_schemas.faults import Fault

PIPE_BYTES = 1 << 20
"""A step's entries are some 9 MB: the longer the pipe, the less one side waits for the other."""


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
        self._process = subprocess.Popen(  # noqa: S603 - ours
            command, stdin=pipe, stdout=pipe, pipesize=PIPE_BYTES, start_new_session=True
        )
        self._ask("start", edge)

    def unknown(self, decisions: Sequence[Unread], subjects: set[bytes]) -> set[bytes]:
        """As `Sealing`. Raises `SealingAway` besides."""
        if self._trims:
            self._ask("trim")
            self._trims = False
        unknown: set[bytes] = self._ask("unknown", decisions, subjects)
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
        assert process.stdin is not None and process.stdout is not None, "they were asked for"  # noqa: S101, PT018
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
    settle()
    sealer, asked, answers = Sealer(os.urandom), sys.stdin.buffer, sys.stdout.buffer
    try:
        while True:
            what, about = pickle.load(asked)  # noqa: S301 - from the process that started this one
            try:
                answer = getattr(sealer, what)(*about)
            except Fault as fault:
                answer = fault
            pickle.dump(answer, answers, protocol=pickle.HIGHEST_PROTOCOL)
            answers.flush()
    except (EOFError, BrokenPipeError):
        os._exit(0)  # whoever asked is gone: there is nobody to flush for


if __name__ == "__main__":
    main()
