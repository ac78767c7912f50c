"""Whether the registry that a city named says what its lock says; and how it is brought to."""

from collections.abc import Iterable

from passerelle.external_registry.apicurio import import_contents, is_apicurio
from passerelle.external_registry.compare import Difference, difference
from passerelle.external_registry.confluent import Client, RegistryFault
from passerelle_schemas.contract import Contract

SHOWN_MAX = 3


class Disagreement(RegistryFault):
    """The registry has other schemas, or lacks some: whoever reads by it would read wrongly, or not at all."""

    exit_code = 1


def compared(url: str, contracts: Iterable[Contract]) -> Difference:
    """Ask the registry. Raises `RegistryFault`."""
    with Client(url) as client:
        return difference(contracts, client)


def push(url: str, contracts: Iterable[Contract]) -> Difference:
    """Put there what is missing, under its own id; return what that was. Raises `RegistryFault`, `Disagreement`.

    Nothing is written where anything differs. What was written is asked for again: an import may fail in silence.
    """
    known = list(contracts)
    found = compared(url, known)
    if found.conflicts:
        raise _disagreement(url, found)
    _write(url, found)
    if found.missing:
        require(url, known)
    return found


def _write(url: str, found: Difference) -> None:
    by_import = is_apicurio(url)
    if by_import and found.missing:
        import_contents(url, {m.contract.type: m.contract for m in found.missing}.values())
    with Client(url) as client:
        for one in sorted(found.missing, key=lambda one: one.contract.version):
            if by_import:
                client.register(one)
            else:
                client.import_(one)


def require(url: str | None, contracts: Iterable[Contract]) -> None:
    """Do nothing for a city without such a registry. Raises `RegistryFault`, `Disagreement`."""
    if url is not None:
        found = compared(url, contracts)
        if not found.settled:
            raise _disagreement(url, found)


def _disagreement(url: str, found: Difference) -> Disagreement:
    lacking = [f"{m.subject} v{m.contract.version} (id {m.contract.schema_id}) is not there" for m in found.missing]
    wrong = [*found.conflicts, *lacking]
    more = f", and {len(wrong) - SHOWN_MAX} more" if len(wrong) > SHOWN_MAX else ""
    hint = "see all: passerelle contracts push --registry URL"
    if found.conflicts:
        hint += "   ids are locked for ever: this city needs a registry, or a context of one, of its own"
    else:
        hint += "   put there what is missing: … --apply"
    with Client(url) as client:
        where = client.where
    return Disagreement(
        f"the registry does not agree with the lock: {'; '.join(wrong[:SHOWN_MAX])}{more}", where=where, hint=hint
    )
