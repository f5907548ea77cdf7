"""Hashes leaves and nodes in batches."""

from __future__ import annotations

import hashlib

import numpy as np


def leaf_hashes(records: np.ndarray) -> np.ndarray:
    """Hash EVENT[n] as leaves: uint8[n, 32]."""
    raw = records.tobytes()
    found = b"".join(hashlib.sha256(b"\0" + raw[at + 2 : at + 120]).digest() for at in range(0, len(raw), 120))
    return np.frombuffer(found, np.uint8).reshape(-1, 32)


def node_hashes(children: np.ndarray) -> np.ndarray:
    """Hash pairs of nodes: uint8[2m, 32] to uint8[m, 32]."""
    raw = children.tobytes()
    found = b"".join(hashlib.sha256(b"\1" + raw[at : at + 64]).digest() for at in range(0, len(raw), 64))
    return np.frombuffer(found, np.uint8).reshape(-1, 32)
