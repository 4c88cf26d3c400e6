"""AWS service models, read from botocore's data files without importing botocore.

Only the files are used: ``botocore.model`` pulls in urllib3, http.client and dateutil, which costs 14 MiB and 80 ms at
every start (measured, botocore 1.44), and its shapes keep every documentation string. Here msgspec reads a model with
each shape left as raw bytes, and decodes just the shapes that the wanted operations reach.
"""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

Type = Literal[
    "structure",
    "list",
    "map",
    "string",
    "integer",
    "long",
    "float",
    "double",
    "boolean",
    "timestamp",
    "blob",
    "character",
]


class ModelNotFound(LookupError):
    """botocore has no model of that name."""


class Shape:
    """A type of the model. Compared by identity; shapes may be recursive.

    ``members`` of a structure in the model's order, ``element`` of a list, ``key`` and ``value`` of a map. ``min`` and
    ``max`` bound a number's value or the length of a string, blob, list or map. ``document`` is free JSON.
    """

    __slots__ = (
        "document",
        "element",
        "enum",
        "key",
        "max",
        "members",
        "min",
        "name",
        "pattern",
        "required",
        "type",
        "value",
    )

    def __init__(self, name: str, raw: RawShape) -> None:
        self.name = name
        self.type: Type = raw.type
        self.members: dict[str, Ref] = {}
        self.element: Ref | None = None
        self.key: Ref | None = None
        self.value: Ref | None = None
        self.required = raw.required
        self.enum = raw.enum
        self.min, self.max, self.pattern = raw.min, raw.max, raw.pattern
        self.document = raw.document


class Ref(NamedTuple):
    """A use of a shape, with the names under which this use travels (its own, else the shape's)."""

    shape: Shape
    location_name: str | None = None
    query_name: str | None = None
    flattened: bool = False
    timestamp_format: str | None = None
    result_wrapper: str | None = None


class OperationModel(NamedTuple):
    name: str
    input: Ref | None
    output: Ref | None


class ErrorModel(NamedTuple):
    """A modelled error. ``code`` is its name in the query protocol, for some services not the shape's."""

    code: str
    ref: Ref


class ServiceModel(NamedTuple):
    """``name`` is botocore's name of the service, ``signing_name`` the one in credential scopes. ``operation_names``
    are all that the service has; ``operations`` those whose shapes were loaded. ``errors`` by shape name."""

    name: str
    signing_name: str
    protocols: tuple[str, ...]
    api_version: str
    json_version: str
    target_prefix: str
    xml_namespace: str
    query_compatible: bool
    operation_names: frozenset[str]
    operations: Mapping[str, OperationModel]
    errors: Mapping[str, ErrorModel]


# --- the file's own form: members that are not named here are skipped while parsing -----------------------------------


class RawRef(msgspec.Struct, rename="camel"):
    shape: str
    location_name: str | None = None
    query_name: str | None = None
    flattened: bool = False
    timestamp_format: str | None = None
    result_wrapper: str | None = None


# Members that the public model leaves out: what Amazon's agent sends with its registration.
_HIDDEN = {("ecs", "RegisterContainerInstanceRequest"): {"clientToken": RawRef("String")}}


class RawError(msgspec.Struct, frozen=True):
    code: str = ""


class RawShape(msgspec.Struct, rename="camel"):
    type: Type
    members: dict[str, RawRef] = {}
    member: RawRef | None = None
    key: RawRef | None = None
    value: RawRef | None = None
    required: tuple[str, ...] = ()
    enum: tuple[str, ...] = ()
    min: float | int | None = None
    max: float | int | None = None
    pattern: str | None = None
    document: bool = False
    error: RawError = RawError()
    location_name: str | None = None
    query_name: str | None = None
    flattened: bool = False
    timestamp_format: str | None = None


class RawOperation(msgspec.Struct):
    input: RawRef | None = None
    output: RawRef | None = None
    errors: list[RawRef] = []


