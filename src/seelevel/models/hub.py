"""What the hub says about a model, before its weights are fetched."""

from __future__ import annotations

from pathlib import Path

from seelevel.errors import InputError


def hub_config(name: str) -> Path | None:
    """The configuration of a hub model, in the cache, of the commit that loading the model would take; None where it is
    not there and the hub cannot be asked.

    It is fetched, not only looked up: a run downloads its models after it has taken their fingerprints, and the same
    command again must find the same ones. Raises `InputError` where the hub has no such model, or gives it to others.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return Path(hf_hub_download(name, "config.json"))
    except LocalEntryNotFoundError:
        return None
    except GatedRepoError as error:
        raise InputError(
            f"model {name}: the hub gives it to those who agreed to its terms; agree on its page, then set HF_TOKEN"
        ) from error
    except RepositoryNotFoundError as error:
        raise InputError(
            f"model {name}: the hub has none of that name, or not for you; mend the name, or set HF_TOKEN"
        ) from error
    except EntryNotFoundError as error:
        raise InputError(f"model {name}: it has no config.json on the hub; name a model of transformers") from error
    except (OSError, ValueError):
        return None
