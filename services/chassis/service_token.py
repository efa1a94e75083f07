"""The token by which one of our processes proves itself to another: the one it was given, else one that it makes."""

from collections.abc import Callable

from services.chassis.auth import AuthSettings, mint
from services.chassis.clock import Clock
from services.chassis.env import SecretText

TOKEN_SECONDS = 3600.0


def service_token(
    given: SecretText | None, auth: AuthSettings, clock: Clock, *, subject: str
) -> Callable[[], str] | None:
    """What answers a good token of scope `internal` whenever it is asked; None without a token and a JWT secret."""
    if given is not None:
        return given.reveal
    secret = auth.jwt_secret
    if secret is None:
        return None
    lasts = min(TOKEN_SECONDS, auth.jwt_max_lifetime)
    made: list[tuple[float, str]] = []

    def token() -> str:
        now = clock.now()
        if not made or now.timestamp() > made[0][0]:
            text = mint(
                secret,
                subject=subject,
                projects="*",
                scopes=["internal"],
                ttl_seconds=lasts,
                now=now,
                issuer=auth.jwt_issuer,
            )
            # Made anew at half of its life, so that none ends on its way.
            made[:] = [(now.timestamp() + lasts / 2, text)]
        return made[0][1]

    return token
