"""Records in the shapes of EC2's model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homeport.core.arn import arn
from homeport.services.ec2.addresses import public_dns_name
from homeport.services.ec2.eni import available
from homeport.services.ec2.model import GROUPS, SUBNETS, GroupRule, NetworkInterface, SecurityGroup, Subnet, Vpc
from homeport.services.ec2.permissions import permissions_of
from homeport.services.ec2.regions import Zone
from homeport.store import View

Scope = tuple[str, str]
Shape = dict[str, Any]


def tag_list(tags: Mapping[str, str]) -> list[Shape]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def dhcp_options_id(vpc: Vpc) -> str:
    """Each VPC has a set of DHCP options of its own, which nothing can change: its id needs no record."""
    return "dopt-" + vpc.id.removeprefix("vpc-")


def cidr_association_id(vpc: Vpc) -> str:
    return "vpc-cidr-assoc-" + vpc.id.removeprefix("vpc-")


def vpc_shape(scope: Scope, vpc: Vpc) -> Shape:
    return {
        "VpcId": vpc.id,
        "OwnerId": scope[0],
        "State": "available",
        "CidrBlock": vpc.cidr,
        "CidrBlockAssociationSet": [
            {
                "AssociationId": cidr_association_id(vpc),
                "CidrBlock": vpc.cidr,
                "CidrBlockState": {"State": "associated"},
            }
        ],
        "DhcpOptionsId": dhcp_options_id(vpc),
        "InstanceTenancy": "default",
        "IsDefault": vpc.is_default,
        "BlockPublicAccessStates": {"InternetGatewayBlockMode": "off"},
        "Tags": tag_list(vpc.tags),
    }


def subnet_arn(scope: Scope, subnet: Subnet) -> str:
    return arn("ec2", scope[1], scope[0], f"subnet/{subnet.id}")


def subnet_shape(view: View, scope: Scope, subnet: Subnet) -> Shape:
    return {
        "SubnetId": subnet.id,
        "SubnetArn": subnet_arn(scope, subnet),
        "VpcId": subnet.vpc_id,
        "OwnerId": scope[0],
        "State": "available",
        "CidrBlock": subnet.cidr,
        "AvailableIpAddressCount": available(view, scope, subnet),
        "AvailabilityZone": subnet.availability_zone,
        "AvailabilityZoneId": subnet.zone_id,
        "DefaultForAz": subnet.default_for_az,
        "MapPublicIpOnLaunch": subnet.map_public_ip,
        "MapCustomerOwnedIpOnLaunch": False,
        "AssignIpv6AddressOnCreation": False,
        "Ipv6CidrBlockAssociationSet": [],
        "EnableDns64": False,
        "Ipv6Native": False,
        "PrivateDnsNameOptionsOnLaunch": {
            "HostnameType": "ip-name",
            "EnableResourceNameDnsARecord": False,
            "EnableResourceNameDnsAAAARecord": False,
        },
        "BlockPublicAccessStates": {"InternetGatewayBlockMode": "off"},
        "Tags": tag_list(subnet.tags),
    }


def zone_shape(region: str, zone: Zone) -> Shape:
    return {
        "State": "available",
        "OptInStatus": "opt-in-not-required",
        "Messages": [],
        "RegionName": region,
        "ZoneName": zone.name,
        "ZoneId": zone.id,
        "GroupName": f"{region}-zg-1",
        "NetworkBorderGroup": region,
        "ZoneType": "availability-zone",
    }


def group_arn(scope: Scope, id: str) -> str:
    return arn("ec2", scope[1], scope[0], f"security-group/{id}")


def group_shape(scope: Scope, group: SecurityGroup) -> Shape:
    def pair(rule: GroupRule) -> Shape:
        return {"GroupId": rule.group_id, "UserId": scope[0]}

    return {
        "GroupId": group.id,
        "GroupName": group.name,
        "Description": group.description,
        "VpcId": group.vpc_id,
        "OwnerId": scope[0],
        "SecurityGroupArn": group_arn(scope, group.id),
        "IpPermissions": permissions_of((r for r in group.rules if not r.egress), pair),
        "IpPermissionsEgress": permissions_of((r for r in group.rules if r.egress), pair),
        "Tags": tag_list(group.tags),
    }


def _peer_and_range(rule: GroupRule) -> Shape:
    shape: Shape = {"IpProtocol": rule.protocol, "FromPort": rule.from_port, "ToPort": rule.to_port}
    if rule.cidr:
        shape["CidrIpv4"] = rule.cidr
    if rule.cidr6:
        shape["CidrIpv6"] = rule.cidr6
    if rule.description is not None:
        shape["Description"] = rule.description
    return shape


def rule_shape(scope: Scope, group: SecurityGroup, rule: GroupRule) -> Shape:
    shape = {
        "SecurityGroupRuleId": rule.id,
        "SecurityGroupRuleArn": arn("ec2", scope[1], scope[0], f"security-group-rule/{rule.id}"),
        "GroupId": group.id,
        "GroupOwnerId": scope[0],
        "IsEgress": rule.egress,
        **_peer_and_range(rule),
        "Tags": tag_list(rule.tags),
    }
    if rule.group_id:
        shape["ReferencedGroupInfo"] = {"GroupId": rule.group_id, "UserId": scope[0], "VpcId": group.vpc_id}
    return shape


def revoked_rule_shape(group: SecurityGroup, rule: GroupRule) -> Shape:
    shape = {
        "SecurityGroupRuleId": rule.id,
        "GroupId": group.id,
        "IsEgress": rule.egress,
        **_peer_and_range(rule),
    }
    if rule.group_id:
        shape["ReferencedGroupId"] = rule.group_id
    return shape


def interface_status(interface: NetworkInterface) -> str:
    """``pending`` is ours: the node doesn't have it yet."""
    return "attaching" if interface.status == "pending" else interface.status


