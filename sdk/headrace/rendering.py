"""From a flow in Python to its manifests: what `kubectl apply` takes."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from headrace.api import deployment, flow
from headrace.api.common import FlowRef, ObjectMeta, RetryPolicy
from headrace.api.trigger import Trigger
from headrace.engine.retries import Backoff, Retries
from headrace.errors import UsageError
from headrace.flows import Flow

DESCRIPTION_ANNOTATION: Final = "headrace.dev/description"

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the resources go and where their code is. `files` is the inline code, None if it is in the image."""

    entrypoint: str
    name: str
    namespace: str = ""
    image: str | None = None
    files: Mapping[str, str] | None = None


def flow_manifest(source: Flow[..., Any], place: Place) -> dict[str, Any]:
    """
    The Flow resource.

    Raises: UsageError: the flow has something that a manifest cannot hold.
    """
    text = {DESCRIPTION_ANNOTATION: source.description} if source.description else {}
    given = {"schema": source.parameters_schema(), "defaults": source.parameters.defaults() or None}
    inline = flow.InlineSource(files=place.files) if place.files is not None else None
    return _checked(
        f'flow "{source.name}"',
        lambda: flow.Flow(
            metadata=ObjectMeta(name=place.name, namespace=place.namespace, annotations=text),
            spec=flow.FlowSpec(
                entrypoint=place.entrypoint,
                image=place.image,
                source=flow.FlowSource(inline=inline) if inline else flow.FlowSource(image=flow.ImageSource()),
                parameters=flow.FlowParameters.model_validate(given),
                retries=retry_policy(source.described.retries, f'flow "{source.name}"'),
                timeout_seconds=math.ceil(source.described.timeout_s) if source.described.timeout_s else None,
            ),
        ).to_api(),
    )


def deployment_manifest(
    place: Place,
    *,
    parameters: Mapping[str, Any],
    schedules: Sequence[Mapping[str, Any]],
    concurrency: Mapping[str, Any] | None,
    triggers: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """
    The Deployment resource of the same name.

    Args:
        parameters: As JSON carries them.
        schedules, concurrency, triggers: Fields of the spec, in its own words.
    Raises: UsageError: a field has a value that it does not take.
    """
    return _checked(
        f'deployment "{place.name}"',
        lambda: deployment.Deployment(
            metadata=ObjectMeta(name=place.name, namespace=place.namespace),
            spec=deployment.DeploymentSpec(
                flow_ref=FlowRef(name=place.name),
                parameters=parameters or None,
                schedules=tuple(deployment.Schedule.model_validate(each) for each in schedules),
                triggers=tuple(Trigger.model_validate(each) for each in triggers),
                concurrency=deployment.ConcurrencySpec.model_validate(concurrency) if concurrency else None,
            ),
        ).to_api(),
    )


def resource_name(source: Flow[..., Any], entrypoint: str) -> str:
    """A name that Kubernetes takes: the flow's, or its module's where the flow is called "main"."""
    module = Path(entrypoint.rpartition(":")[0]).name.removesuffix(".py").rpartition(".")[2]
    name = module if source.name == "main" else source.name
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def retry_policy(retries: Retries, label: str) -> RetryPolicy:
    """
    The same retries as the operator makes them.

    Raises: UsageError: the delays are no number, no Backoff and no list that grows by one factor.
    """
    if not retries.limit:
        return RetryPolicy()
    growth = _growth(retries, label)
    return _checked(
        label,
        lambda: RetryPolicy(
            limit=retries.limit,
            delay_seconds=math.ceil(growth.first_seconds),
            factor=growth.factor,
            max_delay_seconds=math.ceil(growth.max_seconds),
            jitter=growth.jitter,
        ),
    )


def inline_files(path: Path) -> dict[str, str]:
    """
    The text of a flow's file, and of the modules beside it that it imports, by name.

    Raises: UsageError: it imports a package beside it; inline code has no folders.
    """
    found: dict[str, str] = {}
    waiting = [path]
    while waiting:
        file = waiting.pop()
        found[file.name] = file.read_text(encoding="utf-8")
        waiting += [each for each in _imported_beside(file, found[file.name]) if each.name not in found]
    return found


def _imported_beside(file: Path, text: str) -> list[Path]:
    names = {name.partition(".")[0] for name in _imports(ast.parse(text))}
    for name in sorted(names):
        if (file.parent / name / "__init__.py").is_file():
            raise UsageError(
                f'{file.name} imports the package "{name}" beside it, and inline code has no folders; '
                "put the code into an image and render with --image-source"
            )
    return [file.parent / f"{name}.py" for name in sorted(names) if (file.parent / f"{name}.py").is_file()]


def _imports(tree: ast.Module) -> list[str]:
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.append(node.module)
    return found


def _growth(retries: Retries, label: str) -> Backoff:
    if isinstance(retries.delay, Backoff):
        return retries.delay
    if not callable(retries.delay):
        factor = _common_factor(retries.delay)
        if factor is not None:
            return Backoff(retries.delay[0], factor=factor, max_seconds=max(retries.delay), jitter=0)
    raise UsageError(
        f"{label}: a manifest cannot hold this retry_delay_seconds; use a number, Backoff(first_seconds, factor=…), "
        "or a list in which each delay is the same multiple of the one before"
    )


def _common_factor(delays: Sequence[float]) -> float | None:
    """1 for equal delays, None for those that no factor of at least 1 makes from each other."""
    if len(set(delays)) == 1:
        return 1.0
    factors = {round(after / before, 9) if before else 0 for before, after in pairwise(delays)}
    factor = factors.pop()
    return factor if not factors and factor >= 1 else None


def _checked(label: str, make: Callable[[], M]) -> M:
    try:
        return make()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the manifest"
        raise UsageError(f"{label}: {field} is {first['input']!r}: {first['msg']}") from None
