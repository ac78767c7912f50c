"""What passes on the city's bus, as an AsyncAPI 3.0 document. Pure.

The application described is the bus: it receives what departments publish and sends what the gate lets through. Keys
and headers are as they are on the wire (CloudEvents 1.0, Kafka binary mode; Confluent's framing of Avro).
"""

import json
from typing import Any

from passerelle.city.manifest import Manifest
from passerelle_consent.policy.bundle import PolicyBundle
from passerelle_consent.policy.flows import Flow
from passerelle_schemas.catalogue import Contract, Text
from passerelle_schemas.topics import inbox, outbox

VERSION = "3.0.0"
AVRO = "application/vnd.apache.avro;version=1.9.0"
"""The media type that AsyncAPI 3.0 lists; nothing that our contracts use came later."""
VERSION_HEX = 12
"""Digits of the policy's digest that name a state of the document: nobody meets the same twice."""

_TEXT = {"type": "string"}
_HEADERS = {
    "ce_specversion": {"type": "string", "const": "1.0"},
    "ce_id": _TEXT,
    "ce_source": _TEXT,
    "ce_type": _TEXT,
    "ce_time": {"type": "string", "format": "date-time"},
    "content-type": {"type": "string", "const": "application/avro"},
}
_DELIVERED = {
    "ce_flow": _TEXT,
    "ce_decisionid": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
    "ce_purpose": {"type": "string", "pattern": "^dpv:"},
    "ce_policy": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
}


def document(manifest: Manifest, bundle: PolicyBundle) -> dict[str, Any]:
    """Return the document; the same contracts and flows make the same one."""
    contracts = [contract for contract in bundle.catalogue if not contract.derived]
    departments = {department.id: department.name for department in manifest.departments}
    return {
        "asyncapi": VERSION,
        "info": {
            "title": _both(Text(fr=f"Événements de {manifest.name.fr}", en=f"Events of {manifest.name.en}")),
            "version": bundle.digest.hex()[:VERSION_HEX],
            "description": _both(_ABOUT),
        },
        "defaultContentType": "application/avro",
        "channels": _channels(manifest, contracts, bundle.flows, departments),
        "operations": {
            **{f"publish.{contract.type}": _publish(contract) for contract in contracts},
            **{f"deliver.{flow.id}": _deliver(flow) for flow in bundle.flows},
        },
        "components": {
            "schemas": {
                contract.type: {"schemaFormat": AVRO, "schema": dict(contract.schema)} for contract in bundle.catalogue
            },
            "messages": {
                **{contract.type: _message(contract, "published") for contract in contracts},
                **{
                    _delivered(flow.event): _message(bundle.catalogue.by_type(flow.event), "delivered")
                    for flow in bundle.flows
                },
            },
            "messageTraits": {
                "published": {"headers": _object(_HEADERS)},
                "delivered": {"headers": _object({**_HEADERS, **_DELIVERED})},
            },
        },
    }


def text(made: dict[str, Any]) -> str:
    """The document's JSON, for people too."""
    return json.dumps(made, ensure_ascii=False, indent=2) + "\n"


_ABOUT = Text(
    fr="Ce que les services publient, et ce que chacun reçoit une fois la décision prise. La clé est le pseudonyme de "
    "la personne, propre à chaque service.",
    en="What the departments publish, and what each receives once it was decided. The key is the person's pseudonym, "
    "another one for each department.",
)


def _channels(
    manifest: Manifest, contracts: list[Contract], flows: tuple[Flow, ...], departments: dict[str, Text]
) -> dict[str, Any]:
    published: dict[str, list[str]] = {}
    delivered: dict[str, list[str]] = {}
    for contract in contracts:
        published.setdefault(outbox(contract.department, contract.event), []).append(contract.type)
    for flow in flows:
        types = delivered.setdefault(inbox(flow.recipient), [])
        types += [_delivered(flow.event)] if _delivered(flow.event) not in types else []
    return {
        topic: _channel(topic, types, departments[topic.split(".")[1]], manifest.partitions)
        for topic, types in {**published, **delivered}.items()
    }


def _channel(topic: str, types: list[str], department: Text, partitions: int) -> dict[str, Any]:
    return {
        "address": topic,
        "title": _both(department),
        "messages": {type_: {"$ref": f"#/components/messages/{type_}"} for type_ in types},
        "bindings": {"kafka": {"topic": topic, "partitions": partitions, "bindingVersion": "0.5.0"}},
    }


def _publish(contract: Contract) -> dict[str, Any]:
    return _operation("receive", outbox(contract.department, contract.event), contract.type, contract.description)


def _deliver(flow: Flow) -> dict[str, Any]:
    message = _delivered(flow.event)
    return _operation("send", inbox(flow.recipient), message, flow.description) | {"tags": [{"name": flow.purpose}]}


def _delivered(type_: str) -> str:
    """The message of an event in an inbox, where it says by what decision it came."""
    return f"{type_}.delivered"


def _operation(action: str, topic: str, message: str, said: Text) -> dict[str, Any]:
    channel = f"#/channels/{topic}"
    messages = [{"$ref": f"{channel}/messages/{message}"}]
    return {"action": action, "summary": _both(said), "channel": {"$ref": channel}, "messages": messages}


def _message(contract: Contract, trait: str) -> dict[str, Any]:
    return {
        "name": contract.type,
        "title": contract.schema["name"],
        "summary": _both(contract.description),
        "contentType": "application/avro",
        "traits": [{"$ref": f"#/components/messageTraits/{trait}"}],
        "payload": {"$ref": f"#/components/schemas/{contract.type}"},
        "bindings": {
            "kafka": {
                "key": {"type": "string", "format": "binary", "description": "16 bytes"},
                "schemaIdLocation": "payload",
                "schemaIdPayloadEncoding": "confluent",
                "bindingVersion": "0.5.0",
            }
        },
        "tags": [{"name": contract.owner}],
    }


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _both(said: Text) -> str:
    return said.fr if said.fr == said.en else f"{said.fr} / {said.en}"
