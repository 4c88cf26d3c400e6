"""Pages of ECS's lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from homeport.aws.operations import Call, Params
from homeport.core.errors import invalid_parameter
from homeport.core.paging import BadToken, page

T = TypeVar("T")
_NOT_FILTERS = ("nextToken", "maxResults")


def listed(
    call: Call,
    params: Params,
    member: str,
    items: Iterable[T],
    key: Callable[[T], str],
    answer: Callable[[T], Any],
    *,
    most: int = 100,
    default: int = 100,
    descending: bool = False,
) -> dict[str, Any]:
    """The answer of a List operation: one page of ``items``, which are sorted by ``key``, each as ``answer`` gives it.

    ``most`` and ``default`` are the operation's limits of maxResults. Raises InvalidParameterException for a token of
    another call, or of this one with other filters.
    """
    limit = params.get("maxResults", default)
    if not 1 <= limit <= most:
        raise invalid_parameter(f"maxResults must be between 1 and {most}.")
    filters = sorted((name, repr(value)) for name, value in params.items() if name not in _NOT_FILTERS)
    context = repr((call.account, call.region, call.service, call.operation, filters))
    try:
        chunk, token = page(items, key, limit, params.get("nextToken"), call.tokens, context, descending=descending)
    except BadToken:
        raise invalid_parameter("Invalid token") from None
    return {member: [answer(item) for item in chunk], **({"nextToken": token} if token else {})}
