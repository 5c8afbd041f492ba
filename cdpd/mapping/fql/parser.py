"""Tokens → syntax tree: recursive descent over the grammar of spec/connections.md §6.1.

`!` takes the whole comparison behind it: `!a = b` is `!(a = b)`.
"""

from __future__ import annotations

from typing import Final

from cdpd.mapping.closest import closest
from cdpd.mapping.fql.errors import FqlSyntaxError
from cdpd.mapping.fql.functions import FUNCTIONS
from cdpd.mapping.fql.lexer import Token, tokens
from cdpd.mapping.fql.syntax import Call, Compare, Junction, ListOf, Literal, Node, Not, Operator, Path

MOST_BYTES: Final = 5 * 1024
"""Spec: connections.md §6."""
DEEPEST: Final = 40
"""Parentheses, lists, calls and negations inside each other; the specification names no bound."""
_COMPARISONS: Final[dict[str, Operator]] = {
    "=": "=", "!=": "!=", ">": ">", ">=": ">=", "<": "<", "<=": "<=", "in": "in",
}  # fmt: skip
_CONSTANTS: Final = {"true": True, "false": False, "null": None, "all": True}
_WORDS: Final = {
    "not": "write !(…)",
    "is": "write =, or = null for what is missing",
    "like": "write match(field, 'pattern*')",
    "contains": "write contains(field, 'text')",
    "exists": "write field != null",
    "undefined": "what is missing is null",
    "none": "what is missing is null",
    "nil": "what is missing is null",
}
"""Words of other languages → what to write."""


