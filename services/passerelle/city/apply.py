"""Brings a cluster to what the manifest says: reads, compares, changes, and looks again."""

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from passerelle.city import actual, cluster, erasure
from passerelle.city.actual import USER
from passerelle.city.cluster import answer, api
from passerelle.city.desired import SCRAM_ITERATIONS, Acl, AgentsPlan, Desired, desired
from passerelle.city.java import Progress, silent
from passerelle.city.manifest import AgentsApp, Manifest
from passerelle.city.modules import imported
from passerelle.city.node import write_private
from passerelle.city.plan import Alter, Change, Create, Grant, Plan, Revoke, SetPassword, plan
from passerelle.config import Home, KafkaAccess
from passerelle.keys import secret
from passerelle_schemas.documents import DocumentFault
from passerelle_schemas.faults import Fault

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

# A broker answers a change when the controller has it, and shows it when it has read the metadata log:
# milliseconds, or many seconds on a machine that is busy with ten other things.
SETTLE_SECONDS_MAX = 60.0
SETTLE_POLL_SECONDS = 0.05
NOTE = "passwords.json"


class NotApplied(Fault):
    """Nothing was changed, or the cluster still differs after it was."""

    exit_code = 1


@dataclass(frozen=True, kw_only=True)
class City:
    """A manifest, the cluster that it is for, and the home that holds its keys."""

    manifest: Manifest
    home: Home
    admin: KafkaAccess

    def wanted(self) -> Desired:
        """What the files say. Raises `DocumentFault` for a broken one, before anything is asked of the broker."""
        bundle = self.manifest.policy_bundle()
        return desired(self.manifest, bundle.catalogue, checked_plans(self.manifest))

    def plan(self) -> Plan:
        """Compare and change nothing. Raises `Fault`."""
        wanted = self.wanted()
        return self._compare(cluster.connect(self.admin), wanted)

    def apply(self, progress: Progress = silent) -> Plan:
        """Carry the plan out; return it. Raises `Fault`; `NotApplied` when it is refused or did not come true."""
        wanted = self.wanted()
        progress("asking the broker what it has")
        client = cluster.connect(self.admin)
        todo = self._compare(client, wanted)
        if todo.refusals:
            raise NotApplied("\n".join(todo.refusals), hint="nothing was changed: mend the manifest, or the topics")
        self._change(client, todo.changes, progress)
        self._settle(client, wanted)
        return todo

    def _compare(self, client: "AdminClient", wanted: Desired) -> Plan:
        found = actual.read(client, frozenset(wanted.topics))
        return plan(wanted, found, self._known_passwords(found.cluster_id, wanted.users))

    def _settle(self, client: "AdminClient", wanted: Desired) -> None:
        """Return when the broker shows what was asked for: whoever connects next relies on it."""
        end = time.monotonic() + SETTLE_SECONDS_MAX
        while not (left := self._compare(client, wanted)).settled:
            if time.monotonic() > end:
                raise NotApplied(f"the broker took {len(left.changes)} changes and does not show them")
            time.sleep(SETTLE_POLL_SECONDS)

    def _change(self, client: "AdminClient", changes: Iterable[Change], progress: Progress) -> None:
        """In the plan's order: revoke, topics, passwords, grant."""
        changes = tuple(changes)
        if revoked := [c.acl for c in changes if isinstance(c, Revoke)]:
            progress(f"taking away {len(revoked)} rights")
            _each(client.delete_acls([_filter(acl) for acl in revoked]), "taking a right away")
        if created := [c for c in changes if isinstance(c, Create)]:
            progress(f"creating {len(created)} topics")
            _create(client, created)
        if altered := [c for c in changes if isinstance(c, Alter)]:
            progress(f"altering {len(altered)} topics")
            _alter(client, altered)
        if users := [c.user for c in changes if isinstance(c, SetPassword)]:
            progress(f"setting {len(users)} passwords")
            self._set_passwords(client, users)
        if granted := [c.acl for c in changes if isinstance(c, Grant)]:
            progress(f"granting {len(granted)} rights")
            _each(client.create_acls([_binding(acl) for acl in granted]), "granting a right")

    def _set_passwords(self, client: "AdminClient", users: Iterable[str]) -> None:
        kafka = api()
        info = kafka.ScramCredentialInfo(kafka.ScramMechanism.SCRAM_SHA_512, SCRAM_ITERATIONS)
        words = {user: secret(self.home.keys, f"principals/{user}") for user in users}
        upserts = [kafka.UserScramCredentialUpsertion(user, info, word.encode()) for user, word in words.items()]
        _each(client.alter_user_scram_credentials(upserts), "setting a password")
        cluster_id = str(client.list_topics(timeout=cluster.ANSWER_SECONDS_MAX).cluster_id)
        self._note(cluster_id, {user: _digest(user, word) for user, word in words.items()})

    def _known_passwords(self, cluster_id: str, users: Iterable[str]) -> frozenset[str]:
        """Users whose key file is the one that the cluster was last told. A SCRAM password cannot be asked back."""
        noted = self._notes().get(cluster_id, {})
        present = [u for u in users if (self.home.keys / "principals" / f"{u}.secret").is_file()]
        words = {u: secret(self.home.keys, f"principals/{u}") for u in present}
        return frozenset(u for u, word in words.items() if noted.get(u) == _digest(u, word))

    def _notes(self) -> dict[str, dict[str, str]]:
        """Cluster id → user → digest of the password that it was told."""
        path = self.home.kafka / NOTE
        notes: dict[str, dict[str, str]] = json.loads(path.read_text()) if path.is_file() else {}
        return notes

    def _note(self, cluster_id: str, digests: dict[str, str]) -> None:
        self.home.kafka.mkdir(parents=True, exist_ok=True)
        notes = self._notes()
        notes[cluster_id] = {**notes.get(cluster_id, {}), **digests}
        write_private(self.home.kafka / NOTE, json.dumps(notes, indent=1))


