"""`@liquid`: a Liquid template, by the package python-liquid (the extra `liquid`), without loops and within bounds.

No loop can be written, so a template's work is bounded by its length and what its filters do; each filter checks the
time and how much text there is before it makes more. Spec: connections.md §8.2.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import Any, Final

from cdpd.mapping.kit.errors import MappingError
from cdpd.mapping.kit.path import Resolve

LONGEST: Final = 1000
"""Characters of a template."""
MOST_SECONDS: Final = 0.5
MOST_BYTES: Final = 100_000_000
TAGS_OFF: Final = frozenset(("case", "for", "include", "layout", "render", "tablerow"))
FILTERS_OFF: Final = frozenset(
    (
        "array_to_sentence_string", "concat", "find", "find_exp", "find_index", "find_index_exp", "group_by",
        "group_by_exp", "has", "has_exp", "map", "newline_to_br", "reject", "reject_exp", "reverse", "sort",
        "sort_natural", "uniq", "where_exp", "type",
    )
)  # fmt: skip
MISSING: Final = "@liquid needs the package python-liquid: pip install 'cdpd-daemon[liquid]'"


class LiquidProblem(ValueError):
    """A template that cannot be used."""


class Liquid:
    """Compiles the templates of one mapping. `monotonic` gives seconds."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._until = 0.0
        self._environment: Any = None

    def compile(self, template: str) -> tuple[Resolve, frozenset[str]]:
        """(event → text, the top-level keys that it reads). Raises LiquidProblem; the first raises MappingError."""
        if len(template) > LONGEST:
            raise LiquidProblem(
                f"a Liquid template has at most {LONGEST:,} characters, not {len(template):,}"
            )
        environment = self._made()
        from liquid.exceptions import LiquidError

        try:
            parsed = environment.from_string(template)
            used = parsed.analyze(include_partials=False)
        except (LiquidError, RecursionError) as error:
            raise LiquidProblem(_said(error, template)) from None
        for name in used.filters:
            if name in FILTERS_OFF:
                raise LiquidProblem(f"the Liquid filter {name} is off in mappings")
            if name not in environment.filters:
                raise LiquidProblem(f"Liquid has no filter {name}")

        def render(event: Any) -> str:
            self._until = self._monotonic() + MOST_SECONDS
            try:
                text: str = parsed.render(event if isinstance(event, dict) else {})
            except (LiquidError, RecursionError, ArithmeticError, ValueError, TypeError) as error:
                raise MappingError(f"@liquid: {_said(error, template)}") from None
            self._check_time()
            return text

        return render, frozenset(map(str, used.globals))

    def _made(self) -> Any:
        """The environment, made at the first template: python-liquid takes long to import."""
        if self._environment is not None:
            return self._environment
        try:
            from liquid import Environment
        except ImportError:
            raise LiquidProblem(MISSING) from None

        class Bounded(Environment):
            output_stream_limit = MOST_BYTES
            local_namespace_limit = MOST_BYTES

        made = Bounded()
        for tag in TAGS_OFF:
            made.tags.pop(tag, None)
        for name in FILTERS_OFF:
            made.filters.pop(name, None)
        for name, call in list(made.filters.items()):
            made.filters[name] = self._bounded(name, call)
        self._environment = made
        return made

    def _bounded(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def bounded(value: Any, *arguments: Any, **options: Any) -> Any:
            self._check_time()
            _check_growth(name, value, arguments)
            made = call(value, *arguments, **options)
            if isinstance(made, str) and len(made) > MOST_BYTES:
                raise MappingError(_TOO_MUCH)
            return made

        return bounded

    def _check_time(self) -> None:
        if self._monotonic() > self._until:
            raise MappingError(f"@liquid: the template took longer than {MOST_SECONDS * 1000:.0f} ms")


_TOO_MUCH: Final = f"@liquid: the template makes more than {MOST_BYTES // 1_000_000} MB of text"


def _check_growth(name: str, value: Any, arguments: tuple[Any, ...]) -> None:
    """The two filters whose result can be as long as one text times another."""
    if name == "replace" and len(arguments) == 2:
        text, old, new = str(value), str(arguments[0]), str(arguments[1])
        if (text.count(old) if old else len(text) + 1) * len(new) > MOST_BYTES:
            raise MappingError(_TOO_MUCH)
    elif name == "join" and arguments and isinstance(value, list | tuple | str):  # noqa: SIM102 - one rule a filter
        if len(value) * len(str(arguments[0])) > MOST_BYTES:
            raise MappingError(_TOO_MUCH)


def _said(error: Exception, template: str) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    for tag in sorted(TAGS_OFF):
        if f"'{tag}'" in text and tag in template:
            return f"the Liquid tag {tag} is off in mappings"
    return text
