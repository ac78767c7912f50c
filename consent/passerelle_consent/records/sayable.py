"""What may be said about an agreement, as far as no store is asked. Pure: the service and the test kit share it.

Each refusal is a `Problem`. Who may say it is `policy.voice`; what follows what is `transitions`.
"""

from collections.abc import Sequence

from passerelle_consent.policy.agreements import Agreement
from passerelle_consent.policy.standing import Standing, State
from passerelle_consent.policy.standings import CONSENTED
from passerelle_consent.records import problems
from passerelle_consent.records.problems import Problem
from passerelle_consent.records.transitions import Action, IllegalTransition, follow, like

WAIT_MS = 30 * 86_400_000
"""How long the first guardian's consent waits for the other's: a notice read longer ago is no longer in mind."""


def shown(versions: Sequence[Agreement], now_ms: int) -> Agreement | None:
    """Return the newest version in force, else the newest, else None; ``versions`` are of one agreement, ascending."""
    in_force = [a for a in versions if a.is_in_force(now_ms)]
    return next(reversed(in_force or versions), None)


def admit(agreement: Agreement, action: Action, notice: int | None, now_ms: int) -> None:
    """Check what does not depend on the subject. Raises `Problem`.

    To end a sharing is never refused for a stale notice or an agreement past its term: it must be as easy to withdraw
    as to give (GDPR Art. 7(3)).
    """
    if not action.fits(agreement.basis):
        legal = like(action, (a for a in Action if a.fits(agreement.basis)))
        raise Problem(problems.WRONG_BASIS, basis=agreement.basis.value, legal=legal)
    if action.takes_away:
        return
    if not agreement.is_in_force(now_ms):
        raise Problem(problems.NOT_IN_FORCE)
    if action is not Action.REQUEST and not agreement.notice.accepts(notice):
        raise Problem(problems.STALE_NOTICE, notice=agreement.notice.version)


def state_of(standing: Standing, agreement_id: str, now_ms: int) -> State:
    """Return where an agreement stands at an instant: a consent whose time is over has expired, recorded or not."""
    held = standing.stances.get(agreement_id)
    if held is None:
        return State.UNKNOWN
    over = held.until_ms is not None and held.until_ms <= now_ms
    return State.EXPIRED if over and held.state in CONSENTED else held.state


def state_after(before: Standing, agreement: Agreement, action: Action, now_ms: int) -> State:
    """Raises `Problem` illegal-transition, which names what is legal."""
    state = state_of(before, agreement.id, now_ms)
    try:
        return follow(state, action, agreement.basis)
    except IllegalTransition as illegal:
        raise Problem(
            problems.ILLEGAL_TRANSITION, state=illegal.state.value, legal=like(action, illegal.legal)
        ) from None
