"""Operations of EC2."""

from __future__ import annotations

from homeport.aws.operations import Service
from homeport.services.ec2.api.network_interfaces import describe_network_interfaces
from homeport.services.ec2.api.operation import operation
from homeport.services.ec2.api.security_group_rules import (
    authorize_security_group_egress,
    authorize_security_group_ingress,
    describe_security_group_rules,
    revoke_security_group_egress,
    revoke_security_group_ingress,
)
from homeport.services.ec2.api.security_groups import (
    create_security_group,
    delete_security_group,
    describe_security_groups,
    resources,
)
from homeport.services.ec2.api.vpcs import describe_availability_zones, describe_subnets, describe_vpcs

# The Describe operations write too: the first one in a region makes its default VPC.
SERVICE = Service(
    "ec2",
    {
        "AuthorizeSecurityGroupEgress": operation(authorize_security_group_egress, resources=resources),
        "AuthorizeSecurityGroupIngress": operation(authorize_security_group_ingress, resources=resources),
        "CreateSecurityGroup": operation(create_security_group, resources=resources),
        "DeleteSecurityGroup": operation(delete_security_group, resources=resources),
        "DescribeAvailabilityZones": operation(describe_availability_zones, write=False),
        "DescribeNetworkInterfaces": operation(describe_network_interfaces),
        "DescribeSecurityGroupRules": operation(describe_security_group_rules),
        "DescribeSecurityGroups": operation(describe_security_groups),
        "DescribeSubnets": operation(describe_subnets),
        "DescribeVpcs": operation(describe_vpcs),
        "RevokeSecurityGroupEgress": operation(revoke_security_group_egress, resources=resources),
        "RevokeSecurityGroupIngress": operation(revoke_security_group_ingress, resources=resources),
    },
)
