"""Amazon SNS as far as it calls us: signed envelopes, and the addresses it serves. A real key and a real certificate;
only the network is played.
"""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from services.adapters.sns_envelope import FetchFailed, signed_text

NOW = datetime.fromtimestamp(1_700_000_000, UTC)
TOPIC = "arn:aws:sns:eu-west-1:123456789012:ses-events"
CERTIFICATE_URL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem"
SUBSCRIBE_URL = (
    f"https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token={'2336412f37fb687f' * 4}"
)


@lru_cache(maxsize=1)
def _sns_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@lru_cache(maxsize=1)
def sns_certificate() -> bytes:
    """The certificate of the key that signs here in Amazon's place."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(_sns_key().public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=365))
    )
    return builder.sign(_sns_key(), SHA256()).public_bytes(Encoding.PEM)


class Amazon:
    """SNS's own addresses: the certificate, and confirmations. Keeps what was asked for; `down` answers nothing."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.down = False

    async def fetch(self, url: str) -> bytes:
        """GET this address."""
        self.asked.append(url)
        if self.down or url not in (CERTIFICATE_URL, SUBSCRIBE_URL):
            raise FetchFailed("404")
        return sns_certificate() if url == CERTIFICATE_URL else b"<ConfirmSubscriptionResponse/>"


def sns_envelope(
    message: str, *, version: str = "1", at: datetime = NOW, more: Mapping[str, str] | None = None
) -> dict[str, str]:
    """A signed envelope around this message; `more` replaces or adds fields before it is signed."""
    envelope = {
        "Type": "Notification",
        "MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b",
        "TopicArn": TOPIC,
        "Message": message,
        "Timestamp": at.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "SignatureVersion": version,
        "SigningCertURL": CERTIFICATE_URL,
        **(more or {}),
    }
    algorithm = SHA1() if envelope["SignatureVersion"] == "1" else SHA256()
    signature = _sns_key().sign(signed_text(envelope), padding.PKCS1v15(), algorithm)
    return {**envelope, "Signature": base64.b64encode(signature).decode()}
