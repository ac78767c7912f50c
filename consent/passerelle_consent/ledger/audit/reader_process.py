"""A process of `readers`: reads the bundles it is asked for, until its input ends."""

import os
import pickle
import sys
from typing import TYPE_CHECKING

from passerelle_consent.ledger.audit.bundles import bundle_at, read_bundle

if TYPE_CHECKING:
    from passerelle_consent.ledger.audit.readers import Job


def main() -> None:
    """Answer each range on the standard output."""
    asked, answers = sys.stdin.buffer, sys.stdout.buffer
    try:
        job: Job = pickle.load(asked)  # noqa: S301 - from the process that started this one
        with job.opener() as log:
            while True:
                run: range = pickle.load(asked)  # noqa: S301
                read = [read_bundle(log, bundle_at(index, job.size), parses=job.parses) for index in run]
                pickle.dump(read, answers, protocol=pickle.HIGHEST_PROTOCOL)
                answers.flush()
    except (EOFError, BrokenPipeError):
        os._exit(0)  # whoever asked is gone: there is nobody to flush for


if __name__ == "__main__":
    main()
