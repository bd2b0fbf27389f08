"""Dialogues on the world, ordered by a judge and by hand; a run that is killed ends as one that never was."""

import json

import pytest

from seelevel import load_ladders

from .running import finish, kill_after, relative

pytestmark = pytest.mark.slow
RECIPE = """
name: dialogues
data: {prompts: "world:prompts", limit: 24}
generate:
  {method: dialogues, writer: "world:oracle", experts: ["world:m", "world:s"], sampling: {max_new_tokens: 48}}
check:
  {checker: autocheck, encoder: "world:clip", judge: "world:oracle", judge_share: 0.5, judge_mode: pairwise,
   overrides: OVERRIDES}
align: {model: "world:s", objective: {name: mdpo}}
evaluate: {benchmarks: [chair], data: "world:dev", limit: 10}
"""


def ladders(out):
    return [[relative(ladder, out) for ladder in load_ladders(out / stage)] for stage in ("generate", "check")]


def test_a_writers_questions_are_answered_ordered_and_overruled_and_a_kill_changes_nothing(tmp_path):
    recipe, by_hand = tmp_path / "recipe.yaml", tmp_path / "by_hand.jsonl"
    recipe.write_text(RECIPE.replace("OVERRIDES", str(by_hand)))
    by_hand.write_text("")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert finish(["generate", recipe, "--out", whole])[0] == 0
    made = load_ladders(whole / "generate")
    chosen = next(ladder for ladder in made if len(ladder.responses) == 3)
    entry = {"ladder": chosen.id, "response": "world:s", "level": 1, "who": "Ada"}
    by_hand.write_text(json.dumps(entry) + "\n")
    code, said = finish(["check", recipe, "--out", whole])
    assert code == 0, said
    for seconds in (4, 8, 3):
        kill_after(["generate", recipe, "--out", killed], seconds)
    assert finish(["generate", recipe, "--out", killed])[0] == 0
    assert finish(["check", recipe, "--out", killed])[0] == 0
    assert ladders(killed) == ladders(whole)

    checked = load_ladders(whole / "check")
    assert len(checked) == 24
    assert {2, 3, 4, 5} >= {ladder.responses[0].rounds for ladder in checked} != {2}
    assert {ladder.check.checker for ladder in checked} == {"autocheck", "judge"}
    (overruled,) = (ladder for ladder in checked if ladder.overrides)
    assert overruled.id == chosen.id
    assert next(r.level for r in overruled.responses if r.origin["model"] == "world:s") == 1
    by_hand.write_text(json.dumps({**entry, "ladder": "nobody"}) + "\n")
    code, said = finish(["check", recipe, "--out", whole])
    assert code == 2
    assert "by_hand.jsonl, line 1: there is no ladder 'nobody'" in said.strip().splitlines()[-1]
