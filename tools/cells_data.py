"""Prepare the blood cells that the loop trains on: WBCAtt without the images that taught the base its words.

    python -m tools.cells_data --data ../shared/data/wbcatt --output runs/cells_data

The folder has WBCAtt's own layout: the CSV files of val and test as they are, that of train without its vocabulary part
(`cells_lessons.in_vocabulary`), and the images as hard links, or copies where there are none. It is what
configs/cells.yaml reads.
"""

import argparse
import csv
import os
import shutil
from pathlib import Path

from tools.cells_lessons import in_vocabulary

IMAGES = "PBC_dataset_normal_DIB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of WBCAtt: three CSV files and the images")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for split in ("train", "val", "test"):
        name = f"pbc_attr_v1_{split}.csv"
        header, *rows = (options.data / name).read_text(encoding="utf-8").splitlines(keepends=True)
        place = next(csv.reader([header])).index("img_name")
        kept = [row for row in rows if split != "train" or not in_vocabulary(next(csv.reader([row]))[place])]
        (options.output / name).write_text("".join([header, *kept]), encoding="utf-8")
        print(f"{name}: {len(kept):,} of {len(rows):,} images")
    if not (options.output / IMAGES).exists():
        unfinished = options.output / f"{IMAGES}.partial"
        shutil.copytree(options.data / IMAGES, unfinished, copy_function=link_or_copy, dirs_exist_ok=True)
        unfinished.rename(options.output / IMAGES)


def link_or_copy(source: str, target: str) -> None:
    """Give a file a second name, or copy it where the file system cannot; what the last time left is replaced."""
    Path(target).unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


if __name__ == "__main__":
    main()
