"""The one visible list of every kind. Not a scanner: a kind that is not named here, or by an installed entry point,
does not exist.

Specs are plain data, so listing them loads no network library; what opens sockets is imported inside the factories.
A third party ships an entry point of group `messagepipe.providers` whose object is a `Kind`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points

from services.adapters.base import Adapter, Channel, ProviderSpec
from services.adapters.egress import Egress
from services.adapters.email import mailgun, sendgrid, ses, smtp
from services.adapters.email import sandbox as email_sandbox
from services.adapters.http import HttpAdapter, HttpKind
from services.adapters.sandbox import SandboxAdapter
from services.adapters.sms import sandbox as sms_sandbox
from services.adapters.sms import sns, termii, twilio
from services.chassis.clock import Clock

ENTRY_POINT_GROUP = "messagepipe.providers"

COMMON_SETTINGS: Mapping[str, object] = {
    "timeoutSeconds": {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 600,
        "default": 10,
        "title": "Time limit",
        "description": "How long one call may take, in seconds; never more than the message's deadline leaves.",
        "examples": [10],
    },
}

Factory = Callable[[Egress, Clock], Adapter]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One entry: what the kind is, and how its adapter is made. An entry point of a third party names one of these."""

    spec: ProviderSpec
    make: Factory


def over_http(kind: HttpKind) -> Kind:
    """The entry of a kind that is two functions behind the HTTP template."""

    def make(egress: Egress, clock: Clock) -> Adapter:
        from services.adapters.http_transport import build_transport  # loads aiohttp: only who sends needs it

        return HttpAdapter(kind, build_transport(egress), clock)

    return Kind(spec=kind.spec, make=make)


def signed_http(spec: ProviderSpec, kind: Callable[[Clock], HttpKind]) -> Kind:
    """The entry of a kind that dates and signs its requests, and so needs the clock."""
    return Kind(spec=spec, make=lambda egress, clock: over_http(kind(clock)).make(egress, clock))


def _smtp(egress: Egress, clock: Clock) -> Adapter:
    from services.adapters.email.smtp_adapter import SmtpAdapter  # loads aiosmtplib

    return SmtpAdapter(egress, clock)


BUILT_IN: tuple[Kind, ...] = (
    over_http(sendgrid.KIND),
    over_http(mailgun.KIND),
    signed_http(ses.SPEC, ses.kind),
    Kind(spec=smtp.SPEC, make=_smtp),
    Kind(
        spec=email_sandbox.SPEC,
        make=lambda _, clock: SandboxAdapter(email_sandbox.SPEC, email_sandbox.by_recipient, clock),
    ),
    over_http(twilio.KIND),
    over_http(termii.KIND),
    signed_http(sns.SPEC, sns.kind),
    Kind(
        spec=sms_sandbox.SPEC, make=lambda _, clock: SandboxAdapter(sms_sandbox.SPEC, sms_sandbox.by_recipient, clock)
    ),
)


def merged(built_in: Iterable[Kind], plug_ins: Iterable[EntryPoint]) -> Mapping[tuple[Channel, str], Kind]:
    """Every kind by channel and word. Raises ValueError when a plug-in does not load, is no Kind, or takes a word
    that is taken.
    """
    kinds = {(kind.spec.channel, kind.spec.kind): kind for kind in built_in}
    for plug_in in plug_ins:
        try:
            kind = plug_in.load()
        except Exception as error:
            raise ValueError(
                f"the provider plug-in {plug_in.name!r} ({plug_in.value}) could not be loaded: {error}"
            ) from error
        if not isinstance(kind, Kind):
            raise ValueError(
                f"the provider plug-in {plug_in.name!r} ({plug_in.value}) is not a services.adapters.registry.Kind"
            )
        key = (kind.spec.channel, kind.spec.kind)
        if key in kinds:
            raise ValueError(
                f"the provider plug-in {plug_in.name!r} names kind {key[1]!r}, which exists already for {key[0]}"
            )
        kinds[key] = kind
    return {key: replace(kind, spec=_with_common_settings(kind.spec)) for key, kind in kinds.items()}


def _with_common_settings(spec: ProviderSpec) -> ProviderSpec:
    """The spec with the settings that every kind has, because the dispatcher and not the adapter acts on them."""
    schema = {**spec.config_schema, "properties": {**spec.config_schema.get("properties", {}), **COMMON_SETTINGS}}
    return replace(spec, config_schema=schema)


@lru_cache(maxsize=1)
def _kinds() -> Mapping[tuple[Channel, str], Kind]:
    return merged(BUILT_IN, entry_points(group=ENTRY_POINT_GROUP))


def specs() -> tuple[ProviderSpec, ...]:
    """What every kind is, in the order of the list."""
    return tuple(kind.spec for kind in _kinds().values())


def spec_for(channel: Channel, kind: str) -> ProviderSpec | None:
    """What this kind is on this channel, or None when there is none."""
    found = _kinds().get((channel, kind))
    return found.spec if found else None


def build_adapters(egress: Egress, clock: Clock) -> Mapping[tuple[Channel, str], Adapter]:
    """One adapter per kind, for the whole process; the caller closes each."""
    return {key: kind.make(egress, clock) for key, kind in _kinds().items()}
