"""From what RegisterTaskDefinition was given to what is stored: normalise, refuse, fill in. Pure."""

from __future__ import annotations

from homeport.core.errors import client_error
from homeport.services.ecs.registration import (
    compatibility,
    container,
    defaults,
    dependencies,
    fargate,
    linux,
    logs,
    ports,
    sizes,
    task,
    volumes,
)
from homeport.services.ecs.registration.members import Members, Rule, without_nulls

# In the order in which they are told: a rule may rely on the ones before it (names exist before they're compared).
RULES: tuple[Rule, ...] = (
    *task.FIRST,
    *container.NAMES,
    *task.NAMES,
    fargate.demanded,
    *container.RULES,
    *linux.RULES,
    *logs.RULES,
    *ports.RULES,
    *dependencies.RULES,
    *volumes.RULES,
    *task.RULES,
    compatibility.fits_required,
)


def prepared(given: Members) -> Members:
    """The definition as it will be stored. ``given`` are RegisterTaskDefinition's members without the tags. Raises
    ClientException with the text of the first rule that it breaks."""
    definition = _sized(without_nulls(given))
    told = next(filter(None, (rule(definition) for rule in RULES)), None)
    if told is not None:
        raise client_error(told)
    return defaults.fill(definition)


def _sized(definition: Members) -> Members:
    for member, read in (("cpu", sizes.cpu_units), ("memory", sizes.memory_mib)):
        if not definition.get(member):
            definition.pop(member, None)
            continue
        amount = read(definition[member])
        if amount is None:
            raise client_error(sizes.setting_error(member))
        definition[member] = str(amount)
    return definition
