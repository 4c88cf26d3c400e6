"""Account settings: their names and values, and which value holds for whom.

A principal's own setting comes before the account's (the root user's), that before ECS's default. Settings are those of
one region.

The long ARN formats can't be turned off any more: ECS refuses that for all but old accounts, with the text that is used
here, and a new account is what Homeport is. ``containerInsights`` is what new clusters get. The others are kept and
answered, and change nothing here.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from homeport.core.errors import invalid_parameter
from homeport.services.ecs.model.setting import SETTINGS, Setting, setting_id
from homeport.store import View

INSIGHTS = "containerInsights"
RETIREMENT = "fargateTaskRetirementWaitPeriod"
LONG_ARNS = ("serviceLongArnFormat", "taskLongArnFormat", "containerInstanceLongArnFormat")
READ_ONLY = "guardDutyActivate"  # Amazon GuardDuty's own, of type aws_managed
_SWITCH = ("enabled", "disabled")


class Kind(NamedTuple):
    default: str
    values: tuple[str, ...]


KINDS: dict[str, Kind] = {
    **dict.fromkeys(LONG_ARNS, Kind("enabled", _SWITCH)),
    "awsvpcTrunking": Kind("disabled", _SWITCH),
    INSIGHTS: Kind("disabled", ("enabled", "disabled", "enhanced")),
    "fargateFIPSMode": Kind("disabled", (*_SWITCH, "on", "off")),
    "tagResourceAuthorization": Kind("on", ("on", "off")),
    RETIREMENT: Kind("7", ("0", "7", "14")),  # days
    READ_ONLY: Kind("off", ("on", "off")),
    "defaultLogDriverMode": Kind("non-blocking", ("blocking", "non-blocking")),
    "fargateEventWindows": Kind("disabled", _SWITCH),
}

_PRINCIPAL = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):(root|(user|role)/[\w+=,.@/-]{1,512})", re.ASCII)


def root(account: str) -> str:
    """The ARN of the account's root user: the same in every region, as keys name it."""
    return f"arn:aws:iam::{account}:root"


def is_principal(text: str, account: str) -> bool:
    """Whether ``text`` is the ARN of a user, a role or the root user of the account."""
    match = _PRINCIPAL.fullmatch(text)
    return match is not None and match[1] == account


def check(name: str, value: str) -> None:
    """Raises InvalidParameterException where nobody may set it to this value."""
    check_writable(name)
    if value not in KINDS[name].values:
        raise invalid_parameter("Invalid setting 'value'")
    if name in LONG_ARNS and value == "disabled":
        raise invalid_parameter("You can no longer disable Long Arn settings.")


def check_writable(name: str) -> None:
    if name == READ_ONLY:
        raise invalid_parameter(f"The account setting {name} is read-only. It is managed by Amazon GuardDuty.")


def effective(view: View, scope: tuple[str, str], principal: str, name: str) -> Setting:
    """What holds for ``principal``; the record's own ``principal`` is the one whose setting that is (root's for the
    default)."""
    account = root(scope[0])
    for holder in (principal, account):
        found = view.get(SETTINGS, scope, setting_id(holder, name))
        if found is not None:
            return found
    return Setting(principal=account, name=name, value=KINDS[name].default)