def checked_plans(manifest: Manifest) -> dict[AgentsApp, AgentsPlan]:
    """`agents_plans`, none of which keeps records about somebody for too long. Raises `Fault`, `DocumentFault`."""
    plans = agents_plans(manifest)
    found = list(erasure.problems_of_joins(manifest, [plans[app].retention_ms for app in manifest.agents]))
    if found:
        raise DocumentFault(found)
    return plans


def agents_plans(manifest: Manifest) -> dict[AgentsApp, AgentsPlan]:
    """Import each app's module and ask what it needs. Raises `Fault` naming the manifest when that cannot be done."""
    return {app: _agents_plan(manifest, app) for app in manifest.agents}


def _agents_plan(manifest: Manifest, app: AgentsApp) -> AgentsPlan:
    where = f"{manifest.path}: agents app {app.id}"
    try:
        module = imported(app.module, manifest.path)
    except ImportError as exc:
        raise Fault(f"module {app.module} cannot be imported: {exc}", where=where) from None
    city = getattr(module, "city", None)
    if city is None:
        raise Fault(f"module {app.module} has no `city`", where=where)
    needs: AgentsPlan = city.plan()
    if needs.app_id != app.principal:
        raise Fault(f"module {app.module} calls itself {needs.app_id}, not {app.principal}", where=where)
    return needs


def _digest(user: str, password: str) -> str:
    """Of 192 random bits, so that the note tells nothing that could be guessed from."""
    return hashlib.sha256(f"{user}\0{password}\0{SCRAM_ITERATIONS}".encode()).hexdigest()


def _each(futures: Mapping[Any, Any], doing: str) -> None:
    for future in futures.values():
        answer(future, doing)


def _create(client: "AdminClient", changes: Iterable[Create]) -> None:
    # -1: as many replicas as the cluster makes by default.
    wanted = [api().NewTopic(c.topic.name, c.topic.partitions, -1, config=dict(c.topic.config)) for c in changes]
    for name, future in client.create_topics(wanted).items():
        answer(future, f"creating topic {name}")


def _alter(client: "AdminClient", changes: Iterable[Alter]) -> None:
    resources = [_resource(change) for change in changes]
    for resource, future in client.incremental_alter_configs(resources).items():
        answer(future, f"altering topic {resource.name}")


def _resource(change: Alter) -> Any:
    kafka = api()
    put = kafka.AlterConfigOpType.SET
    entries = [
        kafka.ConfigEntry(name, value, incremental_operation=put) for name, (_, value) in change.settings.items()
    ]
    return kafka.ConfigResource(kafka.ResourceType.TOPIC, change.topic, incremental_configs=entries)


def _binding(acl: Acl) -> Any:
    return api().AclBinding(*_arguments(acl))


def _filter(acl: Acl) -> Any:
    return api().AclBindingFilter(*_arguments(acl))


def _arguments(acl: Acl) -> tuple[Any, ...]:
    kafka = api()
    return (
        kafka.ResourceType[acl.resource],
        acl.name,
        kafka.ResourcePatternType[acl.pattern],
        USER + acl.principal,
        acl.host,
        kafka.AclOperation[acl.operation],
        kafka.AclPermissionType[acl.permission],
    )
