"""The recipe for one model, reduced: samples are ranked by the check, trained on, and shown with their log-probs."""

import json

import pytest

from seelevel import load_ladders
from seelevel.generate.samples import ALIKE, difference
from seelevel.ladder import UNORDERED
from tests.slow import running

pytestmark = pytest.mark.slow
SMALL = {
    "rounds": 1,
    "data.limit": 24,
    "generate.sampling.max_new_tokens": 48,
    "align.control": "false",
    "align.epochs": 1,
    "evaluate.data": "world:dev",
    "evaluate.limit": 4,
}
RECIPE = ["run", "world-samples", *(part for key, value in SMALL.items() for part in ("--set", f"{key}={value}"))]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    out = tmp_path_factory.mktemp("samples") / "run"
    code, output = running.finish([*RECIPE, "--out", out])
    assert code == 0, output
    return out


def test_the_check_ranks_what_was_a_tie(out):
    before, after = load_ladders(out / "generate"), load_ladders(out / "check")
    assert len(before) == len(after) == 24
    ranked = 0
    for tie, ladder in zip(before, after, strict=True):
        assert tie.levels == [0] + [1] * (len(tie.responses) - 1)
        assert ladder.responses[0].is_standard
        if len(tie.responses) > 2:
            assert UNORDERED in tie.notes["flags"]
        if not ladder.check.unchecked:
            assert UNORDERED not in ladder.notes.get("flags", [])
        ranked += len(set(ladder.levels)) > 2
    assert ranked > 12


def test_no_two_samples_are_alike_and_the_dropped_are_counted(out):
    ladders = load_ladders(out / "generate")
    for ladder in ladders:
        texts = [response.text for response in ladder.responses]
        assert all(difference(a, b) >= 0.05 for n, a in enumerate(texts) for b in texts[:n])
    facts = json.loads((out / "generate" / "manifest.json").read_text())
    assert facts["dropped"][ALIKE] == 24 * 7 - facts["responses"] > 0


def test_the_report_says_how_likely_each_level_is(out):
    page = (out / "report.html").read_text()
    assert "Mean log-probability per token of samples, under the model that gave them" in page
    assert "chair_i" in json.loads((out / "metrics.json").read_text())["aligned"]
