"""What has names: kept in Python beside the tables, because kernels need numbers alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rightsx.protocol import Channel

if TYPE_CHECKING:
    from rightsx.reference.state import Product, Store


class Registry:
    """Channels, stores, products, members and terminals by name; ids are places in the lists, from 1."""

    def __init__(self) -> None:
        """Begin with the channels that exist from the start."""
        self.channels: list[str] = [channel.name.lower() for channel in Channel]
        self.stores: list[Store] = []
        self.products: list[Product] = []
        self.product_ids: dict[tuple[int, str], int] = {}
        self.members: dict[tuple[int, int], int] = {}
        self.terminals: dict[int, list[str]] = {}
        self.used: dict[int, int] = {}  # rows of the tables that only listings write
