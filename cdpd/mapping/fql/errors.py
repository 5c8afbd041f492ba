"""What can be wrong: with a text (FqlSyntaxError), and with a text on one event (FqlError)."""

from __future__ import annotations


class FqlError(Exception):
    """An expression could not be evaluated on this event, e.g. `length` of an object. A filter then fails closed."""


class FqlSyntaxError(ValueError):
    """A text that is no FQL. `line` and `column` count from 1, in characters; `hint` says what to write, or is ""."""

    def __init__(self, text: str, at: int, message: str, hint: str = "") -> None:
        before = text[:at]
        self.text = text
        self.line = before.count("\n") + 1
        self.column = at - (before.rfind("\n") + 1) + 1
        self.message = message
        self.hint = hint
        place = f"column {self.column}" if "\n" not in text else f"line {self.line}, column {self.column}"
        super().__init__(f"{place}: {message}" + (f"; {hint}" if hint else ""))

    def caret(self, width: int = 100) -> str:
        """The line that is wrong with a `^` under the place; a long line is cut to `width` characters around it."""
        line = "".join(c if c.isprintable() else " " for c in self.text.split("\n")[self.line - 1])
        column = self.column - 1
        start = 0
        if len(line) > width:
            start = max(0, min(column - width // 2, len(line) - width))
            line, column = line[start : start + width], column - start
        return f"{line}\n{' ' * column}^"
