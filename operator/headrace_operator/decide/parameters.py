"""A run's effective parameters: merged from Flow, Deployment and run, checked against the Flow's schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jsonschema
from referencing.exceptions import Unresolvable

from headrace_operator.decide.schema_checks import Checker, Unbounded, checker_of, errors_of, schema_error
from headrace_operator.decide.snapshot import DeploymentView, ResolvedFlow, Run

MAX_BYTES = 96 * 1024
"""They travel in one environment variable, which Linux bounds at 128 KiB."""
MAX_DEPTH = 100
"""What reads them in a pod, in whatever language, must not run out of its stack."""
SHOWN_ERRORS = 3
_STUMBLES = (AttributeError, KeyError, TypeError, ValueError)
"""What the library raises over constructs of old drafts that it only half knows: the run must be told, not hang."""


def effective_parameters(run: Run, flow: ResolvedFlow, deployment: DeploymentView | None) -> dict[str, Any]:
    """
    Flow defaults, then the Deployment's, then the run's; later ones win, key by key.

    They are pinned with the revision, so that every attempt gets the same; the status leaves them out where they
    are the run's own.
    """
    if run.status.parameters is not None:
        return dict(run.status.parameters)
    if run.status.flow_revision is not None:
        return dict(run.parameters or {})
    defaults = flow.spec.parameters.defaults if flow.spec.parameters else None
    ours = deployment.spec.parameters if deployment else None
    return {**(defaults or {}), **(ours or {}), **(run.parameters or {})}


def parameter_problem(parameters: Mapping[str, Any], flow: ResolvedFlow) -> str | None:
    """A sentence that names each parameter that breaks the Flow's schema, None if all is well."""
    depth = _depth(parameters)
    if depth > MAX_DEPTH:
        return (
            f"parameters nest at least {depth} levels deep; at most {MAX_DEPTH} reach a pod: "
            "pass the URL of a deep input instead of the input"
        )
    size = len(json.dumps(parameters, separators=(",", ":")))
    if size > MAX_BYTES:
        return (
            f"parameters are {size:,} bytes of JSON; at most {MAX_BYTES:,} reach a pod: "
            "pass the URL of a large input instead of the input"
        )
    schema = flow.spec.parameters.schema_ if flow.spec.parameters else None
    if not schema:
        return None
    checked = _applicable(schema)
    found = checked if isinstance(checked, str) else _complaints(checked, parameters)
    if isinstance(found, str):
        return f"Flow {flow.name}: {found}"
    return _tell_all(found, flow) if found else None


def _depth(parameters: Mapping[str, Any]) -> int:
    """How many objects and lists are within each other, as far as they were read."""
    level: list[Any] = [parameters]
    depth = 0
    while level:
        depth += 1
        values = (value for each in level for value in (each.values() if isinstance(each, Mapping) else each))
        level = [value for value in values if isinstance(value, (dict, list))]
    return depth


def schema_problem(schema: Mapping[str, Any]) -> str | None:
    """Why this is no JSON Schema, in a sentence that names the place; None if it is one."""
    checked = _applicable(schema)
    return checked if isinstance(checked, str) else None


def _applicable(schema: Mapping[str, Any]) -> Checker | str:
    """What validates by this schema, or why nothing can."""
    try:
        return _checked(json.dumps(schema, sort_keys=True))
    except RecursionError:
        return "spec.parameters.schema: nests too deep; move its parts to $defs, and refer to them by $ref"


@lru_cache(maxsize=256)
def _checked(schema: str) -> Checker | str:
    """Checking one takes milliseconds: it is done once."""
    parsed = json.loads(schema)
    named = parsed.get("$schema", "")
    if not isinstance(named, str):
        return (
            f"spec.parameters.schema.$schema: {named!r} is no URL of a JSON Schema draft; leave it out for the latest"
        )
    cls = jsonschema.validators.validator_for(parsed, default=jsonschema.Draft202012Validator)
    try:
        error = schema_error(cls, parsed)
        if error is None:
            return checker_of(cls, parsed)
    except Unbounded as unbounded:
        return f"spec.parameters.schema: {unbounded}"
    place = ".".join(["spec.parameters.schema", *(str(part) for part in error.absolute_path)])
    return f"{place}: {error.message}; it must be a JSON Schema"


def _complaints(checker: Checker, parameters: Mapping[str, Any]) -> list[jsonschema.ValidationError] | str:
    """What is wrong with the parameters, by place; or what is wrong with a schema that shows only when it is used."""
    try:
        return errors_of(checker, parameters)
    except Unresolvable as error:
        where = error.ref or f"#{getattr(error, 'anchor', '')}"
        return f'spec.parameters.schema refers to "{where}", which is not in it; inline it under $defs'
    except RecursionError:
        return "spec.parameters.schema refers to itself without end; mend the Flow"
    except Unbounded as error:
        return f"spec.parameters.schema: {error}"
    except _STUMBLES as error:
        return f"spec.parameters.schema cannot be applied ({error}); mend the Flow"


def _tell_all(errors: list[jsonschema.ValidationError], flow: ResolvedFlow) -> str:
    told = "; ".join(_tell(error) for error in errors[:SHOWN_ERRORS])
    more = f"; and {len(errors) - SHOWN_ERRORS} more" if len(errors) > SHOWN_ERRORS else ""
    return f"{told}{more}. Mend the parameters and create a new FlowRun (Flow {flow.name}, spec.parameters.schema says what is expected)"


def _tell(error: jsonschema.ValidationError) -> str:
    name = ".".join(str(part) for part in error.absolute_path)
    where = f'parameter "{name}"' if name else "parameters"
    secret = isinstance(error.schema, Mapping) and error.schema.get("writeOnly") is True
    return f"{where}: {'its value is secret and breaks the schema' if secret else error.message}"
