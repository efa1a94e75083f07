"""The one visible list of every kind. Not a scanner: a kind that is not named here, or by an installed entry point,
does not exist.

Specs are plain data, so listing them loads no network library; what opens sockets is imported inside the factories.
A third party ships an entry point of group `messagepipe.providers` whose object is a `Kind`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points

from services.adapters import receipt_readers
from services.adapters.aws_identity import AwsIdentity
from services.adapters.base import Adapter, Channel, ProviderSpec
from services.adapters.check import Checker, Rehearsal
from services.adapters.egress import Egress
from services.adapters.email import mailgun, mailgun_check, sendgrid, sendgrid_check, ses, ses_check, ses_joint, smtp
from services.adapters.email import sandbox as email_sandbox
from services.adapters.http import HttpAdapter, HttpKind
from services.adapters.http_check import HttpChecker, Probe
from services.adapters.http_joint import Joint, JointHttpAdapter
from services.adapters.identity import Identity
from services.adapters.receipts import ReceiptReader
from services.adapters.sandbox import SandboxAdapter, SandboxChecker
from services.adapters.sms import sandbox as sms_sandbox
from services.adapters.sms import sns, sns_check, termii, termii_check, twilio, twilio_check
from services.chassis.clock import Clock

ENTRY_POINT_GROUP = "messagepipe.providers"
MAX_FAULT = 200  # characters of what a plug-in says of its own trouble: `up` shows 300 of a service's last line

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
    "ratePerSecond": {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 100000,
        "title": "Calls per second",
        "description": "In no second do more calls begin, however many dispatchers there are; 0.5 is one in two "
        "seconds. Messages wait for their turn.",
        "examples": [14],
    },
    "maxConcurrency": {
        "type": "integer",
        "minimum": 1,
        "maximum": 100000,
        "title": "Calls at a time",
        "description": "Never are more calls open, however many dispatchers there are. Messages wait for their turn.",
        "examples": [10],
    },
}

Factory = Callable[[Egress, Clock], Adapter]
CheckFactory = Callable[[Egress, Clock], Checker]
IdentityFactory = Callable[[Egress, Clock], Identity]
ReceiptFactory = Callable[[Egress, Clock], ReceiptReader]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One entry: what the kind is, and how its adapter is made. An entry point of a third party names one of these.

    `receipts` makes what reads the kind's receipts; None for a kind that never sends any.
    `check` makes what asks whether settings are good; None when the provider offers nothing to ask. `rehearsal` is how
    a message is sent that reaches nobody; None for a kind without a sandbox of its own.
    """

    spec: ProviderSpec
    make: Factory
    receipts: ReceiptFactory | None = None
    check: CheckFactory | None = None
    rehearsal: Rehearsal | None = None


def over_http(kind: HttpKind, receipts: ReceiptFactory | None = None, joint: Joint | None = None) -> Kind:
    """The entry of a kind that is two functions behind the HTTP template, and two more where one call takes many."""

    def make(egress: Egress, clock: Clock) -> Adapter:
        from services.adapters.http_transport import build_transport  # loads aiohttp: only who sends needs it

        if joint is not None:
            return JointHttpAdapter(kind, joint, build_transport(egress), clock)
        return HttpAdapter(kind, build_transport(egress), clock)

    return Kind(spec=kind.spec, make=make, receipts=receipts)


def checked(
    kind: Kind, probe: Probe, rehearsal: Rehearsal | None = None, identity: IdentityFactory | None = None
) -> Kind:
    """The same entry with a check over HTTP, and its way of sending without delivering."""

    def check(egress: Egress, clock: Clock) -> Checker:
        from services.adapters.http_transport import build_transport  # loads aiohttp: ConfigService at its first test

        return HttpChecker(kind.spec, probe, build_transport(egress), clock, identity and identity(egress, clock))

    return replace(kind, check=check, rehearsal=rehearsal)


def signed_aws(
    spec: ProviderSpec,
    kind: Callable[[Clock], HttpKind],
    receipts: ReceiptFactory | None = None,
    joint: Callable[[Clock], Joint] | None = None,
) -> Kind:
    """The entry of a kind whose requests are dated, and signed with keys that may have to be fetched first."""

    def make(egress: Egress, clock: Clock) -> Adapter:
        from services.adapters.http_transport import build_transport  # as above

        identity = AwsIdentity(egress, clock)
        if joint is not None:
            return JointHttpAdapter(kind(clock), joint(clock), build_transport(egress), clock, identity)
        return HttpAdapter(kind(clock), build_transport(egress), clock, identity)

    return Kind(spec=spec, make=make, receipts=receipts)


def _smtp(egress: Egress, clock: Clock) -> Adapter:
    from services.adapters.email.smtp_adapter import SmtpAdapter  # loads aiosmtplib

    return SmtpAdapter(egress, clock)


