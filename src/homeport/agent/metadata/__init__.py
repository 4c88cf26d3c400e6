"""169.254.170.2: what a task is told about itself, and its way to the API.

Paths under /v1 to /v4 and /api are the agent's; all others are the control plane's and are passed on to it. A task is
known by its VPC and source address, which the router's rules let nobody forge, and sees itself only.
"""
