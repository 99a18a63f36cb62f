"""MinHash by one permutation, over windows of bytes that begin with a word.

Of the words, those are taken whose first byte is a multiple of four (d h l p t x, 0 4 8, ...). Scripts without spaces
lie far up in Unicode: of signs of three bytes and more, those are taken whose third byte is one.

The sketch of a union is the bin-wise minimum of its parts' sketches, so a context's comes from its pieces'.
Similarity estimates the Jaccard index of the window sets (P. Li, A. Owen, C.-H. Zhang: One Permutation Hashing, 2012).
"""

import hashlib
from collections.abc import Set
from typing import Any

import numpy as np

VERSION = 2
BINS = 128
WINDOW = 24
"""Bytes; about four words."""
WORD_HASHES = 64
EMPTY = np.uint32(0xFFFFFFFF)
EMPTY_SKETCH = np.full(BINS, EMPTY).tobytes()


def sketch(data: bytes) -> bytes:
    """`BINS` little-endian uint32; equal texts give equal sketches."""
    padded = data + bytes(WINDOW)
    letters = np.frombuffer(padded, dtype=np.uint8)[: len(data) + 1]
    starts = np.flatnonzero((letters[:-1] <= 32) & (letters[1:] & 3 == 0) & (letters[1:] > 32)) + 1
    if not data.isascii():
        third = letters[2:] & 3 == 0
        starts = np.concatenate([starts, np.flatnonzero((letters[:-2] >= 0xE0) & third)])
    eights = np.ndarray(len(padded) - 7, dtype="<u8", buffer=padded, strides=(1,))
    mixed = np.zeros(len(starts), dtype=np.uint64)
    for offset in range(0, WINDOW, 8):
        mixed = _mix(mixed ^ eights[starts + offset])
    out = np.full(BINS, EMPTY, dtype="<u4")
    np.minimum.at(out, (mixed >> np.uint64(57)).astype(np.intp), (mixed & np.uint64(0xFFFFFFFE)).astype(np.uint32))
    return out.tobytes()


def _mix(words: np.ndarray[Any, np.dtype[np.uint64]]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    mixed = words * np.uint64(0x9E3779B97F4A7C15)
    return mixed ^ (mixed >> np.uint64(29))


def word_sketch(words: Set[str]) -> list[int]:
    """`WORD_HASHES` minima over the words, each under an order of its own; equal in a share that estimates the Jaccard
    index (A. Broder: On the resemblance and containment of documents, 1997)."""
    digests = b"".join(hashlib.blake2b(w.encode("utf-8", "surrogatepass"), digest_size=8).digest() for w in words)
    numbers = np.frombuffer(digests, dtype="<u8")
    orders = np.arange(1, WORD_HASHES + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        mixed = _mix(numbers[None, :] ^ orders[:, None]) >> np.uint64(32)
    least: list[int] = mixed.min(axis=1, initial=0xFFFFFFFF).tolist()
    return least


def union(sketches: list[bytes]) -> bytes:
    if not sketches:
        return EMPTY_SKETCH
    merged: bytes = np.minimum.reduce([np.frombuffer(s, dtype="<u4") for s in sketches]).tobytes()
    return merged


def similarity(a: bytes, b: bytes) -> float:
    """0 to 1; two empty sketches are alike."""
    x, y = np.frombuffer(a, dtype="<u4"), np.frombuffer(b, dtype="<u4")
    used = (x != EMPTY) | (y != EMPTY)
    return 1.0 if not used.any() else float((x[used] == y[used]).mean())
