"""Sizes and floors as people write them."""

from __future__ import annotations

import pytest

from cdpd.config.size import Floor, parse_floor, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("17", 17),
        ("512MiB", 512 << 20),
        ("1 GiB", 1 << 30),
        ("1.5GiB", 3 << 29),
        ("500MB", 500_000_000),
        ("2TB", 2 * 10**12),
        ("4KiB", 4096),
    ],
)
def test_a_size_is_a_number_of_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size
    assert parse_floor(text) == Floor(bytes=size)
    assert parse_floor(text).of(10**15) == size


@pytest.mark.parametrize(("text", "floor"), [("2%", 2000), ("0.5 %", 500), ("0%", 0)])
def test_a_floor_may_be_a_part_of_the_disk(text: str, floor: int) -> None:
    assert parse_floor(text).of(100_000) == floor


@pytest.mark.parametrize("text", ["", "much", "-1GiB", "1gib", "1 G", "100%", "1GiB free", "1e9"])
def test_anything_else_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="is no size: write a number and KB"):
        parse_floor(text)
