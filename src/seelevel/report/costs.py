"""Time and memory: what each stage of a run took."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from seelevel.report.reading import RunFolder
from seelevel.store import read_manifest

SHOWN_ELSEWHERE = (
    "fingerprint",
    "seconds",
    "peak_bytes",
    "ratings",
    "ratings_by_round",
    "in_order",
    "words",
    "source",
    "model",
    "settings",
)
DIGEST = re.compile("[0-9a-f]{16}")
"""A fingerprint: it tells a reader nothing."""
LONGEST_TEXT = 60
MOST_ENTRIES = 6


@dataclass(frozen=True)
class Cost:
    """One stage's row. `share` is its time divided by the longest stage's."""

    name: str
    time: str
    share: float
    memory: str
    facts: str


def costs(run: RunFolder) -> list[Cost]:
    """One row per finished stage: inputs first, then the stages in their order, round by round."""
    manifests: list[tuple[str, Mapping[str, Any]]] = []
    for folder in sorted((run.root / "inputs").glob("*")):
        found = read_manifest(folder)
        if found is not None:
            manifests.append((f"inputs/{folder.name}", found))
    manifests += [(name, stage.manifest) for name, stage in run.all_stages if stage.manifest is not None]
    longest = max((_seconds(manifest) or 0.0 for _, manifest in manifests), default=0.0)
    rows = []
    for name, manifest in manifests:
        seconds, peak = _seconds(manifest), manifest.get("peak_bytes")
        memory = "–" if peak is None else f"{peak / 2**30:.2f} GiB"
        share = (seconds or 0.0) / longest if longest else 0.0
        rows.append(Cost(name, "–" if seconds is None else say_time(seconds), share, memory, _counts(manifest)))
    return rows


def cost_caption(run: RunFolder) -> str:
    """The sum of the stages' times, and the machine that wrote the page."""
    return (
        f"The stages took {say_time(total_seconds(run))} in all. A stage that was stopped and continued counts its "
        "last start only. Peak memory is the highest use of the process up to the stage's end. This page was written "
        f"on {machine()}."
    )


def total_seconds(run: RunFolder) -> float:
    """The time of all stages of the run."""
    return sum(_seconds(stage.manifest) or 0.0 for _, stage in run.all_stages if stage.manifest is not None)


def _seconds(manifest: Mapping[str, Any]) -> float | None:
    seconds = manifest.get("seconds")
    return None if seconds is None else float(seconds)


def _counts(manifest: Mapping[str, Any]) -> str:
    """The simple values of a manifest in words: numbers, short texts, and small tables of them."""
    named = ((key, _plain(value)) for key, value in manifest.items() if key not in SHOWN_ELSEWHERE)
    return "; ".join(f"{key.replace('_', ' ')} {text}" for key, text in named if text)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str):
        return "" if len(value) > LONGEST_TEXT or DIGEST.fullmatch(value) else value
    if isinstance(value, dict) and len(value) <= MOST_ENTRIES:
        return ", ".join(f"{key} {text}" for key, part in value.items() if (text := _plain(part)))
    return ""


def machine() -> str:
    """The cores that this process may use and the machine's memory, in words."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    plural = "s" if cores != 1 else ""
    return f"{cores} core{plural}, {memory:.0f} GiB of memory, {platform.system()} {platform.machine()}"


def say_time(seconds: float) -> str:
    """`8.4 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
