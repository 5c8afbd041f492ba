"""The vendor of the kit for authors of plugins, under an address with a path."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from cdpd.testing.vendor import HANG, RESET, Reply, Request, Vendor, running_vendor

__all__ = ["HANG", "RESET", "Reply", "Request", "Vendor", "vendor"]


def vendor() -> AbstractAsyncContextManager[Vendor]:
    """A running vendor."""
    return running_vendor("/events")
