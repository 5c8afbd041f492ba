"""Every scenario, in the order of the report."""

from __future__ import annotations

from typing import Final

from tests.faults.damage import DAMAGE
from tests.faults.machines import MACHINES
from tests.faults.scenario import Scenario
from tests.faults.vendors import VENDORS

SCENARIOS: Final[tuple[Scenario, ...]] = (*VENDORS, *MACHINES, *DAMAGE)
