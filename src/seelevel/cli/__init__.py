"""The command line. Nothing here imports torch before the user's input has been read."""

from __future__ import annotations

import errno
import io
import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from seelevel.cli import run
from seelevel.cli.check import check
from seelevel.cli.compare import compare
from seelevel.cli.inspect import ColumnsOption, inspect, read_columns
from seelevel.cli.parser import parser_app
from seelevel.cli.safety import score_app
from seelevel.cli.view import view
from seelevel.cli.world import world_app
from seelevel.errors import FAILURES, DiskFullError, InputError, free_bytes, is_disk_full, reason_of
from seelevel.json_text import dumps
from seelevel.progress import escape_controls, hush_bitsandbytes, say, show
from seelevel.store import expand_path
from seelevel.training.launched import end_with_launcher

app = typer.Typer(
    name="seelevel",
    help="Align vision-language models to say what they see: ranked responses, checked, learned in one pass, measured.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
app.add_typer(score_app, name="score")
app.add_typer(world_app, name="world")
app.add_typer(parser_app, name="parser")


app.command()(run.run)
app.command("base", help="One stage, if the recipe has it: fine-tune another model into the model to align.")(
    run.stage_command("base")
)
app.command("generate", help="One stage: read the prompts and generate ranked responses.")(
    run.stage_command("generate")
)
app.command()(check)
app.command("feedback", help="One stage: a judge rates and criticises the responses; a model may answer again.")(
    run.stage_command("feedback")
)
app.command()(run.align)
app.command("evaluate", help="One stage: measure the base, the aligned model and its control.")(
    run.stage_command("evaluate")
)
app.command("report", help="One stage: write the report page.")(run.stage_command("report"))


app.command()(inspect)
app.command()(compare)
app.command()(view)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="File to read.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="File to write.")],
    from_: Annotated[str | None, typer.Option("--from", help="Format of IN, if its content does not show it.")] = None,
    to: Annotated[str | None, typer.Option("--to", help="Format of OUT, if its name does not show it.")] = None,
    images: Annotated[Path | None, typer.Option("--images", help="Folder of the pictures named in IN.")] = None,
    columns: ColumnsOption = "",
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Ask servers for pictures that IN names by an address.")
    ] = False,
) -> None:
    """Convert between ladders (Parquet) and the formats of LLaVA, AMP, TRL, LLaMA-Factory, ms-swift and LVLM_NLF."""
    from seelevel.formats import convert as convert_file

    facts = convert_file(
        source,
        target,
        source_format=from_,
        target_format=to,
        images=images,
        columns=read_columns(columns),
        fetch=fetch,
    )
    show(", ".join(f"{name}: {value}" for name, value in facts.items()))


@app.command()
def chat(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A folder, a hub name, world:s, a server's model.")],
    image: Annotated[str | None, typer.Option(help="A picture, or one of the world's: world:test/0.")] = None,
    about: Annotated[Path | None, typer.Option(help="Text file that describes the picture to the judge.")] = None,
    judge: Annotated[str | None, typer.Option(help="The judge's model; world:oracle for the world's pictures.")] = None,
    judge_tokens: Annotated[int, typer.Option(help="The judge's longest reply, with its thoughts.", min=1)] = 1024,
    condition: Annotated[str, typer.Option(help="The condition: top, worst, none, or ratings such as 2/4/4.")] = "top",
    max_new_tokens: Annotated[int, typer.Option(help="The longest answer.", min=1)] = 256,
    temperature: Annotated[float, typer.Option(help="0 is greedy.", min=0)] = 0.0,
    save: Annotated[Path | None, typer.Option(help="New file for the conversation; default: in the cache.")] = None,
) -> None:
    """Talk with a model about a picture; /feedback judges its last answer, /refine asks for a better one."""
    from pydantic import ValidationError

    from seelevel.chat.terminal import open_chat
    from seelevel.models.base import Sampling

    try:
        sampling = Sampling(max_new_tokens=max_new_tokens, temperature=temperature)
    except ValidationError as error:
        raise InputError(f"--temperature {temperature}: {error.errors()[0]['msg']}") from error
    judging = Sampling(max_new_tokens=judge_tokens)
    open_chat(model, image, about, judge, condition, sampling, save, judging).run()


app.command()(run.export)
app.command()(run.answers)
app.command()(run.threshold)
app.command()(run.doctor)

# Typer of some versions carries a click of its own, so that click's own class would catch nothing.
UsageError: Any = typer.BadParameter.__bases__[0]
INTERRUPTED = 130
UNUSABLE = (errno.ENAMETOOLONG, errno.ELOOP, errno.EROFS)
"""What is wrong with a path that nothing can be written to."""
LONGEST_SHOWN = 300
"""Characters of a path in a message: one may be too long for the disk."""


def main() -> None:
    """Run the command line. Exit codes: 0 done, 2 the input is wrong, 1 anything else."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    hush_bitsandbytes()
    _print_in_any_encoding()
    end_with_launcher()
    try:
        code = app(args=list(_expanded(sys.argv[1:])), standalone_mode=False)
        if code == INTERRUPTED:
            _stop("stopped; the same command continues", INTERRUPTED)
        sys.exit(code)
    except UsageError as error:
        if error.ctx is None or error.message == error.ctx.get_help():  # no arguments at all: the help is the answer
            error.show()
            sys.exit(error.exit_code)
        _stop(f"{error.format_message().rstrip('.')}; see {error.ctx.command_path} --help", 2)
    except InputError as error:
        _stop(str(error), 2)
    except FAILURES as error:
        _stop(str(error), 1)
    except (FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        if error.filename is None:
            raise
        _stop(f"{error.filename}: {str(error.strerror).lower()}; name another place", 2)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in UNUSABLE and error.filename:
            name = str(error.filename)
            shown = name if len(name) <= LONGEST_SHOWN else f"{name[:LONGEST_SHOWN]}…"
            _stop(f"{shown}: {str(error.strerror).lower()}; name another place", 2)
        if isinstance(error, OSError) and error.errno == errno.EIO:
            _stop(f"{error.filename or 'a file'}: the system cannot read or write it; look at the disk", 1)
        if isinstance(error, RuntimeError) and str(error).startswith("Symlink loop"):  # of Path.resolve
            _stop(f"{error}; remove the link, or name another place", 2)
        if not is_disk_full(error):
            _tell_launcher(reason_of(error))
            raise
        place = getattr(error, "filename", None) or Path.cwd()
        _stop(str(DiskFullError(place, max(1, 2**20 - free_bytes(place)))), 1)


def _print_in_any_encoding() -> None:
    """Show what the terminal's encoding cannot show as escapes. Restart in UTF-8 where file names are not UTF-8: under
    `LC_ALL=C` such a name could be read, but not be written into our files."""
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _expanded(arguments: list[str]) -> Iterator[str]:
    """Arguments with `~` and `$NAME` replaced: shells do it neither in quotes nor after `=`. Recipes see to --set."""
    before = ""
    for argument in arguments:
        name, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
        yield argument if "--set" in (before, name) else name + equals + expand_path(value, name or "argument")
        before = argument


def _stop(message: str, code: int) -> None:
    line = f"seelevel: {' '.join(message.split())}"
    say(line)
    _tell_launcher(line)
    sys.exit(code)


def _tell_launcher(line: str) -> None:
    """Give torchrun the line that it shows last, below a traceback of its own."""
    if file := os.environ.get("TORCHELASTIC_ERROR_FILE"):
        with suppress(OSError):
            Path(file).write_text(dumps({"message": escape_controls(line), "timestamp": int(time.time())}))
