"""Query parameters that a route does not know are refused: a filter that is misspelt must not mean "all of them"."""

from collections import Counter
from collections.abc import Iterator
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from admin_api.problems import ApiError

_MAX_PARAMETERS = 50


def only_known(request: Request) -> None:
    """A dependency of every route. Raises ApiError, also for one that is given twice: which of them would count?"""
    route = request.scope.get("route")
    if not isinstance(route, APIRoute) or not request.url.query:
        return
    try:
        pairs = parse_qsl(request.url.query, keep_blank_values=True, max_num_fields=_MAX_PARAMETERS)
    except ValueError:
        raise ApiError(422, "parameter-unknown", "there are too many query parameters") from None
    given = Counter(name for name, _ in pairs)
    known = set(_names(route.dependant))
    for name, count in given.items():
        if name not in known:
            names = ", ".join(sorted(known)) or "none"
            raise ApiError(422, "parameter-unknown", f"there is no query parameter {name[:60]!r} here", f"Known: {names}.")
        if count > 1:
            raise ApiError(422, "parameter-repeated", f"the query parameter {name!r} is given {count} times")


def _names(dependant: Dependant) -> Iterator[str]:
    for field in dependant.query_params:
        yield field.alias
    for inner in dependant.dependencies:
        yield from _names(inner)
