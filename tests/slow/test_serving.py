"""A model on a server answers as it does here: the world's model behind `transformers serve`, pictures and turns."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from seelevel.errors import InputError
from seelevel.models import load_generator
from seelevel.models.api import ApiModel
from seelevel.models.base import ApiSettings, Prompt, Sampling
from seelevel.world import model_path
from seelevel.world.datasets import write_prompts

pytest.importorskip("fastapi", reason="transformers[serving] is not installed")
pytest.importorskip("uvicorn", reason="transformers[serving] is not installed")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """`transformers serve` with world:s on a free port of the loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(model_path("s"))]
    options = ["--device", "cpu", "--dtype", "float32", "--host", "127.0.0.1", "--port", str(port)]
    log = tmp_path_factory.mktemp("serve") / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, *options], stdout=out, stderr=out, env={**os.environ, "HF_HUB_OFFLINE": "1"}
        )
    try:
        for _ in range(600):
            assert process.poll() is None, log.read_text()[-2000:]
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(timeout=30)


def prompts(folder):
    """Twelve of the world's prompts with their pictures; every third goes on after its standard answer."""
    found = []
    for n, record in enumerate(json.loads(write_prompts(folder, limit=12).read_text())):
        roles = {"human": "user", "gpt": "assistant"}
        turns = [{"role": roles[t["from"]], "content": t["value"]} for t in record["conversations"]]
        messages = (
            [*turns[:2], {"role": "user", "content": "Is there a dog in the image?"}] if n % 3 == 0 else turns[:1]
        )
        found.append(Prompt(messages, [str(folder / "images" / record["image"])]))
    return found


def test_a_served_model_says_what_it_says_here(address, tmp_path):
    asked, greedy = prompts(tmp_path), Sampling(max_new_tokens=48)
    name = f"{address}#{model_path('s')}"
    served = ApiModel(name, ApiSettings(concurrency=2, cache=str(tmp_path / "cache")))
    served.examine()
    there = served.generate(asked, greedy)
    here = load_generator(str(model_path("s"))).generate(asked, greedy)
    assert [c.text for c in there] == [c.text for c in here]
    assert [c.finished for c in there] == [c.finished for c in here]
    assert len({c.text for c in there}) >= 8
    assert ApiModel(name, ApiSettings(cache=str(tmp_path / "cache"))).generate(asked, greedy) == there


def test_a_model_that_is_not_served_is_the_users_to_mend(address):
    with pytest.raises(InputError, match="name a model that it serves"):
        ApiModel(f"{address}#nobody/nothing").examine()
