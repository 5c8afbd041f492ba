"""Who still needs what of the streams: read from where it is durable, so that any process may ask.

What is not known counts as needed.
"""

from __future__ import annotations

from collections.abc import Mapping

from cdpd.config.data_folder import state_db
from cdpd.config.load import LoadedConfig
from cdpd.delivery.stored import stored_cursors, stored_replays


def destinations_need(loaded: LoadedConfig) -> Mapping[str, int]:
    """Destination, or replay → the offset of `events` from which on it still reads; 0 where it has no cursor yet.

    Raises StateError where state.db cannot be read.
    """
    path = state_db(loaded.data_dir)
    cursors = stored_cursors(path)
    return {
        **{
            f"destination {name}": cursors[name].low.offset if name in cursors else 0
            for name in loaded.config.destinations
        },
        **{id: cursor.low.offset for id, cursor in stored_replays(path).items()},
    }
