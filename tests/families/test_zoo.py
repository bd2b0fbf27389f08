"""Every family of the zoo reads its picture, has a gradient, and continues from its cache."""

from __future__ import annotations

import pytest
import torch
from transformers import DynamicCache
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from tests.families.zoo import FAMILIES, NOTES, UNBUILDABLE, build

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module", params=FAMILIES)
def case(request):
    return FAMILIES[request.param], build(request.param)


def row(family, pictures, seed=1):
    """Ids [1, n] of text and pictures, the pictures' inputs, and the number of ids before the last six."""
    generator = torch.Generator().manual_seed(seed)
    ids = []
    for _ in range(pictures):
        ids += [*torch.randint(20, 290, (5,), generator=generator).tolist(), *family.span]
    ids += torch.randint(20, 290, (12,), generator=generator).tolist()
    inputs = family.join([[family.picture(generator) for _ in range(pictures)]])
    if not family.float64:
        inputs = {name: value.float() if value.is_floating_point() else value for name, value in inputs.items()}
    return torch.tensor([ids]), inputs, len(ids) - 6


def forward(family, model, ids, pictures, prefix, **more):
    beside = family.beside(ids, prefix)
    return model(input_ids=ids, attention_mask=torch.ones_like(ids), **pictures, **beside, **more)


@pytest.mark.parametrize("pictures", [1, 2])
def test_pictures_matter_and_have_a_finite_gradient(case, pictures):
    family, model = case
    ids, seen, prefix = row(family, pictures)
    logits = forward(family, model, ids, seen, prefix, use_cache=False).logits
    assert torch.isfinite(logits).all()
    logits[0, -1].sum().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    with torch.no_grad():
        others = row(family, pictures, seed=2)[1]
        changed = forward(family, model, ids, others, prefix, use_cache=False).logits
    assert (changed[0, -1] - logits[0, -1]).abs().max() > 1e-4


def test_a_row_continues_from_its_cache(case):
    family, model = case
    ids, pictures, prefix = row(family, 1)
    cache = DynamicCache(config=model.config)
    with torch.no_grad():
        whole = forward(family, model, ids, pictures, prefix, use_cache=False).logits[0, prefix:]
        forward(family, model, ids[:, :prefix], pictures, prefix, use_cache=True, past_key_values=cache)
        rest = ids[:, prefix:]
        more = model(input_ids=rest, **family.beside(rest, 0), use_cache=True, past_key_values=cache).logits[0]
    assert (more - whole).abs().max() < family.tolerance


def test_a_padded_batch_gives_the_logits_of_its_rows_unless_the_zoo_says_so(case):
    family, model = case
    rows = [row(family, 1, seed) for seed in (1, 2)]
    rows[1] = (rows[1][0][:, 3:], rows[1][1], rows[1][2] - 3)
    length = rows[0][0].shape[1]
    ids = torch.cat([torch.nn.functional.pad(ids, (length - ids.shape[1], 0)) for ids, *_ in rows])
    attention = (torch.arange(length) >= torch.tensor([[0], [3]])).long()
    joined = family.join([[picture] for _, picture, _ in rows])
    places = (attention.cumsum(1) - 1).clamp(0)
    positions = {} if family.first_position is None else {"position_ids": family.first_position + places}
    with torch.no_grad():
        alone = [forward(family, model, *one, use_cache=False).logits[0, -6:] for one in rows]
        beside = family.beside(ids, length - 6)
        padded = model(input_ids=ids, attention_mask=attention, **joined, **beside, **positions, use_cache=False).logits
    difference = max((a - b[-6:]).abs().max() for a, b in zip(alone, padded, strict=True))
    assert (difference < family.tolerance) == family.padded


def test_every_name_of_the_mapping_is_in_the_zoo_or_excused():
    types = {family.config().model_type for family in FAMILIES.values()}
    assert types.isdisjoint(UNBUILDABLE)
    assert set(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES) == types | UNBUILDABLE.keys()


def test_notes_are_about_families_of_the_zoo():
    assert NOTES.keys() <= FAMILIES.keys()
