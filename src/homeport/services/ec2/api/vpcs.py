"""VPCs, subnets and availability zones."""

from __future__ import annotations

from typing import Any

from homeport.aws.operations import Call, Params
from homeport.services.ec2 import errors
from homeport.services.ec2.defaults import ensure_default
from homeport.services.ec2.eni import available
from homeport.services.ec2.filters import Values, compile_filters, flag
from homeport.services.ec2.listing import Listing, with_token
from homeport.services.ec2.model import SUBNETS, VPCS, Subnet, Vpc
from homeport.services.ec2.regions import Zone, zones
from homeport.services.ec2.views import (
    cidr_association_id,
    dhcp_options_id,
    subnet_arn,
    subnet_shape,
    vpc_shape,
    zone_shape,
)
from homeport.store import Tx, View

_VPCS: Listing[Vpc] = Listing(
    table=VPCS,
    ids="VpcIds",
    prefix="vpc-",
    malformed="InvalidVpcID.Malformed",
    absent=errors.no_vpc,
    tags=lambda r: r.tags,
    id_filter="vpc-id",
    filters={
        "cidr": lambda r, view, call: (r.cidr,),
        "cidr-block-association.association-id": lambda r, view, call: (cidr_association_id(r),),
        "cidr-block-association.cidr-block": lambda r, view, call: (r.cidr,),
        "cidr-block-association.state": lambda r, view, call: ("associated",),
        "dhcp-options-id": lambda r, view, call: (dhcp_options_id(r),),
        "ipv6-cidr-block-association.association-id": lambda r, view, call: (),
        "ipv6-cidr-block-association.ipv6-cidr-block": lambda r, view, call: (),
        "ipv6-cidr-block-association.ipv6-pool": lambda r, view, call: (),
        "ipv6-cidr-block-association.state": lambda r, view, call: (),
        "is-default": lambda r, view, call: flag(r.is_default),
        "isDefault": lambda r, view, call: flag(r.is_default),
        "owner-id": lambda r, view, call: (call.account,),
        "state": lambda r, view, call: ("available",),
        "tag-key": lambda r, view, call: r.tags,
        "vpc-id": lambda r, view, call: (r.id,),
    },
)

_SUBNETS: Listing[Subnet] = Listing(
    table=SUBNETS,
    ids="SubnetIds",
    prefix="subnet-",
    malformed="InvalidSubnetID.Malformed",
    absent=errors.no_subnet,
    tags=lambda r: r.tags,
    id_filter="subnet-id",
    indexed={"vpc-id": "vpc", "availability-zone": "zone"},
    filters={
        "availability-zone": lambda r, view, call: (r.availability_zone,),
        "availabilityZone": lambda r, view, call: (r.availability_zone,),
        "availability-zone-id": lambda r, view, call: (r.zone_id,),
        "availabilityZoneId": lambda r, view, call: (r.zone_id,),
        "available-ip-address-count": lambda r, view, call: (str(available(view, call.scope, r)),),
        "cidr": lambda r, view, call: (r.cidr,),
        "cidr-block": lambda r, view, call: (r.cidr,),
        "cidrBlock": lambda r, view, call: (r.cidr,),
        "default-for-az": lambda r, view, call: flag(r.default_for_az),
        "defaultForAz": lambda r, view, call: flag(r.default_for_az),
        "enable-dns64": lambda r, view, call: ("false",),
        "ipv6-cidr-block-association.association-id": lambda r, view, call: (),
        "ipv6-cidr-block-association.ipv6-cidr-block": lambda r, view, call: (),
        "ipv6-cidr-block-association.state": lambda r, view, call: (),
        "ipv6-native": lambda r, view, call: ("false",),
        "map-customer-owned-ip-on-launch": lambda r, view, call: ("false",),
        "map-public-ip-on-launch": lambda r, view, call: flag(r.map_public_ip),
        "outpost-arn": lambda r, view, call: (),
        "owner-id": lambda r, view, call: (call.account,),
        "private-dns-name-options-on-launch.enable-resource-name-dns-a-record": lambda r, view, call: ("false",),
        "private-dns-name-options-on-launch.enable-resource-name-dns-aaaa-record": lambda r, view, call: ("false",),
        "private-dns-name-options-on-launch.hostname-type": lambda r, view, call: ("ip-name",),
        "state": lambda r, view, call: ("available",),
        "subnet-arn": lambda r, view, call: (subnet_arn(call.scope, r),),
        "subnet-id": lambda r, view, call: (r.id,),
        "tag-key": lambda r, view, call: r.tags,
        "vpc-id": lambda r, view, call: (r.vpc_id,),
    },
)


def describe_vpcs(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    ensure_default(tx, call.scope, call.ids, call.now)
    found, token = _VPCS.select(tx, call, params)
    return with_token({"Vpcs": [vpc_shape(call.scope, vpc) for vpc in found]}, token)


def describe_subnets(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    ensure_default(tx, call.scope, call.ids, call.now)
    found, token = _SUBNETS.select(tx, call, params)
    return with_token({"Subnets": [subnet_shape(tx, call.scope, subnet) for subnet in found]}, token)


def describe_availability_zones(view: View, call: Call, params: Params) -> dict[str, Any]:
    region = call.region
    filters: dict[str, Values[Zone]] = {
        "group-name": lambda z: (f"{region}-zg-1",),
        "opt-in-status": lambda z: ("opt-in-not-required",),
        "message": lambda z: (),
        "parent-zone-id": lambda z: (),
        "parent-zone-name": lambda z: (),
        "region-name": lambda z: (region,),
        "state": lambda z: ("available",),
        "zone-id": lambda z: (z.id,),
        "zone-name": lambda z: (z.name,),
        "zone-type": lambda z: ("availability-zone",),
    }
    known = zones(region)
    names, ids = params.get("ZoneNames") or [], params.get("ZoneIds") or []
    if unknown := [name for name in names if name not in {z.name for z in known}]:
        raise errors.bad_value(f"Invalid availability zone: [{unknown[0]}]")
    if unknown := [id for id in ids if id not in {z.id for z in known}]:
        raise errors.bad_value(f"Invalid availability zone-id: [{unknown[0]}]")
    passes = compile_filters(params.get("Filters") or [], filters, lambda z: {})
    found = [z for z in known if (not names or z.name in names) and (not ids or z.id in ids) and passes(z)]
    return {"AvailabilityZones": [zone_shape(region, zone) for zone in found]}
