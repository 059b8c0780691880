"""Images that look alike: candidates by perceptual hash, confirmed by their thumbnails. N images, 64-bit hashes.

A perceptual hash (pHash, ImageHash library) has 64 bits of an image's low frequencies; photographs of one thing taken
alike, chest X-rays for one, can agree in most of them. So a pair is a near-duplicate where its hashes differ in at most
`RADIUS` bits *and* its grey thumbnails, brightness and contrast apart, differ by little. Scaled, recompressed and
slightly retouched copies are found; turned, flipped and strongly cropped ones are not.
"""

from collections.abc import Iterator
from itertools import pairwise

import imagehash
import numpy as np
from PIL import Image

BITS = 64
RADIUS = 6
"""Bits in which the hashes of a copy may differ."""
SIDE = 16
"""Pixels of a thumbnail's side."""
MOST_DIFFERENCE = 0.15
"""Root mean square difference of two thumbnails, each brought to mean 0 and standard deviation 1."""
_LEAST_CONTRAST = 2.0
"""Standard deviation, in grey levels, below which an image is flat and looks like every other flat one."""
_BLOCK = 2**22
"""Pairs compared at a time."""


def signature(image: Image.Image) -> tuple[int, np.ndarray]:
    """(perceptual hash, grey thumbnail of SIDE x SIDE as uint8) of an RGB image."""
    bits = np.packbits(imagehash.phash(image).hash.flatten())
    thumbnail = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    return int.from_bytes(bits.tobytes(), "big"), np.asarray(thumbnail, dtype=np.uint8)


def near_duplicates(hash_N: np.ndarray, thumbnail_NSS: np.ndarray) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of images that look alike, in order. Flat images are like none."""
    flat_NP = thumbnail_NSS.reshape(len(thumbnail_NSS), -1).astype(np.float32)
    contrast_N = flat_NP.std(axis=1)
    known_M = np.flatnonzero(contrast_N >= _LEAST_CONTRAST)
    if len(known_M) < 2:
        return []
    look_MP = flat_NP[known_M] - flat_NP[known_M].mean(axis=1, keepdims=True)
    look_MP /= contrast_N[known_M, None]
    found: set[tuple[int, int]] = set()
    for i_K, j_K in close_pairs(hash_N[known_M]):
        difference_K = np.sqrt(np.mean((look_MP[i_K] - look_MP[j_K]) ** 2, axis=1))
        alike_K = difference_K <= MOST_DIFFERENCE
        found.update(zip(known_M[i_K[alike_K]].tolist(), known_M[j_K[alike_K]].tolist(), strict=True))
    return sorted(found)


def close_pairs(hash_N: np.ndarray, radius: int = RADIUS) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Blocks of pairs (i, j), i < j, whose hashes (uint64) differ in at most `radius` bits; a pair may come again.

    The 64 bits are cut into radius + 1 bands. Two hashes that close agree in one band entirely, so only images with the
    same value of a band are compared: for 50,000 images some million pairs in place of a billion.
    """
    hash_N = hash_N.astype(np.uint64)
    cuts = np.linspace(0, BITS, radius + 2).astype(int)
    for low, high in pairwise(cuts.tolist()):
        band_N = (hash_N >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order_N = np.argsort(band_N, kind="stable")
        starts = np.flatnonzero(np.diff(band_N[order_N], prepend=band_N[order_N[0]] + np.uint64(1)))
        for members in np.split(order_N, starts[1:]):
            if len(members) > 1:
                yield from _close_in(hash_N, np.sort(members), radius)


def _close_in(hash_N: np.ndarray, members: np.ndarray, radius: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    step = max(1, _BLOCK // len(members))
    for first in range(0, len(members), step):
        some = members[first : first + step]
        distance = np.bitwise_count(hash_N[some, None] ^ hash_N[None, members])
        row, column = np.nonzero(distance <= radius)
        later = members[column] > some[row]
        if later.any():
            yield some[row[later]], members[column[later]]
