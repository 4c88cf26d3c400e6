"""Security groups: two tasks reach each other only as their groups allow, before and after a rule changes."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from support.tasks import WEB, Tasks, until

pytestmark = pytest.mark.host

# Tries to connect, and says how it went.
PROBE = "while :; do nc -w 1 $TARGET 80 </dev/null >/dev/null 2>&1 && echo open || echo shut; sleep 0.1; done"


@pytest.fixture
def groups(tasks: Tasks) -> Iterator[tuple[str, str]]:
    """Two groups: of servers, with no rule that lets anything in, and of clients."""
    vpc = tasks.ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    made = [
        tasks.ec2.create_security_group(GroupName=f"{name}-{time.time_ns()}", Description=name, VpcId=vpc)["GroupId"]
        for name in ("servers", "clients")
    ]
    yield made[0], made[1]
    for group in made:
        tasks.ec2.delete_security_group(GroupId=group)


def last_line(tasks: Tasks, arn: str) -> str:
    output = tasks.homeport.state / "agent" / "logs" / arn.rpartition("/")[2] / "app" / "stdout"
    lines = output.read_text().split()
    return lines[-1] if lines else ""


def reachable(address: str) -> bool:
    try:
        socket.create_connection((address, 80), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.mark.feature("Security groups, enforced in both directions, live within a second")
def test_reach_follows_the_rules(tasks: Tasks, groups: tuple[str, str]) -> None:
    servers, clients = groups
    server = tasks.run(WEB, groups=[servers])
    private, public = tasks.address(tasks.wait(server, "RUNNING"))
    client = tasks.run(PROBE, groups=[clients], environment=[{"name": "TARGET", "value": private}])
    tasks.wait(client, "RUNNING")
    assert until(lambda: last_line(tasks, client), bool) == "shut"
    assert not reachable(public), "nothing lets the host in either"

    rule = [{"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "UserIdGroupPairs": [{"GroupId": clients}]}]
    tasks.ec2.authorize_security_group_ingress(GroupId=servers, IpPermissions=rule)
    began = time.monotonic()
    until(lambda: last_line(tasks, client), lambda line: line == "open")
    assert time.monotonic() - began < 10, (
        "a changed rule is live at once; the probe and a loaded machine take their time"
    )
    assert not reachable(public), "a rule for a group lets no one else in"

    tasks.ec2.revoke_security_group_ingress(GroupId=servers, IpPermissions=rule)
    until(lambda: last_line(tasks, client), lambda line: line == "shut")

    world = [{"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    tasks.ec2.authorize_security_group_ingress(GroupId=servers, IpPermissions=world)
    until(lambda: reachable(public), bool)
    until(lambda: last_line(tasks, client), lambda line: line == "open")
    tasks.ec2.revoke_security_group_ingress(GroupId=servers, IpPermissions=world)
    until(lambda: reachable(public), lambda seen: not seen)
    for arn in (server, client):
        tasks.stop(arn)
