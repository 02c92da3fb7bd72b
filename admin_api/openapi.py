"""The OpenAPI document: what FastAPI finds in the routes, with what all of them have in common."""

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute

from admin_api.admission import SIGN_IN_PATHS, is_open
from admin_api.problems import PROBLEM_TYPE, Problem

Node: TypeAlias = dict[str, Any]  # JSON, as FastAPI's own functions give it

_METHODS: Final = ("get", "put", "post", "delete", "patch")
_OF_BODIES: Final = ("400", "408", "413", "415")
_REFUSALS: Final = {
    "400": "The body cannot be read",
    "401": "No valid token",
    "403": "Not from this address, or not with this token",
    "404": "Unknown",
    "408": "The body came too slowly",
    "409": "It exists already, or was changed meanwhile",
    "413": "The body is too large",
    "415": "The body is no JSON",
    "422": "A rule is broken, or the request cannot be read",
    "429": "Too many wrong tokens from this address",
    "503": "The store or the running gateway does not answer",
}
_DESCRIPTION: Final = (
    "Everything that an administrator of pgbastion does. Changes take `reason`, and a POST an `Idempotency-Key`; an object comes"
    " with an `ETag`, which `If-Match` holds a change against. Refusals are `application/problem+json` with a stable `rule`."
)


def describe(title: str, version: str, routes: Sequence[BaseRoute]) -> Node:
    document: Node = get_openapi(title=title, version=version, routes=routes, description=_DESCRIPTION)
    components: Node = document.setdefault("components", {})
    schemas: Node = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["Problem"] = problem
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer", "description": "`pgbastion tokens create`"}}
    document["security"] = [{"token": []}]
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                _complete(path, method, item[method])
    return document


def _complete(path: str, method: str, operation: Node) -> None:
    operation["operationId"] = operation["operationId"].partition("_v1_")[0].partition(f"_{method}")[0]
    responses: Node = operation["responses"]
    if is_open(method.upper(), path):
        operation["security"] = []
        responses.setdefault("403", _refusal(_REFUSALS["403"]))
        if path not in SIGN_IN_PATHS:
            return
    for status, text in _REFUSALS.items():
        if "requestBody" in operation or status not in _OF_BODIES:
            responses[status] = _refusal(text)
    if method == "get" and "304" not in responses:
        responses["304"] = {"description": "Unchanged"}


def _refusal(text: str) -> Node:
    return {"description": text, "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
