"""Which process gets which ladders of a step, so that all have about as many tokens. Torch-free.

A step waits for the process with the most tokens. Longest-first list scheduling (Graham, 1969) with equally many
ladders for each process: the longest unit goes to the process with the fewest tokens that has room for it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from functools import cache


def balance_steps(
    order: Sequence[int],
    per_step: int,
    processes: int,
    interactions: Sequence[str],
    tokens: Callable[[Sequence[int]], int],
) -> list[int]:
    """`schedule`'s order with the ladders of each step rearranged: the first `per_step / processes` of a step are those
    of the first process, and so on.

    The ladders of each step stay the same, and with one process so does the order. Rounds of an interaction share their
    history, so they go to one process if there is room. interactions: as for `schedule`; tokens: of ladders (indices)
    that one process computes together.
    """
    if processes == 1:
        return list(order)
    tokens_of: Callable[[tuple[int, ...]], int] = cache(tokens)
    balanced: list[int] = []
    for start in range(0, len(order), per_step):
        step = order[start : start + per_step]
        shares = _shares(step, processes, interactions, tokens_of)
        balanced += [step[place] for share in shares for place in sorted(share)]
    return balanced


def _shares(
    step: Sequence[int], processes: int, interactions: Sequence[str], tokens_of: Callable[[tuple[int, ...]], int]
) -> list[list[int]]:
    """The places in a step that each process gets."""

    def waits(unit: list[int]) -> tuple[int, list[int]]:
        return -tokens_of(tuple(step[place] for place in unit)), unit

    units: dict[str, list[int]] = {}
    for place, ladder in enumerate(step):
        units.setdefault(interactions[ladder], []).append(place)
    waiting = [waits(unit) for unit in units.values()]
    heapq.heapify(waiting)
    each = len(step) // processes
    shares, loads = [list[int]() for _ in range(processes)], [0] * processes
    while waiting:
        cost, unit = heapq.heappop(waiting)
        fitting = [n for n, share in enumerate(shares) if len(share) + len(unit) <= each]
        if fitting:
            process = min(fitting, key=lambda n: loads[n])
        else:  # cut as rarely as possible
            process = min(range(processes), key=lambda n: (len(shares[n]), loads[n]))
            room = each - len(shares[process])
            heapq.heappush(waiting, waits(unit[room:]))
            cost, unit = waits(unit[:room])
        shares[process] += unit
        loads[process] -= cost
    return shares
