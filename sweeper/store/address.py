"""How a person names a store and a study in it: `--study NAME`, `--store URL`."""

from __future__ import annotations

import shlex

from sweeper.store.connection import Store, default_url
from sweeper.words.numbers import place


def options(store: Store, study: str) -> str:
    """`--study NAME`, and `--store URL` where it is not the default one."""
    url = address(store)
    return f"--study {study}" + ("" if url == default_url() else f" --store {shlex.quote(url)}")


def address(store: Store) -> str:
    """The store's URL as seen from the current folder."""
    return store.address if store.path is None else f"sqlite:///{place(store.path)}"
