"""Where requests go when nothing else is said: where the maker's own library sends them."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from mailgun.client import Client as MailgunClient
from sendgrid import SendGridAPIClient
from twilio.rest import Client as TwilioClient

from services.adapters import aws
from services.adapters.email import mailgun, sendgrid, ses
from services.adapters.schema import settings_errors
from services.adapters.sms import twilio
from tests.strangers.makers.amazon import KEYS, session

ROOT = Path(__file__).resolve().parent.parent.parent
SERVICES = {"sesv2": "email", "sns": "sns", "sts": "sts"}


def test_sendgrid() -> None:
    """The library's default is ours, and its EU host is the one that our schema names."""
    client = SendGridAPIClient("key")

    assert client.host == sendgrid.BASE_URL
    client.set_sendgrid_data_residency("eu")
    assert client.host in sendgrid.SPEC.config_schema["properties"]["baseUrl"]["examples"]


def test_mailgun() -> None:
    """The library's default is our address of the region us."""
    with MailgunClient(auth=("api", "key")) as client:
        assert client.config.api_url == mailgun.base_url({}) == mailgun.base_url({"region": "us"})


def test_twilio() -> None:
    """The library's address of an account's messages is ours."""
    account = "AC" + "0" * 32
    messages = TwilioClient(account, "token").api.v2010.account.messages

    theirs = messages._version.absolute_url(messages._uri)
    assert theirs == f"{twilio.resource_url({'accountSid': account})}/Messages.json"


def _regions() -> Iterator[tuple[str, str]]:
    known = session()
    for partition in known.get_available_partitions():
        for service in SERVICES:
            for region in known.get_available_regions(service, partition_name=partition):
                yield service, region


@pytest.mark.parametrize("service", SERVICES)
def test_every_region_of_amazon(service: str) -> None:
    """In every region of every partition that the library knows, our address of the service is the library's."""
    regions = [region for each, region in _regions() if each == service]
    theirs = {region: _client_url(service, region) for region in regions}

    assert len(regions) > 20
    assert {region: aws.endpoint({"region": region}, SERVICES[service]) for region in regions} == theirs


def _client_url(service: str, region: str) -> str:
    client = session().client(service, region_name=region, aws_access_key_id="a", aws_secret_access_key="b")
    url: str = client.meta.endpoint_url
    return url


def test_every_region_may_be_configured() -> None:
    """The settings take every region that the library knows."""
    refused = [region for _, region in _regions() if settings_errors(ses.SPEC, {**KEYS, "region": region})]

    assert refused == []


def test_what_signs_in_the_tests_signs_in_service() -> None:
    """All lock files hold the same botocore: what is compared here is what is deployed."""
    pinned = [
        re.findall(r"^botocore==(\S+)", (ROOT / name).read_text(), re.MULTILINE)
        for name in ("requirements.lock", "requirements-otel.lock", "requirements-dev.lock")
    ]

    assert pinned[0] == pinned[1] == pinned[2] != []
