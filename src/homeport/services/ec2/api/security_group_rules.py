"""Rules of security groups: authorize, revoke, describe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from homeport.aws.operations import Call, Params
from homeport.core.errors import AwsError
from homeport.services.ec2 import errors, rulebook
from homeport.services.ec2.api.security_groups import LISTING, addressed, named
from homeport.services.ec2.defaults import ensure_default
from homeport.services.ec2.filters import Values, compile_filters, exact_values
from homeport.services.ec2.listing import paged, with_token
from homeport.services.ec2.model import GROUPS, VPCS, GroupRule, SecurityGroup
from homeport.services.ec2.naming import check_ids, tags_of
from homeport.services.ec2.permissions import PeerOf, Permission, permissions_of, rules_of, top_level
from homeport.services.ec2.views import revoked_rule_shape, rule_shape
from homeport.store import Tx, View

_Pair = tuple[SecurityGroup, GroupRule]


def authorize_security_group_ingress(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    return _authorize(tx, call, params, egress=False)


def authorize_security_group_egress(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    return _authorize(tx, call, params, egress=True)


def revoke_security_group_ingress(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    return _revoke(tx, call, params, egress=False)


def revoke_security_group_egress(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    return _revoke(tx, call, params, egress=True)


def _authorize(tx: Tx, call: Call, params: Params, *, egress: bool) -> dict[str, Any]:
    group = addressed(tx, call, params)
    tags = tags_of(params.get("TagSpecifications") or [], "security-group-rule")
    permissions = _permissions(params)
    if not permissions:
        raise errors.missing("ipPermissions")
    drafts = rules_of(permissions, egress=egress, peer_of=_peers_of(tx, call, group))
    rules = [replace(rule, id=call.ids.new("sgr"), tags=tags) for rule in drafts]
    group = rulebook.add(group, rules)
    tx.put(GROUPS, call.scope, group)
    return {"Return": True, "SecurityGroupRules": [rule_shape(call.scope, group, rule) for rule in rules]}


def _revoke(tx: Tx, call: Call, params: Params, *, egress: bool) -> dict[str, Any]:
    group = addressed(tx, call, params)
    permissions, rule_ids = _permissions(params), params.get("SecurityGroupRuleIds")
    if permissions and rule_ids:
        raise errors.bad_combination(
            "The parameter ipPermissions cannot be used with the parameter securityGroupRuleIds"
        )
    if rule_ids:
        check_ids(rule_ids, "sgr-", "InvalidSecurityGroupRuleId.Malformed")
        removal = rulebook.remove_by_id(group, rule_ids, egress)
    elif permissions:
        unwanted = rules_of(permissions, egress=egress, peer_of=_peers_of(tx, call, group))
        vpc = tx.get(VPCS, call.scope, group.vpc_id)
        removal = rulebook.remove(group, unwanted, strict=vpc is None or not vpc.is_default)
    else:
        raise AwsError("MissingParameter", "Either 'ipPermissions' or 'securityGroupRuleIds' should be provided.")
    tx.put(GROUPS, call.scope, removal.group)
    answer: dict[str, Any] = {
        "Return": True,
        "RevokedSecurityGroupRules": [revoked_rule_shape(group, rule) for rule in removal.gone],
    }
    if removal.unknown:
        answer["UnknownIpPermissions"] = permissions_of(
            removal.unknown, lambda rule: {"GroupId": rule.group_id, "UserId": call.account}
        )
    return answer


def _permissions(params: Params) -> list[Permission]:
    older = top_level(params)
    return older if older is not None else list(params.get("IpPermissions") or [])


def _peers_of(tx: Tx, call: Call, group: SecurityGroup) -> PeerOf:
    """How a UserIdGroupPair names a peer of ``group``: another group of its VPC, by id or name."""

    def peer_of(pair: Mapping[str, Any]) -> str:
        id, name, owner = pair.get("GroupId"), pair.get("GroupName"), pair.get("UserId")
        if peering := pair.get("VpcPeeringConnectionId"):
            raise errors.no_peering(peering)
        if owner is not None and owner != call.account:
            raise errors.no_group(id or name or "")
        if id is None and name is None:
            raise errors.missing("groupName or groupId")
        if id is None:
            return named(tx, call, name or "", group.vpc_id).id
        peer = LISTING.by_ids(tx, call, [id])[0]
        if peer.vpc_id != group.vpc_id:
            raise AwsError(
                "InvalidGroup.NotFound", "You have specified two resources that belong to different networks."
            )
        return peer.id

    return peer_of


def describe_security_group_rules(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    ensure_default(tx, call.scope, call.ids, call.now)
    filters: dict[str, Values[_Pair]] = {
        "group-id": lambda pair: (pair[0].id,),
        "security-group-rule-id": lambda pair: (pair[1].id,),
        "tag-key": lambda pair: pair[1].tags,
    }
    given = params.get("Filters") or []
    passes = compile_filters(given, filters, lambda pair: pair[1].tags)
    if ids := params.get("SecurityGroupRuleIds"):
        found = _by_rule_ids(tx, call, ids)
    else:
        within = exact_values(given, "group-id")
        groups = (
            tx.all(GROUPS, call.scope)
            if within is None
            else [g for id in set(within) if (g := tx.get(GROUPS, call.scope, id)) is not None]
        )
        found = [(group, rule) for group in groups for rule in group.rules]
    selected = sorted(filter(passes, found), key=lambda pair: pair[1].id)
    pairs, token = paged(selected, lambda pair: pair[1].id, call, params)
    return with_token({"SecurityGroupRules": [rule_shape(call.scope, group, rule) for group, rule in pairs]}, token)


def _by_rule_ids(view: View, call: Call, ids: list[str]) -> list[_Pair]:
    wanted = sorted(set(ids))
    check_ids(wanted, "sgr-", "InvalidSecurityGroupRuleId.Malformed")
    holders = {id: view.find(GROUPS, call.scope, "rule", id) for id in wanted}
    if missing := [id for id, groups in holders.items() if not groups]:
        raise errors.no_rule(*missing)
    return [(group, rule) for id, (group, *_) in holders.items() for rule in group.rules if rule.id == id]
