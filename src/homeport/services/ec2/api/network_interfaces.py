"""Network interfaces. They are made by the services that own them, not by a call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from homeport.aws.operations import Call, Params
from homeport.services.ec2 import errors
from homeport.services.ec2.addresses import public_dns_name
from homeport.services.ec2.defaults import ensure_default
from homeport.services.ec2.listing import Listing, with_token
from homeport.services.ec2.model import GROUPS, INTERFACES, SUBNETS, NetworkInterface
from homeport.services.ec2.views import attachment_status, interface_shape, interface_status
from homeport.store import Tx, View


def _where_public(
    value: Callable[[NetworkInterface, Call], str],
) -> Callable[[NetworkInterface, View, Call], Iterable[str]]:
    return lambda r, view, call: (value(r, call),) if r.public_address else ()


def _public_dns_name(r: NetworkInterface, call: Call) -> str:
    return public_dns_name(call.region, r.public_address or "")


def _attach_time(r: NetworkInterface, view: View, call: Call) -> Iterable[str]:
    if r.attached_at is None:
        return ()
    return (datetime.fromtimestamp(r.attached_at, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),)


def _group_names(r: NetworkInterface, view: View, call: Call) -> Iterable[str]:
    return [group.name for id in r.groups if (group := view.get(GROUPS, call.scope, id)) is not None]


def _zone_id(r: NetworkInterface, view: View, call: Call) -> Iterable[str]:
    subnet = view.get(SUBNETS, call.scope, r.subnet_id)
    return (subnet.zone_id,) if subnet else ()


_LISTING: Listing[NetworkInterface] = Listing(
    table=INTERFACES,
    ids="NetworkInterfaceIds",
    prefix="eni-",
    malformed="InvalidNetworkInterfaceID.Malformed",
    absent=errors.no_interface,
    tags=lambda r: r.tags,
    id_filter="network-interface-id",
    indexed={"group-id": "group", "subnet-id": "subnet", "vpc-id": "vpc"},
    pages_of_ids=False,
    filters={
        "addresses.association.owner-id": _where_public(lambda r, call: "amazon"),
        "addresses.association.public-ip": _where_public(lambda r, call: r.public_address or ""),
        "addresses.primary": lambda r, view, call: ("true",),
        "addresses.private-ip-address": lambda r, view, call: (r.private_address,),
        "association.allocation-id": lambda r, view, call: (),
        "association.association-id": _where_public(lambda r, call: r.association_id),
        "association.ip-owner-id": _where_public(lambda r, call: "amazon"),
        "association.public-dns-name": _where_public(_public_dns_name),
        "association.public-ip": _where_public(lambda r, call: r.public_address or ""),
        "attachment.attach-time": _attach_time,
        "attachment.attachment-id": lambda r, view, call: (r.attachment_id,),
        "attachment.delete-on-termination": lambda r, view, call: ("false",),
        "attachment.device-index": lambda r, view, call: ("1",),
        "attachment.instance-id": lambda r, view, call: (),
        "attachment.instance-owner-id": lambda r, view, call: (r.instance_owner,),
        "attachment.status": lambda r, view, call: (attachment_status(r),),
        "availability-zone": lambda r, view, call: (r.availability_zone,),
        "availability-zone-id": _zone_id,
        "description": lambda r, view, call: (r.description,),
        "group-id": lambda r, view, call: r.groups,
        "group-name": _group_names,
        "interface-type": lambda r, view, call: ("interface",),
        "ipv6-addresses.ipv6-address": lambda r, view, call: (),
        "mac-address": lambda r, view, call: (r.mac,),
        "network-interface-id": lambda r, view, call: (r.id,),
        "owner-id": lambda r, view, call: (call.account,),
        "private-dns-name": lambda r, view, call: (r.private_dns_name,),
        "private-ip-address": lambda r, view, call: (r.private_address,),
        "requester-id": lambda r, view, call: (r.instance_owner,),
        "requester-managed": lambda r, view, call: ("true",),
        "source-dest-check": lambda r, view, call: ("true",),
        "status": lambda r, view, call: (interface_status(r),),
        "subnet-id": lambda r, view, call: (r.subnet_id,),
        "tag-key": lambda r, view, call: r.tags,
        "vpc-id": lambda r, view, call: (r.vpc_id,),
    },
)


def describe_network_interfaces(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    ensure_default(tx, call.scope, call.ids, call.now)
    found, token = _LISTING.select(tx, call, params)
    return with_token({"NetworkInterfaces": [interface_shape(tx, call.scope, r) for r in found]}, token)
