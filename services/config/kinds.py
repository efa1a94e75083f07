"""The kinds of provider there are, looked up by channel and word. Not what a kind means: that is its adapter."""

from collections.abc import Iterable
from difflib import get_close_matches

from services.adapters.base import Channel, ProviderSpec
from services.config.errors import ProviderSchemaNotFound


class Kinds:
    """A fixed set of specs, by channel, then kind."""

    def __init__(self, specs: Iterable[ProviderSpec]) -> None:
        ordered = sorted(specs, key=lambda spec: (spec.channel, spec.kind))
        self._specs = {(spec.channel, spec.kind): spec for spec in ordered}

    def all(self, channel: Channel | None) -> list[ProviderSpec]:
        """Every spec by channel, then kind; only those of `channel` when one is given."""
        return [spec for spec in self._specs.values() if channel in (None, spec.channel)]

    def find(self, channel: Channel, kind: str) -> ProviderSpec | None:
        """The spec of this kind, or None when no adapter for it is installed."""
        return self._specs.get((channel, kind))

    def words(self, channel: Channel | None) -> list[str]:
        """The kinds there are on `channel` (None: on any), each once, in alphabetical order."""
        return sorted({spec.kind for spec in self.all(channel)})

    def only(self, channel: Channel | None, kind: str) -> ProviderSpec | None:
        """The one spec that is meant; None when several channels have the kind and none was said.

        Raises ProviderSchemaNotFound with the kinds there are.
        """
        found = [spec for spec in self.all(channel) if spec.kind == kind]
        if not found:
            raise ProviderSchemaNotFound(kind, self.words(channel))
        return found[0] if len(found) == 1 else None

    def complaint(self, channel: Channel, kind: str) -> str:
        """What to tell somebody who asked for a kind that is not there."""
        words = self.words(channel)
        close = get_close_matches(kind.casefold(), words, n=1, cutoff=0.5)
        hint = f'did you mean "{close[0]}"? ' if close else ""
        return f"is not a kind of provider for {channel}; {hint}known: {', '.join(words)}"
