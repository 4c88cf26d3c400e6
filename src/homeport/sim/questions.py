"""What-if questions of a cluster: what a scenario file can hold. Pure.

Every member has its bounds here, so that a file that is read is one that can be played. ``at``, ``seconds``, ``starts``
and the like are seconds; ``cpu`` of machines is in cores, of services in units; ``memory`` in MiB; prices in USD.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from homeport.cost.billing import FARGATE

DAY = 86_400.0
LONGEST = 30 * DAY  # that is played
MOST_MACHINES = 5_000
MOST_TASKS = 20_000  # of all services together
MOST_EVENTS = 1_000

Moment = Annotated[float, Meta(ge=0, le=LONGEST)]
Count = Annotated[int, Meta(ge=0, le=MOST_TASKS)]
Units = Annotated[int, Meta(ge=0, le=1_000_000)]
Mebibytes = Annotated[int, Meta(ge=1, le=100_000_000)]
Price = Annotated[float, Meta(ge=0, le=1_000_000)]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,127}$")]
Zone = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")]
Zones = Annotated[tuple[Zone, ...], Meta(min_length=1, max_length=100)]


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class Prices(Table, frozen=True, kw_only=True):
    """Per hour of a vCPU and of a GB on Fargate. Fargate Spot has none unless it is given: it changes with supply."""

    vcpu: Price = FARGATE.vcpu
    gb: Price = FARGATE.gb
    spot_vcpu: Price | None = None
    spot_gb: Price | None = None


class Pool(Table, frozen=True, kw_only=True):
    """Room for tasks on Fargate without any bound, as Amazon's has nearly always, in these zones."""

    zones: Zones


class Machines(Table, frozen=True, kw_only=True):
    """``count`` machines that are alike, in the zones in turns; the first of ``web`` is the instance ``web-1``.

    ``kind``: container instances of EC2 or of a machine room, or nodes of one's own Fargate pool, which advertise their
    cores ``overcommit`` times and their memory twice. ``provider``: the capacity provider whose Auto Scaling group they
    are of. ``interfaces``: network interfaces for tasks that each can have. ``price``: of one machine for an hour.
    """

    name: Name
    count: Annotated[int, Meta(ge=0, le=MOST_MACHINES)]
    cpu: Annotated[int, Meta(ge=1, le=1_000)]
    memory: Mebibytes
    zones: Zones = ("us-east-1a",)
    kind: Literal["EC2", "EXTERNAL", "FARGATE"] = "EC2"
    overcommit: Annotated[float, Meta(ge=1, le=64)] = 16.0
    provider: Name | None = None
    interfaces: Annotated[int, Meta(ge=1, le=1_000)] | None = None
    attributes: dict[str, str] = {}
    price: Price | None = None


class Breaker(Table, frozen=True, kw_only=True):
    """AWS's deploymentCircuitBreaker."""

    enable: bool
    rollback: bool = False


class Constraint(Table, frozen=True, kw_only=True):
    """AWS's placement constraint."""

    type: Literal["distinctInstance", "memberOf"]
    expression: str | None = None


class Strategy(Table, frozen=True, kw_only=True):
    """AWS's placement strategy."""

    type: Literal["spread", "binpack", "random"]
    field: str | None = None


class Capacity(Table, frozen=True, kw_only=True, rename={"provider": "capacityProvider"}):
    """An item of AWS's capacityProviderStrategy."""

    provider: str
    base: Annotated[int, Meta(ge=0, le=100_000)] = 0
    weight: Annotated[int, Meta(ge=0, le=1_000)] = 0


class Runs(Table, frozen=True, kw_only=True):
    """A service of ``count`` tasks.

    ``starts`` until a task is RUNNING, ``healthy`` from there until its check succeeds (without it: no check),
    ``stops`` until one that is stopped ends. ``minimum`` and ``maximum`` are minimumHealthyPercent and maximumPercent,
    ``grace`` is healthCheckGracePeriodSeconds, ``constraints`` and ``strategy`` say where on machines its tasks go.
    It runs by its ``launch_type``, or by a capacity provider strategy, ``capacity``. ``port``: of the machine.
    """

    name: Name
    count: Count
    cpu: Units
    memory: Mebibytes
    minimum: Annotated[int, Meta(ge=0, le=100)] = 100
    maximum: Annotated[int, Meta(ge=100, le=1_000)] = 200
    starts: Moment = 5.0
    healthy: Moment | None = None
    stops: Moment = 2.0
    grace: Annotated[int, Meta(ge=0, le=int(LONGEST))] = 0
    launch_type: Literal["EC2", "EXTERNAL", "FARGATE"] | None = None
    capacity: Annotated[tuple[Capacity, ...], Meta(max_length=20)] = ()
    network: Literal["bridge", "host", "awsvpc"] | None = None
    port: Annotated[int, Meta(ge=1, le=65_535)] | None = None
    breaker: Breaker | None = None
    constraints: Annotated[tuple[Constraint, ...], Meta(max_length=10)] = ()
    strategy: Annotated[tuple[Strategy, ...], Meta(max_length=5)] = ()

    @property
    def runs_on(self) -> str:
        """FARGATE, EC2 or EXTERNAL."""
        if self.capacity:
            return "FARGATE" if self.capacity[0].provider.startswith("FARGATE") else "EC2"
        return self.launch_type or "EC2"

    @property
    def mode(self) -> str:
        """The network mode of its tasks."""
        if self.runs_on == "FARGATE":
            return "awsvpc"
        return self.network or ("host" if self.port is not None else "bridge")


