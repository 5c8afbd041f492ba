"""What the hooks did with an event: its stored line goes through them again, as a rehearsal, with today's options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Raw

from cdpd.clock import Clock
from cdpd.config.load import LoadedConfig
from cdpd.config.plugin_options import Catalogue
from cdpd.difference import changed_paths
from cdpd.event import Position
from cdpd.pipeline.chain import HookError
from cdpd.pipeline.rehearsal import Rehearsal, Rehearsed, StoredLine, rehearsing
from cdpd.trace.story import Hooks, Receipt, Step

_GONE: Final = "its line is no longer in `received`, so what the hooks did to it is not known"


async def try_again(
    receipts: Sequence[tuple[Receipt, bytes | None]], loaded: LoadedConfig, catalogue: Catalogue, clock: Clock
) -> None:
    """Give each receipt its `hooks`. Never raises for what a hook or the configuration does."""
    if not receipts:
        return
    try:
        async with rehearsing(loaded, catalogue, clock) as rehearsal:
            for receipt, line in receipts:
                receipt.hooks = await _tried(rehearsal, loaded, receipt, line)
    except (HookError, OSError) as error:
        for receipt, _ in receipts:
            receipt.hooks = Hooks(problem=str(error))


async def _tried(
    rehearsal: Rehearsal, loaded: LoadedConfig, receipt: Receipt, line: bytes | None
) -> Hooks | None:
    if receipt.reject:
        return None  # no hook was ever given it
    if line is None:
        return Hooks(problem=_GONE)
    names = rehearsal.hooks(receipt.source)
    if names is None:
        return Hooks(problem=f"the source {receipt.source!r} is not configured any more")
    stored = StoredLine(Position(receipt.offset or 0, 0), line, receipt.log_ms or 0)
    results = await rehearsal.run([stored])
    listed = loaded.config.sources[receipt.source].hooks or loaded.config.pipeline.hooks
    left_out = {name: why for name, why in rehearsal.left_out.items() if name in listed}
    hooks = Hooks(names=names, left_out=left_out)
    if results:
        _tell(hooks, results[0], receipt)
    if receipt.discarded is not None and receipt.discarded.by in left_out:
        before = listed[: listed.index(receipt.discarded.by)]  # those after it were not given it
        hooks.names = [name for name in hooks.names if name in before]
        hooks.steps = [step for step in hooks.steps if step.hook in before]
        hooks.violations = [one for one in hooks.violations if one["by"] in before]
        hooks.ended_by = hooks.ended_code = ""
    return hooks


def _tell(hooks: Hooks, result: Rehearsed, receipt: Receipt) -> None:
    hooks.steps = [
        Step(step.hook, changed_paths(step.before, step.after), Raw(step.before), Raw(step.after))
        for step in result.steps
    ]
    hooks.violations = [
        {"by": one.plugin, "code": one.code, "message": one.message, "path": one.path}
        for one in result.violations
    ]
    if result.ended is not None:
        hooks.ended_by, hooks.ended_code = result.ended.by, result.ended.code
        if result.ended.by in hooks.names:  # those after it were given nothing
            del hooks.names[hooks.names.index(result.ended.by) + 1 :]
    if receipt.archived is not None and result.line is not None:
        hooks.differs = changed_paths(receipt.archived.event, result.line)