class RawMetadata(msgspec.Struct, rename="camel"):
    api_version: str
    endpoint_prefix: str
    protocol: str
    protocols: tuple[str, ...] = ()
    signing_name: str = ""
    json_version: str = "1.0"
    target_prefix: str = ""
    xml_namespace: str = ""
    aws_query_compatible: dict[str, Any] | None = None


class RawModel(msgspec.Struct):
    metadata: RawMetadata
    operations: dict[str, msgspec.Raw]
    shapes: dict[str, msgspec.Raw]


def load(name: str, operations: Iterable[str] | None = None) -> ServiceModel:
    """The newest model of the service that botocore calls ``name``, with the shapes of ``operations`` (None: of all).

    Raises ModelNotFound, and KeyError for an operation that the service doesn't have.
    """
    raw = msgspec.json.decode(_read(name), type=RawModel)
    return _Builder(name, raw).build(list(raw.operations if operations is None else operations))


def _read(name: str) -> bytes:
    spec = importlib.util.find_spec("botocore")
    if spec is None or not spec.submodule_search_locations:
        raise ModelNotFound("botocore is not installed")
    folder = Path(spec.submodule_search_locations[0], "data", name)
    versions = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
    for version in reversed(versions):
        file = folder / version / "service-2.json"
        if file.is_file():
            return file.read_bytes()
        packed = file.with_suffix(".json.gz")
        if packed.is_file():
            return gzip.decompress(packed.read_bytes())
    raise ModelNotFound(name)


class _Builder:
    """Links the raw shapes that are reached into ``Shape`` objects, each once."""

    def __init__(self, name: str, raw: RawModel) -> None:
        self._name = name
        self._raw = raw
        self._shapes: dict[str, tuple[Shape, RawShape]] = {}

    def build(self, wanted: list[str]) -> ServiceModel:
        meta, operations, errors = self._raw.metadata, {}, {}
        for name in wanted:
            raw = msgspec.json.decode(self._raw.operations[name], type=RawOperation)
            operations[name] = OperationModel(name, self._optional(raw.input), self._optional(raw.output))
            for error in raw.errors:
                ref = self._ref(error)
                errors[error.shape] = ErrorModel(self._shapes[error.shape][1].error.code or error.shape, ref)
        return ServiceModel(
            name=self._name,
            signing_name=meta.signing_name or meta.endpoint_prefix,
            protocols=meta.protocols or (meta.protocol,),
            api_version=meta.api_version,
            json_version=meta.json_version,
            target_prefix=meta.target_prefix,
            xml_namespace=meta.xml_namespace,
            query_compatible=meta.aws_query_compatible is not None,
            operation_names=frozenset(self._raw.operations),
            operations=operations,
            errors=errors,
        )

    def _optional(self, raw: RawRef | None) -> Ref | None:
        return self._ref(raw) if raw else None

    def _ref(self, raw: RawRef) -> Ref:
        shape, own = self._shape(raw.shape)
        return Ref(
            shape,
            location_name=raw.location_name or own.location_name,
            query_name=raw.query_name or own.query_name,
            flattened=raw.flattened or own.flattened,
            timestamp_format=raw.timestamp_format or own.timestamp_format,
            result_wrapper=raw.result_wrapper,
        )

    def _shape(self, name: str) -> tuple[Shape, RawShape]:
        known = self._shapes.get(name)
        if known:
            return known
        raw = msgspec.json.decode(self._raw.shapes[name], type=RawShape)
        shape = Shape(name, raw)
        self._shapes[name] = shape, raw  # before its members, which may lead back here
        members = raw.members | _HIDDEN.get((self._name, name), {})
        shape.members = {member: self._ref(ref) for member, ref in members.items()}
        shape.element, shape.key, shape.value = map(self._optional, (raw.member, raw.key, raw.value))
        return shape, raw
