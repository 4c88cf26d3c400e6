"""The availability zones that a service's tasks can be in."""

from __future__ import annotations

from homeport.services.ecs import clusters, definitions, launch, service_launch
from homeport.services.ecs.model.deployment import Configuration
from homeport.services.ecs.model.service import Service
from homeport.services.ecs.placement import StoreIndex
from homeport.services.ecs.placement.candidates import candidates
from homeport.store import Scope, View


def zones(view: View, scope: Scope, service: Service, configuration: Configuration) -> tuple[str, ...]:
    """By name. Of Fargate's those of its subnets, of others those with instances that meet all that is asked of
    attributes; whether there is room doesn't matter."""
    cluster = clusters.newest(view, scope, service.cluster)
    definition = definitions.of_task(view, scope, configuration.definition_arn)
    if cluster is None or definition is None:
        return ()
    wish = service_launch.wish(cluster, service, definition, configuration, started_by="", provider=None, images={})
    demand = launch.demanded(view, scope, wish)
    found = {lot.zone for lot in candidates(demand, StoreIndex(view, scope)).lots}
    # A node of the pool that isn't in any zone serves those of all subnets.
    anywhere = demand.zones if None in found and not demand.cluster else ()
    return tuple(sorted({zone for zone in found if zone is not None} | {*anywhere}))
