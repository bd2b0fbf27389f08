"""The log-probs of training responses under the trained model and the reference, in a file; and what they say.

The margin of a pair is DPO's implicit reward difference without β (Rafailov et al. 2023, arXiv 2305.18290, section 4):
[log π(i) − log π_ref(i)] − [log π(j) − log π_ref(j)], i the better response. Log-probs are sums over scored tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seelevel.errors import InputError
from seelevel.formats.tables import BROKEN, not_parquet
from seelevel.ladder import Ladder
from seelevel.store import whole_file

if TYPE_CHECKING:
    import pyarrow as pa

FILE = "logprobs.parquet"


@dataclass(frozen=True)
class Summed:
    """A response's log-probs in nats, summed over its `tokens` scored tokens: under the trained model, and under the
    reference, which is None if the objective needs none. `response`: its `Response.id`."""

    response: str
    tokens: int
    reference: float | None
    trained: float

    @property
    def change(self) -> float:
        """log π − log π_ref; log π without a reference."""
        return self.trained - (self.reference or 0.0)


@dataclass(frozen=True)
class LadderLogprobs:
    """The responses of a ladder, in its order. `margin`: the smallest over its pairs; None without a pair."""

    ladder: str
    margin: float | None
    responses: tuple[Summed, ...]

    @classmethod
    def of(cls, ladder: Ladder, responses: Sequence[Summed]) -> LadderLogprobs:
        summed = {response.response: response for response in responses}
        return cls(ladder.id, smallest_margin(ladder, summed), tuple(responses))


def smallest_margin(
    ladder: Ladder, summed: Mapping[str, Summed], value: Callable[[Summed], float] = lambda response: response.change
) -> float | None:
    """The smallest difference of `value` over the pairs whose responses have log-probs; None if there is no pair."""
    of = [summed.get(response.id) for response in ladder.responses]
    pairs = [(better, worse) for i, j in ladder.pairs() if (better := of[i]) is not None and (worse := of[j])]
    return min((value(better) - value(worse) for better, worse in pairs), default=None)


def in_order(ladders: Sequence[Ladder], logprobs: Sequence[LadderLogprobs]) -> dict[str, int]:
    """Of the `ladders` that have a pair: in how many the better response of every pair is more likely `after` training,
    and `before`, by the reference; `margin`: in how many every pair's margin is above 0. The last two are left out
    without a reference."""
    counts = {"ladders": 0, "after": 0, "before": 0, "margin": 0}
    for ladder, of_ladder in zip(ladders, logprobs, strict=True):
        if of_ladder.margin is None:
            continue
        summed = {response.response: response for response in of_ladder.responses}
        after = smallest_margin(ladder, summed, lambda response: response.trained)
        before = smallest_margin(ladder, summed, lambda response: response.reference or 0.0)
        counts["ladders"] += 1
        for name, margin in (("after", after), ("before", before), ("margin", of_ladder.margin)):
            counts[name] += margin is not None and margin > 0
    with_reference = any(r.reference is not None for of_ladder in logprobs for r in of_ladder.responses)
    return counts if with_reference else {name: counts[name] for name in ("ladders", "after")}


def _schema() -> Any:
    import pyarrow as pa

    response = [("id", pa.string()), ("tokens", pa.int32()), ("reference", pa.float64()), ("trained", pa.float64())]
    return pa.schema([("ladder", pa.string()), ("margin", pa.float64()), ("responses", pa.list_(pa.struct(response)))])


def write_logprobs(path: Path, logprobs: Sequence[LadderLogprobs]) -> None:
    """Write one row per ladder: ladder, margin, and of each response id, tokens, reference, trained."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {
            "ladder": of_ladder.ladder,
            "margin": of_ladder.margin,
            "responses": [
                {"id": r.response, "tokens": r.tokens, "reference": r.reference, "trained": r.trained}
                for r in of_ladder.responses
            ],
        }
        for of_ladder in logprobs
    ]
    with whole_file(path) as file:
        pq.write_table(pa.Table.from_pylist(rows, schema=_schema()), file)


def read_table(path: Path) -> pa.Table:
    """The file as `write_logprobs` writes it, in memory. Raises `InputError` for a file of another kind."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            if not file.schema_arrow.equals(_schema()):
                raise InputError(f"{path} holds no log-probs; delete it and run `seelevel align` again")
            return file.read(use_threads=False).combine_chunks()
    except (pa.ArrowException, *BROKEN) as error:
        raise not_parquet(path, error) from error


def responses_of(table: pa.Table, row: int) -> dict[str, Summed]:
    """The log-probs of one row of the file by `Response.id`."""
    entries = table["responses"][row].as_py()
    return {r["id"]: Summed(r["id"], r["tokens"], r["reference"], r["trained"]) for r in entries}
