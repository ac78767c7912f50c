"""Agents: routes and joins across the departments' silos, on Faust (DESIGN §5a).

A city's developer imports from here::

    from passerelle.agents import AgentApp, NoRecipient, derived, folded

Nothing is connected and no Faust is imported by the pure parts
(`lineage`, `join`, `aggregate`, `rules`, `reading`, `state`).
"""

from typing import TYPE_CHECKING

from passerelle.agents.lineage import Outbox, RuleFault, View, derived, folded
from passerelle.agents.proposing import NoRecipient

if TYPE_CHECKING:
    from passerelle.agents.app import AgentApp, AgentsPlan

__all__ = ["AgentApp", "AgentsPlan", "NoRecipient", "Outbox", "RuleFault", "View", "derived", "folded"]


def __getattr__(name: str) -> object:
    """Import Faust only for those who run it."""
    if name in ("AgentApp", "AgentsPlan"):
        from passerelle.agents import app

        return getattr(app, name)
    raise AttributeError(name)
