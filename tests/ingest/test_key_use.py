"""The file of last uses is a convenience: whatever stands in it, a daemon starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdpd.ingest.key_use import KeyUseFile
from cdpd.testing import KeptLog


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"sha256:\xe2": {}}', b"\x00" * 100])
def test_a_file_that_cannot_be_read_is_told_of_and_begun_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key-use.json").write_bytes(content)
    log = KeptLog()
    uses = KeyUseFile(tmp_path / "key-use.json", log.log).read()
    assert uses.all() == {}
    assert log.texts("warning") == ["the last uses of write keys are not known"]
