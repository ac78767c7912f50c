"""`passerelle consent …` whose relay takes what is in the outbox and never sends it: to be killed just there."""

import asyncio
import sys

from passerelle.cli import main
from passerelle_consent.records.relay import Relay


async def held(*_):
    await asyncio.Event().wait()


if __name__ == "__main__":
    Relay._send = held
    sys.exit(main())
