"""A flow's parameters: checked and coerced by its type hints, and told as JSON Schema."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final, get_type_hints

from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic_core import ErrorDetails, PydanticSerializationError

from headrace.errors import ParameterError, ParameterProblem, UsageError, shown
from headrace.secrecy.parameters import EXAMPLE, has_reference, holds_secret, register_all, resolved, with_references
from headrace.secrecy.redaction import MASK

MAX_PROBLEMS: Final = 3
"""Problems told of one parameter; a long list with one mistake in each row says nothing new after these."""

Arguments = tuple[tuple[Any, ...], Mapping[str, Any]]


class Parameters:
    """The parameters of one flow. `names` are those that can be given, in the order of the signature."""

    def __init__(self, flow: str, function: Callable[..., Any]) -> None:
        self._flow = flow
        self._signature = inspect.signature(function)
        self._hints = _type_hints(flow, function)
        self._adapters: dict[str, TypeAdapter[Any]] = {
            name: _adapter(flow, name, self._hints.get(name, Any)) for name in self._signature.parameters
        }
        self._rest = next((each.name for each in self._each() if each.kind is each.VAR_KEYWORD), None)
        self.names = tuple(each.name for each in self._each() if each.name != self._rest)
        self.secret = frozenset(name for name in self._adapters if holds_secret(self._hints.get(name)))
        """Those that must not be shown."""

    def checked(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Arguments:
        """
        The arguments, coerced to their types; defaults are left to the function.

        Raises: ParameterError: an argument is missing, unknown or of another type.
        """
        given = {**dict(zip(self.names, args, strict=False)), **kwargs}
        problems = [*self._too_many(args, kwargs), *self._unknown(given), *self._missing(given)]
        coerced: dict[str, Any] = {}
        for name, value in given.items():
            try:
                coerced[name] = self._coerced(name, value)
            except ValidationError as error:
                problems.extend(self._problems(name, value, error))
            except UsageError as error:
                problems.append(ParameterProblem(name, "names a secret", f"one that is here ({error})"))
        if problems:
            raise ParameterError(self._flow, problems, advice=self._advice())
        return (), coerced

    def concealed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Secret ones among these values, as the flow gets them, and never shown from now on; what does not fit is left out."""
        found: dict[str, Any] = {}
        for name in self.secret.intersection(values):
            with suppress(ValidationError, UsageError):
                found[name] = self._coerced(name, values[name])
        return found

    def from_text(self, texts: Mapping[str, str]) -> dict[str, Any]:
        """
        Values given as text, such as on a command line: JSON where the type takes it, else the text itself.

        What does not fit is passed on as it is, for `checked` to refuse.
        """
        return {name: self._value_of(name, text) for name, text in texts.items()}

    def to_json(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """
        The values as JSON carries them.

        Raises: ParameterError: one is unknown or of another type; those that are missing are no matter.
        """
        problems = [*self._unknown(values)]
        carried: dict[str, Any] = {}
        for name, value in values.items():
            adapter = self._adapter(name)
            if self._is_secret(name):
                carried[name] = value
                if not has_reference(value):
                    found = "is a secret, which everybody could read there"
                    problems.append(ParameterProblem(name, found, f"the name of one: {EXAMPLE}"))
                continue
            try:
                carried[name] = adapter.dump_python(adapter.validate_python(value), mode="json")
            except ValidationError as error:
                problems.extend(self._problems(name, value, error))
        if problems:
            raise ParameterError(self._flow, problems, advice=self._advice())
        return carried

    def schema(self, *, description: str = "") -> dict[str, Any]:
        """The JSON Schema of an object with one property for each parameter."""
        schemas, definitions = self._schemas()
        properties = {each.name: {**schemas[each.name], **self._default_keyword(each)} for each in self._each()}
        rest = properties.pop(self._rest) if self._rest else False
        required = [each.name for each in self._each() if _is_required(each)]
        schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": rest}
        optional = {"description": description, "required": required, "$defs": definitions}
        return {**schema, **{key: value for key, value in optional.items() if value}}

    def defaults(self) -> dict[str, Any]:
        """The defaults that JSON can carry, None left out: the function has them all."""
        found: dict[str, Any] = {}
        for parameter in self._each():
            if parameter.default is not parameter.empty and parameter.default is not None:
                found.update(self._default(parameter))
        return found

    def _each(self) -> Iterable[inspect.Parameter]:
        return self._signature.parameters.values()

    def _adapter(self, name: str) -> TypeAdapter[Any]:
        return self._adapters.get(name) or self._adapters.get(self._rest or "") or TypeAdapter(Any)

    def _is_secret(self, name: str) -> bool:
        return (name if name in self._adapters else self._rest) in self.secret

    def _coerced(self, name: str, value: Any) -> Any:
        if not self.secret or not self._is_secret(name):
            return self._adapter(name).validate_python(value)
        coerced = self._adapter(name).validate_python(resolved(value))
        register_all(coerced)
        return coerced

    def _value_of(self, name: str, text: str) -> Any:
        try:
            value = json.loads(text)
            if self._is_secret(name) and has_reference(value):
                return value
            self._adapter(name).validate_python(value)
        except ValueError:  # no JSON, or not what the type takes: pydantic's error is a ValueError too
            return text
        return value

    def _too_many(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterable[ParameterProblem]:
        for value in args[len(self.names) :]:
            yield ParameterProblem("…", f"is one too many ({shown(value)})", f"{len(self.names)} at most")
        for name in self.names[: len(args)]:
            if name in kwargs:
                yield ParameterProblem(name, "is given twice", "one value")

    def _unknown(self, given: Iterable[str]) -> Iterable[ParameterProblem]:
        known = f"one of: {', '.join(self.names)}" if self.names else "none"
        if self._rest is None:
            yield from (ParameterProblem(name, "is unknown", known) for name in given if name not in self.names)

    def _missing(self, given: Iterable[str]) -> Iterable[ParameterProblem]:
        for parameter in self._each():
            if _is_required(parameter) and parameter.name not in given:
                yield ParameterProblem(parameter.name, "is missing", self._type(parameter.name))

    def _type(self, name: str) -> str:
        return inspect.formatannotation(self._hints.get(name, self._hints.get(self._rest or "", Any)))

    def _problems(self, name: str, value: Any, error: ValidationError) -> Iterable[ParameterProblem]:
        details = error.errors(include_url=False, include_context=False)
        if self._is_secret(name):
            yield ParameterProblem(name, f"is {MASK}", f"{self._type(name)} ({details[0]['type']})")
            return
        if all(not detail["loc"] for detail in details[:1]):
            yield ParameterProblem(name, f"is {shown(value)}", f"{self._type(name)} ({_sentence(details[0])})")
            return
        yield from (_inner_problem(name, detail) for detail in details[:MAX_PROBLEMS])

    def _advice(self) -> str:
        taken = ", ".join(f"{name}: {self._type(name)}" for name in self.names)
        return f"it takes {taken}" if taken else "it takes no parameters"

    def _schemas(self) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
        """The schema of each parameter by its name, and the definitions that they refer to."""
        try:
            found, shared = TypeAdapter.json_schemas(
                [(name, "validation", adapter) for name, adapter in self._adapters.items()]
            )
        except PydanticInvalidForJsonSchema as error:
            raise UsageError(
                f'flow "{self._flow}": {" and ".join(self._not_for_json())}, which JSON cannot carry '
                f"({str(error).partition(chr(10))[0]}); take what it can be made from, such as a URL or a name"
            ) from None
        schemas = {name: schema for (name, _), schema in found.items()}
        if self.secret:
            return with_references(schemas), with_references(shared.get("$defs", {}))
        return schemas, shared.get("$defs", {})

    def _not_for_json(self) -> Iterable[str]:
        for name, adapter in self._adapters.items():
            try:
                adapter.json_schema()
            except PydanticInvalidForJsonSchema:
                yield f'parameter "{name}" is {self._type(name)}'

    def _default_keyword(self, parameter: inspect.Parameter) -> dict[str, Any]:
        return {"default": value for value in self._default(parameter).values()}  # noqa: B035 - there is one at most

    def _default(self, parameter: inspect.Parameter) -> dict[str, Any]:
        """The default by the parameter's name; nothing if there is none, or none that JSON can carry and people may see."""
        if parameter.default is parameter.empty or parameter.name in self.secret:
            return {}
        try:
            return {
                parameter.name: self._adapter(parameter.name).dump_python(
                    parameter.default, mode="json", warnings="error"
                )
            }
        except PydanticSerializationError:
            return {}


def _type_hints(flow: str, function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except NameError as error:
        raise UsageError(
            f'flow "{flow}": a type hint names "{error.name}", which is not there when the flow runs; '
            "import it outside of `if TYPE_CHECKING`, at the top of the module"
        ) from error


def _adapter(flow: str, name: str, hint: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(hint)
    except PydanticSchemaGenerationError:
        pass  # a class that pydantic does not know: its instances are taken as they are
    try:
        return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticSchemaGenerationError as error:
        raise UsageError(f'flow "{flow}": parameter "{name}" has a type hint that is no type: {error}') from error


def _is_required(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD


def _inner_problem(name: str, detail: ErrorDetails) -> ParameterProblem:
    path = ".".join(str(part) for part in (name, *detail["loc"]))
    found = "is missing" if detail["type"] == "missing" else f"is {shown(detail['input'])}"
    return ParameterProblem(path, found, _sentence(detail))


def _sentence(detail: ErrorDetails) -> str:
    message = detail["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return message[:1].lower() + message[1:]
