"""Who is heard about an agreement: oneself, or for somebody else, alone or only with the other guardian's word.

The page asks the same `policy.voice` as the consent service: it shows no control that could not act, and says why.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from passerelle.web.citizen import family
from passerelle.web.citizen.family import Relative
from passerelle.web.citizen.sharing import Sharing, epoch_ms
from passerelle.web.citizen.whose import Whose
from passerelle_consent.policy.agreements import Agreement
from passerelle_consent.policy.standing import Standing
from passerelle_consent.policy.voice import Guardianship, Relation, Voice, voice_of_guardian, voice_of_subject


@dataclass(frozen=True, kw_only=True, slots=True)
class Approval:
    """A guardian's yes that waits for another's."""

    mine: bool
    until: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Heard:
    """Whether whoever looks is heard about one agreement, and what another guardian has said."""

    gives: Voice
    ends: Voice
    waiting: Approval | None

    @property
    def waits_for_another(self) -> bool:
        """One's own yes is there; it counts with the other's."""
        return self.waiting is not None and self.waiting.mine

    @property
    def asked_by_another(self) -> bool:
        """The other's yes is there; one's own is missing."""
        return self.waiting is not None and not self.waiting.mine and self.gives is Voice.TOGETHER


@dataclass(frozen=True, kw_only=True, slots=True)
class Speaking:
    """Who looks, and who else speaks for those whom it is about."""

    now_ms: int
    relatives: Sequence[Relative] = ()
    """For whom whoever looks speaks."""
    relative: Relative | None = None
    """Of whom the page is; None: one's own."""
    others: Sequence[Guardianship] = ()
    """The other guardians in office."""
    approvals: Mapping[str, Approval]
    """By agreement id."""

    @property
    def subject(self) -> str:
        """What stands in the consent service's paths."""
        return family.ME if self.relative is None else self.relative.pseudonym

    def about(self, agreement: Agreement, standing: Standing) -> Heard:
        """Tell it of one agreement."""
        return Heard(
            gives=self._voice(agreement, standing, gives=True),
            ends=self._voice(agreement, standing, gives=False),
            waiting=self.approvals.get(agreement.id),
        )

    def concerns(self, sharing: Sharing, standing: Standing, sent: Collection[str]) -> bool:
        """Whether a page begins with a sharing. ``sent``: ids of flows that a look at the ledger found.

        Of an adult it does with whatever passes. A child moves no house and reports no street lamp, though these
        sharings are open to everybody: theirs begins with what was sent or said, and what their guardians are asked.
        """
        if sharing.flow.id in sent:
            return True
        if self.relative is None or not self.relative.minor:
            return sharing.concerns
        opened = {one.agreement for one in standing.overrides if one.until_ms > self.now_ms}
        return any(
            c.said is not None
            or c.agreement.id in opened
            or (c.is_asked and (c.agreement.id in self.approvals or self.about(c.agreement, standing).gives.heard))
            for c in sharing.controls
        )

    def _voice(self, agreement: Agreement, standing: Standing, *, gives: bool) -> Voice:
        if self.relative is None:
            return voice_of_subject(agreement, standing, self.now_ms, gives=gives)
        own = _guardianship(self.relative.relation, None, self.relative.until)
        return voice_of_guardian(agreement, standing, own, self.now_ms, gives=gives, others=self.others)


async def read(whose: Whose) -> Speaking:
    """Ask who speaks."""
    visit = whose.visit
    now_ms = visit.site.clock()
    if whose.ward is None:
        return Speaking(now_ms=now_ms, relatives=await family.read(visit), approvals={})
    relatives, guardians, waiting = await asyncio.gather(
        family.read(visit, anew=True),
        visit.site.consent.read(visit.who, whose.api("guardians")),
        visit.site.consent.read(visit.who, whose.api("approvals")),
    )
    own = visit.who.pseudonym
    return Speaking(
        now_ms=now_ms,
        relatives=relatives,
        relative=next((one for one in relatives if one.pseudonym == whose.ward), None),
        others=others(guardians.body["guardians"], own.hex() if own else ""),
        approvals=approvals(waiting.body["approvals"]),
    )


def approvals(told: Sequence[Mapping[str, Any]]) -> dict[str, Approval]:
    """Read what waits, as the service tells it: one's own yes before another's."""
    waiting: dict[str, Approval] = {}
    for one in sorted(told, key=lambda one: bool(one["mine"])):
        waiting[one["agreement"]] = Approval(mine=one["mine"], until=one["until"])
    return waiting


def others(guardians: Sequence[Mapping[str, Any]], own: str) -> list[Guardianship]:
    """Return the guardians in office but for the one whose pseudonym is ``own``."""
    return [
        _guardianship(one["relation"], one["valid_from"], one["until"])
        for one in guardians
        if one["in_office"] and one["guardian"] != own
    ]


def _guardianship(relation: str, begins: str | None, until: str | None) -> Guardianship:
    first_ms = 0 if begins is None else epoch_ms(begins)
    return Guardianship(
        relation=Relation(relation), first_ms=first_ms, end_ms=None if until is None else epoch_ms(until)
    )
