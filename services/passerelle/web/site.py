"""What the pages are made from: made once, at the composition root, and the same for every request."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from zoneinfo import ZoneInfo

from passerelle.web.assets import Assets
from passerelle.web.citizen.sharing import Sharings
from passerelle.web.fragments import Fragments
from passerelle.web.languages import Language
from passerelle.web.service import ConsentService
from passerelle.web.sessions import Audience, Sessions
from passerelle.web.signing_in.kept import Kept
from passerelle.web.signing_in.provider import Provider
from passerelle_consent.policy.bundle import PolicyBundle
from passerelle_schemas.catalogue import Text


@dataclass(frozen=True, kw_only=True)
class Site:
    """A city's pages."""

    city: Text
    """Its name, as `Ville de Lutèce`."""
    departments: Mapping[str, Text]
    desk: str
    """The department in whose name the citizens' pages speak: pseudonyms are of there."""
    dpo: str
    """The data protection officer's mail address."""
    authority: tuple[str, str]
    """Where citizens may complain (GDPR Art. 77): name and address."""
    origin: str
    """Of the ledger's checkpoints."""
    public_url: str
    """Where browsers find the site, without a slash at the end."""
    log_url: str
    """Where everybody reads the ledger's files (tlog-tiles): the consent service's public address."""
    zone: ZoneInfo
    policy: PolicyBundle
    """In force: what pages say about it is decided by the same core as at the gate."""
    consent: ConsentService
    sessions: Sessions
    kept: Kept
    providers: Mapping[Audience, Provider]
    """Where people sign in; one who has none here cannot."""
    assets: Assets
    clock: Callable[[], int]
    """Milliseconds since 1970."""
    demonstration: bool = False
    """Whether the pages say that nobody here is real."""
    fragments: Fragments = field(default_factory=Fragments)
    extras: dict[type, object] = field(default_factory=dict)
    """What a section alone needs (the control room's view of the broker), by its type."""

    @cached_property
    def sharings(self) -> Mapping[str, Sharings]:
        """The city's sharings, by language."""
        return {language.value: Sharings(self.policy, language.value) for language in Language}

    @property
    def https(self) -> bool:
        """Whether browsers reach it so, as outside of this machine they must."""
        return self.public_url.startswith("https://")

    def department(self, name: str, language: str) -> str:
        """A department as people call it; its id where the manifest does not know it."""
        text = self.departments.get(name)
        return name if text is None else str(getattr(text, language))
