"""What has names: kept in Python beside the tables, because kernels need numbers alone."""

from __future__ import annotations

from typing import Any

from rightsx.protocol import Channel
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

    def save(self) -> dict[str, Any]:
        """Give all of it as plain lists."""
        return {
            "channels": self.channels,
            "stores": [list(store) for store in self.stores],
            "products": [list(product) for product in self.products],
            "product_ids": [[*key, number] for key, number in self.product_ids.items()],
            "members": [[*key, account] for key, account in self.members.items()],
            "terminals": [[merchant, names] for merchant, names in self.terminals.items()],
            "used": [[table, rows] for table, rows in self.used.items()],
        }

    def load(self, saved: dict[str, Any]) -> None:
        """Become what was saved."""
        self.channels = list(saved["channels"])
        self.stores = [Store(*store) for store in saved["stores"]]
        self.products = [Product(*product) for product in saved["products"]]
        self.product_ids = {(merchant, name): number for merchant, name, number in saved["product_ids"]}
        self.members = {(merchant, member): account for merchant, member, account in saved["members"]}
        self.terminals = {merchant: list(names) for merchant, names in saved["terminals"]}
        self.used = dict(saved["used"])
