"""torchvision for the tests, also beside a CPU build of torch, for which its wheel was not built.

`make` installs the wheel, without its dependencies, into a folder of its own in the environment, where only the tests
look. Two of its operators then have no kernels; they are declared here, and no image processor calls them. Unless a
test asks otherwise (`families.processors`), models are read with Pillow's image processors, to which the package falls
back.
"""

import sys
from importlib import import_module
from pathlib import Path

import torch

FOLDER = Path(sys.prefix) / "torchvision"


def make_importable() -> None:
    """Put torchvision on the path, before transformers looks for it, and make Pillow the default nevertheless."""
    if not FOLDER.is_dir():
        return
    sys.path.append(str(FOLDER))
    try:
        import_module("torchvision")
    except RuntimeError:  # operator torchvision::nms does not exist
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import_module("torchvision")
    from transformers.models.auto import image_processing_auto

    image_processing_auto._resolve_backend = lambda backend, _use_fast, _name: backend or "pil"


make_importable()
