"""`doctor --try`: each model of a recipe does once, in small, what the run will ask of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from seelevel.errors import InputError
from seelevel.ladder import Image, Ladder, Message, Response
from seelevel.models.base import Completion, Prompt, Sampling, is_object, is_server
from seelevel.models.folders import weights_here
from seelevel.models.server.wire import CUT_SHORT
from seelevel.naming import Names, first_ladders
from seelevel.recipe import Recipe
from seelevel.thoughts import CUT

SCANNED = 100
"""Records of the data that are looked at for pictures, system turns and several rounds."""
TOKENS = Sampling(max_new_tokens=4)


@dataclass(frozen=True)
class Tried:
    """What a model did when it was tried, or `fault`: why it cannot. `what`: the model, or the key of a training."""

    what: str
    did: str = ""
    fault: str = ""


def try_recipe(names: Names) -> Iterator[Tried]:
    """Try each model: it answers a prompt of the data, in four tokens; the model to align also takes one step without
    an optimiser, if it could answer; an encoder encodes two texts. A model on a server gets one small request.

    Whatever a model raises is its fault, in one line. Nothing is kept, and nothing in the run folder is touched.
    """
    recipe = names.recipe
    with tempfile.TemporaryDirectory(prefix="seelevel-try-") as place:
        examples = [_with_pictures(ladder, Path(place)) for ladder in _examples(recipe)]
        broken = set()
        for name, sees in _asked(recipe).items():
            prompts = _prompts(examples, recipe) if sees else [Prompt([{"role": "user", "content": "Answer yes."}])]
            tried = _tried(name, partial(_answers, names, name, prompts))
            broken |= {name} if tried.fault else set()
            yield tried
        if recipe.check is not None and (encoder := recipe.check.encoder) is not None:
            yield _tried(encoder, lambda: _encodes(names.model(encoder).path))
        if recipe.align.model not in broken and weights_here(names.ancestor(recipe.align.model).path):
            yield _tried("align", lambda: _step(names, examples[0], Path(place)))


def _tried(what: str, act: Callable[[], str]) -> Tried:
    try:
        return Tried(what, act())
    except Exception as error:  # a trial is there to turn whatever a model raises into a line
        reason = " ".join(str(error).split())[:500] or type(error).__name__
        known = type(error).__module__.startswith("seelevel")
        return Tried(what, fault=reason if known else f"{type(error).__name__}: {reason}")
    finally:
        from seelevel.training.loading import free_unused

        free_unused()


def _asked(recipe: Recipe) -> dict[str, bool]:
    """Each model that answers, and whether it is shown pictures: some judges are not."""
    check, feedback = recipe.check, recipe.feedback
    blind = [None if check is None or check.judge_sees_pictures else check.judge, recipe.evaluate.judge]
    blind.append(None if feedback is None or feedback.judge_sees_pictures else feedback.judge)
    sees = [*recipe.generate.models, recipe.align.model, *([] if feedback is None else [feedback.model])]
    names = dict.fromkeys(name for _, name in recipe.answering)
    return {name: name in sees or name not in blind for name in names}


def _examples(recipe: Recipe) -> list[Ladder]:
    """Records of the data to try with: one with a picture first, then one with a system turn and one of several rounds
    if there are any."""
    ladders = first_ladders(recipe.data, SCANNED)
    if not ladders:
        raise InputError(
            f"data.prompts: none of the first {SCANNED} records can be used; `seelevel inspect "
            f"{recipe.data.prompts}` shows why"
        )
    wanted: list[Callable[[Ladder], bool]] = [
        lambda ladder: bool(ladder.images),
        lambda ladder: any(message["role"] == "system" for message in ladder.prompt),
        lambda ladder: sum(message["role"] == "user" for message in ladder.prompt) > 1,
    ]
    chosen = [next((ladder for ladder in ladders if is_wanted(ladder)), None) for is_wanted in wanted]
    return list({ladder.id: ladder for ladder in [*chosen, ladders[0]] if ladder is not None}.values())


def _with_pictures(ladder: Ladder, place: Path) -> Ladder:
    """The ladder with its pictures as files. The world's are drawn when a run begins; here a grey one replaces them."""
    if all(Path(image.path).is_file() for image in ladder.images):
        return ladder
    from PIL import Image as Pictures

    grey = place / "grey.png"
    Pictures.new("RGB", (96, 96), "grey").save(grey)
    return replace(ladder, images=[Image(str(grey)) for _ in ladder.images])


def _prompts(examples: list[Ladder], recipe: Recipe) -> list[Prompt]:
    """The prompts of the examples; the first one in two rounds too, if the run leads conversations."""
    prompts = [Prompt(list(ladder.prompt), [image.path for image in ladder.images]) for ladder in examples]
    if recipe.feedback is not None or recipe.generate.method == "dialogues":
        more: list[Message] = [
            {"role": "assistant", "content": "It is a picture."},
            {"role": "user", "content": "What else?"},
        ]
        prompts.append(Prompt([*prompts[0].messages, *more], prompts[0].images))
    return prompts


def _answers(names: Names, name: str, prompts: list[Prompt]) -> str:
    from seelevel.models import load_generator

    model = names.ancestor(name)
    if not (is_server(model.path) or is_object(model.path) or weights_here(model.path)):
        return "not tried, because its weights are not on this disk"
    if is_server(model.path):  # a reply that was kept would say nothing about the server
        model, prompts = replace(model, api=model.api.model_copy(update={"cache": False})), prompts[:1]
    answering = load_generator(model)
    completions = answering.generate(prompts, TOKENS)
    thinking = [completion for completion in completions if not completion.text and _is_cut(completion)]
    for completion in completions:
        if completion.note and not completion.text and completion not in thinking:
            raise InputError(f"a prompt of the data gets no answer: {completion.note}")
    silent = sum(not completion.text and not completion.note for completion in completions)
    did = "began to think" if thinking else "answered"
    did = f"answered {silent} of {len(completions)} prompts with an empty text," if silent else did
    return f"{did} in {sum(completion.tokens for completion in completions)} tokens ({answering.describe()})"


def _is_cut(completion: Completion) -> bool:
    """Whether the few tokens of the trial ended an answer inside its thoughts, which is no fault of the model."""
    ending = completion.note.removeprefix("ended by ")
    return CUT in completion.note or (ending != completion.note and bool(CUT_SHORT.search(ending)))


def _encodes(path: str) -> str:
    from seelevel.language.encoders import load_encoder

    return f"encoded two texts in {load_encoder(path).encode(['a dog', 'a red cup']).shape[1]} numbers each"


def _step(names: Names, example: Ladder, place: Path) -> str:
    from seelevel.training.fit import rehearse

    answers = ["Yes, there is.", "No."]
    responses = [Response([{"role": "assistant", "content": text}], level) for level, text in enumerate(answers)]
    ladder = Ladder(example.id, example.images, example.prompt, responses)
    return rehearse(ladder, names.ancestor(names.recipe.align.model).path, names.recipe.align, place / "align")
