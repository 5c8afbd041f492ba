"""Google Analytics 4: events over the Measurement Protocol. Source: spec/destinations.md §1."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, Literal

from cdpd.destinations.actions import (
    Action,
    ActionDestination,
    ActionsConfig,
    Answer,
    BadConfig,
    BadEvent,
    Batch,
    Checked,
    ConnectionTest,
    DestinationEnv,
    Outcome,
    Preset,
    Problem,
    Result,
    Secret,
    TryAgain,
    json_of,
)
from cdpd_google_analytics_4.body import OLDEST_MS, TOO_OLD, body_of, micros_of, shop_parameters
from cdpd_google_analytics_4.limits import ANALYTICS_360, STANDARD, event_name
from cdpd_google_analytics_4.patience import Patience
from cdpd_google_analytics_4.payloads import CamelHit, CustomEvent, PageView, ShopHit
from cdpd_google_analytics_4.shop import EXAMPLE, KINDS, Kind

_HOSTS: Final = {"us": "https://www.google-analytics.com", "eu": "https://region1.google-analytics.com"}
_MOST_WARNINGS: Final = 200
"""Different ones, each of which is logged once."""
_INSTANCE: Final = "$.context.app.instanceId"
"""Where presets look for Firebase's id of the installed app."""


class GoogleAnalytics4(ActionDestination):
    """Google Analytics 4, over its Measurement Protocol. “Delivered” means received: Google never tells a refusal.

    It answers 204 to whatever arrives, a wrong secret included.
    """

    name = "Google Analytics 4"
    example_settings: ClassVar[Mapping[str, Any]] = {"measurement_id": "G-TEST123", "api_secret": "ga-secret"}

    class Config(ActionsConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
        measurement_id: str | None = None
        """Of a web stream, `G-…`: Admin → Data streams → the stream. This or `firebase_app_id` is needed."""
        firebase_app_id: str | None = None
        """Of an app stream, `1:…`: Admin → Data streams → the stream."""
        api_secret: Secret
        """On the same page, under Measurement Protocol API secrets."""
        region: Literal["us", "eu"] = "us"
        """Where Google takes the events in: `eu` keeps them inside the EU on their way."""
        send_old_events: bool = False
        """What is older than 72 hours is parked, as Google would drop it. True: it is sent as if it happened now."""
        analytics_360: bool = False
        """The property is of Analytics 360, whose limits are wider."""
        base_url: str | None = None
        """Another address than Google's own, such as a proxy."""

    def __init__(self, config: Config, env: DestinationEnv) -> None:
        super().__init__(config, env)
        self._limits = ANALYTICS_360 if config.analytics_360 else STANDARD
        self._patience = Patience()
        self._warned: set[str] = set()

    @classmethod
    def problems(cls, config: Config) -> Iterable[Problem]:
        """Besides those of all actions: no stream, or one of Universal Analytics."""
        yield from super().problems(config)
        if not config.measurement_id and not config.firebase_app_id:
            hint = "set `measurement_id` (a web stream), `firebase_app_id` (an app stream) or both"
            yield Problem((), "it has no stream to send to", hint)
        if (config.measurement_id or "").upper().startswith("UA-"):
            said = "this is Universal Analytics, which Google ended in July 2023: it discards what it is sent"
            yield Problem(("measurement_id",), said, "use the measurement id of a GA4 web stream, `G-…`")

    @classmethod
    def presets_for(cls, config: Config) -> Sequence[Preset]:
        """Without an app stream those for the web; else an event of an app goes to that, and screens too."""
        if not config.firebase_app_id:
            return tuple(preset for preset in cls.presets if preset is not _SCREENS)
        instance = {"@path": _INSTANCE}
        by_instance = {"@if": {"exists": instance, "then": "Mobile App", "else": "Web"}}
        stream = {
            "app_instance_id": instance,
            "data_stream_type": by_instance if config.measurement_id else "Mobile App",
        }
        return tuple(
            Preset(each.title, each.action, each.trigger, {**stream, **each.mapping}) for each in cls.presets
        )

    async def deliver(self, batch: Batch) -> Sequence[Outcome]:
        outcomes = await super().deliver(batch)
        return [
            self._patience.heed(event, outcome) for event, outcome in zip(batch.events, outcomes, strict=True)
        ]

    async def collect(
        self, hit: ShopHit | CamelHit, event: str, own: Mapping[str, Any], notes: list[str]
    ) -> Result:
        """Send one event. Raises PayloadValidationError."""
        stream, setting = "measurement_id", self.config.measurement_id
        if hit.data_stream_type == "Mobile App":
            stream, setting = "firebase_app_id", self.config.firebase_app_id
        if not setting:
            said = f"an action sends to the {hit.data_stream_type} stream, but `{stream}` is not set"
            return BadConfig(f"{said}: set it, or map `data_stream_type`")
        body = body_of(hit, event, own, self._limits, notes)
        micros = micros_of(hit)
        if micros is not None and self.env.clock.now_ms() - micros // 1000 > OLDEST_MS:
            if not self.config.send_old_events:
                return BadEvent(f"{TOO_OLD}: it happened more than 72 hours ago; see `send_old_events`")
            micros = None
        if micros is not None:
            body["timestamp_micros"] = micros
        self._warn(notes)
        try:
            return await self.call("POST", self.address("/mp/collect", stream), json=body)
        except TimeoutError as error:
            from aiohttp import ConnectionTimeoutError  # `cdpd check` does without it

            if isinstance(error, ConnectionTimeoutError):  # nothing was sent: it may be tried for ever
                return TryAgain("no connection in time", code="ECONNTIMEDOUT")
            raise

    def address(self, path: str, stream: str) -> str:
        """`stream`: the setting that names it."""
        host = (self.config.base_url or _HOSTS[self.config.region]).rstrip("/")
        # As Google documents it: nothing is escaped, the colons of a Firebase id least of all.
        secret = self.config.api_secret.reveal()
        return f"{host}{path}?api_secret={secret}&{stream}={getattr(self.config, stream)}"

    def _warn(self, notes: Iterable[str]) -> None:
        for note in notes:
            if note not in self._warned and len(self._warned) < _MOST_WARNINGS:
                self._warned.add(note)
                self.env.log.warning("cut to GA4's limits", what=note)


async def _page(to: GoogleAnalytics4, hit: PageView) -> Result:
    own = {
        "page_location": hit.page_location,
        "page_referrer": hit.page_referrer,
        "page_title": hit.page_title,
    }
    return await to.collect(hit, "page_view", own, [])


async def _custom(to: GoogleAnalytics4, hit: CustomEvent) -> Result:
    notes: list[str] = []
    name = event_name(hit.name, hit.lowercase, hit.data_stream_type == "Mobile App", notes)
    return await to.collect(hit, name, {}, notes)


async def _validate(to: GoogleAnalytics4) -> Answer | Checked:
    """Google's validation server takes a request apart, and counts nothing."""
    stream, client = "measurement_id", "client_id"
    if not to.config.measurement_id:
        stream, client = "firebase_app_id", "app_instance_id"
    body = {client: "0" * 32, "events": [{"name": "page_view", "params": {}}]}
    answer = await to.call("POST", to.address("/debug/mp/collect", stream), json=body)
    found = json_of(answer)
    messages = found.get("validationMessages") if isinstance(found, dict) else None
    if answer.status == 200 and messages:
        said = "; ".join(str(each.get("description", "")) for each in messages if isinstance(each, dict))
        return Checked("failed", f"Google finds fault: {said}", answer.request, 200, answer.body)
    return answer


def _sends(kind: Kind) -> Callable[[GoogleAnalytics4, ShopHit], Awaitable[Result]]:
    async def perform(to: GoogleAnalytics4, hit: ShopHit) -> Result:
        return await to.collect(hit, kind.event, shop_parameters(kind, hit), [])

    return perform


def _track(event: str | None) -> str:
    return 'type = "track"' + (f' and event = "{event}"' if event else "")


_SHOP: Final = tuple(
    Action(
        name=kind.name,
        title=kind.title,
        payload=kind.payload,
        trigger=_track(kind.on),
        perform=_sends(kind),
        example=EXAMPLE,
    )
    for kind in KINDS
)
_PAGE: Final = Action(
    name="pageView", title="Page View", payload=PageView, trigger='type = "page"', perform=_page
)
_CUSTOM: Final = Action(
    name="customEvent",
    title="Custom Event",
    doc="Any other event. By itself it sends no properties: map `params`.",
    payload=CustomEvent,
    trigger='type = "track"',
    perform=_custom,
)
_PROPERTIES: Final = {"@path": "$.properties"}
_SCREENS: Final = Preset(
    "Screens of Apps",
    _CUSTOM,
    'type = "screen"',
    {
        "name": "screen_view",
        "params": {
            "@merge": {"objects": [_PROPERTIES, {"screen_name": {"@path": "$.name"}}], "direction": "right"}
        },
        "flatten_params": True,
        "data_stream_type": "Mobile App",
    },
)
GoogleAnalytics4.connection = ConnectionTest(
    _validate,
    ok="Google can be reached and finds no fault; whether `api_secret` and the stream's id are right it never tells: "
    "look for the first events under Reports → Realtime",
)
GoogleAnalytics4.actions = (*_SHOP, _PAGE, _CUSTOM)
GoogleAnalytics4.presets = (
    *(Preset(action.title, action) for action, kind in zip(_SHOP, KINDS, strict=True) if kind.on),
    Preset("Page Views", _PAGE),
    Preset(
        "Other Events",
        _CUSTOM,
        'type = "track"' + "".join(f' and event != "{kind.on}"' for kind in KINDS if kind.on),
        {"params": _PROPERTIES, "flatten_params": True},
    ),
    _SCREENS,
)
