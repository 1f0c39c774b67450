"""The CustomResourceDefinitions, from the models."""

from __future__ import annotations

from typing import Any

from headrace.api.automation import Automation
from headrace.api.backfill import Backfill
from headrace.api.common import Column, CustomResource
from headrace.api.concurrencylimit import ConcurrencyLimit
from headrace.api.deployment import Deployment
from headrace.api.flow import Flow
from headrace.api.flowrun import FlowRun
from headrace.api.keys import CATEGORY, GROUP, VERSION, Resource
from headrace.api.structural import Schema, structural_schema
from headrace.api.workpool import WorkPool

KINDS: tuple[type[CustomResource], ...] = (Flow, Deployment, FlowRun, WorkPool, ConcurrencyLimit, Backfill, Automation)


def custom_resource_definitions() -> list[dict[str, Any]]:
    """Every CustomResourceDefinition, ready to be sent to the API server."""
    return [custom_resource_definition(kind) for kind in KINDS]


def custom_resource_definition(model: type[CustomResource]) -> dict[str, Any]:
    """The CustomResourceDefinition of one kind."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": model.resource.crd_name},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced" if model.resource.namespaced else "Cluster",
            "names": _names(model.resource),
            "versions": [_version(model)],
        },
    }


def _names(resource: Resource) -> dict[str, Any]:
    return {
        "kind": resource.kind,
        "listKind": f"{resource.kind}List",
        "plural": resource.plural,
        "singular": resource.singular,
        "shortNames": [resource.short_name],
        "categories": [CATEGORY],
    }


def _version(model: type[CustomResource]) -> dict[str, Any]:
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [_column(column) for column in model.columns],
    }
    if model.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in model.selectable]
    return version | {"schema": {"openAPIV3Schema": _root(model)}}


def _column(column: Column) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": column.name,
        "type": column.type,
        "jsonPath": column.json_path,
        "description": column.description,
    }
    return shown | ({"priority": column.priority} if column.priority else {})


def _root(model: type[CustomResource]) -> Schema:
    """The schema of the whole object; its metadata is the API server's own business."""
    schema = structural_schema(model)
    parts = schema["properties"]
    schema["required"] = ["spec"]
    schema["properties"] = {
        "apiVersion": {"description": "Version of the API: headrace.dev/v1alpha1.", "type": "string"},
        "kind": {"description": f"Kind of the object: {model.resource.kind}.", "type": "string"},
        "metadata": {"type": "object"},
        "spec": parts["spec"],
        "status": parts["status"],
    }
    return schema
