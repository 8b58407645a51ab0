"""The load that other programs put on the machine."""

from __future__ import annotations

import resource

__all__ = ["Neighbours"]


class Neighbours:
    """Measures how much of the machine's processor time other processes took, of all that there was."""

    def __init__(self) -> None:
        self._began = self._look()

    def busy_percent(self) -> float | None:
        """Return the share of the machine that others took since this was made; None where that cannot be known."""
        if self._began is None:
            return None
        now = self._look()
        assert now is not None
        total, busy, own = (new - old for new, old in zip(now, self._began, strict=True))
        return round(max(0.0, 100 * (busy - own) / total), 1) if total else None

    @staticmethod
    def _look() -> tuple[float, float, float] | None:
        try:
            import psutil
        except ModuleNotFoundError:
            return None
        times = psutil.cpu_times()
        total = sum(times[:8])  # what guests take is in them already
        idle = times.idle + getattr(times, "iowait", 0.0)
        own = 0.0
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
            usage = resource.getrusage(who)
            own += usage.ru_utime + usage.ru_stime
        return total, total - idle, own
