"""What all Describe operations do alike: find by ids or filters, and answer page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec

from homeport.aws.operations import Call, Params
from homeport.core.errors import AwsError
from homeport.core.paging import BadToken, page
from homeport.services.ec2.errors import bad_combination, bad_value
from homeport.services.ec2.filters import compile_filters, exact_values
from homeport.services.ec2.naming import check_ids
from homeport.store import Table, View

R = TypeVar("R", bound=msgspec.Struct)
T = TypeVar("T")
MIN_RESULTS, MAX_RESULTS = 5, 1000  # of MaxResults; a call without it gets pages of the maximum


@dataclass(frozen=True)
class Listing(Generic[R]):
    """How records of one table are described.

    ``filters``: for each filter's name, a record's values; they also get the view and the call, for what the record
    alone doesn't tell. ``indexed``: filters that an index of the table answers.
    """

    table: Table[R]
    ids: str  # the parameter with ids
    prefix: str
    malformed: str  # the error code for an id that can't be one
    absent: Callable[..., AwsError]  # the error for ids that there aren't
    tags: Callable[[R], Mapping[str, str]]
    filters: Mapping[str, Callable[[R, View, Call], Iterable[str]]]
    id_filter: str
    indexed: Mapping[str, str] = field(default_factory=dict)
    pages_of_ids: bool = True  # whether ids may be given with MaxResults

    def select(self, view: View, call: Call, params: Params) -> tuple[list[R], str | None]:
        """The records of this page, sorted by id, and the next page's token. Raises AwsError."""
        ids = params.get(self.ids) or []
        if ids and not self.pages_of_ids and params.get("MaxResults") is not None:
            raise bad_combination(f"The parameter {self.ids} cannot be used with the parameter MaxResults")
        found = self.by_ids(view, call, ids) if ids else self._candidates(view, call, params.get("Filters") or [])
        known = {name: _bound(values, view, call) for name, values in self.filters.items()}
        passes = compile_filters(params.get("Filters") or [], known, self.tags)
        return paged(filter(passes, found), self.table.id, call, params)

    def by_ids(self, view: View, call: Call, ids: Iterable[str]) -> list[R]:
        """Raises AwsError for those that are malformed or missing."""
        wanted = sorted(set(ids))
        check_ids(wanted, self.prefix, self.malformed)
        found = [view.get(self.table, call.scope, id) for id in wanted]
        missing = [id for id, record in zip(wanted, found, strict=True) if record is None]
        if missing:
            raise self.absent(*missing)
        return [record for record in found if record is not None]

    def _candidates(self, view: View, call: Call, filters: list[Mapping[str, Any]]) -> list[R]:
        """All that may pass the filters, from the narrowest index that one of them allows."""
        if (ids := exact_values(filters, self.id_filter)) is not None:
            return [r for id in sorted(set(ids)) if (r := view.get(self.table, call.scope, id)) is not None]
        for name, index in self.indexed.items():
            if (values := exact_values(filters, name)) is not None:
                found = {self.table.id(r): r for v in values for r in view.find(self.table, call.scope, index, v)}
                return [found[id] for id in sorted(found)]
        return view.all(self.table, call.scope)


def _bound(values: Callable[[R, View, Call], Iterable[str]], view: View, call: Call) -> Callable[[R], Iterable[str]]:
    return lambda record: values(record, view, call)


def paged(items: Iterable[T], key: Callable[[T], str], call: Call, params: Params) -> tuple[list[T], str | None]:
    """One page of ``items``, which are sorted by ``key``, and the next page's token. Raises AwsError."""
    limit = params.get("MaxResults")
    if limit is not None and limit < MIN_RESULTS:
        raise bad_value(_expecting(limit, "greater", MIN_RESULTS))
    if limit is not None and limit > MAX_RESULTS:
        raise bad_value(_expecting(limit, "less", MAX_RESULTS))
    asked = {name: value for name, value in params.items() if name not in ("MaxResults", "NextToken", "DryRun")}
    context = msgspec.json.encode([call.account, call.region, call.operation, sorted(asked.items())]).decode()
    try:
        return page(items, key, limit or MAX_RESULTS, params.get("NextToken"), call.tokens, context)
    except BadToken:
        raise AwsError("InvalidNextToken", "The specified NextToken is not valid.") from None


def _expecting(value: int, what: str, bound: int) -> str:
    return f"Value ( {value} ) for parameter maxResults is invalid. Expecting a value {what} than or equal to {bound}."


def with_token(members: dict[str, Any], token: str | None) -> dict[str, Any]:
    return {**members, "NextToken": token} if token else members
