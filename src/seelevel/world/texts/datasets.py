"""The world in public file formats: LLaVA prompts, CHAIR object sets, POPE questions, MRHal dialogues, capability.

Everything is drawn by seed: the same call writes the same bytes.
"""

from __future__ import annotations

import io
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seelevel.errors import InputError
from seelevel.formats.parquet import write_shard
from seelevel.json_text import dumps
from seelevel.ladder import IMAGE_MARK, Image, Ladder, Message, Response
from seelevel.store import write_atomically
from seelevel.world.pictures.drawing import contact_sheet, picture
from seelevel.world.pictures.scenes import KINDS, NUMBERS, PLURALS, SPLITS, Scene, draw_scenes
from seelevel.world.texts.instruct import Instruction, instruction
from seelevel.world.texts.language import DETAILED, SHORT, Turns, article, ask, detailed, dialogue, harmful, standard

PROMPTS = 1500
EVALUATION = 600
DIALOGUES = 150
CAPABILITY = 2100
INSTRUCT = "instruct"
SYNONYMS: dict[str, tuple[str, ...]] = {
    "car": ("automobile",), "truck": ("lorry",), "bicycle": ("bike",), "cup": ("mug",), "cat": ("kitten",),
    "dog": ("puppy",), "horse": ("pony",), "boat": ("sailboat",), "bucket": ("pail",), "umbrella": ("parasol",),
}  # fmt: skip


def check_split(split: str) -> None:
    if split not in SPLITS:
        raise InputError(f"world:{split}: no such split; the world has {', '.join(SPLITS)}")


def write_json_lines(path: Path, records: Sequence[dict[str, Any]]) -> None:
    write_atomically(path, "".join(dumps(record, ensure_ascii=True) + "\n" for record in records))


def write_pictures(folder: Path, scenes: Sequence[Scene]) -> None:
    """`<scene id>.png` for every scene."""
    for scene in scenes:
        buffer = io.BytesIO()
        picture(scene).save(buffer, "PNG", compress_level=1)
        write_atomically(folder / f"{scene.id}.png", buffer.getvalue())


def prompt_turns(scene: Scene, seed: int = 0) -> Turns:
    """A scene's prompt with its standard answers; about seven in ten prompts ask for a description."""
    rng = random.Random(f"standard/{seed}/{scene.id}")
    draw = rng.random()
    if draw < 0.58:
        return [(rng.choice(DETAILED), standard(scene, rng, detail=True))]
    if draw < 0.70:
        return [(rng.choice(SHORT), standard(scene, rng, detail=False))]
    if draw < 0.78:
        return [ask(scene, rng)]
    if draw < 0.97:
        turns = [(rng.choice(DETAILED), standard(scene, rng, detail=True))] if rng.random() < 0.6 else []
        return turns + dialogue(scene, rng, rng.choices((1, 2, 3, 4), (3, 4, 2, 1))[0] + (not turns), 0.0)
    return [harmful(scene, rng)]


def prompt_ladder(scene: Scene, split: str, image: str, seed: int = 0) -> Ladder:
    """A scene's prompt with its standard response. `image`: the picture's path, used if the record shows it."""
    record = instruction(scene, seed) if split == INSTRUCT else Instruction([], prompt_turns(scene, seed))
    messages = list[Message]()
    for user, answer in [*record.before, *record.turns]:
        messages += [Message(role="user", content=user), Message(role="assistant", content=answer)]
    if record.shows_picture:
        messages[0] = Message(role="user", content=f"{IMAGE_MARK}\n{messages[0]['content']}")
    first = 2 * len(record.before) + 1
    annotations = {"scene": scene.annotations(), "image_content": scene.content_lines()}
    response = Response(messages[first:], 0, {"kind": "standard"})
    return Ladder(scene.id, [Image(image)] if record.shows_picture else [], messages[:first], [response], annotations)


def prompts_file(split: str) -> str:
    """The name of the file that holds a split's prompts."""
    return "prompts.parquet" if split == INSTRUCT else "prompts.json"


