"""Account settings: whose value holds, what may be set, and what new clusters make of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ecs_calls import ACCOUNT, Ecs, running

ROOT = f"arn:aws:iam::{ACCOUNT}:root"
USER = f"arn:aws:iam::{ACCOUNT}:user/ada"


@pytest.fixture
def ecs() -> Iterator[Ecs]:
    with running() as ecs:
        yield ecs


def effective(ecs: Ecs, principal: str = ROOT, **filters: str) -> dict[str, tuple[str, str]]:
    """What holds, by name: the value and whose it is."""
    found: dict[str, tuple[str, str]] = {}
    token: dict[str, str] = {}
    while True:
        page = ecs("ListAccountSettings", effectiveSettings=True, principalArn=principal, **filters, **token)
        found |= {s["name"]: (s["value"], s["principalArn"]) for s in page["settings"]}
        if "nextToken" not in page:
            return found
        token = {"nextToken": page["nextToken"]}


def test_the_defaults_are_those_of_a_new_account(ecs: Ecs) -> None:
    values = {name: value for name, (value, _) in effective(ecs).items()}
    assert values == {
        "awsvpcTrunking": "disabled",
        "containerInsights": "disabled",
        "containerInstanceLongArnFormat": "enabled",
        "defaultLogDriverMode": "non-blocking",
        "fargateEventWindows": "disabled",
        "fargateFIPSMode": "disabled",
        "fargateTaskRetirementWaitPeriod": "7",
        "guardDutyActivate": "off",
        "serviceLongArnFormat": "enabled",
        "tagResourceAuthorization": "on",
        "taskLongArnFormat": "enabled",
    }
    assert ecs("ListAccountSettings") == {"settings": []}


def test_a_principals_own_value_comes_before_the_accounts(ecs: Ecs) -> None:
    ecs("PutAccountSettingDefault", name="containerInsights", value="enabled")
    assert effective(ecs, USER)["containerInsights"] == ("enabled", ROOT)
    own = ecs("PutAccountSetting", name="containerInsights", value="enhanced", principalArn=USER)
    assert own == {"setting": {"name": "containerInsights", "value": "enhanced", "principalArn": USER, "type": "user"}}
    assert effective(ecs, USER)["containerInsights"] == ("enhanced", USER)
    assert effective(ecs, ROOT)["containerInsights"] == ("enabled", ROOT)
    assert ecs("ListAccountSettings", principalArn=USER)["settings"] == [own["setting"]]
    assert ecs("ListAccountSettings", principalArn=USER, name="awsvpcTrunking")["settings"] == []
    left = ecs("DeleteAccountSetting", name="containerInsights", principalArn=USER)["setting"]
    assert (left["value"], left["principalArn"]) == ("enabled", USER)
    assert ecs("ListAccountSettings", principalArn=USER) == {"settings": []}
    assert ecs("DeleteAccountSetting", name="containerInsights")["setting"]["value"] == "disabled"
    assert ecs("DeleteAccountSetting", name="containerInsights")["setting"]["value"] == "disabled"


def test_lists_have_ten_on_a_page(ecs: Ecs) -> None:
    first = ecs("ListAccountSettings", effectiveSettings=True)
    rest = ecs("ListAccountSettings", effectiveSettings=True, nextToken=first["nextToken"])
    names = [s["name"] for s in (*first["settings"], *rest["settings"])]
    assert (len(first["settings"]), len(names), "nextToken" in rest) == (10, 11, False)
    assert names == sorted(names)
    with ecs.refused("InvalidParameterException"):
        ecs("ListAccountSettings", maxResults=11)
    with ecs.refused("InvalidParameterException"):
        ecs("ListAccountSettings", value="enabled")
    by_value = ecs("ListAccountSettings", effectiveSettings=True, name="taskLongArnFormat", value="disabled")
    assert by_value == {"settings": []}
    (managed,) = ecs("ListAccountSettings", effectiveSettings=True, name="guardDutyActivate")["settings"]
    assert managed["type"] == "aws_managed"


def test_settings_are_of_one_region_and_outlive_a_restart(ecs: Ecs) -> None:
    ecs("PutAccountSetting", name="awsvpcTrunking", value="enabled")
    assert ecs("ListAccountSettings", region="eu-west-1") == {"settings": []}
    assert ecs.restarted()("ListAccountSettings")["settings"][0]["value"] == "enabled"


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"name": "taskLongArnFormat", "value": "disabled"}, "You can no longer disable Long Arn settings."),
        ({"name": "taskLongArnFormat", "value": "ENABLED"}, "Invalid setting 'value'"),
        ({"name": "tagResourceAuthorization", "value": "enabled"}, "Invalid setting 'value'"),
        ({"name": "fargateTaskRetirementWaitPeriod", "value": "8"}, "Invalid setting 'value'"),
        ({"name": "guardDutyActivate", "value": "on"}, None),
    ],
)
def test_values_that_nobody_can_set(ecs: Ecs, members: dict[str, str], text: str | None) -> None:
    for call in ("PutAccountSetting", "PutAccountSettingDefault"):
        with ecs.refused("InvalidParameterException", text):
            ecs(call, **members)


@pytest.mark.parametrize("arn", ["ada", "arn:aws:iam::999999999999:root", f"arn:aws:iam::{ACCOUNT}:group/g"])
def test_principals_that_are_none(ecs: Ecs, arn: str) -> None:
    with ecs.refused("InvalidParameterException"):
        ecs("PutAccountSetting", name="awsvpcTrunking", value="enabled", principalArn=arn)


def test_only_the_root_user_sets_the_wait_before_a_retirement(ecs: Ecs) -> None:
    with ecs.refused("InvalidParameterException"):
        ecs("PutAccountSetting", name="fargateTaskRetirementWaitPeriod", value="0", principalArn=USER)
    ecs("PutAccountSetting", name="fargateTaskRetirementWaitPeriod", value="0")


def test_new_clusters_get_the_accounts_container_insights(ecs: Ecs) -> None:
    ecs("PutAccountSettingDefault", name="containerInsights", value="enhanced")
    made = ecs("CreateCluster", clusterName="a")["cluster"]
    assert made["settings"] == [{"name": "containerInsights", "value": "enhanced"}]
    asked = [{"name": "containerInsights", "value": "disabled"}]
    assert ecs("CreateCluster", clusterName="b", settings=asked)["cluster"]["settings"] == asked
