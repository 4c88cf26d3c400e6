"""What a service's scheduler decides: from what it sees to a plan. Pure."""
