"""Ask witnesses for their cosignatures (the log's side of C2SP tlog-witness)."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx

from passerelle_consent.ledger.audit.site import base_of
from passerelle_consent.ledger.audit.witness import AddRequest
from passerelle_consent.ledger.faults import Invalid, Unclear
from passerelle_consent.ledger.log import tree
from passerelle_consent.ledger.log.checkpoint import Checkpoint
from passerelle_consent.ledger.log.note import NOTE_BYTES_MAX, SignatureLine
from passerelle_consent.ledger.log.trust import KnownWitness

TIMEOUT_S = 2.0
"""Of one request. A checkpoint waits for nobody: its cosignatures are added when they come."""
TRIES_MAX = 3
"""One to learn the size that the witness has, one to tell it more, one for a race with another of our requests."""


_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


class Refusal(Invalid):
    """A witness that answers and does not cosign: it knows another history of this log, or a longer one."""


class WitnessClient:
    """One witness, over a connection that is kept open. It remembers the size that the witness has."""

    def __init__(self, witness: KnownWitness, *, transport: httpx.BaseTransport | None = None) -> None:
        """Raises `Unclear` for a witness without an http(s) address."""
        self.name = witness.name
        self._key = witness.key
        self._size = 0
        base = base_of(witness.address or "")
        self._client = httpx.Client(base_url=base, transport=transport, timeout=TIMEOUT_S)

    def cosign(self, note: bytes, checkpoint: Checkpoint, source: tree.HashSource) -> SignatureLine:
        """Return the witness's cosignature of a checkpoint. Raises `Refusal`, `Unclear` when it does not answer."""
        for _ in range(TRIES_MAX):
            old = min(self._size, checkpoint.size)
            proof = tuple(tree.consistency_proof(old, checkpoint.size, source)) if old else ()
            answer = self._post(AddRequest(old=old, proof=proof, note=note).encode())
            if answer.status_code == httpx.codes.OK:
                line = self._cosignature(answer.text, checkpoint.text())
                self._size = checkpoint.size
                return line
            if answer.status_code != httpx.codes.CONFLICT:
                raise self._refusal(answer)
            self._size = self._told(answer, checkpoint)
        raise Unclear("the witness changes its mind about the size that it has", where=self.name)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _post(self, body: bytes) -> httpx.Response:
        try:
            answer = self._client.post("add-checkpoint", content=body)
        except httpx.HTTPError as exc:
            raise Unclear(f"does not answer ({type(exc).__name__})", where=self.name) from None
        if len(answer.content) > NOTE_BYTES_MAX:
            raise Unclear("answers at too great a length", where=self.name)
        return answer

    def _told(self, answer: httpx.Response, checkpoint: Checkpoint) -> int:
        """Return the size that the witness has (409)."""
        text = answer.text.removesuffix("\n")
        if not _SIZE.fullmatch(text):
            raise Unclear("answers 409 without a size", where=self.name)
        if int(text) > checkpoint.size:
            what = f"has cosigned this log at size {text}, and is asked about size {checkpoint.size}"
            hint = "an older database or folder was restored, or this is another history"
            raise Refusal(what, where=self.name, hint=hint)
        return int(text)

    def _refusal(self, answer: httpx.Response) -> Invalid | Unclear:
        said = answer.text.partition("\n")[0][:200]
        what = f"does not cosign (HTTP {answer.status_code}: {said})"
        if answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY:
            return Refusal(what, where=self.name, hint="it knows another history of this log")
        return Unclear(what, where=self.name)

    def _cosignature(self, body: str, text: str) -> SignatureLine:
        """Pick the witness's own line; those of unknown keys are ignored, as the text has it."""
        try:
            for line in map(SignatureLine.parse, body.removesuffix("\n").split("\n")):
                if (line.name, line.key_id) == (self._key.name, self._key.key_id):
                    self._key.check(line, text)
                    return line
        except Invalid as fault:
            raise Unclear(fault.what, where=self.name) from None
        raise Unclear("answers without a cosignature of its key", where=self.name)


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What one witness answered."""

    witness: str
    line: SignatureLine | None = None
    fault: Invalid | Unclear | None = None


def ask_all(
    clients: list[WitnessClient], note: bytes, checkpoint: Checkpoint, source: tree.HashSource
) -> Iterator[Asked]:
    """Ask all at once; yield the answers in the order of the witnesses."""

    def ask(client: WitnessClient) -> Asked:
        try:
            return Asked(witness=client.name, line=client.cosign(note, checkpoint, source))
        except (Invalid, Unclear) as fault:
            return Asked(witness=client.name, fault=fault)

    with ThreadPoolExecutor(max_workers=max(1, len(clients))) as pool:
        yield from pool.map(ask, clients)
