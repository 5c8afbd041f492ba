"""Making holes, as a later deletion will: the lines go, everything else stays as it was."""

from __future__ import annotations

from pathlib import Path

from cdpd.log.files import OsFiles
from cdpd.log.frame import HAS_HOLES, Codec, encode_frame
from cdpd.log.segment import read_lines, walk


def make_holes(segment: Path, offsets: set[int]) -> None:
    """Replace these lines of a sealed segment by holes."""
    file, codec, out = OsFiles().open(segment), Codec(), b""
    try:
        for place in walk(file, file.size(), segment):
            header = place.header
            lines = [
                b"" if offset in offsets else line
                for offset, line in enumerate(read_lines(file, place, codec), header.base)
            ]
            _, data = encode_frame(
                codec,
                b"".join(line + b"\n" for line in lines),
                base=header.base,
                count=header.count,
                first_ms=header.first_ms,
                last_ms=header.last_ms,
                epoch=header.epoch,
                config_id=header.config_id,
                flags=header.flags | (HAS_HOLES if b"" in lines else 0),
                cursor=header.cursor,
                origins=header.origins,
                lineage=header.lineage,
            )
            out += data
    finally:
        file.close()
    segment.with_suffix(".tmp").write_bytes(out)
    segment.with_suffix(".tmp").chmod(0o600)
    segment.with_suffix(".tmp").replace(segment)
    segment.with_name(segment.name.replace(".ndjson.zst", ".idx")).unlink(missing_ok=True)
