"""A city with its ledger: what the city journals and the gate decides is integrated, signed and published."""

from passerelle.audited import FolderLog
from passerelle.disclosed import LedgerEntries
from passerelle_consent.ledger.audit.folder import LogFolder
from passerelle_consent.ledger.integrator.publish import FolderPublisher
from passerelle_consent.ledger.query.follow import Follower
from passerelle_consent.ledger.query.index import Index
from passerelle_consent.policy.bundle import PolicyBundle
from passerelle_consent.wire import DecisionBatch, FlowUse, encode_decisions
from unit.ledger.fakes import MASTERS, SIGNER, LedgerTown
from unit.policy import city as small
from unit.records.fakes import START_MS, City

FLOWS = [
    small.flow("tariff", "schools.tariff.v1", ["home@1", "income@1"], ["band"], ["hint"]),
    small.flow("moves", "registry.moved.v1", ["home@1"], ["street"], ["phone"]),
]
AGREEMENTS = [
    small.agreement("home", "6-1-a", {"registry.moved.v1": ["street", "phone"]}),
    small.agreement("income", "6-1-e", {"tax.assessed.v1": ["income"]}, source="tax"),
]
BUNDLE = PolicyBundle.of(AGREEMENTS, FLOWS, small.CATALOGUE)


class Told:
    """A city, its ledger, and a way for what the city journals into the ledger."""

    def __init__(self, city, town, index, flows=FLOWS):
        self.city, self.town, self.index, self.flows = city, town, index, flows
        self.journalled = 0
        self.integrator = town.started()

    def decide(self, pseudonym, *, flow=0, count=1, **kwargs):
        ref = self.city.ref(pseudonym)
        self.town.now_ms += 1000
        records = [self.town.decision(subject=ref, flow=flow, **kwargs) for _ in range(count)]
        uses = tuple(
            FlowUse(flow=f.id, recipient=f.recipient, purpose=f.purpose, agreements=f.agreements) for f in self.flows
        )
        batch = DecisionBatch(policy=(self.city.bundle or BUNDLE).digest, flows=uses, decisions=tuple(records))
        self.town.decisions.commit(0, *encode_decisions(batch))
        self.integrate()
        return [record.id.hex() for record in records]

    def integrate(self):
        sent = self.city.broker.of("consent.journal")
        self.town.journal.commit(0, *(record.value for record in sent[self.journalled :]))
        self.journalled = len(sent)
        while (step := self.integrator.step()).full or step.decisions or step.journal or step.waiting:
            pass

    def index_all(self):
        return Follower(LogFolder(self.town.folder), lambda: SIGNER.verifier, self.index).catch_up()

    async def get(self, what, who, query="", **headers):
        answer = await self.city.call("GET", f"/v1/subjects/me/{what}{query}", token=who, **headers)
        assert answer.status_code == 200, answer.text
        return answer


def told_city(store_url, ledger_url, folder, *, bundle=BUNDLE, flows=FLOWS, **parts):
    """A city that is not up yet, and its ledger, both with the policy above; without a URL in a file of its folder.

    ``parts``: of `City`.
    """
    folder.mkdir(exist_ok=True)
    town = LedgerTown(folder, seed=3, store_url=ledger_url)
    town.now_ms = START_MS
    FolderPublisher(town.folder, SIGNER.verifier).write_key()
    index_url = f"sqlite:///{folder}/index.sqlite"
    index = Index(index_url)
    city = City(
        store_url,
        bundle=bundle,
        ledger=LedgerEntries(town.url, MASTERS, town.folder),
        log=FolderLog(town.folder, index_url, folder / "witnesses.policy"),
        **parts,
    )
    return Told(city, town, index, flows)
