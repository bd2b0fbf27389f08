"""A model's configuration and processor, loaded without weights, and whether they go together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoProcessor
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

from seelevel.errors import InputError, reason_of
from seelevel.models.adapters import check_adapter
from seelevel.models.blame import blamed
from seelevel.models.chat_template import template_of
from seelevel.models.folders import adapter_base
from seelevel.models.picture_tokens import check_pictures, complete
from seelevel.opening import read_text
from seelevel.progress import say

OF_THE_EXTRA = ("torchvision", "num2words")
"""Packages of the extra `video`."""


class MissingPackageError(InputError):
    """A processor needs a package that is not installed."""


def load_reader(name_or_path: str) -> tuple[Any, Any]:
    """Configuration and processor of a model, without its weights; of an adapter's folder, those of its base."""
    base = adapter_base(Path(name_or_path)) if Path(name_or_path).is_dir() else None
    return load_config(base or name_or_path), load_processor(base or name_or_path)


def load_config(name: str, trust_remote_code: bool = False) -> Any:
    """A model's configuration. Raises `InputError` if it cannot be had, or is not an image-text-to-text model's."""
    with blamed(f"model {name}: its config.json cannot be used", "copy the file again"):
        try:
            config = AutoConfig.from_pretrained(name, trust_remote_code=trust_remote_code)
        except OSError as error:
            if Path(name).is_dir():
                raise
            raise InputError(
                f"model '{name}' is neither a folder nor in the local cache, and cannot be downloaded from the hub; "
                "check the name and the connection, or name a folder"
            ) from error
        except ValueError as error:
            raise InputError(
                f"model {name}: {next(iter(str(error).splitlines()), '').strip()} No code of a model is run; name one "
                "whose model_type this version of transformers knows"
            ) from error
    if type(config) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING and not trust_remote_code:
        raise InputError(
            f"model {name} is of kind {config.model_type}, which is not image-text-to-text; name one that is"
        )
    return config


def load_processor(name: str, trust_remote_code: bool = False, local_files_only: bool = False) -> Any:
    """A model's processor, without its weights. Raises `MissingPackageError` if it needs a package that is missing, and
    `InputError` if it is incomplete or has no chat template."""
    broken = f"model {name}: its tokenizer or processor cannot be loaded"
    with blamed(broken, "copy those files again"):
        try:
            processor = AutoProcessor.from_pretrained(
                name, trust_remote_code=trust_remote_code, local_files_only=local_files_only
            )
        except ImportError as error:
            reason = " ".join(str(error).split())
            extra = next((package for package in OF_THE_EXTRA if package in reason.lower()), None)
            if extra is not None:
                message = f"its processor needs {extra}; install it with `pip install 'seelevel[video]'`"
            else:
                message = f"its processor needs a package that is missing ({reason}); install it"
            raise MissingPackageError(f"model {name}: {message}") from error
        except OSError as error:
            raise InputError(f"{broken} ({reason_of(error)}); copy those files again") from error
    if not hasattr(processor, "tokenizer") or not hasattr(processor, "image_processor"):
        raise InputError(f"model {name} has no image processor; add the processor's files to its folder")
    if not template_of(processor):
        raise InputError(
            f"model {name} has no chat template; add chat_template.jinja to its folder, from a newer copy of the model"
        )
    if processor.tokenizer.eos_token is None:
        raise InputError(f"model {name}: its tokenizer has no eos_token; set it in tokenizer_config.json")
    config = load_config(name, trust_remote_code)
    with blamed(broken, "copy those files again"):
        complete(processor, config, name)
    return processor


def check_reads(model: str, download: bool) -> None:
    """Raise `InputError` for a model whose processor, chat template or adapter cannot be used here, before hours of
    other work. No weights of the model are loaded.

    model: a folder, or a hub name, of which only a missing package is an error: its files may come later. `download`:
    its processor's files may be fetched.
    """
    base = adapter_base(Path(model)) if Path(model).is_dir() else None
    try:
        processor, config = load_processor(base or model, local_files_only=not download), load_config(base or model)
        with blamed(f"model {base or model}: its processor does not work", "copy its files again"):
            check_pictures(processor, config, base or model)
    except MissingPackageError:
        raise
    except InputError:
        if Path(base or model).is_dir():
            raise
        return
    if base is not None:
        check_adapter(config.to_dict(), Path(model))
        own = Path(model) / "chat_template.jinja"
        if own.is_file() and read_text(own).strip() != str(processor.chat_template or "").strip():
            say(f"adapter {model}: {own.name} differs from that of its base {base}; the base's is used")
