"""The list of kinds."""

import subprocess
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from services.adapters import receipt_readers
from services.adapters.base import Capabilities, Channel, ProviderSpec
from services.adapters.registry import BUILT_IN, Kind, merged, spec_for, specs

DOCUMENTED = {
    (Channel.EMAIL, "sendgrid"), (Channel.EMAIL, "mailgun"), (Channel.EMAIL, "ses"), (Channel.EMAIL, "smtp"),
    (Channel.EMAIL, "sandbox"),
    (Channel.SMS, "twilio"), (Channel.SMS, "termii"), (Channel.SMS, "sns"), (Channel.SMS, "sandbox"),
}  # fmt: skip


def test_every_documented_kind_exists() -> None:
    """The kinds of the documented REST surface and the sandboxes are there, each once."""
    listed = [(spec.channel, spec.kind) for spec in specs()]
    assert set(listed) == DOCUMENTED
    assert len(listed) == len(DOCUMENTED)


def test_spec_for() -> None:
    """A kind is found on its own channel only."""
    found = spec_for(Channel.SMS, "twilio")
    assert found is not None
    assert found.kind == "twilio"
    assert spec_for(Channel.EMAIL, "twilio") is None


def test_specs_load_no_network_library() -> None:
    """Listing the specs imports nothing that opens sockets: ConfigService needs them and little memory."""
    heavy = ("aiohttp", "aiosmtplib", "aiobotocore", "botocore", "httpx_aiohttp", "phonenumbers")
    code = f"import sys, services.adapters.registry as r; r.specs(); print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class PlugIn:
    """An entry point that loads what it is told to."""

    name, value, dist = "acme", "acme.provider:KIND", None

    def __init__(self, found: Any) -> None:
        self._found = found

    def load(self) -> Any:
        """What it was told to load, or the error it was told to raise."""
        if isinstance(self._found, Exception):
            raise self._found
        return self._found


def a_kind(name: str) -> Kind:
    """A third party's kind of this name."""
    spec = ProviderSpec(
        kind=name, channel=Channel.SMS, title="", description="", documentation_url="", config_schema={}
    )
    return Kind(spec=spec, make=BUILT_IN[0].make)


def as_entry_points(*found: Any) -> list[EntryPoint]:
    """Entry points that load these objects."""
    return [PlugIn(one) for one in found]  # type: ignore[misc]


def test_plug_in() -> None:
    """A third party's kind stands beside the built-in ones."""
    assert (Channel.SMS, "acme") in merged(BUILT_IN, as_entry_points(a_kind("acme")))


def test_a_promise_without_a_reader() -> None:
    """A kind whose spec says receipts but that has nothing to read them is shown without."""
    boasting = a_kind("acme")
    boasting = replace(boasting, spec=replace(boasting.spec, capabilities=Capabilities(receipts=True)))
    key = (Channel.SMS, "acme")
    assert not merged((), as_entry_points(boasting))[key].spec.capabilities.receipts
    reading = replace(boasting, receipts=receipt_readers.termii)
    assert merged((), as_entry_points(reading))[key].spec.capabilities.receipts


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (a_kind("twilio"), r"\(acme\.provider:KIND\) names the kind 'twilio', which SMS has already$"),
        ("not a kind", r"is a str, not a services\.adapters\.registry\.Kind$"),
        (ImportError("no\nacme"), "could not be loaded: ImportError: no acme$"),
        (AttributeError("x" * 1000), "AttributeError: x{150,180}$"),
    ],
)
def test_bad_plug_in(found: Any, text: str) -> None:
    """A plug-in that does not load, is no kind, or takes a taken word stops the start with one clear sentence."""
    with pytest.raises(ValueError, match=text):
        merged(BUILT_IN, as_entry_points(found))
