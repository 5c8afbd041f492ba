"""`cdpd log verify` and `cdpd log repair`: damage of the stored streams, named and mended."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from cdpd.cli.exits import FAILED, USAGE, CommandError
from cdpd.cli.located import peek_or_stop
from cdpd.cli.options import ConfigOption, DataDirOption, JsonOption
from cdpd.cli.output import plural, print_json
from cdpd.cli.streams import FromOption, ToOption, open_stream, parse_place
from cdpd.config.data_folder import CACHE_TAG, STREAMS, stream_folder
from cdpd.log.agreement import disagreements
from cdpd.log.errors import LogError
from cdpd.log.files import OsFiles
from cdpd.log.lock import take_lock
from cdpd.log.remake import Mended
from cdpd.log.repair import repair as repair_stream
from cdpd.log.verify import Finding, Verified
from cdpd.timestamp import format_time

StreamsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="STREAM", help="Default: all three.", show_default=False)
]


def verify(
    streams: StreamsArgument = None,
    start: FromOption = None,
    to: ToOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json: JsonOption = False,
) -> None:
    """Read everything, check it against its checksums, and list every damage with its place.

    With --from or --to only the segments (files) that have lines of that range. The daemon may run meanwhile.
    """
    data = peek_or_stop(config, data_dir).data_dir
    now_ms = time.time_ns() // 1_000_000
    answer: dict[str, Any] = {}
    damaged = False
    for name in streams or STREAMS:
        folder, verified, findings = open_stream(data, name), Verified(), list[Finding]()
        first = None if start is None else parse_place(start, folder, now_ms).position(folder).offset
        # A moment's place may be a bit early, where a range starts: here that would leave its segment out.
        last = None if to is None else parse_place(to, folder, now_ms)
        last_offset = None if last is None else last.position(folder).offset + (last.ms is not None)
        if not json:
            _tell(f"{name} …")
        for finding in folder.verify(first or 0, last_offset, verified):
            findings.append(finding)
            if not json:
                print(f"{name}: {finding}")
        damaged |= any(finding.kind != "note" for finding in findings)
        if json:
            answer[name] = _counted(verified, findings)
        elif all(finding.kind == "note" for finding in findings):
            print(f"{name}: whole, {_summary(verified)}")
    if streams is None and start is None and to is None:
        found = list(
            disagreements(OsFiles(), *(stream_folder(data, n) for n in ("events", "received", "discarded")))
        )
        damaged |= bool(found)
        for finding in found:
            if json:
                answer["events"]["findings"].append(_fact(finding))
            else:
                print(f"events: {finding}")
    if json:
        print_json(answer)
    elif damaged:
        sys.stderr.write(
            "cdpd: nothing of a damaged place is served. Restore the file from a backup; or stop the daemon, and "
            "`cdpd log repair` makes it holes\n"
        )
    if damaged:
        raise typer.Exit(FAILED)


def _tell(text: str) -> None:
    """Progress, on a terminal only."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}\r")


def _summary(verified: Verified) -> str:
    text = plural(verified.lines, "line")
    if verified.holes:
        text += f", {verified.holes:,} of them deleted or lost"
    if verified.aside:
        text += f"; {plural(verified.aside, 'file')} set aside (*.cut, *.damaged)"
    return text


def _counted(verified: Verified, findings: Sequence[Finding]) -> dict[str, Any]:
    return {
        "lines": verified.lines,
        "holes": verified.holes,
        "set_aside": verified.aside,
        "findings": [_fact(finding) for finding in findings],
    }


def _fact(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "path": str(finding.path),
        "byte": finding.at,
        "byte_end": finding.after,
        "offset": finding.offset,
        "lost": finding.lost,
        "reason": finding.reason,
    }


def repair(
    streams: StreamsArgument = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Make damage into holes, so that everything behind it is read again. The daemon must be stopped.

    Every other line keeps its offset, and so its cursors and traces. The damaged bytes are kept beside, as
    *.damaged. A backup of the damaged file is better than any repair: copy it over the file, with the daemon stopped.
    """
    data = peek_or_stop(config, data_dir).data_dir
    files, names = OsFiles(), streams or list(STREAMS)
    for name in names:
        open_stream(data, name)
    with ExitStack() as locks:
        for name in STREAMS:
            if stream_folder(data, name).is_dir():
                _lock(locks, files, stream_folder(data, name))
        again = False
        for name in names:
            count = 0
            for mended in repair_stream(files, stream_folder(data, name), dry_run=dry_run):
                count += 1
                again |= mended.again_from is not None
                _say(name, mended, dry_run)
            if not count:
                print(f"{name}: nothing to repair")
            elif not dry_run:
                _give_back(stream_folder(data, name))
        if again:
            _forget(data, dry_run)


def _forget(data: Path, dry_run: bool) -> None:
    """Remove what plugins can make again from `events`: dedup still knows the ids of what was lost there.

    With them, what the pipeline goes over again would count as duplicates, and be lost for good.
    """
    for tag in sorted((data / "plugins").glob(f"*/{CACHE_TAG}")):
        print(
            f"{tag.parent}: {'would be ' if dry_run else ''}removed; it is made again from events at the start"
        )
        if not dry_run:
            shutil.rmtree(tag.parent)


def _give_back(folder: Path) -> None:
    """Run as root, what was made anew belongs to the folder's owner, as the rest does: the daemon has to write it."""
    owner = folder.stat()
    if os.geteuid() == 0:
        for path in folder.iterdir():
            os.chown(path, owner.st_uid, owner.st_gid)


def _lock(locks: ExitStack, files: OsFiles, folder: Path) -> None:
    try:
        locks.callback(take_lock(files, folder).close)
    except LogError as error:
        raise CommandError(f"{error}: `cdpd log repair` needs the daemon stopped", USAGE) from None


def _say(name: str, mended: Mended, dry_run: bool) -> None:
    would = "would be " if dry_run else ""
    print(f"{name}: {mended.path}, byte {mended.at}: {mended.reason}")
    count = mended.end - mended.offset
    if count:
        when = _between(mended.first_ms, mended.last_ms)
        print(f"  {would}lost: {plural(count, 'line')}, {_offsets(mended.offset, mended.end)}{when}")
    if mended.aside is not None:
        print(f"  the damaged bytes {would or 'are '}kept: {mended.aside}")
    if mended.origins is not None and count:
        first, end = mended.origins
        if end > first:
            print(
                f"  they came from {_offsets(first, end)} of received; as long as those are kept: "
                f"cdpd log cat received --from {first} --to {end}"
            )
    if mended.again_from is not None:
        print(
            f"  how far the pipeline was is lost too: it {'would go' if dry_run else 'goes'} over received from offset "
            f"{mended.again_from} on again, and destinations may get events of this range twice"
        )


def _offsets(first: int, end: int) -> str:
    return f"offset {first}" if end - first == 1 else f"offsets {first} to {end - 1}"


def _between(first_ms: int, last_ms: int) -> str:
    if not last_ms:
        return ""
    first, last = format_time(first_ms), format_time(last_ms)
    return f", stored at {last}" if first_ms == last_ms else f", stored between {first} and {last}"
