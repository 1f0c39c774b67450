"""Manifests on the pages of the documentation are taken by the API server, those of which only a part is shown too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from headrace.api.keys import API_VERSION
from tests.pages import DOCS, Block, blocks

ROLE = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "shown"}}
PARTS = frozenset({"kind", "spec", "rules"})
"""A block without any of them is no manifest: settings of another program."""


def is_manifest(block: Block) -> bool:
    """Whether it is one, or a part of one."""
    return all(not PARTS.isdisjoint(shown) for shown in yaml.safe_load_all(block.text))


BLOCKS = [
    pytest.param(block, id=f"{page.name}, {block.section or 'top'}, {number}")
    for page in sorted(DOCS.glob("*.md"))
    for number, block in enumerate(b for b in blocks(page) if b.language == "yaml" and is_manifest(b))
]
REST = {
    "Flow": {"entrypoint": "etl.py:main", "image": "registry.example.org/etl:1"},
    "Deployment": {"flowRef": {"name": "etl"}},
    "ConcurrencyLimit": {},
}
"""What a page that shows a part of a spec leaves out."""


def manifest(shown: Mapping[str, Any]) -> dict[str, Any]:
    """A whole one; that of a Flow where the part does not say otherwise."""
    if "kind" in shown:
        return dict(shown)
    if "rules" in shown:
        return {**ROLE, **shown}
    kinds = {"schedules": "Deployment", "selector": "ConcurrencyLimit", "budget": "Deployment"}
    kind = next((kind for field, kind in kinds.items() if field in shown["spec"]), "Flow")
    spec = {**REST[kind], **shown["spec"]}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": "shown"}, "spec": spec}


@pytest.mark.parametrize("block", BLOCKS)
def test_the_api_server_takes_it(kubectl, block: Block):
    """Every field is known, and every rule is kept."""
    for shown in yaml.safe_load_all(block.text):
        text = yaml.safe_dump(manifest(shown))
        done = kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", input=text)
        assert "created (server dry run)" in done.stdout
        assert not done.stderr
