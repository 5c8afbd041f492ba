"""The first words of a daemon: where it listens, and how to send it a first event."""

from __future__ import annotations

from collections.abc import Sequence

from cdpd.config.address import Listen, nearest
from cdpd.config.load import LoadedConfig


def banner(loaded: LoadedConfig, bound: Sequence[Listen]) -> str:
    """For a terminal's stdout; the `curl` line works when pasted into a shell on the same machine."""
    url = nearest([address.url for address in bound]) or ""
    to = f"--unix-socket {url[5:]} http://localhost" if url.startswith("unix:") else url
    sources = loaded.config.sources
    lines = [
        f"cdpd listens on {', '.join(address.url for address in bound)}; its data is in {loaded.data_dir}"
    ]
    if loaded.development:
        lines.append(
            "No configuration was found: these are defaults to try things with (`cdpd init` writes one)."
        )
    enabled = [source for source in sources.values() if source.enabled]
    if loaded.development and enabled:
        key = enabled[0].write_keys[0]
        lines += [
            "",
            "Send it an event from another terminal:",
            "",
            f'  curl -u {key}: {to}/v1/track -d \'{{"event": "Signed Up", "userId": "u1", '
            '"properties": {"plan": "pro"}}\'',
            "",
            "It is printed here. Then try: cdpd tail, cdpd query 'select event, count(*) from events group by 1'",
            "",
        ]
    return "\n".join(lines) + "\n"
