"""The first words of a daemon: where it listens, and how to send it a first event."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from cdpd.config.address import Listen, nearest
from cdpd.config.load import LoadedConfig


def options_of(config: Path | None, data_dir: Path | None) -> str:
    """What another command needs besides its name to mean the same daemon, with a space in front."""
    given = (("--config", config), ("--data-dir", data_dir))
    return "".join(f" {name} {shlex.quote(str(path))}" for name, path in given if path is not None)


def banner(
    loaded: LoadedConfig,
    bound: Sequence[Listen],
    cdpd: str = "cdpd",
    options: str = "",
    *,
    hints: bool = True,
) -> str:
    """For stdout; the `curl` line works when pasted into a shell on the same machine.

    `cdpd` is how the program is called here, `options` those of `options_of`. Without `hints` (nobody sits at a
    terminal) a configured daemon only says where it is.
    """
    url = nearest([address.url for address in bound]) or ""
    to = f"--unix-socket {url[5:]} http://localhost" if url.startswith("unix:") else url
    sources = loaded.config.sources
    lines = [
        f"cdpd listens on {', '.join(address.url for address in bound)}; its data is in {loaded.data_dir}"
    ]
    if loaded.development:
        lines.append(
            f"No configuration was found: these are defaults to try things with (`{cdpd} init` writes one)."
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
            "It is printed here. Then try:",
            "",
            f"  {cdpd} tail{options}",
            f"  {cdpd} query{options} 'select event, count(*) from events group by 1'",
            "",
        ]
    elif hints and enabled:
        lines += [
            "",
            "From another terminal:",
            "",
            f"  {cdpd} snippet{options}   what to paste into a website or an app",
            f"  {cdpd} tail{options}      events as they arrive",
            f"  {cdpd} status{options}    what runs, and how far each part is",
            "",
        ]
    return "\n".join(lines) + "\n"
