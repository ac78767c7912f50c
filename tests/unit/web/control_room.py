"""A control room whose broker a test plays: it answered a moment ago, one group is late, one letter waits."""

import time
from datetime import UTC, datetime
from types import SimpleNamespace

from passerelle.dead_letters import Waiting
from passerelle.replaying import Outcome
from passerelle.settling import Settled
from passerelle.web.control.room import Room, Settling
from passerelle.web.control.seen import Look
from passerelle.web.control.watch import Watch, Watched
from passerelle.web.control.whatif import WhatIf
from passerelle_consent.wire import DeadLetter
from passerelle_schemas.catalogue import Catalogue

FLOW = "tariff.schools"
LETTER = DeadLetter(
    component="gate", reason="unreadable", topic="exchange", partition=1, offset=42, rule="r;outbox.tax.x;0;7;0"
)
AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
ONE = Waiting(letter=LETTER, owner="gate", count=2, first=AT, last=AT)

ONE_REFERENCE = ONE.reference


def a_room(town, folder):
    """A room whose broker answered a moment ago; one letter waits."""
    watched = Watched(
        topics={"outbox.tax.income-assessed": 4, "exchange": 4, "decisions": 4, "inbox.schools": 4},
        groups={"gate": ["exchange"], "agents.lutece": ["outbox.tax.income-assessed"]},
    )
    watch = Watch(access=None, watched=watched)
    for ago, end in ((30, 0), (0, 60)):
        watch.seen.add(Look(at=time.time() - ago, ends={"exchange": end}, lags={"gate": 3, "agents.lutece": 5_000}))
    watch.pulse.add(int(time.time()) - 2, [(FLOW, "deny", "consent-withdrawn")] * 3)
    room = Room(watch, SimpleNamespace(supervised_file=folder / "none.json"), [])
    room._letters = float("inf"), (ONE,)
    done = []

    def act(kind):
        def settled(owner, reference, cause, teller):
            done.append((kind, owner, reference, cause, teller.scopes))
            return Settled(outcome=Outcome(said=""), entry="00")

        return settled

    town.site.extras.update(
        {
            Room: room,
            Settling: Settling(replay=act("replay"), discard=act("discard")),
            Catalogue: town.manifest.policy_bundle().catalogue,
            WhatIf: WhatIf(manifest=town.manifest, past=None),
        }
    )
    room.done = done
    room.forget_letters = lambda: None
    return room
