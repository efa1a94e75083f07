"""A message made from a template: pure. Where templates come from is template_cache.py's; services/templates has their
language.

It is made once, when it is accepted: what is stored is content like any other, and says which version it was made with.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from google.protobuf.struct_pb2 import Struct
from messagepipe.dispatch.v1 import message_pb2

from services.adapters.base import Channel
from services.chassis.errors import FieldViolation
from services.dispatch.convert import CHANNELS, MAX_ODD, NOT_JSON, odd_numbers, settings_from_struct
from services.dispatch.errors import TemplateNotFound
from services.templates.errors import MissingValues, TemplateError
from services.templates.parser import parse
from services.templates.parts import render_parts
from services.templates.renderer import LIMITS, Limits
from services.templates.tree import Template

# What is made on the event loop: nobody's lease waits for it. Whatever takes more is made in a thread.
QUICK = Limits(output_chars=200_000, steps=2_000, iterations=1_000)
QUICK_BYTES = 8 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One version of a template, read: the parts that it has of `subject`, `html` and `text`, and whom it is for."""

    id: str
    version: int
    channels: frozenset[Channel]
    parts: Mapping[str, Template]


def quickly_filled(
    spec: message_pb2.MessageSpec, form: Form, prefix: str, own: Struct | None = None
) -> message_pb2.MessageSpec | None:
    """As `filled` in a few milliseconds; None when it takes longer, or something is wrong."""
    if spec.ByteSize() + (own.ByteSize() if own is not None else 0) > QUICK_BYTES:
        return None
    made = filled(spec, form, prefix, own, limits=QUICK)
    return made if isinstance(made, message_pb2.MessageSpec) else None


def filled(
    spec: message_pb2.MessageSpec, form: Form, prefix: str, own: Struct | None = None, *, limits: Limits = LIMITS
) -> message_pb2.MessageSpec | tuple[FieldViolation, ...]:
    """The spec with the content that the template makes of its variables, `own` ones over them member by member; or
    everything that is wrong. It may take seconds. Raises TemplateNotFound for a template of another channel.
    """
    if CHANNELS.get(spec.channel) not in form.channels:
        raise TemplateNotFound(form.id)
    told = [name for name in ("text", "html") if getattr(spec, name)]
    if told:
        return tuple(FieldViolation(f"{prefix}.{name}", "must not be given with a template") for name in told)
    values = settings_from_struct(spec.variables) | (settings_from_struct(own) if own is not None else {})
    if odd := list(islice(odd_numbers(values, f"{prefix}.variables"), MAX_ODD)):
        return tuple(FieldViolation(path, NOT_JSON) for path in odd)
    try:
        parts = dict(form.parts)
        if spec.subject:
            parts["subject"] = parse(spec.subject)
    except TemplateError as error:
        return (FieldViolation(f"{prefix}.subject", str(error)),)
    try:
        rendered = render_parts(parts, values, strict=spec.strict_variables, limits=limits)
    except MissingValues as error:
        return tuple(FieldViolation(f"{prefix}.variables.{name}", "is missing") for name in error.names)
    except TemplateError as error:
        return tuple(FieldViolation(f"{prefix}.templateId", f"can not be rendered: {each}") for each in error.problems)
    made = message_pb2.MessageSpec()
    made.CopyFrom(spec)
    made.ClearField("variables")
    made.template_version = form.version
    for name, text in rendered.items():
        setattr(made, name, text)
    return made
