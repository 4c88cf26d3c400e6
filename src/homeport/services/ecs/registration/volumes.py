"""Rules for volumes and where containers mount them. Pure."""

from __future__ import annotations

from homeport.services.ecs.names import is_name
from homeport.services.ecs.registration.members import Members, Rule, containers, each, items, part

KINDS = (
    "host",
    "dockerVolumeConfiguration",
    "efsVolumeConfiguration",
    "s3filesVolumeConfiguration",
    "fsxWindowsFileServerVolumeConfiguration",
    "configuredAtLaunch",
)


def volume_names(definition: Members) -> str | None:
    seen: set[str] = set()
    for name in (volume.get("name") or "" for volume in items(definition, "volumes")):
        if not is_name(name):
            return "Volume.name contains invalid characters."
        if name in seen:
            return f"Volume.name must be unique: '{name}' is used more than once."
        seen.add(name)
    return None


def one_kind(definition: Members) -> str | None:
    for volume in items(definition, "volumes"):
        # An empty ``host`` is what many tools send beside the real configuration.
        given = [kind for kind in KINDS if volume.get(kind) and (kind != "host" or volume["host"].get("sourcePath"))]
        if len(given) > 1:
            return f"Volume '{volume['name']}' must have only one configuration, but has {' and '.join(given)}."
    return None


def docker(definition: Members) -> str | None:
    for volume in items(definition, "volumes"):
        configuration = part(volume, "dockerVolumeConfiguration")
        if configuration.get("autoprovision") and configuration.get("scope") != "shared":
            return f"Volume '{volume['name']}': 'autoprovision' is only supported with scope 'shared'."
    return None


def efs(definition: Members) -> str | None:
    for configuration in (part(volume, "efsVolumeConfiguration") for volume in items(definition, "volumes")):
        authorization = part(configuration, "authorizationConfig")
        encrypted = configuration.get("transitEncryption") == "ENABLED"
        if authorization.get("accessPointId") and configuration.get("rootDirectory") not in (None, "", "/"):
            return 'When using an EFS access point, the root directory must either be set to "/" or be omitted'
        if authorization.get("iam") == "ENABLED" and not encrypted:
            return "EFS IAM authorization requires TransitEncryption to be enabled"
        if configuration.get("transitEncryptionPort") is not None and not encrypted:
            return "TransitEncryptionPort requires that TransitEncryption is enabled"
    return None


def s3_files(definition: Members) -> str | None:
    if definition.get("taskRoleArn") or not any(
        "s3filesVolumeConfiguration" in v for v in items(definition, "volumes")
    ):
        return None
    return "When you are specifying an S3 Files volume, you must also specify a value for 'taskRoleArn'"


def mount_points(definition: Members, container: Members) -> str | None:
    declared = {volume["name"] for volume in items(definition, "volumes")}
    for mount in items(container, "mountPoints"):
        name = mount.get("sourceVolume") or ""
        if name not in declared:
            return f"Unknown volume '{name}'."
        if not mount.get("containerPath"):
            return f"Invalid setting for container '{container['name']}'. A mount point must have a 'containerPath'."
    return None


def launch_volumes(definition: Members) -> str | None:
    """A volume that is configured at launch must be used, and there may be one."""
    at_launch = [volume["name"] for volume in items(definition, "volumes") if volume.get("configuredAtLaunch")]
    mounted = {m.get("sourceVolume") for c in containers(definition) for m in items(c, "mountPoints")}
    unused = [name for name in at_launch if name not in mounted]
    if unused:
        return f"Volumes [{', '.join(unused)}] are not referenced by any of the containers"
    return "Only one volume can be configured at launch." if len(at_launch) > 1 else None


RULES: tuple[Rule, ...] = (volume_names, one_kind, docker, efs, s3_files, each(mount_points), launch_volumes)
