"""One function: how its calls end, that nothing it does reaches the daemon, and that a changed file takes over."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from cdpd.functions.process import CannotLoad
from cdpd.secret import Secret
from tests.functions.hosting import LONG, SHORT, hosted

RAISES = """
    import urllib.error

    def on_track(event, settings):
        raise eval(event["event"])
"""


@pytest.mark.parametrize(
    ("raised", "ended"),
    [
        ("RetryError('later')", "retry"),
        ("ConnectionResetError()", "retry"),
        ("TimeoutError()", "retry"),
        ("urllib.error.URLError('no route')", "retry"),
        ("EventNotSupported('no')", "unsupported"),
        ("InvalidEventPayload('no email')", "rejected"),
        ("ValidationError('no email')", "rejected"),
        ("DropEvent('debug')", "dropped"),
        ("InvalidSettings('no key')", "invalid_settings"),
        ("urllib.error.HTTPError('u', 429, 'slow down', {}, None)", "status"),
        ("KeyError('email')", "failed"),
        ("FileNotFoundError('x')", "failed"),
        ("SystemExit(3)", "failed"),
        ("KeyboardInterrupt()", "failed"),
        ("GeneratorExit()", "failed"),
    ],
)
async def test_what_is_raised_says_what_becomes_of_the_event(tmp_path: Path, raised: str, ended: str) -> None:
    async with hosted(tmp_path, RAISES) as function:
        assert await function.ended({"type": "track", "event": raised}) == [ended]


async def test_plain_and_async_handlers_get_the_event_and_the_settings(tmp_path: Path) -> None:
    text = """
        def on_track(event, settings):
            raise RetryError(event["userId"] + settings["key"])

        async def on_page(event, settings):
            raise RetryError(event["userId"] + settings["key"])
    """
    settings = {"key": Secret("-s3cret")}
    async with hosted(tmp_path, text, settings=settings) as function:
        results = await function.call({"type": "track", "userId": "u1"}, {"type": "page", "userId": "u2"})
        assert [result.message for result in results] == ["u1-s3cret", "u2-s3cret"]
        kept = function.db.errors()
    assert [error.message for error in kept] == ["u1•••", "u2•••"], "what is kept is masked"


async def test_a_call_that_the_file_has_no_handler_for_is_unsupported(tmp_path: Path) -> None:
    async with hosted(tmp_path, "def on_track(event, settings): pass") as function:
        assert await function.ended({"type": "page"}, {"type": "track"}) == ["unsupported", "done"]


@pytest.mark.parametrize(
    "text",
    [
        "import asyncio\nasync def on_page(event, settings): await asyncio.sleep(1000)",
        "import time\ndef on_page(event, settings): time.sleep(1000)",
        "def on_page(event, settings):\n    while True: pass",
    ],
)
async def test_a_handler_that_takes_too_long_is_a_timeout_and_the_next_call_works(
    tmp_path: Path, text: str
) -> None:
    more = "\ndef on_track(event, settings): pass\n"
    async with hosted(tmp_path, text + more, limit=SHORT) as function:
        (result,) = await function.call({"type": "page"})
        assert (result.ended, result.message) == ("timeout", "it took longer than 0.2 s")
        function.host.setup = type(function.host.setup)(file=function.host.setup.file, timeout=LONG)
        assert await function.ended({"type": "track"}) == ["done"]


async def test_a_handler_that_blocks_its_process_is_killed_with_it(tmp_path: Path) -> None:
    text = """
        import time
        async def on_page(event, settings): time.sleep(1000)
        def on_track(event, settings): pass
    """
    async with hosted(tmp_path, text, limit=SHORT) as function:
        await function.host.handlers()
        async with anyio.create_task_group() as tasks:
            ended: list[str] = []

            async def call() -> None:
                ended.extend(await function.ended({"type": "page"}))

            tasks.start_soon(call)
            while not ended:  # the daemon's own limit is by the test's clock
                await function.clock.advance(1.0)
                await anyio.sleep(0.001)
        assert ended == ["timeout"]
        function.host.setup = type(function.host.setup)(file=function.host.setup.file, timeout=LONG)
        assert await function.ended({"type": "track"}) == ["done"]


async def test_a_process_that_dies_costs_the_calls_in_it_another_try_and_nothing_else(tmp_path: Path) -> None:
    text = """
        import os
        def on_track(event, settings):
            if event["event"] == "die": os._exit(7)
    """
    async with hosted(tmp_path, text) as function:
        (result,) = await function.call({"type": "track", "event": "die"})
        assert (result.ended, result.message) == ("timeout", "it ended with exit code 7")
        assert await function.ended({"type": "track", "event": "live"}) == ["done"]


async def test_a_changed_file_takes_over_and_one_that_does_not_load_changes_nothing(tmp_path: Path) -> None:
    async with hosted(tmp_path, "def on_track(event, settings): raise RetryError('one')") as function:

        async def said() -> str:
            await function.clock.advance(1.0)
            return (await function.call({"type": "track"}))[0].message

        assert await said() == "one"
        function.file.write_text("def on_track(event, settings): raise ValueError('two')")
        assert await said() == "ValueError: two"
        function.file.write_text("def on_track(event, settings) raise")
        assert await said() == "ValueError: two"
        assert await said() == "ValueError: two"
        (told,) = [entry for entry in function.log.entries if "cannot be run" in str(entry)]
        assert "no Python" in str(told)
        function.file.unlink()
        assert await said() == "ValueError: two"
        function.file.write_text("def on_track(event, settings): raise ValueError('three')")
        assert await said() == "ValueError: three"


async def test_a_file_that_never_loaded_says_why_and_is_tried_again(tmp_path: Path) -> None:
    async with hosted(tmp_path, "import nowhere_to_be_found") as function:
        with pytest.raises(CannotLoad, match="ModuleNotFoundError"):
            await function.call({"type": "track"})
        function.file.write_text("def on_track(event, settings): pass")
        await function.clock.advance(1.0)
        assert await function.ended({"type": "track"}) == ["done"]


async def test_a_function_imports_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("WORD = 'beside'")
    text = """
        from beside import WORD
        def on_track(event, settings): raise RetryError(WORD)
    """
    async with hosted(tmp_path, text) as function:
        assert (await function.call({"type": "track"}))[0].message == "beside"
    assert not (tmp_path / "__pycache__").exists()


async def test_errors_are_kept_with_what_was_printed_and_the_traceback(tmp_path: Path) -> None:
    text = """
        def on_track(event, settings):
            print("x" * 5000)
            return 1 / 0
    """
    async with hosted(tmp_path, text) as function:
        await function.call({"type": "track", "messageId": "m7"})
        (error,) = function.db.errors("destination mine")
    assert (error.ended, error.item) == ("failed", "m7")
    assert error.output == "x" * 4096
    assert error.trace.startswith("Traceback")
    assert "function.py" in error.trace
    assert "handlers.py" not in error.trace
    assert function.db.path.stat().st_mode & 0o777 == 0o600


async def test_values_are_cached_between_calls_until_their_time_is_over_or_they_are_deleted(
    tmp_path: Path,
) -> None:
    text = """
        runs = []
        async def fetch(): runs.append(1); return len(runs)
        async def on_track(event, settings):
            value = await cache.load("key", event["ttl"], fetch)
            raise RetryError(str(value))
        def on_page(event, settings):
            cache.delete("key")
        def on_group(event, settings):
            raise RetryError(str(cache.load("other", -1, lambda: "plain")))
    """
    async with hosted(tmp_path, text) as function:

        async def said(**event: object) -> str:
            return (await function.call(event))[0].message

        assert await said(type="track", ttl=None) == "1"
        assert await said(type="track", ttl=None) == "1"
        await function.call({"type": "page"})
        assert await said(type="track", ttl=0) == "2"
        assert await said(type="track", ttl=-1) == "3"
        assert await said(type="group") == "plain"


# -- on_batch ----------------------------------------------------------------------------------------------

BATCH = """
    def on_batch(events, settings):
        return eval(events[0]["returns"])
"""


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        ("None", [("done", None), ("done", None)]),
        ("[{'status': 200}, {'status': 400}]", [("status", 200), ("status", 400)]),
        ("[{'status': 200}]", [("status", 200), ("status", 500)]),
        ("[200, 200]", [("failed", None), ("failed", None)]),
        ("'fine'", [("failed", None), ("failed", None)]),
    ],
)
async def test_a_batch_may_be_answered_for_each_of_its_events(
    tmp_path: Path, returned: str, told: list[tuple[str, int | None]]
) -> None:
    async with hosted(tmp_path, BATCH) as function:
        results = await function.call({"type": "track", "returns": returned}, {"type": "page"})
    assert [(result.ended, result.status) for result in results] == told


async def test_a_single_event_goes_to_its_handler_where_there_is_one(tmp_path: Path) -> None:
    text = """
        def on_batch(events, settings): raise RetryError("batch")
        def on_track(event, settings): raise RetryError("track")
    """
    async with hosted(tmp_path, text) as function:
        assert (await function.call({"type": "track"}))[0].message == "track"
        assert (await function.call({"type": "page"}))[0].message == "batch"
        assert (await function.call({"type": "track"}, {"type": "track"}))[1].message == "batch"
