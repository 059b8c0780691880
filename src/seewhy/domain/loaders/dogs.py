"""Stanford Dogs: 20,580 photographs of 120 breeds, with its own train and test lists.

    Images/n02085620-Chihuahua/n02085620_5927.jpg      images.tar
    train_list.mat, test_list.mat                      lists.tar; in the folder itself, or in lists/

The boxes of Annotation/ are not read. A breed's name is that of its folder without the WordNet number, underscores
being spaces, as in the research code: "Chihuahua", "toy poodle".
"""

import zlib
from pathlib import Path, PurePosixPath

from seewhy.domain.loaders import Reading, Split
from seewhy.domain.loaders.folder import label_of
from seewhy.domain.loaders.published import Listing, Published, base_of
from seewhy.errors import SeeWhyError

DOGS = Published(
    name="Stanford Dogs",
    home="the Stanford Dogs Dataset page (Aditya Khosla and others)",
    archives="images.tar and lists.tar",
    train=12_000,
    test=8_580,
    classes=120,
)
_READ_ERRORS = (OSError, ValueError, TypeError, LookupError, NotImplementedError, AttributeError, zlib.error)
"""What SciPy raises on a damaged file, depending on where it is damaged, besides its own."""
_LISTS: tuple[tuple[str, Split], ...] = (("train_list.mat", "train"), ("test_list.mat", "test"))


def read_dogs(source: Path) -> Reading:
    """The rows of both lists. `source` holds Images/ and the lists, or a folder stanford_dogs that does."""
    base = base_of(source, "stanford_dogs", "StanfordDogs", marker="Images")
    listing = Listing(DOGS, base)
    for name, split in _LISTS:
        path = DOGS.need(base, name, f"lists/{name}")
        for number, file in enumerate(_files(path), 1):
            listing.add(f"Images/{file}", label_of(PurePosixPath(file).parent.name), split, f"{name} entry {number}")
    return Reading(base, listing.rows, listing.problems(), DOGS.size_notes(listing.rows), DOGS.name)


def _files(path: Path) -> list[str]:
    """The `file_list` of a list: image paths below Images/. Raises SeeWhyError where the file is no such list."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        cells = loadmat(path)["file_list"]
        return [str(cell.item()) for cell in cells.ravel()]
    except (MatReadError, *_READ_ERRORS) as error:
        raise SeeWhyError(f"{path} is no list of Stanford Dogs ({error}). {DOGS.remedy}; unpack it again.") from error
