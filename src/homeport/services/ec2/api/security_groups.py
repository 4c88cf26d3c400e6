"""Security groups: describe, create, delete. Their rules are in ``security_group_rules``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from homeport.aws.operations import Call, Params
from homeport.core.errors import AwsError
from homeport.services.ec2 import errors
from homeport.services.ec2.defaults import ensure_default, outbound_to_anywhere
from homeport.services.ec2.listing import Listing, paged, with_token
from homeport.services.ec2.model import GROUPS, INTERFACES, VPCS, GroupRule, SecurityGroup
from homeport.services.ec2.naming import check_group_description, check_group_name, check_ids, tags_of
from homeport.services.ec2.views import group_arn, group_shape, tag_list
from homeport.store import Tx, View

MAX_GROUPS = 2500  # per region, the quota "VPC security groups per Region"
Values = Callable[[SecurityGroup, View, Call], Iterable[str]]


def _rule_filters(egress: bool) -> dict[str, Values]:
    """The ``[egress.]ip-permission.…`` filters: values of all rules of a direction, whichever has them."""

    def over(value: Callable[[GroupRule, View, Call], str | None]) -> Values:
        def values(group: SecurityGroup, view: View, call: Call) -> Iterable[str]:
            found = (value(rule, view, call) for rule in group.rules if rule.egress == egress)
            return (v for v in found if v)

        return values

    def group_name(rule: GroupRule, view: View, call: Call) -> str | None:
        peer = view.get(GROUPS, call.scope, rule.group_id) if rule.group_id else None
        return peer.name if peer else None

    prefix = "egress.ip-permission." if egress else "ip-permission."
    return {
        prefix + "cidr": over(lambda rule, view, call: rule.cidr),
        prefix + "from-port": over(lambda rule, view, call: str(rule.from_port)),
        prefix + "group-id": over(lambda rule, view, call: rule.group_id),
        prefix + "group-name": over(group_name),
        prefix + "ipv6-cidr": over(lambda rule, view, call: rule.cidr6),
        prefix + "prefix-list-id": over(lambda rule, view, call: None),
        prefix + "protocol": over(lambda rule, view, call: rule.protocol),
        prefix + "to-port": over(lambda rule, view, call: str(rule.to_port)),
        prefix + "user-id": over(lambda rule, view, call: call.account if rule.group_id else None),
    }


LISTING: Listing[SecurityGroup] = Listing(
    table=GROUPS,
    ids="GroupIds",
    prefix="sg-",
    malformed="InvalidGroupId.Malformed",
    absent=errors.no_group,
    tags=lambda r: r.tags,
    id_filter="group-id",
    indexed={"ip-permission.group-id": "peer", "egress.ip-permission.group-id": "peer", "vpc-id": "vpc"},
    filters={
        **_rule_filters(egress=False),
        **_rule_filters(egress=True),
        "description": lambda r, view, call: (r.description,),
        "group-id": lambda r, view, call: (r.id,),
        "group-name": lambda r, view, call: (r.name,),
        "owner-id": lambda r, view, call: (call.account,),
        "tag-key": lambda r, view, call: r.tags,
        "vpc-id": lambda r, view, call: (r.vpc_id,),
    },
)


def describe_security_groups(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    vpc = ensure_default(tx, call.scope, call.ids, call.now)
    if names := params.get("GroupNames"):
        # Names are of the default VPC: as ids, they go the way of ids.
        ids = [named(tx, call, name, vpc.id).id for name in names]
        selected, _ = LISTING.select(
            tx, call, {"GroupIds": [*(params.get("GroupIds") or []), *ids], "Filters": params.get("Filters") or []}
        )
        found, token = paged(selected, GROUPS.id, call, params)
    else:
        found, token = LISTING.select(tx, call, params)
    return with_token({"SecurityGroups": [group_shape(call.scope, group) for group in found]}, token)


def create_security_group(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    name, description, vpc_id = params["GroupName"], params["Description"], params.get("VpcId")
    check_group_name(name)
    check_group_description(description)
    tags = tags_of(params.get("TagSpecifications") or [], "security-group")
    default = ensure_default(tx, call.scope, call.ids, call.now)
    if vpc_id is None:
        vpc_id = default.id
    check_ids([vpc_id], "vpc-", "InvalidVpcID.Malformed")
    if tx.get(VPCS, call.scope, vpc_id) is None:
        raise errors.no_vpc(vpc_id)
    if tx.count(GROUPS, call.scope, "name", (vpc_id, name.lower())):
        raise AwsError("InvalidGroup.Duplicate", f"The security group '{name}' already exists for VPC '{vpc_id}'")
    if len(tx.all(GROUPS, call.scope)) >= MAX_GROUPS:
        raise AwsError("SecurityGroupLimitExceeded", "The maximum number of security groups has been reached.")
    group = SecurityGroup(
        id=call.ids.new("sg"),
        vpc_id=vpc_id,
        name=name,
        description=description,
        created_at=call.now,
        rules=(outbound_to_anywhere(call.ids),),
        tags=tags,
    )
    tx.put(GROUPS, call.scope, group)
    return {"GroupId": group.id, "SecurityGroupArn": group_arn(call.scope, group.id), "Tags": tag_list(tags)}


def delete_security_group(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    group = addressed(tx, call, params)
    if group.name == "default":
        raise AwsError(
            "CannotDelete", f'the specified group: "{group.id}" name: "{group.name}" cannot be deleted by a user'
        )
    referring = [g.id for g in tx.find(GROUPS, call.scope, "peer", group.id) if g.id != group.id]
    if referring or tx.count(INTERFACES, call.scope, "group", group.id):
        raise AwsError("DependencyViolation", f"resource {group.id} has a dependent object")
    tx.delete(GROUPS, call.scope, group.id)
    return {"Return": True, "GroupId": group.id}


def addressed(tx: Tx, call: Call, params: Params) -> SecurityGroup:
    """The group that GroupId, or GroupName in the default VPC, names. Raises AwsError."""
    id, name = params.get("GroupId"), params.get("GroupName")
    if id is None and name is None:
        raise errors.missing("groupName or groupId")
    if id is not None and name is not None:
        raise errors.bad_combination("The parameter groupName cannot be used with the parameter groupId")
    vpc = ensure_default(tx, call.scope, call.ids, call.now)
    if id is not None:
        return LISTING.by_ids(tx, call, [id])[0]
    return named(tx, call, name or "", vpc.id)


def named(view: View, call: Call, name: str, vpc_id: str) -> SecurityGroup:
    """Raises InvalidGroup.NotFound."""
    found = view.find(GROUPS, call.scope, "name", (vpc_id, name.lower()))
    if not found:
        raise errors.no_group_named(name, vpc_id)
    return found[0]


def resources(call: Call, params: Params) -> list[str]:
    """For the authorise step: the group where its id is given, any group where it isn't."""
    return [group_arn(call.scope, params.get("GroupId") or "*")]
