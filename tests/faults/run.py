"""Run fault scenarios: `python tests/faults/run.py [--only NAME] [--seed N]`, each on a broker of its own.

The history stays in `.passerelle/faults/`; `python tests/faults/judge.py <history>` judges it again, alone.
"""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

if not __package__:  # run as a script: its siblings are found from the folder above
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faults import judge
from faults.founded import MANIFEST, PROJECT, SHORT_LIVED, copied, found, start_broker
from faults.scenario import PLANS, Ground, Outcome, Plan, run
from passerelle.city.manifest import Manifest
from passerelle.config import Home, Settings

HISTORIES = PROJECT / ".passerelle/faults"


@contextmanager
def broker_and_city(
    made: Path | None = None, *, environ: Mapping[str, str] = SHORT_LIVED, **settings: str
) -> Iterator[Ground]:
    """A city on a broker of its own, gone afterwards, also when somebody ends this process with SIGTERM.

    Fresh, or a copy of the one that was founded as ``made``.
    """
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with patch.dict(os.environ, environ), _city(made, settings) as ground:
            yield ground
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _city(made: Path | None, settings: Mapping[str, str]) -> Iterator[Ground]:
    with tempfile.TemporaryDirectory(prefix="passerelle-faults-") as folder:
        home = Home(root=Path(folder))
        if made is not None:
            copied(made, home)
        broker = start_broker(home, **settings) if made is not None else found(home, **settings)
        manifest = Manifest.load(MANIFEST)
        try:
            yield Ground(
                settings=Settings(home=home, manifest_path=manifest.path), manifest=manifest, access=broker.access
            )
        finally:
            broker.down()


def history_of(plan: Plan) -> Path:
    """Where the history of a run is kept, until the next run of the same name and seed."""
    return HISTORIES / f"{plan.name}-{plan.seed}.jsonl.gz"


def show(plan: Plan, outcome: Outcome) -> None:
    waited = outcome.waited_ms or [0]
    p50, p99 = (waited[int(len(waited) * q)] for q in (0.5, 0.99))
    print(
        f"{plan.name} seed {plan.seed}: {outcome.seconds:.0f} s, {outcome.sent:,} sent, "
        f"{outcome.acknowledged:,} withdrawals acknowledged, {outcome.unanswered} not, "
        f"after {p50}/{p99}/{waited[-1]} ms (p50/p99/max), drained: {outcome.drained}, faults {outcome.faults}"
    )
    print(f"history: {outcome.history}\n")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=sorted(PLANS), default="mixed", help="the scenario")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(arguments)
    plan = replace(PLANS[args.only], seed=args.seed)
    with broker_and_city() as ground:
        outcome = run(ground, plan, history_of(plan))
    show(plan, outcome)
    return judge.main([str(outcome.history)])


if __name__ == "__main__":
    sys.exit(main())
