"""Operations of STS."""

from __future__ import annotations

from homeport.aws.operations import Call, Operation, Params, Service
from homeport.store import View


def get_caller_identity(view: View, call: Call, params: Params) -> dict[str, str]:
    who = call.principal
    return {"UserId": who.user_id, "Account": who.account, "Arn": who.arn}


SERVICE = Service("sts", {"GetCallerIdentity": Operation(get_caller_identity, write=False)})
