"""What type checkers see of `sweeper`."""

from __future__ import annotations

import ast
from pathlib import Path

import sweeper

ROOT = Path(__file__).parent.parent


def test_the_stub_names_what_is_imported_at_run_time():
    tree = ast.parse((ROOT / "sweeper" / "__init__.pyi").read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    seen = {alias.name: str(node.module).removeprefix("sweeper.") for node in imports for alias in node.names}
    assert seen == sweeper._HOME
    assert all(alias.asname == alias.name for node in imports for alias in node.names)  # else it is not seen outside
    declared = {ast.unparse(node.target) for node in tree.body if isinstance(node, ast.AnnAssign)}
    assert set(sweeper.__all__) == set(dir(sweeper)) == seen.keys() | declared


def test_every_public_name_is_there():
    assert all(getattr(sweeper, name).__module__.startswith("sweeper.") for name in sweeper._HOME)
