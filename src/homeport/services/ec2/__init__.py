"""The part of EC2 that ECS stands on: VPCs, subnets, security groups, network interfaces, addresses."""

from homeport.services.ec2 import defaults, eni, groups, pool
from homeport.services.ec2.api import SERVICE
from homeport.services.ec2.forget import forget_all
from homeport.services.ec2.model import TABLES

__all__ = ["SERVICE", "TABLES", "defaults", "eni", "forget_all", "groups", "pool"]
