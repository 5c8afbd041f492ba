"""The log: append-only streams of NDJSON in zstd. FORMAT.md beside this file is the format, exactly.

`Stream` (stream.py) is a stream as its one writer holds it; `Reader` (reader.py) reads one from any process.
"""
