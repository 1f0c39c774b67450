"""A run's effective parameters: merged from Flow, Deployment and run, checked against the Flow's schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jsonschema
from jsonschema.protocols import Validator
from referencing.exceptions import Unresolvable
from referencing.jsonschema import EMPTY_REGISTRY

from headrace_operator.decide.snapshot import DeploymentView, ResolvedFlow, Run

MAX_BYTES = 96 * 1024
"""They travel in one environment variable, which Linux bounds at 128 KiB."""
SHOWN_ERRORS = 3


def effective_parameters(run: Run, flow: ResolvedFlow, deployment: DeploymentView | None) -> dict[str, Any]:
    """Flow defaults, then the Deployment's, then the run's; later ones win, key by key."""
    if run.status.parameters is not None:
        return dict(run.status.parameters)
    defaults = flow.spec.parameters.defaults if flow.spec.parameters else None
    ours = deployment.spec.parameters if deployment else None
    return {**(defaults or {}), **(ours or {}), **(run.parameters or {})}


def parameter_problem(parameters: Mapping[str, Any], flow: ResolvedFlow) -> str | None:
    """A sentence that names each parameter that breaks the Flow's schema, None if all is well."""
    size = len(json.dumps(parameters, separators=(",", ":")))
    if size > MAX_BYTES:
        return (
            f"parameters are {size:,} bytes of JSON; at most {MAX_BYTES:,} reach a pod: "
            "pass the URL of a large input instead of the input"
        )
    schema = flow.spec.parameters.schema_ if flow.spec.parameters else None
    if not schema:
        return None
    try:
        errors = sorted(_validator(json.dumps(schema, sort_keys=True)).iter_errors(parameters), key=_place)
    except jsonschema.SchemaError as error:
        return f"Flow {flow.name}: spec.parameters.schema is no JSON Schema: {error.message}; mend the Flow"
    except Unresolvable as error:
        return f'Flow {flow.name}: spec.parameters.schema refers to "{error.ref}", which is not in it; inline it under $defs'
    if not errors:
        return None
    told = "; ".join(_tell(error) for error in errors[:SHOWN_ERRORS])
    more = f"; and {len(errors) - SHOWN_ERRORS} more" if len(errors) > SHOWN_ERRORS else ""
    return f"{told}{more}. Mend the parameters and create a new FlowRun (Flow {flow.name}, spec.parameters.schema says what is expected)"


@lru_cache(maxsize=256)
def _validator(schema: str) -> Validator:
    parsed = json.loads(schema)
    cls = jsonschema.validators.validator_for(parsed, default=jsonschema.Draft202012Validator)
    cls.check_schema(parsed)
    # An explicit registry: without one, jsonschema would fetch a $ref that is a URL.
    checker: Validator = cls(parsed, format_checker=cls.FORMAT_CHECKER, registry=EMPTY_REGISTRY)
    return checker


def _place(error: jsonschema.ValidationError) -> str:
    return error.json_path


def _tell(error: jsonschema.ValidationError) -> str:
    name = ".".join(str(part) for part in error.absolute_path)
    where = f'parameter "{name}"' if name else "parameters"
    return f"{where}: {error.message}"
