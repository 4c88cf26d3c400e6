"""What ``deploymentConfiguration`` may be, and its defaults. Pure.

Texts are ECS's where they are recorded; the others are worded in their manner.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homeport.core.errors import AwsError, invalid_parameter

MAX_MINUTES = 1440  # of a bake time
_NO_BREAKER: dict[str, Any] = {"enable": False, "rollback": False}
_THRESHOLD = {"type": "BOUNDED_PERCENT", "value": 50}
_STRATEGIES = {"BLUE_GREEN": None, "LINEAR": "linearConfiguration", "CANARY": "canaryConfiguration"}

Given = Mapping[str, Any]


def of_new(given: Given, *, daemon: bool, external: bool = False) -> dict[str, Any]:
    """A new service's, checked, with its defaults written out. Raises InvalidParameterException."""
    percents = {"maximumPercent": 100 if daemon else 200, "minimumHealthyPercent": 0 if daemon else 100}
    if external:
        return _checked({**percents, **_set(given)}, daemon=daemon)
    own = {"deploymentCircuitBreaker": _NO_BREAKER, **percents, "strategy": "ROLLING", "bakeTimeInMinutes": 0}
    return _checked({**own, **_set(given)}, daemon=daemon)


def of_changed(before: Given, given: Given, *, daemon: bool) -> dict[str, Any]:
    """What UpdateService leaves: members that aren't given stay (inferred)."""
    return _checked({**before, **_set(given)}, daemon=daemon)


def check_supported(given: Given) -> None:
    """Raises UnsupportedFeatureException for what isn't built."""
    strategy = given.get("strategy")
    if strategy not in (None, "ROLLING"):
        raise _unsupported(f"the deployment strategy {strategy}")
    if given.get("lifecycleHooks"):
        raise _unsupported("lifecycle hooks of deployments")
    if (given.get("alarms") or {}).get("enable"):
        raise _unsupported("alarms of deployments")


def _unsupported(what: str) -> AwsError:
    return AwsError("UnsupportedFeatureException", f"Homeport does not support {what} yet.")


def _set(given: Given) -> dict[str, Any]:
    return {member: value for member, value in given.items() if value is not None}


def _checked(whole: dict[str, Any], *, daemon: bool) -> dict[str, Any]:
    _check_percents(whole["maximumPercent"], whole["minimumHealthyPercent"], daemon=daemon)
    _check_strategy(whole)
    if not 0 <= whole.get("bakeTimeInMinutes", 0) <= MAX_MINUTES:
        raise invalid_parameter(f"bakeTimeInMinutes must be between 0 and {MAX_MINUTES}.")
    alarms = whole.get("alarms") or {}
    if alarms.get("enable") and not alarms.get("alarmNames"):
        raise invalid_parameter("alarmNames can not be empty when deployment alarms are enabled.")
    if "deploymentCircuitBreaker" in whole:
        whole["deploymentCircuitBreaker"] = _breaker(whole["deploymentCircuitBreaker"])
    if "earlySuccessCriteria" in whole:
        whole["earlySuccessCriteria"] = _early(whole["earlySuccessCriteria"], whole)
    return whole


def _check_percents(most: int, least: int, *, daemon: bool) -> None:
    if least > 100:
        raise invalid_parameter("minimumHealthyPercent must be at most 100")
    if least < 0:
        raise invalid_parameter("minimumHealthyPercent must be at least 0")
    if daemon and most > 100:
        raise invalid_parameter("The daemon scheduling strategy does not support values above 100 for maximumPercent")
    if most < 100:
        raise invalid_parameter("maximumPercent must be at least 100")
    if most == least == 100:
        raise invalid_parameter(
            "Both maximumPercent and minimumHealthyPercent cannot be 100 as this will block deployments."
        )


def _check_strategy(whole: Given) -> None:
    strategy = whole.get("strategy", "ROLLING")
    for name, member in _STRATEGIES.items():
        if member and whole.get(member) is not None and strategy != name:
            raise invalid_parameter(f"{member} can only be specified for the deployment strategy {name}.")


def _breaker(given: Given) -> dict[str, Any]:
    """With the defaults of one that is enabled."""
    threshold = given.get("thresholdConfiguration")
    if threshold is not None:
        value, percent = threshold["value"], threshold["type"] != "COUNT"
        if value < 1 or (percent and value > 100):
            allowed = "between 1 and 100 for a percentage" if percent else "at least 1"
            raise invalid_parameter(f"The value of the deployment circuit breaker's threshold must be {allowed}.")
    if not given["enable"]:
        return dict(given)
    return {"resetOnHealthyTask": True, "thresholdConfiguration": _THRESHOLD, **given}


def _early(given: Given, whole: Given) -> dict[str, Any]:
    if not given["enable"]:
        return dict(given)
    if whole.get("strategy", "ROLLING") != "ROLLING":
        raise invalid_parameter("earlySuccessCriteria can only be specified for the deployment strategy ROLLING.")
    filled = {"healthyPercent": 100, "sourceServiceRevisionCleanup": "BLOCKING", **given}
    if not 0 <= filled["healthyPercent"] <= 100:
        raise invalid_parameter("healthyPercent must be between 0 and 100")
    if filled["healthyPercent"] < whole["minimumHealthyPercent"]:
        raise invalid_parameter("healthyPercent must be greater than or equal to minimumHealthyPercent")
    return filled