def parse(text: str) -> Node:
    """The tree of an expression. Raises FqlSyntaxError and nothing else."""
    if len(text.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        raise FqlSyntaxError(text, 0, f"an expression has at most {MOST_BYTES:,} bytes")
    found = tokens(text)
    if len(found) == 1:
        raise FqlSyntaxError(text, 0, "there is no expression", "all matches every event")
    parser = _Parser(text, found)
    node = parser.any_of()
    parser.finish()
    return node


class _Parser:
    def __init__(self, text: str, found: list[Token]) -> None:
        self.text = text
        self.tokens = found
        self.place = 0
        self.depth = 0

    # -- tokens ------------------------------------------------------------------------------------------

    @property
    def next(self) -> Token:
        return self.tokens[self.place]

    def take(self) -> Token:
        token = self.tokens[self.place]
        self.place += 1
        return token

    def is_sign(self, *signs: str) -> bool:
        return self.next.kind == "sign" and self.next.text in signs

    def is_word(self, word: str) -> bool:
        return self.next.kind == "word" and self.next.text == word

    def error(self, token: Token, message: str, hint: str = "") -> FqlSyntaxError:
        return FqlSyntaxError(self.text, token.at, message, hint)

    def deeper(self, token: Token) -> None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.error(token, f"more than {DEEPEST} levels inside each other")

    # -- rules -------------------------------------------------------------------------------------------

    def any_of(self) -> Node:
        return self.joined("or")

    def joined(self, word: str) -> Node:
        first = self.joined("and") if word == "or" else self.negated()
        if not self.is_word(word):
            return first
        at, operands = self.next.at, [first]
        while self.is_word(word):
            self.take()
            operands.append(self.joined("and") if word == "or" else self.negated())
        return Junction("or" if word == "or" else "and", tuple(operands), at)

    def negated(self) -> Node:
        if not self.is_sign("!"):
            return self.comparison()
        token = self.take()
        self.deeper(token)
        node = Not(self.negated(), token.at)
        self.depth -= 1
        return node

    def comparison(self) -> Node:
        left = self.value()
        operator = _COMPARISONS.get(self.next.text) if self.next.kind in ("sign", "word") else None
        if operator is None:
            return left
        token = self.take()
        if operator == "in" and self.is_sign("("):
            raise self.error(self.next, "a list is written in [ ]", "write in ['a', 'b']")
        node = Compare(operator, left, self.value(), token.at)
        if self.next.text in _COMPARISONS and self.next.kind in ("sign", "word"):
            raise self.error(self.next, "comparisons do not chain", "join two of them with and")
        return node

    def value(self) -> Node:
        token = self.take()
        if token.kind in ("string", "number"):
            assert isinstance(token.value, str | int | float)
            return Literal(token.value, token.at)
        if token.kind == "word" and token.text in _CONSTANTS:
            return Literal(_CONSTANTS[token.text], token.at)
        if token.kind == "path":
            return self.call(token) if self.is_sign("(") else self.path(token)
        if token.kind == "sign" and token.text == "(":
            self.deeper(token)
            node = self.any_of()
            self.close(")", token)
            return node
        if token.kind == "sign" and token.text == "[":
            self.deeper(token)
            return ListOf(self.items("]", token), token.at)
        if token.kind == "end":
            raise self.error(token, "the expression ends where a value is expected")
        if token.text == "!":
            raise self.error(
                token, "! stands in front of a whole condition", "put it and its value in parentheses"
            )
        raise self.error(token, f"expected a value, found {token.text}")

    def path(self, token: Token) -> Path:
        assert isinstance(token.value, tuple)
        folded = token.text.lower()
        if len(token.value) == 1 and self.next.kind not in ("sign", "end", "word") and folded in _WORDS:
            raise self.error(token, f"{token.text} is no word of FQL", _WORDS[folded])
        return Path(token.value, token.at)

    def call(self, token: Token) -> Call:
        function = FUNCTIONS.get(token.text)
        if function is None:
            near = token.text.lower() if token.text.lower() in FUNCTIONS else closest(token.text, FUNCTIONS)
            hint = f"did you mean {near}?" if near else f"the functions are {', '.join(FUNCTIONS)}"
            if token.text.lower() in _WORDS:
                hint = _WORDS[token.text.lower()]
            raise self.error(token, f"there is no function {token.text}", hint)
        opened = self.take()
        self.deeper(opened)
        arguments = self.items(")", opened)
        if len(arguments) != len(function.parameters):
            wanted, given = len(function.parameters), len(arguments)
            raise self.error(
                token,
                f"{token.text} takes {wanted} argument{'' if wanted == 1 else 's'}, not {given}",
                f"write {function.usage}",
            )
        return Call(token.text, arguments, token.at)

    def items(self, closing: str, opened: Token) -> tuple[Node, ...]:
        """Values between commas, up to the closing bracket, which is taken too."""
        found: list[Node] = []
        if self.is_sign(closing):
            self.take()
            self.depth -= 1
            return ()
        while True:
            found.append(self.value())
            if not self.is_sign(","):
                break
            self.take()
        self.close(closing, opened, "a comma or ")
        return tuple(found)

    def close(self, closing: str, opened: Token, more: str = "") -> None:
        self.depth -= 1
        if self.is_sign(closing):
            self.take()
        elif self.next.kind == "end":
            raise self.error(opened, f"this {opened.text} is never closed", f"write {closing} at its end")
        else:
            raise self.unexpected(f"expected {more}{closing}")

    def finish(self) -> None:
        if self.next.kind != "end":
            raise self.unexpected("expected and, or, or the end")

    def unexpected(self, expected: str) -> FqlSyntaxError:
        token, before = self.next, self.tokens[self.place - 1]
        folded = token.text.lower()
        hint = ""
        if token.kind == "path" and folded in ("and", "or", "in"):
            hint = f"write {folded}, in lower case"
        elif token.kind == "path" and folded in _WORDS:
            hint = _WORDS[folded]
        elif token.kind == "path" and before.kind == "path":
            together = self.text[before.at : token.at + len(token.text)]
            hint = f"is text meant? then write '{together}'"
        elif token.text in (")", "]") and "end" in expected:
            return self.error(token, f"nothing is open that this {token.text} closes")
        elif token.text == "!":
            hint = "write !=, or and !(…)"
        elif token.text in _COMPARISONS and expected.startswith("expected a comma"):
            hint = "a comparison in here goes into parentheses"
        return self.error(token, f"{expected}, found {token.text}", hint)
