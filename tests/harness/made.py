"""Samples files as lmms-eval 0.7 writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def yes_no(number: int, question: str, answer: str, target: str, **more: Any) -> dict[str, Any]:
    """A sample of POPE: the same score stands under each of its metrics."""
    said = answer.lower().strip()
    logged = {"question_id": str(number), "score": float(said == target), "prediction": said, "ground_truth": target}
    names = ("accuracy", "precision", "recall", "f1_score", "yes_ratio")
    return sample(number, question, answer, target, **{f"pope_{name}": logged for name in names}, **more)


def sample(number: int, question: str, answer: str, target: str = "", **metrics: Any) -> dict[str, Any]:
    return {
        "doc_id": number,
        "target": target,
        "filtered_resps": answer,
        "token_counts": [{"output_tokens": 3}],
        "doc_hash": "74234e98",
        "input": question,
        **metrics,
    }


def write(folder: Path, task: str, samples: Sequence[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"20261128_160000_samples_{task}.jsonl"
    path.write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    return path
