"""What a message may say to one kind of provider alone (`providerOptions`). Not what the kinds make of it."""

from collections.abc import Mapping
from difflib import get_close_matches
from itertools import islice
from typing import Any

from services.adapters.base import ProviderSpec
from services.adapters.schema import schema_errors
from services.dispatch.content import Findings

# Mistakes that are looked into: a message may hold a million of them.
MAX_TOLD = 100


def check_options(options: Mapping[str, Any], specs: Mapping[str, ProviderSpec], findings: Findings) -> None:
    """Everything that is wrong with `options` by the schemas of the channel's kinds, which are `specs` by kind."""
    for kind, given in options.items():
        if len(findings.violations) >= MAX_TOLD:
            return
        path = f"providerOptions.{kind}"
        spec = specs.get(kind)
        if spec is None:
            close = get_close_matches(kind.casefold(), specs, n=1, cutoff=0.5)
            told = f'did you mean "{close[0]}"?' if close else f"known are {', '.join(sorted(specs))}"
            findings.add(path, f"is not a kind of provider on this channel; {told}")
            continue
        for inner, words in islice(schema_errors(spec.options_schema, given), MAX_TOLD):
            findings.add(f"{path}.{inner}" if inner else path, words)
