"""Load an English parser: the shipped one or any spaCy pipeline. `treebank` trains and evaluates the shipped one."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from seelevel.errors import InputError
from seelevel.fingerprints import digest, folder_fingerprint
from seelevel.models.blame import blamed
from seelevel.models.folders import check_files

if TYPE_CHECKING:
    from spacy.language import Language

BUILTIN = Path(__file__).parent / "parser"
UNUSED = ["ner", "entity_linker", "textcat", "textcat_multilabel", "lemmatizer", "spancat"]
NO_PARSER = "parser '{name}' is neither a folder nor an installed spaCy package; install it or use parser: builtin"


@cache
def load_parser(name: str = "builtin") -> Language:
    """A spaCy pipeline with a tagger and a dependency parser, loaded once.

    `name` is `builtin`, a spaCy package that is installed (`en_core_web_trf`), or a pipeline's folder. Raises
    `InputError` if there is no such pipeline, or if it has no parser.
    """
    import spacy

    path = BUILTIN if name == "builtin" else Path(name)
    if name == "builtin" or path.is_dir():
        if not (path / "config.cfg").is_file():
            raise InputError(f"parser {path} is not a spaCy pipeline (no config.cfg); seelevel parser train makes one")
        check_files(path)
        with blamed(f"parser {path} cannot be loaded", "copy its folder again, or train one: seelevel parser train"):
            nlp = spacy.load(path, exclude=UNUSED)
    elif spacy.util.is_package(name) and (spacy.util.get_package_path(name) / "meta.json").is_file():
        nlp = spacy.load(name, exclude=UNUSED)
    else:
        raise InputError(NO_PARSER.format(name=name))
    if "parser" not in nlp.pipe_names:
        raise InputError(f"parser '{name}' has no dependency parser, only {', '.join(nlp.pipe_names)}; choose another")
    return nlp


def parser_fingerprint(name: str = "builtin") -> str:
    """The fingerprint of the pipeline that `load_parser(name)` loads: of a folder's files, or of a package's version.

    Raises `InputError` if there is no such folder or package.
    """
    path = BUILTIN if name == "builtin" else Path(name)
    if path.is_dir():
        return folder_fingerprint(path)
    try:
        return digest(name, version(name))
    except PackageNotFoundError as error:
        raise InputError(NO_PARSER.format(name=name)) from error
