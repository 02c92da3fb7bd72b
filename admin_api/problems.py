"""Refusals as `application/problem+json` (RFC 9457), in one shape. What a request said is never repeated: it may be a password."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from gateway.ports import GatewayUnavailable
from gateway.services.errors import ServiceError
from gateway.store.errors import StoreConflictError, StoreError, StoreUnavailableError

PROBLEM_TYPE: Final = "application/problem+json"
_RETRY: Final = {"Retry-After": "1"}
_CONFLICTS: Final = frozenset({"changed-meanwhile"})
_UNAVAILABLE: Final = frozenset({"audit-unreadable"})
_FORBIDDEN: Final = frozenset({"not-permitted", "own-rights", "authenticator-required", "identity-not-linked"})
_UNPROVEN: Final = frozenset({"sign-in-refused"})
_RULES: Final[Mapping[int, str]] = {
    400: "request-unreadable",
    404: "no-such-page",
    405: "method-not-allowed",
    413: "body-too-large",
    415: "body-type-unsupported",
}

_log: Final = structlog.stdlib.get_logger("admin_api")


class WrongField(BaseModel):
    """One field that cannot be accepted: where it stands ("body.port", "query.limit") and what is wrong with it."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    field: str
    message: str


class Problem(BaseModel):
    """Why a request was refused. `rule` is a stable id; `hint` says what to do next; `fields` names what cannot be read."""

    model_config = ConfigDict(
        frozen=True,
        hide_input_in_errors=True,
        json_schema_extra={
            "example": {
                "type": "urn:pgbastion:rule:user-unknown",
                "title": "Not Found",
                "status": 404,
                "detail": 'there is no user "anna"',
                "rule": "user-unknown",
                "hint": "Did you mean ana?",
            }
        },
    )

    type: str = Field(description="urn:pgbastion:rule:<rule>")
    title: str
    status: int
    detail: str
    rule: str
    hint: str = ""
    fields: list[WrongField] | None = None
    incident: str | None = Field(None, description="For an internal error: what to look for in the operators' log.")


class ApiError(Exception):
    """A refusal of the API itself, not of a verb."""

    def __init__(self, status: int, rule: str, detail: str, hint: str = "") -> None:
        super().__init__(detail)
        self.status = status
        self.rule = rule
        self.detail = detail
        self.hint = hint


def problem(
    status: int,
    rule: str,
    detail: str,
    hint: str = "",
    *,
    fields: list[WrongField] | None = None,
    incident: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    body = Problem(
        type=f"urn:pgbastion:rule:{rule}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        rule=rule,
        hint=hint,
        fields=fields,
        incident=incident,
    )
    return Response(body.model_dump_json(exclude_none=True), status, headers, PROBLEM_TYPE)


def status_of(rule: str) -> int:
    """Of a verb's refusal."""
    if rule in _CONFLICTS or rule.endswith("-exists"):
        return 409
    if rule in _UNAVAILABLE:
        return 503
    if rule in _UNPROVEN:
        return 401
    if rule in _FORBIDDEN:
        return 403
    return 404 if rule.endswith("-unknown") else 422


def install(app: FastAPI) -> None:
    """Every exception that a route may raise becomes a problem. What is not listed here ends in `answers`."""
    for kind in (ServiceError, ApiError, StoreError, GatewayUnavailable, RequestValidationError, HTTPException):
        app.exception_handler(kind)(_answer)


async def _answer(_request: Request, error: Exception) -> Response:
    match error:
        case ServiceError(rule=rule, message=message, hint=hint):
            return problem(status_of(rule), rule, message, hint)
        case ApiError(status=status, rule=rule, detail=detail, hint=hint):
            return problem(status, rule, detail, hint, headers=_RETRY if status == 503 else None)
        case StoreError():
            return _store_failed(error)
        case GatewayUnavailable():
            text = str(error) or "the running gateway cannot be asked"
            return problem(503, "gateway-unavailable", text, "Start it, or try again in a moment.", headers=_RETRY)
        case RequestValidationError():
            return _invalid(error)
        case HTTPException(status_code=status, headers=headers):
            rule = _RULES.get(status, "request-refused")
            return problem(status, rule, HTTPStatus(status).phrase, headers=headers)
        case _:
            raise error


def _store_failed(error: StoreError) -> Response:
    """The texts of these errors are written for operators of this machine: they name files. They go to the log instead."""
    if isinstance(error, StoreConflictError):
        text = "somebody else changed the same at this moment"
        return problem(409, "changed-meanwhile", text, "Look again, then decide again.")
    _log.error("the store refused", error=str(error), kind=type(error).__name__)
    if isinstance(error, StoreUnavailableError):
        hint = "It may have been done all the same: look before you try again."
        return problem(503, "store-unavailable", "the store does not answer", hint, headers=_RETRY)
    return problem(500, "store-failed", "the store or the master key cannot be used", "The operators' log says why.")


def _invalid(error: RequestValidationError) -> Response:
    fields = [
        WrongField(field=".".join(str(part) for part in each["loc"])[:200], message=str(each["msg"])[:300])
        for each in error.errors()[:20]
    ]
    wrong = "; ".join(f"{each.field}: {each.message}" for each in fields)
    return problem(422, "request-invalid", f"the request cannot be accepted: {wrong}", "See /openapi.json.", fields=fields)
