"""docs/families.md: what works in each family, found out on the tiny models of the zoo.

python -m tests.families.table > docs/families.md
"""

from __future__ import annotations

import logging

import torch

from seelevel.errors import InputError
from seelevel.forecast.shapes import shape_in
from seelevel.training.loading import with_lora
from seelevel.training.settings import LoraSettings
from tests.families.test_zoo import row
from tests.families.zoo import FAMILIES, NO_HISTORY, NOTES, ONE_PREFIX, REFUSED, ROWS, UNBUILDABLE, build
from tests.real_processors.families import FAMILIES as REAL

HEADER = """# Model families

What `align` does with each family of `transformers` 5.23, found out on tiny models with random weights. Your own model
is compared before it trains, whatever stands here.

- **prefix once**: `layout: shared` gives the log-probs of separate rows to 10⁻⁹, in float64, and the gradients of every
  tensor to 10⁻⁵. *float32* marks families whose own arithmetic rounds to float32 somewhere; there they agree as well as
  two rows of other padding do. K is 2 to 6, with no picture, one and two, all answers at once and in groups, with
  full weights and with LoRA.
- **many in a pass**: prefixes of unequal length share a pass.
- **rounds**: the rounds of an interaction share their history.
- **LoRA**: what `target: attention+mlp` finds.
- **generates**: `model.generate` reads the picture and answers.
- **forecast**: `doctor` knows the sizes and the tokens of a picture.
- **real processor**: photographs and prompts became an aligned model on the command line, with the family's processor
  and the markers of its chat template (`make test-families`).

"""


def cells(name: str) -> list[str]:
    """The row of a family, without its notes."""
    exact = "yes" if FAMILIES[name].tolerance == 1e-9 else "yes, float32"
    alone = ROWS | REFUSED
    once = "no, refused" if name in REFUSED else "no, rows" if name in ROWS else exact
    many = "no" if name in ONE_PREFIX | alone else "yes"
    rounds = "no" if name in NO_HISTORY | alone else "yes"
    real = "tried" if name in REAL else "not tried"
    return [name, once, many, rounds, lora(name), generates(name), forecast(name), real]


def lora(name: str) -> str:
    model = build(name)
    try:
        adapted = with_lora(model, LoraSettings(r=2))
    except InputError:
        return "not with `attention+mlp`"
    adapters = [name for name, _ in adapted.named_parameters() if ".lora_A." in name]
    experts = any("experts." in name for name, _ in model.named_parameters())
    return "yes, no experts" if experts and adapters else "yes" if adapters else "no"


@torch.no_grad()
def generates(name: str) -> str:
    family, model = FAMILIES[name], build(name).eval()
    ids, pictures, prefix = row(family, 1)
    beside = family.beside(ids, prefix)
    try:
        answer = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), **pictures, **beside, max_new_tokens=3, do_sample=False
        )
    except Exception as error:  # the cell says which
        return f"no, {type(error).__name__}"
    return "yes" if answer.shape[1] > ids.shape[1] else "no"


def forecast(name: str) -> str:
    try:
        shape = shape_in(FAMILIES[name].config().to_dict())
    except InputError:
        return "no"
    return "no" if shape is None else "yes"


def page() -> str:
    """The whole page."""
    logging.disable(logging.WARNING)
    lines = [
        "| family | prefix once | many in a pass | rounds | LoRA | generates | forecast | real processor |",
        "| --- |" + " --- |" * 7,
    ]
    lines += [f"| {' | '.join(cells(name))} |" for name in FAMILIES]
    notes = [
        f"- **{name}**: {text}"
        for title in (REFUSED, ROWS, ONE_PREFIX, NO_HISTORY, NOTES)
        for name, text in ((n, t if t.endswith(".") else f"{t[0].upper()}{t[1:]}.") for n, t in title.items())
    ]
    left = [f"- **{name}**: {text}" for name, text in UNBUILDABLE.items()]
    not_tried = ["## Not tried", "", "Families of the same mapping for which there is no tiny model.", "", *left, ""]
    return "\n".join([HEADER.rstrip(), "", *lines, "", "## Notes", "", *notes, "", *not_tried])


if __name__ == "__main__":
    print(page(), end="")
