"""The main job, top to bottom: data → generate → check → feedback → align → evaluate → report.

A run folder can be stopped anywhere and run again: a stage whose inputs, settings and sources are unchanged is kept,
one that was cut off continues, and both end in the same bytes as a run that was never stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from seelevel.engine import engine_of
from seelevel.facts import InputFacts
from seelevel.fingerprints import file_sha256, listing_fingerprint
from seelevel.formats.sources import Source, files, folder_of
from seelevel.models.base import ModelRef
from seelevel.models.files import model_fingerprint
from seelevel.naming import source_of, world_split
from seelevel.preflight import check_recipe
from seelevel.progress import say
from seelevel.recipe import DataSettings
from seelevel.stages import Stages, check_predecessors
from seelevel.store import CONTROL, MANIFEST, OVERRIDES, StageFolder, read_mapping

if TYPE_CHECKING:
    from rich.text import Text

    from seelevel.generate.method import FinetuneSettings, Method
    from seelevel.models.base import Generator
    from seelevel.training.settings import AlignSettings


class Run(Stages):
    """One recipe in one run folder."""

    def everything(self) -> Path:
        """Run what has changed; returns the report's path."""
        self.preflight()
        with self._lock("run"), self._engine():
            self._until_report()
            return self.report()

    def _until_report(self) -> None:
        if self.recipe.base is not None:
            self.base()
        rounds = self.names.recipe.rounds
        for number in range(1, rounds):
            earlier = Run(self.names.recipe.of_round(number), self.names.round(number), whole=self)
            with earlier._lock():
                earlier._say_round(number)
                earlier._until_aligned()
        self._say_round(rounds)
        self._until_aligned()
        self.evaluate()

    def _engine(self) -> AbstractContextManager[None]:
        """Who works on the shards. Of several processes that train, only the first one does."""
        return nullcontext() if self.follows else engine_of(self.names.recipe.engine)

    def _say_round(self, number: int) -> None:
        if self.names.recipe.rounds > 1 and not self.dry and not self.follows:
            say(f"round {number} of {self.names.recipe.rounds}")

    def _until_aligned(self) -> None:
        self.generate()
        if self.recipe.check is not None:
            self.check()
        if self.recipe.feedback is not None:
            self.feedback()
        self.align()

    def plan(self) -> dict[str, bool]:
        """Which stages would run: True, or False for those that are unchanged. Writes nothing.

        Raises `InputError` as a run would for anything that the recipe names and that is missing.
        """
        self.dry = True  # `_stage` then only notes each stage's fingerprint; no stage runs, no folder is made
        try:
            self.preflight()
            self._fingerprints.clear()
            self._until_report()
        finally:
            self.dry = False
        return {
            folder.relative_to(self.out).as_posix(): not self._is_kept(StageFolder(folder, fingerprint))
            for folder, fingerprint in self._fingerprints.items()
        }

    def alone(self, stage: str) -> Path:
        """Run one stage, its predecessors being done under the recipe's settings; returns its folder, or the report's
        path. Raises `InputError` where they are not."""
        self.preflight()
        check_predecessors(self.names.recipe, self.out, stage)
        with self._lock(stage), self._engine():
            return {
                "base": self.base,
                "generate": self.generate,
                "check": self.check,
                "feedback": self.feedback,
                "align": self.align,
                "evaluate": self.evaluate,
                "report": self.report,
            }[stage]()

    def first_step(self) -> Iterator[Text]:
        """What the first optimiser step of `align` sees, one block per ladder; trains nothing."""
        from seelevel.formats.parquet import read_ladders
        from seelevel.training.show import first_step

        self.preflight()
        check_predecessors(self.names.recipe, self.out, "align")
        ladders, model = (
            read_ladders(self.out / self.recipe.before("align"), self.out),
            self.names.model(self.recipe.align.model),
        )
        return first_step(ladders, model.path, self.recipe.align, self.recipe.seed)

    def preflight(self, processes: int | None = None) -> None:
        """Raise `InputError` for what is missing, before anything runs (`check_recipe`)."""
        check_recipe(self.names, hub=not self.dry, processes=processes)

    # --- the stages, in order -------------------------------------------------------------------------------------

    def data(self) -> Path:
        return self._ingested("data", self.recipe.data)

    def base(self) -> Path:
        """The model to align, if the recipe makes it: another model, fine-tuned on standard responses."""
        from seelevel import align
        from seelevel.forecast.aligning import decided

        settings = self.recipe.base
        assert settings is not None
        source, model = self._training_records("base-data", settings), self.names.model(settings.model)
        return self._stage(
            "base",
            "seelevel.align",
            [self._fingerprint_of(source), model_fingerprint(model)],
            settings,
            lambda stage: align.run(
                source, stage, settings.training(), model, self.names.out, self.recipe.seed, decided
            ),
        )

    def generate(self) -> Path:
        from seelevel import generate
        from seelevel.language.parse import parser_fingerprint

        source, settings = self.data(), self.recipe.generate
        models = [self.names.generating(name) for name in settings.models]
        inputs = [
            self._fingerprint_of(source),
            *map(self._model_fingerprint, models),
            *map(parser_fingerprint, settings.parsers),
        ]
        inputs += [file_sha256(Path(name)) for name in settings.files]
        used: Method = settings
        if (records := settings.training_data) is not None:
            folder = self._training_records("finetune", records)
            inputs.append(self._fingerprint_of(folder))
            used = settings.with_training_data(folder)
        return self._stage(
            "generate",
            generate.GENERATORS[settings.method].partition(":")[0],
            inputs,
            settings,
            lambda stage: generate.run(source, stage, used, models, self.names.out, self.recipe.seed),
        )

    def check(self) -> Path:
        from seelevel import check
        from seelevel.language.parse import parser_fingerprint

        settings = self.recipe.check
        assert settings is not None
        source = self.out / self.recipe.before("check")
        encoder = None if settings.encoder is None else self.names.model(settings.encoder)
        judge = None if settings.judge is None else self.names.answering(settings.judge)
        used = settings
        if settings.overrides is None and (by_hand := self.out / OVERRIDES).is_file():  # from `seelevel view`
            used = settings.model_copy(update={"overrides": str(by_hand)})
        inputs = [
            self._fingerprint_of(source),
            *(self._model_fingerprint(model) for model in (encoder, judge) if model is not None),
            parser_fingerprint(settings.parser),
            *(file_sha256(file) for _, file in used.files),
        ]
        return self._stage(
            "check",
            "seelevel.check",
            inputs,
            settings,
            lambda stage: check.run(source, stage, used, encoder, self.names.out, judge, self.recipe.seed),
        )

    def feedback(self) -> Path:
        from seelevel import feedback

        settings = self.recipe.feedback
        assert settings is not None
        source, judge = self.out / self.recipe.before("feedback"), self.names.answering(settings.judge)
        model = None if settings.model is None else self.names.answering(settings.model)
        files = [] if settings.judge_template is None else [file_sha256(Path(settings.judge_template))]
        inputs = [
            self._fingerprint_of(source),
            *(self._model_fingerprint(m) for m in (judge, model) if m is not None),
            *files,
        ]
        return self._stage(
            "feedback",
            "seelevel.feedback",
            inputs,
            settings,
            lambda stage: feedback.run(source, stage, settings, judge, model, self.names.out, self.recipe.seed),
        )

    def align(self) -> Path:
        """The aligned model; then, if the recipe wants one, the control that it is compared with."""
        source, settings = self.out / self.recipe.before("align"), self.recipe.align
        model = self.names.model(settings.model)
        inputs = [self._fingerprint_of(source), self._model_fingerprint(model)]
        whole = self.names.recipe.align  # its words name the adapter, which a later round's settings leave out
        aligned = self._trained("align", inputs, source, settings.alone, model, whole.words)
        if settings.control:
            inputs = [self._fingerprint_of(aligned)]
            self._trained(CONTROL, inputs, source, settings.of_control, model, whole.of_control.words)
        return aligned

    def _trained(
        self, name: str, inputs: Sequence[object], source: Path, settings: AlignSettings, model: ModelRef, words: str
    ) -> Path:
        """Train a model on the ladders in `source`, in the stage `name`. words: the settings, for the manifest."""
        from seelevel import align
        from seelevel.forecast.aligning import decided

        return self._stage(
            name,
            "seelevel.align",
            inputs,
            settings,
            lambda stage: align.run(source, stage, settings, model, self.names.out, self.recipe.seed, decided),
            words=words,
        )

    def evaluate(self) -> Path:
        from seelevel import evaluate

        settings, base = self.recipe.evaluate, self.names.model(self.names.recipe.align.model)
        data = self._evaluation_data()
        data_fingerprint = self._fingerprints.get(data) or listing_fingerprint(data)
        trained = self._fingerprint_of(self.out / "align")
        control = self._fingerprint_of(self.out / CONTROL) if self.recipe.align.control else None
        if not self.dry and not self.follows and read_mapping(self.out / "metrics.json") is None:
            # The figures are outside the stage's folder. If they are lost, the stage is unfinished. Without its
            # manifest it continues, and makes them again from the answers in its folder.
            (self.out / "evaluate" / MANIFEST).unlink(missing_ok=True)
        return self._stage(
            "evaluate",
            "seelevel.evaluate",
            [data_fingerprint, self._model_fingerprint(base), trained, self._judge_fingerprint()]
            + ([] if control is None else [control]),
            settings,
            lambda stage: replace(
                evaluate.run(
                    stage, settings, data, self._sides(base), self._judge(), self.out, self.recipe.seed, self._learned()
                ),
                aligned=trained,  # the report shows no figures of another model
                control=control,
            ),
        )

    def report(self) -> Path:
        from seelevel import report

        page = self.out / "report.html"
        return page if self.follows else report.run(self.out, self.recipe.report)

    # --- what the recipe names, as files and objects ---------------------------------------------------------------

    def _training_records(self, name: str, settings: FinetuneSettings) -> Path:
        """Records with answers, to fine-tune on."""
        named = DataSettings.model_validate(settings.model_dump(include=set(DataSettings.model_fields)))
        return self._ingested(name, named, need_answer=True)

    def _ingested(self, name: str, settings: DataSettings, need_answer: bool = False) -> Path:
        from seelevel.formats.ingest import ingest

        source = self._prompts(settings)
        if source.images is not None and source.images.parent in self._fingerprints:
            inputs: list[str | None] = [self._fingerprints[source.images.parent]]
        else:
            beside = folder_of(source.path) / "images" if source.images is None else source.images
            inputs = [*map(file_sha256, files(source.path)), listing_fingerprint(beside) if beside.is_dir() else None]
        return self._stage(
            name,
            "seelevel.formats.ingest",
            inputs,
            settings,
            lambda stage: ingest(source, stage, self.names.out, settings.max_rejected, need_answer, settings.format),
        )

    def _prompts(self, settings: DataSettings) -> Source:
        if (split := world_split(settings.prompts)) is not None:
            from seelevel.world.texts.datasets import prompts_file

            folder = self._world_data("prompts", split, settings.limit)
            return Source(folder / prompts_file(split), folder / "images", limit=settings.limit)
        return source_of(settings)

    def _evaluation_data(self) -> Path:
        settings = self.recipe.evaluate
        if (split := world_split(settings.data)) is not None:
            return self._world_data("evaluation", split, settings.limit)
        return Path(settings.data)

    def _world_data(self, kind: str, split: str, limit: int | None) -> Path:
        from seelevel.world.texts import datasets

        write = {"prompts": datasets.write_prompts, "evaluation": datasets.write_evaluation}[kind]

        def work(stage: StageFolder) -> InputFacts:
            write(stage.path, split=split, **({} if limit is None else {"limit": limit}))
            return InputFacts(split)

        return self._stage(f"inputs/world-{split}", "seelevel.world.texts.datasets", [kind, split, limit], None, work)

    def _sides(self, base: ModelRef) -> dict[str, ModelRef]:
        """The models that `evaluate` compares, by name."""
        rounds = {f"round-{n}": self.names.aligned(n) for n in range(1, self.names.recipe.rounds)}
        control = {CONTROL: self.names.control()} if self.recipe.align.control else {}
        snapshots = self.names.snapshots() if self.recipe.evaluate.snapshots else {}
        return {"base": base, **rounds, **snapshots, "aligned": self.names.aligned(), **control}

    def _learned(self) -> list[Path]:
        """The folders of the ladders that the rounds of `align` learn from."""
        whole = self.names.recipe
        return [self.names.round(n) / whole.of_round(n).before("align") for n in range(1, whole.rounds + 1)]

    def _judge(self) -> Generator | None:
        from seelevel.models import load_generator

        name = self.recipe.evaluate.judge
        return None if name is None else load_generator(self.names.answering(name))

    def _judge_fingerprint(self) -> str | None:
        name = self.recipe.evaluate.judge
        return None if name is None else model_fingerprint(self.names.answering(name))
