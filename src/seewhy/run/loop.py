"""The rounds: describe -> select -> synthesise -> tune -> measure -> sample -> filter -> tune -> ..."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from seewhy.config import EngineConfig, RunConfig
from seewhy.records import Answer
from seewhy.results import Counts, Gate, Metrics
from seewhy.results_json import read
from seewhy.run.checks import refuse_several_processes
from seewhy.run.driving import is_driven_elsewhere, workers_of
from seewhy.run.evaluation import Evaluation
from seewhy.run.finished import FinishedRun
from seewhy.run.folder import RunFolder
from seewhy.run.opening import open_run
from seewhy.run.progress import say
from seewhy.run.stages import BASE, OURS, ModelKey, arms
from seewhy.settings import PRESETS, load_config


def stops_without_words(config: RunConfig) -> bool:
    """Return whether a run stops if its model has no words for the concept bank.

    `keep_going` prevents it. The paper's preset sets `keep_going` only because the paper has no round gate, so it does
    not count.
    """
    return not config.keep_going or bool(PRESETS[config.preset].get("keep_going"))


def run(config: RunConfig, *, discard_stale: bool = False, stop_without_words: bool | None = None) -> Metrics:
    """Run all rounds, or continue where a killed run stopped, and return what metrics.json then holds.

    Raises SeeWhyError after the descriptions if the model has words for too little of the concept bank
    (`minimum_support`) and `stop_without_words` is true; None takes it from the settings.
    """
    options = {"discard_stale": discard_stale, "stop_without_words": stop_without_words}
    if is_driven_elsewhere(config, options):
        return read(Path(config.output) / Metrics.FILE, Metrics)
    folder = RunFolder(config.output, seed=config.seed, shard_size=config.shard_size)
    with (
        folder.lock(),
        workers_of(config, folder) as folder.workers,
        open_run(folder, config, discard_stale=discard_stale) as this,
    ):
        this.describe()
        stop = stops_without_words(config) if stop_without_words is None else stop_without_words
        this.check_support(stop=stop)
        selections = this.select()
        this.replay()
        models = {BASE: this.base}
        taught: dict[ModelKey, Sequence[Answer]] = {}
        evaluation = Evaluation(this)
        metrics = evaluation.measure(models, selections, taught)
        if config.keep_going:  # an earlier start may have had a gate
            (folder.path / Gate.FILE).unlink(missing_ok=True)
        for round in range(1, config.rounds + 1):
            for arm in arms(config):
                model, before = arm.model(round), models[arm.model(round - 1)]
                if model in models:  # the method's own, until the arm diverges from it
                    continue
                if arm.template:
                    taught[model] = this.fill_in(arm, taught[OURS.model(round)])
                elif round == 1:
                    taught[model] = this.synthesise(arm, selections)
                else:
                    candidates = this.sample(arm, round, before, selections)
                    taught[model] = this.filter(arm, round, candidates, before, selections)
                start = this.base if config.start_from == "base" else before
                models[model] = this.tune(model, start, taught[model])
            metrics = evaluation.measure(models, selections, taught)
            if not config.keep_going and (found := evaluation.gate(models)) and found.stop:
                worse = " and ".join(found.rounds[-1].worse_in)
                say(f"Round {round} is worse than round {found.best} on the validation images, in {worse}: stopped.")
                break
        return metrics


def evaluate(
    run: str,
    split: str,
    *,
    data: str | None = None,
    consistency: bool | None = None,
    fluency: bool | None = None,
    trust_remote_code: bool | None = None,
    engine: EngineConfig | None = None,
) -> Metrics:
    """Measure every model of a finished run on a split and write the figures to RUN/metrics-SPLIT.json.

    `data` is a YAML file of settings that names another data set, with its labels, concepts and questions; the figures
    then go to RUN/metrics-DATA-SPLIT.json. `consistency` and `fluency` switch CS and FS on or off. None takes them from
    the run's settings, but leaves CS out on another data set, since all its train images would have to be described.
    The models answer in this process and run no code of their own, whatever the run folder says, unless `engine` and
    `trust_remote_code` allow it. Raises SeeWhyError where there is no run, no such split, or no model.
    """
    refuse_several_processes()
    other = None if data is None else load_config(data).data
    if other is not None and consistency is None:
        consistency = False
    finished = FinishedRun.open(run, trust_remote_code=trust_remote_code, engine=engine)
    finished.say_what_is_not_obeyed()
    wanted = {"split": split, "consistency": consistency, "fluency": fluency}
    settings = replace(finished.config.evaluate, **{key: value for key, value in wanted.items() if value is not None})
    config = replace(finished.config, evaluate=settings)
    folder = RunFolder(run, seed=config.seed, shard_size=config.shard_size)
    with folder.lock(), open_run(folder, config, record=False, elsewhere=other) as this:
        if data is not None:
            return Evaluation(this).measure(this.models, (), {}, name=f"metrics-{Path(data).stem}-{split}.json")
        return Evaluation(this).measure(this.models, this.select(), {}, name=f"metrics-{split}.json")


def count(config: RunConfig) -> dict[ModelKey, Counts]:
    """Return per-image counts for every model of a finished run: model -> figure -> (hits, totals).

    Both have length N, the number of images of `evaluate.split`, or of lesions, patients or leaves where known.
    """
    refuse_several_processes()
    folder = RunFolder(config.output, seed=config.seed, shard_size=config.shard_size)
    with folder.lock(), open_run(folder, config, record=False) as this:
        return Evaluation(this).counts()