def _smtp_check(egress: Egress, _: Clock) -> Checker:
    from services.adapters.email.smtp_check import SmtpChecker  # loads aiosmtplib

    return SmtpChecker(egress)


BUILT_IN: tuple[Kind, ...] = (
    checked(
        over_http(sendgrid.KIND, receipt_readers.sendgrid, sendgrid.JOINT),
        sendgrid_check.probe,
        sendgrid_check.REHEARSAL,
    ),
    checked(
        over_http(mailgun.KIND, receipt_readers.mailgun, mailgun.JOINT), mailgun_check.probe, mailgun_check.REHEARSAL
    ),
    checked(
        signed_aws(ses.SPEC, ses.kind, receipt_readers.ses, ses_joint.joint),
        ses_check.probe,
        ses_check.REHEARSAL,
        AwsIdentity,
    ),
    Kind(spec=smtp.SPEC, make=_smtp, check=_smtp_check),
    Kind(
        spec=email_sandbox.SPEC,
        make=lambda _, clock: SandboxAdapter(email_sandbox.SPEC, email_sandbox.by_recipient, clock),
        check=lambda _, __: SandboxChecker(),
        rehearsal=email_sandbox.REHEARSAL,
    ),
    checked(over_http(twilio.KIND, receipt_readers.twilio), twilio_check.probe, twilio_check.REHEARSAL),
    checked(over_http(termii.KIND, receipt_readers.termii), termii_check.probe),
    checked(signed_aws(sns.SPEC, sns.kind, receipt_readers.sns), sns_check.probe, identity=AwsIdentity),
    Kind(
        spec=sms_sandbox.SPEC,
        make=lambda _, clock: SandboxAdapter(sms_sandbox.SPEC, sms_sandbox.by_recipient, clock),
        check=lambda _, __: SandboxChecker(),
        rehearsal=sms_sandbox.REHEARSAL,
    ),
)


class BadPlugIn(ValueError):
    """An installed plug-in can not be used; the text is one line that names its distribution and what is wrong."""

    def __init__(self, plug_in: EntryPoint, fault: str) -> None:
        whose = f" of {plug_in.dist.name} {plug_in.dist.version}" if plug_in.dist is not None else ""
        words = " ".join(fault.split())[:MAX_FAULT]
        super().__init__(f"the provider plug-in {plug_in.name!r}{whose} ({plug_in.value}) {words}")


def merged(built_in: Iterable[Kind], plug_ins: Iterable[EntryPoint]) -> Mapping[tuple[Channel, str], Kind]:
    """Every kind by channel and word. Raises BadPlugIn when a plug-in does not load, is no Kind, or takes a word that
    is taken.
    """
    kinds = {(kind.spec.channel, kind.spec.kind): kind for kind in built_in}
    for plug_in in plug_ins:
        try:
            kind = plug_in.load()
        except (Exception, SystemExit) as error:
            raise BadPlugIn(plug_in, f"could not be loaded: {type(error).__name__}: {error}") from error
        if not isinstance(kind, Kind):
            raise BadPlugIn(plug_in, f"is a {type(kind).__name__}, not a services.adapters.registry.Kind")
        key = (kind.spec.channel, kind.spec.kind)
        if key in kinds:
            raise BadPlugIn(plug_in, f"names the kind {key[1]!r}, which {key[0]} has already")
        kinds[key] = kind
    return {key: replace(kind, spec=_completed(kind)) for key, kind in kinds.items()}


def _completed(kind: Kind) -> ProviderSpec:
    """The spec with the settings that every kind has, because the dispatcher and not the adapter acts on them; and
    promising receipts only where something reads them.
    """
    spec = kind.spec
    able = replace(spec.capabilities, receipts=spec.capabilities.receipts and kind.receipts is not None)
    schema = {**spec.config_schema, "properties": {**spec.config_schema.get("properties", {}), **COMMON_SETTINGS}}
    return replace(spec, config_schema=schema, capabilities=able)


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


def kind_for(channel: Channel, kind: str) -> Kind | None:
    """The whole entry of this kind on this channel, or None when there is none."""
    return _kinds().get((channel, kind))


def build_adapters(egress: Egress, clock: Clock) -> Mapping[tuple[Channel, str], Adapter]:
    """One adapter per kind, for the whole process; the caller closes each."""
    return {key: kind.make(egress, clock) for key, kind in _kinds().items()}


def build_receipt_readers(egress: Egress, clock: Clock) -> Mapping[tuple[Channel, str], ReceiptReader]:
    """One reader per kind that sends receipts, for the whole process."""
    return {key: kind.receipts(egress, clock) for key, kind in _kinds().items() if kind.receipts}
