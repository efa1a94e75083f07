"""The routes of the gateway, read from the descriptors of the services: not written down anywhere else. Pure.

A method's routes are its `google.api.http` rule with the additional bindings, and its (messagepipe.http.v1.binding)s,
which can also set constants and lift members of the body. A contract that makes no sense is refused at start with every
reason.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor
from messagepipe.http.v1 import binding_pb2

from gateway import http_rule
from gateway.descriptors import is_map, message_of
from gateway.http_rule import Template, TemplateError

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
WHOLE = "*"

FieldPath = tuple[str, ...]


class RouteError(ValueError):
    """The contract's routes do not fit it or each other; one line per problem."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One HTTP method and path of one RPC. Field names are the proto's; `body` is "", "*" or a field of the request.

    `texts`: content type → the string field that a body of this type fills. `query_map`: the map that takes every query
    parameter, "" for none.
    """

    method: str
    template: Template
    rpc: MethodDescriptor
    body: str = ""
    constants: tuple[tuple[FieldPath, str], ...] = ()
    lift: Mapping[str, FieldPath] = field(default_factory=dict)
    texts: Mapping[str, FieldPath] = field(default_factory=dict)
    query_map: str = ""
    response_body: str = ""
    success_status: int = 200
    canonical: bool

    @property
    def name(self) -> str:
        """Method and path template, as logs and messages show it."""
        return f"{self.method} {self.template.text}"

    @property
    def rpc_path(self) -> str:
        """The RPC as gRPC addresses it."""
        return f"/{self.rpc.containing_service.full_name}/{self.rpc.name}"

    @property
    def mask_field(self) -> str | None:
        """`update_mask`, when the members of the JSON body are to fill it."""
        fillable = self.method in ("PATCH", "PUT") and self.body not in ("", WHOLE)
        return "update_mask" if fillable and "update_mask" in self.rpc.input_type.fields_by_name else None


def routes_of(services: Iterable[ServiceDescriptor]) -> tuple[Route, ...]:
    """Every route of the services; RouteError lists everything that is wrong with them, clashes included."""
    problems: list[str] = []
    found: list[Route] = []
    for service in services:
        for rpc in service.methods:
            found.extend(_routes_of_method(rpc, problems))
    for route in found:
        problems.extend(f"{route.name} ({route.rpc.full_name}): {each}" for each in _misfits(route))
    problems.extend(_clashes(found))
    if problems:
        raise RouteError("\n".join(problems))
    return tuple(found)


def field_at(message: Descriptor, path: FieldPath) -> FieldDescriptor | None:
    """The field a path of proto names leads to, or None; a path passes only through singular messages."""
    *front, last = path
    for name in front:
        step = message.fields_by_name.get(name)
        if step is None or step.message_type is None or step.is_repeated:
            return None
        message = message_of(step)
    return message.fields_by_name.get(last)


def json_path(message: Descriptor, path: FieldPath) -> str:
    """The same path in JSON names."""
    names = []
    for at, name in enumerate(path):
        step = message.fields_by_name[name]
        names.append(step.json_name)
        if at + 1 < len(path):
            message = message_of(step)
    return ".".join(names)


def _routes_of_method(rpc: MethodDescriptor, problems: list[str]) -> Iterator[Route]:
    options = rpc.GetOptions()
    rule: http_pb2.HttpRule = options.Extensions[annotations_pb2.http]
    status = options.Extensions[binding_pb2.success_status] or 200
    rules = [rule, *rule.additional_bindings] if rule.WhichOneof("pattern") else []
    for each in rules:
        kind = each.WhichOneof("pattern") or ""
        text = getattr(each, kind) if kind and kind != "custom" else ""
        yield from _made(
            rpc,
            problems,
            method=kind.upper(),
            path=text,
            body=each.body,
            status=status,
            response_body=each.response_body,
        )
    for binding in options.Extensions[binding_pb2.binding]:
        status = binding.success_status or 200
        yield from _made(
            rpc,
            problems,
            method=binding.method,
            path=binding.path,
            body=binding.body,
            status=status,
            response_body=binding.response_body,
            binding=binding,
        )


def _made(
    rpc: MethodDescriptor,
    problems: list[str],
    *,
    method: str,
    path: str,
    body: str,
    status: int,
    response_body: str,
    binding: binding_pb2.Binding | None = None,
) -> Iterator[Route]:
    try:
        template = http_rule.parse(path)
    except TemplateError as error:
        problems.append(f"{rpc.full_name}: {error}")
        return
    yield Route(
        method=method,
        template=template,
        rpc=rpc,
        body=body,
        constants=tuple((tuple(key.split(".")), value) for key, value in sorted(binding.constants.items()))
        if binding
        else (),
        lift=_paths(binding.lift) if binding else {},
        texts=_paths(binding.texts) if binding else {},
        query_map=binding.query_map if binding else "",
        response_body=response_body,
        success_status=status,
        canonical=binding is None,
    )


def _paths(told: Mapping[str, str]) -> dict[str, FieldPath]:
    return {key: tuple(value.split(".")) for key, value in sorted(told.items())}


def _misfits(route: Route) -> Iterator[str]:
    request, response = route.rpc.input_type, route.rpc.output_type
    if route.method not in METHODS:
        yield f"the method must be one of {', '.join(METHODS)}"
    if route.rpc.client_streaming:
        yield "an RPC that takes a stream has no HTTP route"
    if not 200 <= route.success_status < 300:
        yield f"{route.success_status} is no status of success"
    if route.method in ("GET", "DELETE") and route.body:
        yield f"{route.method} takes no body"
    if route.body not in ("", WHOLE):
        body = request.fields_by_name.get(route.body)
        if body is None or body.message_type is None or body.is_repeated:
            yield f"the body {route.body!r} is not a message field of {request.full_name}"
    if route.response_body and route.response_body not in response.fields_by_name:
        yield f"{response.full_name} has no field {route.response_body!r}"
    yield from _field_misfits(route)
    yield from _text_misfits(route)


def _field_misfits(route: Route) -> Iterator[str]:
    request = route.rpc.input_type
    filled = [each.path for each in route.template.variables] + [path for path, _ in route.constants]
    for path in filled:
        found = field_at(request, path)
        if found is None or found.message_type is not None or found.is_repeated:
            yield f"{'.'.join(path)} is not a scalar field of {request.full_name}"
    for path, word in route.constants:
        found = field_at(request, path)
        if found is not None and found.enum_type is not None and word not in found.enum_type.values_by_name:
            yield f"{word} is not a value of {found.enum_type.full_name}"
    for name, path in route.lift.items():
        if field_at(request, path) is None or route.body in ("", WHOLE):
            yield f"the member {name!r} can not be lifted to {'.'.join(path)}"
    if len(set(filled)) != len(filled):
        yield "a field is filled twice"


def _text_misfits(route: Route) -> Iterator[str]:
    request = route.rpc.input_type
    within = () if route.body == WHOLE else (route.body,)
    for media, path in route.texts.items():
        text = field_at(request, path)
        if text is None or text.type != FieldDescriptor.TYPE_STRING or text.is_repeated or path[:-1] != within:
            yield f"a body of type {media} can not fill {'.'.join(path)}: it is no text within {route.body!r}"
    if route.query_map and not _is_map_of_texts(request.fields_by_name.get(route.query_map)):
        yield f"{route.query_map!r} is not a map of strings of {request.full_name}"


def _is_map_of_texts(found: FieldDescriptor | None) -> bool:
    if found is None or not is_map(found):
        return False
    entry = message_of(found).fields_by_name
    return all(entry[name].type == FieldDescriptor.TYPE_STRING for name in ("key", "value"))


def _clashes(routes: Iterable[Route]) -> Iterator[str]:
    seen: dict[object, Route] = {}
    for route in routes:
        first = seen.setdefault((route.method, route.template.shape), route)
        if first is not route:
            yield f"{route.name} ({route.rpc.full_name}) is the same route as {first.name} ({first.rpc.full_name})"
