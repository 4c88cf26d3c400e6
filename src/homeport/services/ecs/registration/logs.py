"""Rules for logging, secrets and environment files. Pure."""

from __future__ import annotations

from homeport.core import arn
from homeport.services.ecs.registration.members import Members, Rule, containers, each, items, part

MAX_ENVIRONMENT_FILES = 10
AWSLOGS_OPTIONS = ("awslogs-region", "awslogs-group")  # those that must be given, in the order of ECS's text


def log_driver(container: Members) -> str | None:
    driver: str | None = part(container, "logConfiguration").get("logDriver")
    return driver


def awslogs(definition: Members, container: Members) -> str | None:
    options = part(part(container, "logConfiguration"), "options")
    missing = [option for option in AWSLOGS_OPTIONS if not options.get(option)]
    if log_driver(container) == "awslogs" and missing:
        return f"Log driver awslogs requires options: {', '.join(missing)}"
    return None


def firelens(definition: Members) -> str | None:
    routers = sum("firelensConfiguration" in container for container in containers(definition))
    users = sum(log_driver(container) == "awsfirelens" for container in containers(definition))
    if routers > 1:
        return "Only one container can have a firelensConfiguration object."
    if routers and not users:
        return (
            "When a firelensConfiguration object is specified, at least one container has to be configured with the "
            "awsfirelens log driver."
        )
    if users and not routers:
        return "When the awsfirelens log driver is used, one container has to have a firelensConfiguration object."
    return None


def secrets(definition: Members, container: Members) -> str | None:
    asked = items(container, "secrets")
    if (asked or items(part(container, "logConfiguration"), "secretOptions")) and not definition.get(
        "executionRoleArn"
    ):
        return "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'"
    taken = {variable.get("name") for variable in items(container, "environment")}
    for secret in asked:
        if secret["name"] in taken:
            return (
                "The secret name must be unique and not shared with any new or existing environment variables set on "
                f"the container, such as '{secret['name']}'."
            )
        taken.add(secret["name"])
    return None


def environment_files(definition: Members, container: Members) -> str | None:
    files = items(container, "environmentFiles")
    if len(files) > MAX_ENVIRONMENT_FILES:
        return "The maximum number of environment files was exceeded. Specify ten or less and try again"
    for file in files:
        parsed = arn.parse(file["value"])
        if parsed is None or parsed.service != "s3" or "/" not in parsed.resource:
            return "Invalid arn syntax"
        if not parsed.resource.endswith(".env"):
            return f"The environment file '{file['value']}' must have a '.env' extension."
    return None


RULES: tuple[Rule, ...] = (each(awslogs), firelens, each(secrets), each(environment_files))