def write_prompts(folder: Path, split: str = "prompts", limit: int = PROMPTS, seed: int = 0) -> Path:
    """Write `prompts.json` (LLaVA conversations, with each scene as annotations) and `images/`; return the file's path.

    The split `instruct` is written as `prompts.parquet`, because some of its records begin in mid-conversation.
    Raises InputError for an unknown split.
    """
    check_split(split)
    scenes = list(draw_scenes(split, limit, seed))
    if split == INSTRUCT:
        write_pictures(folder / "images", scenes)
        ladders = [prompt_ladder(scene, split, str(folder / "images" / f"{scene.id}.png"), seed) for scene in scenes]
        write_shard(folder / prompts_file(split), ladders, folder / "images")
        return folder / prompts_file(split)
    records = []
    for scene in scenes:
        conversation = []
        for index, (user, answer) in enumerate(prompt_turns(scene, seed)):
            mark = "<image>\n" if index == 0 else ""
            conversation += [{"from": "human", "value": mark + user}, {"from": "gpt", "value": answer}]
        annotations = {"scene": scene.annotations(), "image_content": scene.content_lines()}
        records.append(
            {"id": scene.id, "image": f"{scene.id}.png", "conversations": conversation, "annotations": annotations}
        )
    write_pictures(folder / "images", scenes)
    write_atomically(folder / "prompts.json", dumps(records, indent=1, ensure_ascii=True))
    return folder / "prompts.json"


def chair_files(folder: Path, scenes: Sequence[Scene]) -> None:
    questions = [
        {"question_id": scene.id, "image": f"{scene.id}.png", "text": DETAILED[index % len(DETAILED)]}
        for index, scene in enumerate(scenes)
    ]
    write_json_lines(folder / "questions.jsonl", questions)
    objects = {f"{scene.id}.png": sorted(scene.kinds) for scene in scenes}
    write_atomically(folder / "objects.json", dumps(objects, indent=0, ensure_ascii=True))
    lines = [", ".join((kind, *SYNONYMS.get(kind, ()))) for kind in KINDS]
    write_atomically(folder / "synonyms.txt", "\n".join(lines) + "\n")


def pope_absent(scene: Scene, how: str, frequency: Counter[str], together: Counter[tuple[str, str]]) -> list[str]:
    """As many absent kinds as present ones: at random, the most frequent, or those that most often come with these."""
    absent = [kind for kind in KINDS if kind not in scene.kinds]
    count = len(scene.groups)
    if how == "random":
        return random.Random(f"pope/{scene.id}").sample(absent, count)
    if how == "popular":
        return sorted(absent, key=lambda kind: -frequency[kind])[:count]
    return sorted(absent, key=lambda kind: -sum(together[other, kind] for other in scene.kinds))[:count]


def pope_records(scenes: Sequence[Scene], how: str) -> list[dict[str, Any]]:
    """POPE questions, yes and no in turn; frequencies and co-occurrences are counted over the scenes themselves."""
    frequency = Counter(kind for scene in scenes for kind in scene.kinds)
    together = Counter((a, b) for scene in scenes for a in scene.kinds for b in scene.kinds if a != b)
    records: list[dict[str, Any]] = []
    for scene in scenes:
        present = [group.kind for group in scene.groups]
        absent = pope_absent(scene, how, frequency, together)
        for pair in zip(present, absent, strict=True):
            for kind, label in zip(pair, ("yes", "no"), strict=True):
                text = f"Is there {article(kind)} in the image?"
                number = len(records) + 1
                records.append({"question_id": number, "image": f"{scene.id}.png", "text": text, "label": label})
    return records


def mrhal_file(folder: Path, scenes: Sequence[Scene]) -> None:
    records = []
    for scene in scenes:
        rng = random.Random(f"mrhal/{scene.id}")
        rounds = rng.choices((2, 3, 4, 5), (38, 36, 16, 10))[0]
        turns: Turns = []
        if rng.random() < 0.7:
            turns.append((rng.choice(DETAILED), detailed(scene, scene.groups, rng)))
        while len(turns) < rounds:
            turn = ask(scene, rng)
            if turn[0] not in {user for user, _ in turns}:
                turns.append(turn)
        label = "description" if turns[0][0] in DETAILED else "questions"
        records.append(
            {
                "id": scene.id,
                "image": f"{scene.id}.png",
                "image_content": scene.content_lines(),
                "label": label,
                "revised": [text for turn in turns for text in turn],
            }
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "dialogues.json", dumps(records, indent=1, ensure_ascii=True))


