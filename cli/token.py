"""`messagepipe token`: a signed token and nothing else. How tokens are checked is chassis/auth.py."""

from collections.abc import Iterable, Mapping

from cli.datadir import DataDir
from cli.duration import show_duration
from cli.keys import read_secret
from cli.problem import Problem
from services.chassis.auth import ALL, SCOPES, AuthSettings, mint
from services.chassis.clock import Clock
from services.chassis.env import SecretText, load

DEFAULT_SCOPES = ("config:read", "config:write", "messages:send", "messages:read")
SUBJECT = "messagepipe-cli"


def signing_secret(data: DataDir, environ: Mapping[str, str]) -> SecretText:
    """MESSAGEPIPE_JWT_SECRET, else the secret that `up` keeps in the data directory; Problem when there is neither."""
    if given := environ.get("MESSAGEPIPE_JWT_SECRET"):
        return SecretText(given)
    if not data.jwt_secret.exists():
        raise Problem(
            f"nothing to sign with: there is no {data.jwt_secret}; start `messagepipe up` once, name its --data-dir, "
            "or set MESSAGEPIPE_JWT_SECRET"
        )
    return read_secret(data.jwt_secret)


def mint_token(
    secret: SecretText,
    *,
    project: str,
    ttl_seconds: float,
    environ: Mapping[str, str],
    clock: Clock,
    scopes: Iterable[str] = DEFAULT_SCOPES,
) -> str:
    """A token for one project, or for all with `*`; Problem when the services would refuse it."""
    settings = _auth_settings(secret, environ)
    if ttl_seconds > settings.jwt_max_lifetime:
        raise Problem(
            f"--ttl is longer than the services accept ({show_duration(settings.jwt_max_lifetime)}); "
            "MESSAGEPIPE_JWT_MAX_LIFETIME sets that, in seconds"
        )
    try:
        return mint(
            secret,
            subject=SUBJECT,
            projects=ALL if project == ALL else [project],
            scopes=scopes,
            ttl_seconds=ttl_seconds,
            now=clock.now(),
            issuer=settings.jwt_issuer,
        )
    except ValueError as error:
        raise Problem(str(error)) from None


def longest_ttl(wanted: float, secret: SecretText, environ: Mapping[str, str]) -> float:
    """`wanted` seconds, or less where the services accept no token that lasts so long."""
    return min(wanted, _auth_settings(secret, environ).jwt_max_lifetime)


def parse_scopes(words: Iterable[str]) -> tuple[str, ...]:
    """The scopes of --scope, given repeatedly or with commas or spaces; Problem naming unknown ones."""
    scopes = tuple(scope for word in words for scope in word.replace(",", " ").split())
    if unknown := [scope for scope in scopes if scope not in SCOPES]:
        raise Problem(f"unknown scope {', '.join(unknown)}; there are: {', '.join(SCOPES)}", exit_code=2)
    return scopes or DEFAULT_SCOPES


def _auth_settings(secret: SecretText, environ: Mapping[str, str]) -> AuthSettings:
    return load(AuthSettings, {**environ, "MESSAGEPIPE_JWT_SECRET": secret.reveal()})
