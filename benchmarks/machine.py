"""Machine: what the times were taken on, and whether it was busy with something else."""

import os
import platform
import time
from pathlib import Path

STAT, DESCRIBED = Path("/proc/stat"), Path("/proc/cpuinfo")


def machine() -> str:
    """Processor, cores, memory and system in one line."""
    parts = [_processor(), f"{os.cpu_count()} cores"]
    if "SC_PHYS_PAGES" in os.sysconf_names:
        size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        parts.append(f"{size / 1e9:.0f} GB")
    parts += [f"{platform.system()} {platform.machine()}", f"Python {platform.python_version()}"]
    return ", ".join(parts)


def busy(seconds: float = 0.5) -> float:
    """Share of the processor that others use, 0 to 1, watched for a while; 0 outside Linux."""
    if not STAT.exists():
        return 0.0
    before = _ticks()
    time.sleep(seconds)
    total, idle = (b - a for a, b in zip(before, _ticks(), strict=True))
    return 1 - idle / max(total, 1)


def _ticks() -> tuple[int, int]:
    """Processor time since the start of the system: all, and idle or waiting for a disk."""
    values = [int(text) for text in STAT.read_text("utf-8").split("\n", 1)[0].split()[1:9]]
    return sum(values), values[3] + values[4]


def _processor() -> str:
    if DESCRIBED.exists():
        for line in DESCRIBED.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown processor"