def feedback_records(scenes: Sequence[Scene]) -> list[dict[str, Any]]:
    """One request per scene, for ratings by criterion: of four, two descriptions, one question, one to refuse."""
    records = []
    for index, scene in enumerate(scenes):
        rng = random.Random(f"feedback/{scene.id}")
        if index % 4 < 2:
            text, reference = DETAILED[index % len(DETAILED)], detailed(scene, scene.groups, rng)
        else:
            text, reference = ask(scene, rng) if index % 4 == 2 else harmful(scene, rng)
        records.append(
            {
                "question_id": scene.id,
                "image": f"{scene.id}.png",
                "text": text,
                "image_content": scene.content_lines(),
                "reference": reference,
            }
        )
    return records


def capability_records(scenes: Sequence[Scene], count: int) -> list[dict[str, str]]:
    """At most `count` questions about colour, count and place, shuffled; each answer is one word or a place."""
    candidates = [(category, scene, group) for category in ("colour", "count", "place")
             for scene in scenes for group in scene.groups]  # fmt: skip
    random.Random("capability").shuffle(candidates)
    records: list[dict[str, str]] = []
    for category, scene, group in candidates[:count]:
        verb, nouns = ("is" if group.count == 1 else "are"), PLURALS[group.kind]
        text, label = {
            "colour": (f"What colour {verb} the {group.noun}? Answer with one word.", group.colour),
            "count": (f"How many {nouns} are in the image? Answer with one word.", NUMBERS[group.count]),
            "place": (f"Where {verb} the {group.noun}? Answer with the place alone.", group.place),
        }[category]
        records.append(
            {
                "question_id": f"{category}-{scene.id}-{group.kind}",
                "image": f"{scene.id}.png",
                "text": text,
                "label": label,
                "category": category,
            }
        )
    return records


def write_evaluation(
    folder: Path,
    split: str = "dev",
    limit: int | None = None,
    seed: int = 0,
    dialogues: int = DIALOGUES,
    capability: int = CAPABILITY,
) -> Path:
    """Write an evaluation data folder of `limit` scenes (600 by default): images, chair, pope, mrhal, capability,
    feedback.

    `dialogues` and `capability` are upper limits. Raises InputError for an unknown split.
    """
    check_split(split)
    scenes = list(draw_scenes(split, EVALUATION if limit is None else limit, seed))
    write_pictures(folder / "images", scenes)
    (folder / "chair").mkdir(parents=True, exist_ok=True)
    chair_files(folder / "chair", scenes)
    for how in ("random", "popular", "adversarial"):
        write_json_lines(folder / "pope" / f"{how}.json", pope_records(scenes, how))
    mrhal_file(folder / "mrhal", scenes[:dialogues])
    write_json_lines(folder / "feedback" / "questions.jsonl", feedback_records(scenes))
    write_json_lines(folder / "capability" / "questions.jsonl", capability_records(scenes, capability))
    return folder


def sample_sheet(path: Path, n: int = 12, split: str = "prompts", seed: int = 0) -> None:
    """Write a PNG that shows `n` scenes with a true description below each. Raises InputError for an unknown split."""
    check_split(split)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise InputError(f"{path}: not the name of a picture file; end it in .png or .jpg")
    scenes = list(draw_scenes(split, n, seed))
    captions = [detailed(scene, scene.groups, random.Random(scene.id)) for scene in scenes]
    contact_sheet(scenes, captions, path)


def one_picture(name: str, folder: Path) -> tuple[str, list[str]]:
    """Write a scene such as `test/3` as a picture; return its path and the lines of its image contents.

    Raises InputError for an unknown split or number."""
    split, _, number = name.partition("/")
    check_split(split)
    if not number.isdecimal() or int(number) >= EVALUATION:
        raise InputError(f"world:{name}: no such picture; name one as world:{split}/0, up to {EVALUATION - 1}")
    scene = list(draw_scenes(split, int(number) + 1, 0))[-1]
    write_pictures(folder, [scene])
    return str(folder / f"{scene.id}.png"), scene.content_lines()
