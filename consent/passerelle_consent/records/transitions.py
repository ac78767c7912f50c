"""Which state may follow which, whoever speaks. One table, pure.

States are the Data Privacy Vocabulary's (DPV 2, ``dpv:ConsentStatus``). Consent can be withdrawn only where it was
given (GDPR Art. 7(3)); giving again what is given renews it. An objection is made against a public task or a
legitimate interest (Art. 21(1)), where nothing had to be given before.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType

from passerelle_consent.policy.agreements import Basis
from passerelle_consent.policy.standing import State


class Action(StrEnum):
    """What can happen to one agreement for one subject."""

    GIVE = "give"
    REFUSE = "refuse"
    DEFER = "defer"
    WITHDRAW = "withdraw"
    REQUEST = "request"
    REVOKE = "revoke"
    """By the controller: what was given was void, as when the guardian had no power (GDPR Art. 7(2))."""
    INVALIDATE = "invalidate"
    """By the controller: what was given no longer fits what is done with it."""
    EXPIRE = "expire"
    OBJECT = "object"
    UPHOLD = "uphold"
    """The objection stands: the sharing is over."""
    RESUME = "resume"
    """The controller has a compelling ground (Art. 21(1))."""

    @property
    def takes_away(self) -> bool:
        """Whether it ends a sharing: such a change is acknowledged only after the fence (DESIGN §7)."""
        return self in _TAKE_AWAY

    @property
    def gives(self) -> bool:
        """Whether it begins one, so that it matters who may (`policy.voice`)."""
        return self is Action.GIVE

    @property
    def by_an_office(self) -> bool:
        """Whether it is for the agreement's source to do, and not for the citizen to say."""
        return self in _BY_AN_OFFICE

    def fits(self, basis: Basis) -> bool:
        """Whether it means anything under this lawful basis."""
        return basis.can_be_objected if self in _ABOUT_OBJECTION else basis is Basis.CONSENT


_TAKE_AWAY = frozenset({Action.WITHDRAW, Action.REVOKE, Action.INVALIDATE, Action.OBJECT})
_BY_AN_OFFICE = frozenset({Action.REQUEST, Action.REVOKE, Action.INVALIDATE})
_BY_ITSELF = frozenset({Action.EXPIRE, Action.UPHOLD, Action.RESUME})
"""Follows from time, or from an answer to an objection."""
_ABOUT_OBJECTION = frozenset({Action.OBJECT, Action.UPHOLD, Action.RESUME})


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
# States of the other kind of basis: a new version of an agreement may rest on another one.
_OBJECTION = (State.OBJECTED, State.RESUMED)

TRANSITIONS: Mapping[Action, Mapping[State, State]] = MappingProxyType(
    {
        # Who refused is not asked again at once; who withdrew may be asked to think again.
        Action.REQUEST: dict.fromkeys((State.UNKNOWN, State.DEFERRED, *_OVER, *_OBJECTION), State.REQUESTED),
        Action.DEFER: {State.REQUESTED: State.DEFERRED},
        Action.GIVE: {
            **dict.fromkeys((*_ASKED_OR_NOT, State.REFUSED, *_OVER, *_OBJECTION), State.GIVEN),
            **dict.fromkeys(_HELD, State.RENEWED),
        },
        Action.REFUSE: dict.fromkeys((*_ASKED_OR_NOT, State.EXPIRED, State.INVALIDATED, *_OBJECTION), State.REFUSED),
        Action.WITHDRAW: dict.fromkeys(_HELD, State.WITHDRAWN),
        Action.REVOKE: dict.fromkeys(_HELD, State.REVOKED),
        Action.INVALIDATE: dict.fromkeys(_HELD, State.INVALIDATED),
        Action.EXPIRE: dict.fromkeys(_HELD, State.EXPIRED),
        Action.OBJECT: {state: State.OBJECTED for state in State if state is not State.OBJECTED},
        Action.UPHOLD: {State.OBJECTED: State.OBJECTED},
        Action.RESUME: {State.OBJECTED: State.RESUMED},
    }
)


def legal_actions(state: State, basis: Basis) -> tuple[Action, ...]:
    """Return what may be said now about an agreement of this basis."""
    return tuple(a for a in Action if a.fits(basis) and state in TRANSITIONS[a])


def like(action: Action, among: Iterable[Action]) -> list[str]:
    """Return those that the same speaker could ask for, as a refusal names them."""
    return [a.value for a in among if a.by_an_office == action.by_an_office and a not in _BY_ITSELF]


def follow(state: State, action: Action, basis: Basis) -> State:
    """Return the state after. Raises `IllegalTransition`."""
    after = TRANSITIONS[action].get(state) if action.fits(basis) else None
    if after is None:
        raise IllegalTransition(state, action, legal_actions(state, basis))
    return after
