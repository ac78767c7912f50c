"""The registry over HTTP: what Confluent's clients ask of a schema registry, read-only.

Contracts are public within the city and name nobody, so there is no sign-in; it listens on this machine unless it is
told otherwise. Errors have the registry's own shape, since its clients read no other: ``{"error_code", "message"}``.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from passerelle_schemas.contract import Mode
from passerelle_schemas.registry import NO_OWN_CONFIG, READ_ONLY, SCHEMA_INVALID, Refusal, Registry

MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"
BODY_BYTES_MAX = 1 << 20
"""A schema of more than a megabyte is none that a record could be described by."""

Call = Callable[[Registry, Request], Awaitable[Any]]


def application(registry: Registry) -> Starlette:
    """The registry as an ASGI application."""
    handlers: dict[Any, Any] = {Refusal: _refused, HTTPException: _refused_by_the_router, Exception: _failed}
    routes = [
        Route(path, _answering(registry, call), methods=[method])
        for path, calls in ROUTES.items()
        for method, call in calls.items()
    ]
    return Starlette(routes=routes, exception_handlers=handlers)


async def _body(request: Request) -> object:
    """Raises `Refusal` for what is no JSON, or too long."""
    read = bytearray()
    async for chunk in request.stream():
        read += chunk
        if len(read) > BODY_BYTES_MAX:
            raise Refusal(413, f"The body is longer than {BODY_BYTES_MAX} bytes")
    try:
        return json.loads(read)
    except (ValueError, RecursionError):
        raise Refusal(SCHEMA_INVALID, "The body is not JSON") from None


async def _root(_: Registry, __: Request) -> Any:
    return {}


async def _subjects(registry: Registry, request: Request) -> Any:
    prefix = request.query_params.get("subjectPrefix", "")
    return [subject for subject in registry.subjects() if subject.startswith(prefix)]


async def _versions(registry: Registry, request: Request) -> Any:
    return registry.versions(request.path_params["subject"])


async def _version(registry: Registry, request: Request) -> Any:
    return registry.version(request.path_params["subject"], request.path_params["version"])


async def _schema(registry: Registry, request: Request) -> Any:
    return registry.schema(request.path_params["subject"], request.path_params["version"])


async def _by_id(registry: Registry, request: Request) -> Any:
    return registry.by_id(request.path_params["id"])


async def _schema_of_id(registry: Registry, request: Request) -> Any:
    return registry.schema_of_id(request.path_params["id"])


async def _subjects_of_id(registry: Registry, request: Request) -> Any:
    return [place["subject"] for place in registry.places_of_id(request.path_params["id"])]


async def _versions_of_id(registry: Registry, request: Request) -> Any:
    return registry.places_of_id(request.path_params["id"])


async def _types(_: Registry, __: Request) -> Any:
    return ["AVRO"]


async def _lookup(registry: Registry, request: Request) -> Any:
    return registry.lookup(request.path_params["subject"], await _body(request))


async def _register(registry: Registry, request: Request) -> Any:
    return registry.register(request.path_params["subject"], await _body(request))


async def _compatible(registry: Registry, request: Request) -> Any:
    verbose = request.query_params.get("verbose", "false").lower() == "true"
    version = request.path_params.get("version", "latest")
    return registry.compatible(request.path_params["subject"], version, await _body(request), verbose=verbose)


async def _config(_: Registry, __: Request) -> Any:
    return {"compatibilityLevel": Mode.BACKWARD}


async def _config_of(registry: Registry, request: Request) -> Any:
    subject = request.path_params["subject"]
    if subject not in registry.subjects():
        raise Refusal(NO_OWN_CONFIG, f"Subject '{subject}' does not have subject-level compatibility configured")
    return {"compatibilityLevel": registry.mode_of(subject)}


async def _mode(_: Registry, __: Request) -> Any:
    return {"mode": "READONLY"}


async def _read_only(_: Registry, __: Request) -> Any:
    raise Refusal(READ_ONLY, "This registry is read-only: contracts are published by review")


ROUTES: dict[str, dict[str, Call]] = {
    "/": {"GET": _root},
    "/subjects": {"GET": _subjects},
    "/subjects/{subject}": {"POST": _lookup, "DELETE": _read_only},
    "/subjects/{subject}/versions": {"GET": _versions, "POST": _register},
    "/subjects/{subject}/versions/{version}": {"GET": _version, "DELETE": _read_only},
    "/subjects/{subject}/versions/{version}/schema": {"GET": _schema},
    "/schemas/types": {"GET": _types},
    "/schemas/ids/{id}": {"GET": _by_id},
    "/schemas/ids/{id}/schema": {"GET": _schema_of_id},
    "/schemas/ids/{id}/subjects": {"GET": _subjects_of_id},
    "/schemas/ids/{id}/versions": {"GET": _versions_of_id},
    "/compatibility/subjects/{subject}/versions": {"POST": _compatible},
    "/compatibility/subjects/{subject}/versions/{version}": {"POST": _compatible},
    "/config": {"GET": _config, "PUT": _read_only},
    "/config/{subject}": {"GET": _config_of, "PUT": _read_only, "DELETE": _read_only},
    "/mode": {"GET": _mode, "PUT": _read_only},
    "/mode/{subject}": {"GET": _mode, "PUT": _read_only, "DELETE": _read_only},
}


def _answering(registry: Registry, call: Call) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return _json(200, await call(registry, request))

    return answer


async def _refused(_: Request, refusal: Refusal) -> Response:
    return _json(refusal.status, {"error_code": refusal.error_code, "message": refusal.message})


async def _refused_by_the_router(_: Request, exc: HTTPException) -> Response:
    said = {"error_code": exc.status_code, "message": f"HTTP {exc.status_code} {exc.detail}"}
    return _json(exc.status_code, said, exc.headers)


async def _failed(_: Request, __: Exception) -> Response:
    return _json(500, {"error_code": 50001, "message": "Error in the registry"})


def _json(status: int, said: Any, headers: Any = None) -> Response:
    return Response(json.dumps(said, ensure_ascii=False), status, headers, MEDIA_TYPE)
