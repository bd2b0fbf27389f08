"""What stages note on a ladder and its responses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

NO_STANDARD = "no standard response"
"""The flag (`notes["flags"]`) of a ladder whose level 0 is a model's answer like the others."""
NOTED_PER_RESPONSE = ("order", "responses", "ratings")
"""What a checker notes (`notes["check"]`) of each response, in the order now."""


def notes_moved(notes: Mapping[str, Any], places: Sequence[int]) -> dict[str, Any]:
    """A ladder's notes where its responses now are those that stood at `places`: what a checker noted of each goes
    along. Of a response at a place beyond them it noted nothing; where there is one, what it noted of each is left out.
    """
    if not notes.get("check"):
        return dict(notes)
    check = dict(notes["check"])
    for name in NOTED_PER_RESPONSE:
        noted = check.pop(name, None)
        if isinstance(noted, list) and all(n < len(noted) for n in places):
            check[name] = [noted[n] for n in places]
    check.pop("reordered", None)
    if "order" in check:
        check["reordered"] = check["order"] != sorted(check["order"])
    return {**notes, "check": check}
