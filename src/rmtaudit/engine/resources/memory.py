"""The memory budget of a scan: how much there is, and the gate that keeps to it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def free_memory() -> int:
    """Return the bytes that this process could still take: free memory within the container's limit."""
    free = _available()
    for limit_file, usage_file in _CGROUPS:
        limit, usage = _number(limit_file), _number(usage_file)
        if limit is not None and usage is not None:
            free = min(free, max(0, limit - usage))
    return free


class MemoryGate:
    """Admits work while its total stays within ``budget`` bytes; one piece is always admitted.

    Parameters
    ----------
    budget
        Bytes of all pieces together.
    most
        Pieces at the same time, at most; ``None`` for any number.
    """

    def __init__(self, budget: int, most: int | None = None) -> None:
        self.budget = budget
        self._most = most
        self._taken = 0
        self._pieces = 0
        self._changed = threading.Condition()

    def acquire(self, size: int) -> None:
        """Wait until a piece of ``size`` bytes more is admitted, or nothing else is in flight."""
        with self._changed:
            # A finite wait, in a loop: so that Ctrl-C reaches the main thread on every platform.
            while self._pieces and (self._taken + size > self.budget or self._pieces == self._most):
                self._changed.wait(timeout=0.5)
            self._taken += size
            self._pieces += 1

    def release(self, size: int) -> None:
        """Give back what was acquired."""
        with self._changed:
            self._taken -= size
            self._pieces -= 1
            self._changed.notify_all()


def _available() -> int:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # not Linux: fall through to what POSIX offers
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, OSError, ValueError):
        return 4 << 30


def _number(path: str) -> int | None:
    try:
        text = Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
