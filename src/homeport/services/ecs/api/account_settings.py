"""PutAccountSetting, PutAccountSettingDefault, DeleteAccountSetting, ListAccountSettings."""

from __future__ import annotations

from typing import Any

from homeport.aws.operations import Call, Operation, Params
from homeport.core.errors import access_denied, invalid_parameter
from homeport.services.ecs import account_settings as rules
from homeport.services.ecs import pages
from homeport.services.ecs.model.setting import SETTINGS, Setting, setting_id
from homeport.store import Tx, View

MAX_LISTED = 10  # settings of one page


def put_account_setting(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    """For the caller, or for the principal that the root user names."""
    return _put(tx, call, _principal(call, params), params)


def put_account_setting_default(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    """For all who have no setting of their own."""
    return _put(tx, call, rules.root(call.account), params)


def delete_account_setting(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    """Answers what holds from now on."""
    name, principal = params["name"], _principal(call, params)
    rules.check_writable(name)
    tx.delete(SETTINGS, call.scope, setting_id(principal, name))
    left = rules.effective(tx, call.scope, principal, name)
    return {"setting": _shown(Setting(principal=principal, name=name, value=left.value))}


def list_account_settings(view: View, call: Call, params: Params) -> dict[str, Any]:
    """What the principal set itself or, with ``effectiveSettings``, what holds for it."""
    name, value, principal = params.get("name"), params.get("value"), _principal(call, params)
    if value is not None and name is None:
        raise invalid_parameter("You must specify a name of an account setting to filter by value.")
    if params.get("effectiveSettings"):
        found = [rules.effective(view, call.scope, principal, known) for known in sorted(rules.KINDS)]
    else:
        found = view.find(SETTINGS, call.scope, "principal", principal)
    wanted = (s for s in found if name in (None, s.name) and value in (None, s.value))
    return pages.listed(
        call, params, "settings", wanted, key=lambda s: s.name, answer=_shown, most=MAX_LISTED, default=MAX_LISTED
    )


def _put(tx: Tx, call: Call, principal: str, params: Params) -> dict[str, Any]:
    name, value = params["name"], params["value"]
    rules.check(name, value)
    if name == rules.RETIREMENT and principal != rules.root(call.account):
        raise invalid_parameter(f"The account setting {name} can only be set for the root user.")
    setting = Setting(principal=principal, name=name, value=value)
    tx.put(SETTINGS, call.scope, setting)
    return {"setting": _shown(setting)}


def _principal(call: Call, params: Params) -> str:
    """Whose settings the call is about. Raises AccessDeniedException where they are another's."""
    asked = params.get("principalArn") or call.principal.arn
    if not rules.is_principal(asked, call.account):
        raise invalid_parameter("Invalid principal ARN: it must be that of a user, a role or the root user.")
    if asked != call.principal.arn and call.principal.arn != rules.root(call.account):
        raise access_denied(f"{call.principal.arn} is not the root user, and can't use the settings of {asked}.")
    return asked


def _shown(setting: Setting) -> dict[str, str]:
    kind = "aws_managed" if setting.name == rules.READ_ONLY else "user"
    return {"name": setting.name, "value": setting.value, "principalArn": setting.principal, "type": kind}


OPERATIONS: dict[str, Operation] = {
    "PutAccountSetting": Operation(put_account_setting),
    "PutAccountSettingDefault": Operation(put_account_setting_default),
    "DeleteAccountSetting": Operation(delete_account_setting),
    "ListAccountSettings": Operation(list_account_settings, write=False),
}
