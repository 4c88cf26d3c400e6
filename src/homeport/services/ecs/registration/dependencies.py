"""Rules for dependsOn and what else makes one container wait for another. Pure."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

from homeport.services.ecs.registration.members import Members, Rule, containers, each, items, mode, names


def known(definition: Members, container: Members) -> str | None:
    for dependency in items(container, "dependsOn"):
        if dependency["containerName"] not in names(definition):
            return f"Cannot depend on container + '{dependency['containerName']}' because it does not exist"
    return None


def reachable(definition: Members, container: Members) -> str | None:
    """The condition can come true: an essential container's end ends the task, and health needs a check."""
    of = {other["name"]: other for other in containers(definition)}
    for dependency in items(container, "dependsOn"):
        target, condition = of[dependency["containerName"]], dependency["condition"]
        if condition in ("COMPLETE", "SUCCESS") and target.get("essential", True):
            return "A dependency container with SUCCESS or COMPLETE condition cannot be an essential container"
        if condition == "HEALTHY" and not target.get("healthCheck"):
            return "A dependency container with HEALTHY condition must have health check configured"
    return None


def links(definition: Members, container: Members) -> str | None:
    asked, network = items(container, "links"), mode(definition)
    if asked and network != "bridge":
        return f"Links are not supported when networkMode={network}."
    unknown = next((name for name in map(linked, asked) if name not in names(definition)), None)
    return None if unknown is None else f"Invalid 'links' setting. Unknown container: '{unknown}'"


def volumes_from(definition: Members, container: Members) -> str | None:
    for volume in items(container, "volumesFrom"):
        name = volume.get("sourceContainer") or ""
        if name not in names(definition):
            return f"Invalid 'volumesFrom' setting. Unknown container: '{name}'"
    return None


def acyclic(definition: Members) -> str | None:
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for container in containers(definition):
        before = {dependency["containerName"] for dependency in items(container, "dependsOn")}
        before |= {linked(link) for link in items(container, "links")}
        before |= {volume["sourceContainer"] for volume in items(container, "volumesFrom")}
        sorter.add(container["name"], *before)
    try:
        sorter.prepare()
    except CycleError:
        return "Container dependency cycle detected"
    return None


def linked(link: str) -> str:
    """The container in a link, ``name`` or ``name:alias``."""
    return link.partition(":")[0]


RULES: tuple[Rule, ...] = (each(known), each(reachable), each(links), each(volumes_from), acyclic)
