"""What a function may raise to say what is to become of an event, or of a request. Source: spec/connections.md §9.4."""

from __future__ import annotations


class RetryError(Exception):
    """Not now: the same event comes again after a back-off, the same request up to six times."""


class EventNotSupported(Exception):
    """It does nothing with such events: done, counted apart."""


class InvalidEventPayload(Exception):
    """This event can never succeed: the text says which of its values is wrong."""


class ValidationError(Exception):
    """The same as InvalidEventPayload."""


class InvalidSettings(Exception):
    """A setting is missing or wrong, which concerns all events."""


class DropEvent(Exception):
    """Drop this event on purpose, without an error (insert functions)."""
