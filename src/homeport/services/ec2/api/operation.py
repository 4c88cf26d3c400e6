"""How EC2's operations are wrapped."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from homeport.aws.operations import Call, Handler, Operation, Params
from homeport.core.errors import AwsError


def operation(
    handler: Handler, *, write: bool = True, resources: Callable[[Call, Params], list[str]] | None = None
) -> Operation:
    """The operation with EC2's DryRun: everything is done and then refused, which undoes it, so that a dry run says
    what the real one would."""

    @wraps(handler)
    def run(tx: Any, call: Call, params: Params) -> dict[str, Any] | None:
        answer = handler(tx, call, params)
        if params.get("DryRun"):
            raise AwsError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)
        return answer

    return Operation(run, write=write, resources=resources)
