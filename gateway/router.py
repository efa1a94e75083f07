"""From method and path to a route, or to the 404 or 405 that says what there is. Pure; the routes are handed in."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Generic, TypeVar

from gateway import http_rule
from gateway.errors import no_route, wrong_method
from gateway.http_rule import ONE, REST, Path, Template

T = TypeVar("T")


@dataclass(slots=True)
class _Node(Generic[T]):
    literals: "dict[str, _Node[T]]" = field(default_factory=dict)
    one: "_Node[T] | None" = None
    here: dict[str, dict[str, tuple[Template, T]]] = field(default_factory=dict)
    rest: dict[str, dict[str, tuple[Template, T]]] = field(default_factory=dict)


class Router(Generic[T]):
    """A trie over path segments. Where several templates match, literals win over `*`, `*` over `**`, from left to
    right, whatever the method.
    """

    def __init__(self, routes: Iterable[tuple[str, Template, T]]) -> None:
        self._root: _Node[T] = _Node()
        self._texts: list[str] = []
        for method, template, target in routes:
            self._add(method, template, target)

    def find(self, method: str, raw_path: str) -> tuple[T, dict[str, str]]:
        """The route's target and its path variables; Refusal 404 names the nearest route, 405 what the path takes."""
        path = http_rule.split(raw_path)
        methods = next(self._matches(self._root, path, 0), None) if path is not None else None
        if path is None or methods is None:
            raise no_route(_shown(raw_path), self._nearest(raw_path))
        if method not in methods:
            # What else the path might be read as is none of its methods: `preview` is no template's id.
            raise wrong_method(method[:20], sorted(methods))
        template, target = methods[method]
        return target, http_rule.bind(template, path)

    def _add(self, method: str, template: Template, target: T) -> None:
        node = self._root
        for segment in template.segments:
            if segment == REST:
                node.rest.setdefault(template.verb, {})[method] = (template, target)
                break
            if segment == ONE:
                node.one = node = node.one or _Node()
            else:
                node = node.literals.setdefault(segment, _Node())
        else:
            node.here.setdefault(template.verb, {})[method] = (template, target)
        if template.text not in self._texts:
            self._texts.append(template.text)

    def _matches(self, node: _Node[T], path: Path, at: int) -> Iterator[dict[str, tuple[Template, T]]]:
        if at == len(path.segments):
            if path.verb in node.here:
                yield node.here[path.verb]
            return
        segment = path.segments[at]
        if segment in node.literals:
            yield from self._matches(node.literals[segment], path, at + 1)
        if node.one is not None and segment:
            yield from self._matches(node.one, path, at + 1)
        if path.verb in node.rest:
            yield node.rest[path.verb]

    def _nearest(self, raw_path: str) -> str | None:
        close = get_close_matches(raw_path[:200].rstrip("/"), self._texts, n=1, cutoff=0.6)
        return close[0] if close else None


def _shown(raw_path: str) -> str:
    return raw_path if len(raw_path) <= 100 else raw_path[:99] + "…"
