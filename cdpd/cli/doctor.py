"""`cdpd doctor`: is everything well that a daemon needs, and what is to be done where it is not?"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import typer

from cdpd.cli.exits import FAILED
from cdpd.cli.options import ConfigOption, DataDirOption, JsonOption, examples, new_app
from cdpd.cli.output import plural, print_json
from cdpd.terminal import coloured, paint

if TYPE_CHECKING:
    from cdpd.doctor.finding import Finding

app = new_app()
_COLOURS: Final = {"ok": "green", "warning": "yellow", "problem": "red"}


@app.command(
    epilog=examples(
        "cdpd doctor",
        "sudo cdpd doctor --config /etc/cdpd/cdpd.toml --data-dir /var/lib/cdpd",
        "cdpd doctor --json | jq '.findings[] | select(.state != \"ok\")'",
        more="Needs neither a configuration nor a running daemon. Writes nothing but, for a moment, a file without a "
        "name in the data folder, to time its disk. Exits 1 where there is a problem; warnings alone are no failure.",
    )
)
def doctor(config: ConfigOption = None, data_dir: DataDirOption = None, json: JsonOption = False) -> None:
    """Look at everything that a daemon needs: configuration, disk, clock, limits, plugins, the daemon itself."""
    from cdpd.doctor.examine import examine
    from cdpd.doctor.machine import Machine

    findings = []
    for finding in examine(config, data_dir, Machine()):
        findings.append(finding)
        if not json:
            print(_line(finding))
            sys.stdout.flush()  # timing the disk takes a moment
    problems, warnings = (sum(f.state == state for f in findings) for state in ("problem", "warning"))
    if json:
        print_json({"ok": not problems, "findings": findings})
    else:
        counted = [plural(n, word) for n, word in ((problems, "problem"), (warnings, "warning")) if n] or [
            "all is well"
        ]
        print(f"\n{', '.join(counted)}")
    if problems:
        raise typer.Exit(FAILED)


def _line(finding: Finding) -> str:
    state = paint(f"{finding.state:<9}", _COLOURS[finding.state], coloured(sys.stdout))
    line = f"{state}{finding.check}: {finding.text}"
    return f"{line}\n{'':<9}→ {finding.todo}" if finding.todo else line
