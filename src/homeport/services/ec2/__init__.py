"""The part of EC2 that ECS stands on: VPCs, subnets, security groups, network interfaces, addresses."""
