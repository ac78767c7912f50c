"""`passerelle ledger index`: what makes a log's entries found by what they say."""

from typing import TYPE_CHECKING, Annotated

import typer

from passerelle.cli.logs import Log, Token, Vkey, open_log, verifier_of

if TYPE_CHECKING:
    from threading import Event


def index(
    log: Log = None,
    *,
    vkey: Vkey = None,
    token: Token = None,
    once: Annotated[bool, typer.Option("--once", help="Stop when all that is published is indexed.")] = False,
) -> None:
    """Index a published log, so that its entries are found by what they say, until SIGTERM or Ctrl-C."""
    import structlog

    from passerelle.config import settings
    from passerelle.telemetry import configure
    from passerelle_consent.ledger.follow import Follower
    from passerelle_consent.ledger.index import Index

    configure("ledger-index")
    here, line = settings(), structlog.get_logger()
    here.home.store.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open_log(log, token) as source:
        follower = Follower(source, lambda: verifier_of(source, vkey), Index(here.ledger_index_url()))
        if once:
            line.info("indexed all", size=follower.catch_up())
            return
        follower.run(stopped_by_signal(), ready=lambda: line.info("ready"))
    line.info("stopped")


def stopped_by_signal() -> "Event":
    """Return an event that SIGTERM and Ctrl-C set."""
    import signal
    from threading import Event

    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
