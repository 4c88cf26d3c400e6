"""Images that don't do what their service needs, on the real machine: the old revision serves on."""

from __future__ import annotations

from typing import Any

import pytest

from support.services import BREAKER, Services
from support.serving import CHECK, READY, SERVE, Probe, all_tasks
from support.tasks import until

pytestmark = [pytest.mark.host, pytest.mark.timeout(400)]

NEVER = "exec sleep 1000"  # its check wants a file that it doesn't make
FICKLE = f": > {READY}; sleep 8; rm {READY}; exec sleep 1000"
CRASHES = "exit 3"
STRICT = {**CHECK, "retries": 1}  # a bad image needs no patience
EXACT = {"minimumHealthyPercent": 100, "maximumPercent": 200}


@pytest.fixture(scope="module")
def services(homeport: Any) -> Services:
    return Services(homeport, "images")


def states(services: Services, name: str) -> list[str]:
    return [d["rolloutState"] for d in services.describe(name)["deployments"]]


def of(services: Services, name: str, definition: str) -> list[dict[str, Any]]:
    """All tasks of a service with this definition."""
    found = [t for t in all_tasks(services) if t["group"] == f"service:{name}"]
    return [t for t in found if t["taskDefinitionArn"] == definition]


@pytest.mark.feature("Images that crash, never get healthy or don't stay so: the old revision serves on, or comes back")
def test_bad_images_take_nothing_from_the_good_one(services: Services) -> None:
    names = ("crashes", "never", "fickle")
    good = {name: services.define(name, SERVE, healthCheck=CHECK) for name in names}
    for name, definition in good.items():
        services.create(name, definition, 1, deploymentConfiguration=EXACT)
    for name in names:
        until(lambda name=name: states(services, name), lambda seen: seen == ["COMPLETED"], 90)
    with Probe(services.homeport) as probe:
        until(lambda: len(probe.serving), lambda count: count == 3)
        probe.begin()
        first = {of(services, name, good[name])[0]["taskArn"].rpartition("/")[2] for name in names}
        bad = {
            "crashes": services.define("crashes", CRASHES, healthCheck=CHECK),
            "never": services.define("never", NEVER, healthCheck=STRICT),
            "fickle": services.define("fickle", FICKLE, healthCheck=STRICT),
        }
        services.update("crashes", taskDefinition=bad["crashes"])
        services.update("never", taskDefinition=bad["never"], deploymentConfiguration={**EXACT, **BREAKER})
        services.update("fickle", taskDefinition=bad["fickle"])

        # healthy once: it takes the place of the good one, is replaced when it isn't so any more, and so on
        until(lambda: of(services, "fickle", bad["fickle"]), lambda seen: len(seen) >= 3, 120)
        replaced = [t for t in of(services, "fickle", bad["fickle"]) if t["desiredStatus"] == "STOPPED"]
        assert all(t["stoppedReason"].startswith("Task failed container health checks") for t in replaced)

        # never healthy: three replacements, and back to what was good
        until(lambda: states(services, "never"), lambda seen: seen == ["COMPLETED"], 120)
        (primary,) = services.describe("never")["deployments"]
        assert primary["taskDefinition"] == good["never"]

        # crashes: tried again and again, with the exit code of each try; the good one is as it was
        tries = [t for t in of(services, "crashes", bad["crashes"]) if t["lastStatus"] == "STOPPED"]
        assert len(tries) >= 3
        assert {t["containers"][0]["exitCode"] for t in tries} == {3}
        assert states(services, "crashes") == ["IN_PROGRESS", "COMPLETED"]
        assert probe.least >= 2, "the two good ones at any time"
        kept = [t for name in ("crashes", "never") for t in of(services, name, good[name])]
        assert {t["taskArn"].rpartition("/")[2] for t in kept} <= first
        assert {t["lastStatus"] for t in kept} == {"RUNNING"}

        mended = services.define("crashes", SERVE, healthCheck=CHECK)
        services.update("crashes", taskDefinition=mended)
        until(lambda: states(services, "crashes"), lambda seen: seen == ["COMPLETED"], 90)
        assert probe.least >= 2
    services.delete(*names)
