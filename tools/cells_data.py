"""Prepare the blood cells that the loop trains on: WBCAtt without the images that taught the base its words.

    python -m tools.cells_data --data ../shared/data/wbcatt --output runs/cells_data

The folder has WBCAtt's own layout: the CSV files of val and test as they are, that of train without its vocabulary part
(`cells_lessons.in_vocabulary`), and a link to the images. configs/cells.yaml reads it.
"""

import argparse
import csv
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
    images = options.output / IMAGES
    if not images.exists():
        images.symlink_to((options.data / IMAGES).resolve(), target_is_directory=True)


if __name__ == "__main__":
    main()
