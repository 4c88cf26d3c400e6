"""deploymentConfiguration: its defaults, and what it can't be."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.core.errors import AwsError
from homeport.services.ecs import deployment_rules

BREAKER = {"enable": True, "rollback": True}
PERCENT = {"resetOnHealthyTask": True, "thresholdConfiguration": {"type": "BOUNDED_PERCENT", "value": 50}}


def threshold(kind: str, value: int) -> dict[str, Any]:
    return {"deploymentCircuitBreaker": {**BREAKER, "thresholdConfiguration": {"type": kind, "value": value}}}


def test_an_enabled_circuit_breaker_gets_its_defaults() -> None:
    made = deployment_rules.of_new({"deploymentCircuitBreaker": BREAKER}, daemon=False)
    assert made["deploymentCircuitBreaker"] == BREAKER | PERCENT
    off = {"enable": False, "rollback": False, "thresholdConfiguration": {"type": "COUNT", "value": 2}}
    assert deployment_rules.of_new({"deploymentCircuitBreaker": off}, daemon=False)["deploymentCircuitBreaker"] == off
    counted = deployment_rules.of_new(threshold("COUNT", 500), daemon=False)
    assert counted["deploymentCircuitBreaker"]["thresholdConfiguration"] == {"type": "COUNT", "value": 500}


def test_early_success_gets_its_defaults() -> None:
    wanted = {"minimumHealthyPercent": 50, "earlySuccessCriteria": {"enable": True}}
    made = deployment_rules.of_new(wanted, daemon=False)
    assert made["earlySuccessCriteria"] == {
        "enable": True,
        "healthyPercent": 100,
        "sourceServiceRevisionCleanup": "BLOCKING",
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"minimumHealthyPercent": 101},
        {"minimumHealthyPercent": -1},
        {"maximumPercent": 99, "minimumHealthyPercent": 0},
        {"maximumPercent": 100},
        {"bakeTimeInMinutes": -1},
        {"bakeTimeInMinutes": 1441},
        {"canaryConfiguration": {}},
        {"linearConfiguration": {}, "strategy": "CANARY"},
        {"alarms": {"alarmNames": [], "enable": True, "rollback": True}},
        threshold("COUNT", 0),
        threshold("BOUNDED_PERCENT", 101),
        threshold("UNBOUNDED_PERCENT", 0),
        {"earlySuccessCriteria": {"enable": True, "healthyPercent": 101}},
        {"earlySuccessCriteria": {"enable": True, "healthyPercent": 60}, "minimumHealthyPercent": 61},
        {"earlySuccessCriteria": {"enable": True}, "strategy": "BLUE_GREEN"},
    ],
)
def test_what_no_service_can_have(wrong: dict[str, Any]) -> None:
    for check in (
        lambda: deployment_rules.of_new(wrong, daemon=False),
        lambda: deployment_rules.of_changed(deployment_rules.of_new({}, daemon=False), wrong, daemon=False),
    ):
        with pytest.raises(AwsError) as caught:
            check()
        assert caught.value.code == "InvalidParameterException"


@pytest.mark.parametrize(
    "later",
    [
        {"strategy": "BLUE_GREEN"},
        {"strategy": "LINEAR", "linearConfiguration": {}},
        {"lifecycleHooks": [{"targetType": "PAUSE"}]},
        {"alarms": {"alarmNames": ["a"], "enable": True, "rollback": True}},
    ],
)
def test_what_is_not_built_is_good_but_refused(later: dict[str, Any]) -> None:
    assert later.items() <= deployment_rules.of_new(later, daemon=False).items()
    with pytest.raises(AwsError) as caught:
        deployment_rules.check_supported(later)
    assert caught.value.code == "UnsupportedFeatureException"


SOME = st.fixed_dictionaries(
    {},
    optional={
        "maximumPercent": st.integers(101, 400),
        "minimumHealthyPercent": st.integers(0, 99),
        "bakeTimeInMinutes": st.integers(0, 1440),
        "deploymentCircuitBreaker": st.fixed_dictionaries({"enable": st.booleans(), "rollback": st.booleans()}),
        "strategy": st.just("ROLLING"),
    },
)


@given(SOME, SOME)
def test_a_change_keeps_what_it_does_not_name(first: dict[str, Any], second: dict[str, Any]) -> None:
    made = deployment_rules.of_new(first, daemon=False)
    changed = deployment_rules.of_changed(made, second, daemon=False)
    for member in ("maximumPercent", "minimumHealthyPercent", "bakeTimeInMinutes"):
        assert changed[member] == second.get(member, made[member])
    assert deployment_rules.of_changed(made, {}, daemon=False) == made  # nothing given, nothing changed
    assert deployment_rules.of_changed(changed, second, daemon=False) == changed