# --- events -----------------------------------------------------------------------------------------------------------


class Event(Table, frozen=True, kw_only=True, tag_field="do"):
    at: Moment


class Deploy(Event, frozen=True, kw_only=True, tag="deploy"):
    """A new revision, whose tasks are as the service's were but for what is given: ``crashes`` seconds after it is
    RUNNING each ends with exit code 1, ``unhealthy`` seconds after it its check fails. ``broken``: none ever starts."""

    service: str
    cpu: Units | None = None
    memory: Mebibytes | None = None
    starts: Moment | None = None
    healthy: Moment | None = None
    unhealthy: Moment | None = None
    crashes: Moment | None = None
    stops: Moment | None = None
    broken: bool = False

    def told(self) -> str:
        how = [f"take {self.cpu} units of CPU"] if self.cpu is not None else []
        how += [f"take {self.memory} MiB"] if self.memory is not None else []
        how += [f"start in {self.starts:g} s"] if self.starts is not None else []
        how += [f"are healthy after {self.healthy:g} s"] if self.healthy is not None else []
        how += [f"are unhealthy after {self.unhealthy:g} s"] if self.unhealthy is not None else []
        how += [f"crash after {self.crashes:g} s"] if self.crashes is not None else []
        how += ["never start"] if self.broken else []
        return f"{self.service} is deployed anew" + (f", with tasks that {', '.join(how)}" if how else "")


class Scale(Event, frozen=True, kw_only=True, tag="scale"):
    service: str
    count: Count

    def told(self) -> str:
        return f"{self.service} is scaled to {self.count}"


class OfMachines(Event, frozen=True, kw_only=True):
    """Something that happens to an instance, to a group of ``machines``, or to those of a zone."""

    instance: str | None = None
    machines: str | None = None
    zone: str | None = None

    @property
    def target(self) -> str:
        if self.instance is not None:
            return self.instance
        return f"all of {self.machines}" if self.machines is not None else f"all in {self.zone}"


class Fail(OfMachines, frozen=True, kw_only=True, tag="fail"):
    """They are terminated: gone, and deregistered as EC2 does that."""

    def told(self) -> str:
        return f"terminated: {self.target}"


class Lose(OfMachines, frozen=True, kw_only=True, tag="lose"):
    """They lose power or the network: nothing is heard of them any more, and nobody deregisters them."""

    def told(self) -> str:
        return f"lost: {self.target}"


class Return(OfMachines, frozen=True, kw_only=True, tag="return"):
    """Those that were lost boot, with nothing running; those that are gone for good are replaced by new ones."""

    def told(self) -> str:
        return f"back: {self.target}"


class Drain(OfMachines, frozen=True, kw_only=True, tag="drain"):
    def told(self) -> str:
        return f"set to DRAINING: {self.target}"


class Activate(OfMachines, frozen=True, kw_only=True, tag="activate"):
    def told(self) -> str:
        return f"set to ACTIVE: {self.target}"


class Deregister(OfMachines, frozen=True, kw_only=True, tag="deregister"):
    """They leave the cluster; without ``force`` ECS refuses that while tasks run there."""

    force: bool = True

    def told(self) -> str:
        return f"deregistered: {self.target}" + ("" if self.force else ", without force")


class Interrupt(Event, frozen=True, kw_only=True, tag="interrupt"):
    """Tasks on Fargate Spot are interrupted: the ``count`` oldest (by default all), of one service or of any."""

    service: str | None = None
    count: Annotated[int, Meta(ge=1, le=MOST_TASKS)] | None = None

    def told(self) -> str:
        tasks = "all tasks" if self.count is None else f"{self.count} task" + ("s" if self.count > 1 else "")
        return f"interrupted on Fargate Spot: {tasks}" + (f" of {self.service}" if self.service else "")


Happens = Deploy | Scale | Fail | Lose | Return | Drain | Activate | Deregister | Interrupt


class Question(Table, frozen=True, kw_only=True):
    """``seconds``: how long it is played after the last event. ``seed``: of everything that is drawn, ids for one."""

    machines: Annotated[tuple[Machines, ...], Meta(max_length=100)] = ()
    services: Annotated[tuple[Runs, ...], Meta(min_length=1, max_length=100)]
    events: Annotated[tuple[Happens, ...], Meta(max_length=MOST_EVENTS)] = ()
    fargate: Pool | None = None
    prices: Prices = Prices()
    seconds: Annotated[float, Meta(ge=1, le=LONGEST)] = 900.0
    seed: Annotated[int, Meta(ge=0, le=2**32)] = 0
