"""Parameters as they were typed, fitted to what a Flow takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace.api import keys
from headrace.cli.arguments import fitting_parameters
from headrace.cli.cluster import Api, ClusterRefusal, asked, path_of


async def fitted(api: Api, namespace: str, flow: str, typed: Mapping[str, str]) -> dict[str, Any]:
    """
    What was typed for each parameter, as the Flow takes it: `version=1.2` is text where it wants text.

    Where the Flow may not be read the operator, which checks parameters, has the last word. Raises: ApiError.
    """
    try:
        found = await asked("read", api.get(path_of(keys.FLOWS, namespace, flow)))
    except ClusterRefusal:
        return fitting_parameters(typed, {})
    return fitting_parameters(typed, (found["spec"].get("parameters") or {}).get("schema") or {})
