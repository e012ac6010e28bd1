"""What a figure depends on beyond :func:`cpl_edge.machine.machine`, and how busy the machine is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cpl_edge.machine import machine

FEATURES = (
    "f16c", "fma", "avx", "avx2", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni",
    "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16",
    "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme",
)  # fmt: skip
"""Of a processor's features, those that decide which kernels run (x86 and Arm)."""

BUSY = 0.25
"""Load per core from which a run notes that the machine was busy."""


def fingerprint() -> dict[str, Any]:
    """The machine; what cannot be read is None, or an empty list."""
    cpu = Path("/sys/devices/system/cpu/cpu0/cpufreq")
    frequency = _read(cpu / "cpuinfo_max_freq")
    memory = _field(Path("/proc/meminfo"), "MemTotal")
    return machine() | {
        "features": _features(),
        "governor": _read(cpu / "scaling_governor"),
        "max_mhz": int(frequency) // 1000 if frequency else None,
        "memory_mb": int(memory.split()[0]) * 1024 // 10**6 if memory else None,
        "usable_cores": _usable_cores(),
        "load": _load(),
    }


def busy_note(found: dict[str, Any]) -> str | None:
    """A line for the reader where other programs had the processor; None on an idle machine."""
    load, cores = found["load"], found["cores"] or 1
    if load is None or load / cores < BUSY:
        return None
    return f"the machine was busy when the run began (load {load:.1f} on {cores} cores)"


def _features() -> list[str]:
    cpuinfo = Path("/proc/cpuinfo")
    words = (_field(cpuinfo, "flags") or _field(cpuinfo, "Features") or "").split()
    return [name for name in FEATURES if name in words]


def _usable_cores() -> int | None:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _load() -> float | None:
    """Programs that wanted the processor in the last minute, on average."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def _field(path: Path, key: str) -> str | None:
    """The first ``key: value`` of a file of the kernel."""
    for line in (_read(path) or "").splitlines():
        name, colon, value = line.partition(":")
        if colon and name.strip() == key:
            return value.strip()
    return None
