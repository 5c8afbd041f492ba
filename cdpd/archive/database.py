"""DuckDB over the archive: a database in memory whose only tables are the views of columns.py, and nothing else."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from msgspec import Struct

from cdpd.archive.columns import VIEWS, View
from cdpd.archive.snapshot import Piece, snapshot
from cdpd.config.data_folder import STREAMS, stream_folder
from cdpd.log.errors import LogError

if TYPE_CHECKING:
    import duckdb

_T = TypeVar("_T")
_LISTEN: Final = 0.05
"""Seconds between two looks whether Ctrl-C came."""
_LEAST_LINE: Final = 16 * 1024 * 1024
"""DuckDB's own bound for a line; raised where a stream has a larger frame."""
_OPTIONS: Final = (
    "format = 'newline_delimited', compression = 'zstd', auto_detect = false, hive_partitioning = false"
)


class NothingStored(LogError):
    """The data folder has no streams yet."""


class QueryError(Exception):
    """The SQL is wrong, or asks for what is not to be had. The text is DuckDB's, files named as people know them."""


class StoredLineError(LogError):
    """DuckDB cannot read a stored line, although the file is what was written."""


class Table(Struct, frozen=True):
    """An answer: its columns, and its rows as they come."""

    columns: list[str]
    types: list[str]
    """DuckDB's names, e.g. `JSON`, `BIGINT`; its versions before 2 only tell `NUMBER` from `STRING` and `JSON`."""
    rows: Iterator[tuple[Any, ...]]


def mentioned(sql: str) -> list[str]:
    """The streams that a query reads; all where that is none (`show tables`)."""
    import duckdb

    with duckdb.connect(":memory:") as connection:
        try:
            names = {name.lower() for name in connection.get_table_names(sql)}
        except duckdb.Error:  # what it cannot take apart: several statements, joins by name, mistakes
            names = set(re.findall(r"\w+", sql.lower()))
    views = [view for view in VIEWS.values() if view.name in names] or VIEWS.values()
    return list(dict.fromkeys(view.stream for view in views))


class Archive:
    """The views, to be asked. One at a time; made by `open_archive`."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, names: dict[str, str], thread: ThreadPoolExecutor
    ) -> None:
        self._connection = connection
        self._names = names
        self._thread = thread

    def ask(self, sql: str) -> Table:
        """Run SQL (of several statements: the last answers). Raises QueryError, also while rows are taken."""
        with self._told():
            self._run(lambda: self._connection.execute(sql))
            described = self._connection.description
        if described is None:
            raise QueryError("no SQL was given")
        return Table([str(d[0]) for d in described], [str(d[1]) for d in described], self._rows())

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        while True:
            with self._told():
                rows = self._run(lambda: self._connection.fetchmany(1000))
            if not rows:
                return
            yield from rows

    def _run(self, work: Callable[[], _T]) -> _T:
        """Do it in the other thread: inside DuckDB this one could be deaf to Ctrl-C until the answer is there."""
        doing = self._thread.submit(work)
        while not doing.done():
            # Not without a bound: the system may hand the signal to any thread, and only Python's main one,
            # awake, acts on it.
            wait([doing], timeout=_LISTEN)
        return doing.result()

    def close(self) -> None:
        """End what still runs, wherever Ctrl-C came."""
        idle = self._thread.submit(lambda: None)  # its turn comes when nothing else runs
        while not idle.done():
            wait([idle], timeout=_LISTEN)
            if not idle.done():
                self._connection.interrupt()  # again and again: one that comes before a query begins is forgotten

    @contextmanager
    def _told(self) -> Iterator[None]:
        import duckdb

        try:
            yield
        except duckdb.PermissionException as error:
            text = self._text(error)
            raise QueryError(
                f"{text}\nOnly the tables {', '.join(VIEWS)} can be read, and nothing written"
            ) from None
        except duckdb.Error as error:
            text = self._text(error)
            if "in file" in text and ("transform error" in text or "Malformed JSON" in text):
                raise StoredLineError(text) from None
            if isinstance(error, duckdb.InvalidInputException) and "No open result set" in text:
                raise QueryError("no SQL was given") from None
            raise QueryError(text) from None

    def _text(self, error: Exception) -> str:
        return re.sub(r"/proc/self/fd/\d+", lambda found: self._names.get(found[0], found[0]), str(error))


@contextmanager
def open_archive(data_dir: Path, streams: Iterable[str] = STREAMS) -> Iterator[Archive]:
    """The archive as it is now, these streams as tables.

    Every file is checked first: raises cdpd.log.errors.LogError (Damage, NothingStored).
    """
    import duckdb

    with ExitStack() as stack:
        if not any(stream_folder(data_dir, name).is_dir() for name in STREAMS):
            raise NothingStored(f"nothing is stored in {data_dir} yet; is it the right folder (--data-dir)?")
        pieces = {name: stack.enter_context(snapshot(stream_folder(data_dir, name))) for name in streams}
        spill = stack.enter_context(tempfile.TemporaryDirectory(prefix="cdpd-query-"))
        connection = stack.enter_context(duckdb.connect(":memory:", config=_config(spill)))
        connection.execute("SET TimeZone = 'UTC'")
        for view in VIEWS.values():
            if view.stream in pieces:
                connection.execute(_view(view, pieces[view.stream]))
        _lock(connection, [piece.name for parts in pieces.values() for piece in parts])
        names = {piece.name: str(piece.path) for parts in pieces.values() for piece in parts}
        thread = stack.enter_context(ThreadPoolExecutor(1))
        thread.submit(lambda: None).result()  # Ctrl-C while it starts would leave a thread that nobody knows
        archive = Archive(connection, names, thread)
        stack.callback(archive.close)
        yield archive


def _config(spill: str) -> dict[str, str | bool | int | float | list[str]]:
    return {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "python_enable_replacements": "false",
        "temp_directory": spill,
    }


def _lock(connection: duckdb.DuckDBPyConnection, names: Sequence[str]) -> None:
    """From here on nothing but these files can be opened, and no setting changed."""
    # DuckDB compares a file's path with links followed: an open file that is still in its folder is known by its
    # path; one that was removed is by its descriptor (DuckDB 1) or by what the system calls it then (DuckDB 2).
    removed = [f"{Path(name).readlink()} (deleted)" for name in names if name.startswith("/proc/self/fd/")]
    connection.execute(f"SET allowed_paths = {_list([*names, *removed])}")
    connection.execute("SET allowed_directories = ['/proc/self/fd/']")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _view(view: View, pieces: Sequence[Piece]) -> str:
    chosen = ", ".join(f'{column.sql} AS "{column.name}"' for column in view.columns)
    fields = ", ".join(f"'{name}': '{kind}'" for name, kind in view.fields.items())
    longest = max((piece.longest for piece in pieces), default=0)
    if view.source:
        source = f"({view.source})"
    elif pieces:
        source = (
            f"read_json({_list([piece.name for piece in pieces])}, {_OPTIONS}, columns = {{{fields}}}, "
            f"maximum_object_size = {max(longest + 1, _LEAST_LINE)})"
        )
    else:
        empty = ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in view.fields.items())
        source = f"(SELECT {empty} WHERE false)"
    only = f" WHERE {view.only}" if view.only else ""
    return f'CREATE VIEW "{view.name}" AS SELECT {chosen} FROM {source}{only}'


def _list(names: Sequence[str]) -> str:
    return "[" + ", ".join("'" + name.replace("'", "''") + "'" for name in names) + "]"
