"""Opens a run folder: its data are loaded, and its stages compared with the settings, before any step is taken."""

import json
from typing import Any

import yaml

from seewhy.config import SELF, DataConfig, RunConfig, recorded
from seewhy.domain.corrections import Corrections
from seewhy.domain.domain import VOCABULARY_FILE, Vocabulary, load_domain
from seewhy.domain.image_index import IMAGES_FILE, ImageIndex
from seewhy.domain.loaders.llava import Replay, replay_digest
from seewhy.errors import SeeWhyError
from seewhy.fieldguide.guide import ENCODER, with_guide
from seewhy.records import Correction
from seewhy.run import checks, correcting
from seewhy.run.folder import RunFolder, read_manifest
from seewhy.run.progress import say
from seewhy.run.sources import made_base_source, model_source
from seewhy.run.stages import StageKey, Stages, engine_of, is_complete, with_finished_controls
from seewhy.run.steps import Run
from seewhy.run.storage import digest_of_ends, inside, weights_digest


def open_run(
    folder: RunFolder,
    config: RunConfig,
    *,
    discard_stale: bool = False,
    record: bool = True,
    elsewhere: DataConfig | None = None,
) -> Run:
    """Load the data and compare the folder's stages with the settings, which `record` writes down.

    `elsewhere` is another data set to measure the models on. Raises SeeWhyError for data that cannot be used, and
    for stages that were made with other settings, unless `discard_stale` moves them aside.
    """
    if record:
        checks.check_settings(config)
    index = ImageIndex(inside(folder.path, IMAGES_FILE))
    try:
        domain = load_domain(with_guide(config.data, folder.path / "fieldguide"), index=index)
    finally:  # what was decoded before an error, too: the next start is after it was mended
        if folder.is_own:
            index.save()
    held = correcting.recorded_corrections(folder.path)
    bank = (held or Corrections()).bank(domain.concepts)
    other = elsewhere and checks.load_measured_data(elsewhere, folder.path, config.evaluate, bank)
    measured = other or domain
    if not measured.split(split := config.evaluate.split):
        raise SeeWhyError(f"{measured.name} has no {split} images to measure on: add some, or set evaluate.split.")
    base = made_base_source(config.model.name_or_path)
    encoder = model_source(config.select.encoder, ENCODER)
    file = config.tune.replay if config.tune.replay != SELF else None
    general = Replay.read(file) if record and file else None
    replayed = replay_digest(file) if file else ""
    manifest = read_manifest(folder.path)
    shown = with_finished_controls(config, manifest)
    verdicts = correcting.given_verdicts(config, domain)
    corrections = correcting.corrections_now(verdicts, domain, folder.path) if record else held
    if anew := correcting.remade(config, domain.examples, held, corrections, folder.path):
        say(f"Verdicts have been given since {folder.path} was made. {anew}")
    own = Stages.of(
        shown, domain.fingerprint, weights_digest(base), weights_digest(encoder), replayed, corrections,
        parts=domain.parts, former_weights=(digest_of_ends(base), digest_of_ends(encoder)),
        engine_of=None if record else lambda key: engine_of(manifest, key, config.model.engine.kind),
    )  # fmt: skip
    stages = own.elsewhere(measured.name, measured.fingerprint, measured.parts) if other else own
    settings = recorded(config) if record else None
    folder.check([*own.values(), *stages.values()], config=settings, discard_stale=discard_stale)
    if settings:
        checks.check_tower_setting(config, base)
        kept = read_manifest(folder.path)  # without what is stale
        if folder.is_own and not is_complete(kept, StageKey("describe")):  # before hours of describing
            checks.check_encoder(encoder)
        plain: Any = json.loads(json.dumps(settings))  # YAML has no tuples
        folder.write_yaml("config.yaml", yaml.safe_dump(plain, sort_keys=False))
        folder.write_json(VOCABULARY_FILE, Vocabulary.of((corrections or Corrections()).domain(domain)).record())
    if corrections is not None:
        records = corrections.records()
        folder.records(stages[correcting.VERDICTS], Correction, ["all"], lambda _all, _seed: records)
    return Run(config, measured, folder, stages, general, None if other else corrections, verdicts)
