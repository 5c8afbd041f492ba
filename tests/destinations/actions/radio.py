"""A destination made of actions, for tests: a radio that is told of songs, listeners and stations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import UNSET, Struct, UnsetType

from cdpd.destinations.actions import (
    Action,
    ActionDestination,
    ActionsConfig,
    Answer,
    BadEvent,
    Batching,
    Datetime,
    Mapped,
    PayloadValidationError,
    Preset,
    Result,
    Rule,
    Secret,
    Shape,
    Table,
    each,
    first,
)


class Track(Struct, kw_only=True):
    id: str
    """Its number."""
    seconds: float | None = None


class Song(Struct, kw_only=True):
    title: Annotated[str, Mapped("$.properties.title")]
    """What is played."""
    listener: Annotated[str | None, Mapped(first("$.userId", "$.anonymousId"))] = None
    at: Annotated[Datetime | None, Mapped("$.timestamp")] = None
    tracks: Annotated[
        list[dict[str, Any]] | None,
        Mapped(each("$.properties.tracks", {"id": "$.no", "seconds": "$.length"})),
        Shape(Track),
    ] = None
    quality: Annotated[Literal["low", "high"], Mapped("high")] = "high"
    loud: Annotated[bool, Mapped(False)] = False
    note: Annotated[str | UnsetType | None, Mapped("$.properties.note")] = UNSET


class Listener(Struct, kw_only=True):
    user: Annotated[str, Mapped("$.userId")]
    traits: Annotated[dict[str, Any] | None, Mapped("$.traits")] = None


class Station(Struct, kw_only=True):
    name: str
    region: Annotated[str, Mapped("$.properties.region")] = "eu"


async def play(radio: Radio, songs: Sequence[Song]) -> Answer | list[Result]:
    answer = await radio.call("POST", f"{radio.config.url}/plays", json=[dict_of(song) for song in songs])
    if answer.status == 207:
        return [PLAYED_BADLY if song.title == "noise" else None for song in songs]
    return answer


def dict_of(song: Song) -> dict[str, Any]:
    shown: dict[str, Any] = {"title": song.title, "quality": song.quality}
    shown |= {} if song.listener is None else {"listener": song.listener}
    shown |= {} if song.note is UNSET else {"note": song.note}
    return shown | ({} if song.tracks is None else {"tracks": song.tracks})


async def listen(radio: Radio, listener: Listener) -> Answer:
    if listener.user == "nobody":
        raise PayloadValidationError("user is nobody")
    if listener.user == "broken":
        raise KeyError("broken")
    token = {"X-Token": radio.config.token.reveal()}
    url = f"{radio.config.url}/listeners"
    return await radio.call("POST", url, form={"data": listener.traits}, headers=token)


async def tune(radio: Radio, stations: Sequence[Station]) -> Answer:
    names = [station.name for station in stations]
    return await radio.call("POST", f"{radio.config.url}/{stations[0].region}", json=names)


PLAYED_BADLY = BadEvent("noise", 207)
PLAY = Action(
    name="play",
    title="Play",
    payload=Song,
    trigger='type = "track" and event = "Song Played"',
    perform_batch=play,
    batching=Batching(3),
)
LISTEN = Action(name="listen", title="Listen", payload=Listener, trigger='type = "identify"', perform=listen)
TUNE = Action(
    name="tune", title="Tune", payload=Station, perform_batch=tune, batching=Batching(10, keys=("region",))
)


class Radio(ActionDestination):
    """A radio."""

    name = "Radio"

    class Config(ActionsConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
        url: str
        token: Secret = Secret("t0ken-of-radio")

    actions = (PLAY, LISTEN, TUNE)
    presets = (Preset("Plays", PLAY), Preset("Listeners", LISTEN))
    answers = Table({409: Rule("retry")})
