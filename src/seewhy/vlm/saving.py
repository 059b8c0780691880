"""What would keep a tuned model from being written, found before the first step and not after the last."""

import tempfile
from pathlib import Path

from transformers import GenerationConfig, PreTrainedModel, ProcessorMixin

from seewhy.errors import SeeWhyError

TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")


def saveable(config: GenerationConfig) -> GenerationConfig:
    """The generation config, or its tokens alone where transformers would not write it: many models ask in theirs for a
    temperature but not to sample. No answer here depends on the rest of it."""
    try:
        config.validate(strict=True)
    except ValueError:
        return GenerationConfig(**{name: getattr(config, name) for name in TOKENS})
    return config


def check_saveable(name: str, model: PreTrainedModel, processor: ProcessorMixin) -> None:
    """Write all but the weights to a folder that is removed. Raises SeeWhyError for what a library refuses to write."""
    with tempfile.TemporaryDirectory(prefix="seewhy-") as folder:
        try:
            model.save_pretrained(folder, state_dict={})
            processor.save_pretrained(folder)
        except (ValueError, TypeError, AttributeError, KeyError, RuntimeError) as error:
            files = ", ".join(sorted(path.name for path in Path(name).glob("*.json"))) or "its files on the Hub"
            raise SeeWhyError(
                f"Model {name} cannot be tuned: what is not weights could not be saved afterwards "
                f"({type(error).__name__}: {' '.join(str(error).split())[:500]}). Mend what this names in {files}."
            ) from error
