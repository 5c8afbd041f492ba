"""The actions kit: destinations declared as actions, each with a typed payload, a trigger, a mapping and a `perform`.

What authors of destinations import, all of it from here; plugins/README.md walks through it.
"""

from cdpd.destinations.actions.action import Action, Batching, Preset, Result
from cdpd.destinations.actions.client import Client, Recorder, Request
from cdpd.destinations.actions.config import ActionsConfig, ActionSetup
from cdpd.destinations.actions.connection import ConnectionTest
from cdpd.destinations.actions.destination import ActionDestination
from cdpd.destinations.actions.encode import json_of, size_of, to_form, to_json
from cdpd.destinations.actions.mapped import Datetime, Kind, Mapped, Shape, each, first, template
from cdpd.destinations.actions.oauth import OAuth2, OAuth2Config
from cdpd.destinations.actions.trouble import (
    IntegrationError,
    InvalidAuthenticationError,
    PayloadValidationError,
    RetryableError,
    SelfTimeoutError,
)
from cdpd.destinations.answers import Answer, Rule, Table
from cdpd.destinations.checked import Checked
from cdpd.destinations.contract import Batch, BatchLimits, DestinationEnv, Problem
from cdpd.destinations.outcome import (
    BadConfig,
    BadCredentials,
    BadEvent,
    Delivered,
    Outcome,
    RateLimited,
    Resend,
    Skipped,
    TooLarge,
    TryAgain,
)
from cdpd.secret import Secret
from cdpd.timestamp import format_time, parse_time

__all__ = [
    "Action",
    "ActionDestination",
    "ActionSetup",
    "ActionsConfig",
    "Answer",
    "BadConfig",
    "BadCredentials",
    "BadEvent",
    "Batch",
    "BatchLimits",
    "Batching",
    "Checked",
    "Client",
    "ConnectionTest",
    "Datetime",
    "Delivered",
    "DestinationEnv",
    "IntegrationError",
    "InvalidAuthenticationError",
    "Kind",
    "Mapped",
    "OAuth2",
    "OAuth2Config",
    "Outcome",
    "PayloadValidationError",
    "Preset",
    "Problem",
    "RateLimited",
    "Recorder",
    "Request",
    "Resend",
    "Result",
    "RetryableError",
    "Rule",
    "Secret",
    "SelfTimeoutError",
    "Shape",
    "Skipped",
    "Table",
    "TooLarge",
    "TryAgain",
    "each",
    "first",
    "format_time",
    "json_of",
    "parse_time",
    "size_of",
    "template",
    "to_form",
    "to_json",
]
