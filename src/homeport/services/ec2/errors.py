"""EC2's errors with EC2's texts."""

from __future__ import annotations

from collections.abc import Sequence

from homeport.core.errors import AwsError


def _missing(code: str, one: str, many: str, ids: Sequence[str]) -> AwsError:
    quoted = f"'{', '.join(ids)}'"
    return AwsError(code, f"The {many} {quoted} do not exist" if len(ids) > 1 else f"The {one} {quoted} does not exist")


def no_vpc(*ids: str) -> AwsError:
    return _missing("InvalidVpcID.NotFound", "vpc ID", "vpc IDs", ids)


def no_subnet(*ids: str) -> AwsError:
    return _missing("InvalidSubnetID.NotFound", "subnet ID", "subnet IDs", ids)


def no_interface(*ids: str) -> AwsError:
    return _missing("InvalidNetworkInterfaceID.NotFound", "networkInterface ID", "networkInterface IDs", ids)


def no_group(*ids: str) -> AwsError:
    return _missing("InvalidGroup.NotFound", "security group", "security groups", ids)


def no_group_named(name: str, vpc_id: str) -> AwsError:
    return AwsError("InvalidGroup.NotFound", f"The security group '{name}' does not exist in default VPC '{vpc_id}'")


def no_prefix_list(id: str) -> AwsError:
    return AwsError("InvalidPrefixListID.NotFound", f"The prefix list ID '{id}' does not exist")


def no_peering(id: str) -> AwsError:
    return AwsError("InvalidVpcPeeringConnectionID.NotFound", f"The vpcPeeringConnection ID '{id}' does not exist")


def no_rule(*ids: str) -> AwsError:
    return _missing("InvalidSecurityGroupRuleId.NotFound", "security group rule ID", "security group rule IDs", ids)


def bad_value(text: str, code: str = "InvalidParameterValue") -> AwsError:
    return AwsError(code, text)


def bad_combination(text: str) -> AwsError:
    return AwsError("InvalidParameterCombination", text)


def missing(parameter: str) -> AwsError:
    return AwsError("MissingParameter", f"The request must contain the parameter {parameter}")


def subnet_full() -> AwsError:
    return AwsError(
        "InsufficientFreeAddressesInSubnet",
        "The specified subnet does not have enough free addresses to satisfy the request.",
    )


def pool_empty() -> AwsError:
    return AwsError("InsufficientAddressCapacity", "Not enough public addresses are available to satisfy the request.")
