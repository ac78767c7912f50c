"""Which state may follow which, when the citizen speaks. One table, pure.

States are the Data Privacy Vocabulary's (DPV 2, ``dpv:ConsentStatus``). Consent can be withdrawn only where it was
given (GDPR Art. 7(3)); giving again what is given renews it. An objection is made against a public task or a
legitimate interest (Art. 21(1)), where nothing had to be given before.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from passerelle_consent.policy.agreements import Basis
from passerelle_consent.policy.standing import State


class Action(StrEnum):
    """What can be said about one agreement."""

    GIVE = "give"
    REFUSE = "refuse"
    WITHDRAW = "withdraw"
    OBJECT = "object"

    @property
    def takes_away(self) -> bool:
        """Whether it ends a sharing: such a change is acknowledged only after the fence (DESIGN §7)."""
        return self in (Action.WITHDRAW, Action.OBJECT)

    def fits(self, basis: Basis) -> bool:
        """Whether it means anything under this lawful basis."""
        return basis.can_be_objected if self is Action.OBJECT else basis is Basis.CONSENT


class IllegalTransition(Exception):
    """Nothing leads from this state by this action; ``legal`` says what does."""

    def __init__(self, state: State, action: Action, legal: tuple[Action, ...]) -> None:
        super().__init__(f"{action} does not follow {state}")
        self.state = state
        self.action = action
        self.legal = legal


_ASKED_OR_NOT = (State.UNKNOWN, State.REQUESTED, State.DEFERRED)
_OVER = (State.EXPIRED, State.WITHDRAWN, State.REVOKED, State.INVALIDATED)
_HELD = (State.GIVEN, State.RENEWED)

TRANSITIONS: Mapping[Action, Mapping[State, State]] = MappingProxyType(
    {
        Action.GIVE: {
            **dict.fromkeys((*_ASKED_OR_NOT, State.REFUSED, *_OVER), State.GIVEN),
            **dict.fromkeys(_HELD, State.RENEWED),
        },
        Action.REFUSE: dict.fromkeys((*_ASKED_OR_NOT, State.EXPIRED, State.INVALIDATED), State.REFUSED),
        Action.WITHDRAW: dict.fromkeys(_HELD, State.WITHDRAWN),
        Action.OBJECT: dict.fromkeys((State.UNKNOWN, State.RESUMED), State.OBJECTED),
    }
)


def legal_actions(state: State, basis: Basis) -> tuple[Action, ...]:
    """Return what may be said now about an agreement of this basis."""
    return tuple(a for a in Action if a.fits(basis) and state in TRANSITIONS[a])


def follow(state: State, action: Action, basis: Basis) -> State:
    """Return the state after. Raises `IllegalTransition`."""
    after = TRANSITIONS[action].get(state) if action.fits(basis) else None
    if after is None:
        raise IllegalTransition(state, action, legal_actions(state, basis))
    return after