def attachment_status(interface: NetworkInterface) -> str:
    return "attached" if interface.status == "in-use" else "attaching"


def interface_shape(view: View, scope: Scope, interface: NetworkInterface) -> Shape:
    association = _association(scope, interface)
    associated = {"Association": association} if association else {}
    subnet = view.get(SUBNETS, scope, interface.subnet_id)
    shape: Shape = {
        "NetworkInterfaceId": interface.id,
        "InterfaceType": "interface",
        "Description": interface.description,
        "OwnerId": scope[0],
        "RequesterId": interface.instance_owner,
        "RequesterManaged": True,
        "Status": interface_status(interface),
        "VpcId": interface.vpc_id,
        "SubnetId": interface.subnet_id,
        "AvailabilityZone": interface.availability_zone,
        "MacAddress": interface.mac,
        "PrivateIpAddress": interface.private_address,
        "PrivateDnsName": interface.private_dns_name,
        "PrivateIpAddresses": [
            {
                "Primary": True,
                "PrivateIpAddress": interface.private_address,
                "PrivateDnsName": interface.private_dns_name,
                **associated,
            }
        ],
        **associated,
        "Groups": [_group_identifier(view, scope, id) for id in interface.groups],
        "Ipv6Addresses": [],
        "SourceDestCheck": True,
        "TagSet": tag_list(interface.tags),
    }
    if subnet is not None:
        shape["AvailabilityZoneId"] = subnet.zone_id
    if interface.attachment_id:
        shape["Attachment"] = _attachment(interface)
    return shape


def _association(scope: Scope, interface: NetworkInterface) -> Shape | None:
    if interface.public_address is None:
        return None
    return {
        "AssociationId": interface.association_id,
        "IpOwnerId": "amazon",  # not an Elastic IP address of the account
        "PublicDnsName": public_dns_name(scope[1], interface.public_address),
        "PublicIp": interface.public_address,
    }


def _attachment(interface: NetworkInterface) -> Shape:
    shape: Shape = {
        "AttachmentId": interface.attachment_id,
        "DeleteOnTermination": False,
        "DeviceIndex": 1,
        "NetworkCardIndex": 0,
        "InstanceOwnerId": interface.instance_owner,
        "Status": attachment_status(interface),
    }
    if interface.attached_at is not None:
        shape["AttachTime"] = interface.attached_at
    return shape


def _group_identifier(view: View, scope: Scope, id: str) -> Shape:
    group = view.get(GROUPS, scope, id)
    return {"GroupId": id, "GroupName": group.name} if group else {"GroupId": id}
