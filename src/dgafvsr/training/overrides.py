"""Recipes and command lines, recipes and files: fields by dotted name."""

from __future__ import annotations

import dataclasses
import json
import math
import types
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from dgafvsr.errors import UsageError
from dgafvsr.training.settings import CIRCUMSTANCES

__all__ = ["differences", "fields_by_name", "recipe_from_json", "recipe_to_json", "with_overrides"]

AnyRecipe = TypeVar("AnyRecipe")


def with_overrides(recipe: AnyRecipe, overrides: Mapping[str, object]) -> AnyRecipe:
    """The recipe with fields replaced.

    Args:
        recipe: stays as it is.
        overrides: values by dotted field name, such as `{"denoiser.velocity.steps": 100}`. A part that is itself a
            group of fields takes None where it may be left out, or a mapping of all its fields.

    Raises:
        UsageError: no such field, or a value of another type.
    """
    changed: Any = recipe
    for name, value in overrides.items():
        changed = _replace(changed, name.split("."), value, name)
    return changed  # type: ignore[no-any-return]


def recipe_to_json(recipe: Any) -> dict[str, Any]:
    """Every field of a recipe, as JSON has it."""
    document: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(recipe)))
    return document


def fields_by_name(recipe: Any) -> dict[str, Any]:
    """Every field of a recipe by its dotted name, in the order of the recipe; values as JSON has them.

    Example:
        >>> from dgafvsr.training.picture_loss import SamplerLoss
        >>> fields_by_name(SamplerLoss())["grid_weight"]
        0.0
    """
    return dict(_flat(recipe_to_json(recipe), ""))


def _flat(document: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in document.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def recipe_from_json(kind: type[AnyRecipe], document: Mapping[str, Any]) -> AnyRecipe:
    """The recipe of a saved file; fields that it does not have take their defaults.

    Raises:
        UsageError: fields that the recipe does not have, or that it needs and the file lacks.
    """
    made: AnyRecipe = _converted(kind, dict(document), kind.__name__)
    return made


def differences(found: Mapping[str, Any], recipe: Any) -> list[str]:
    """Dotted names of fields in which a saved recipe differs from one in what is learned.

    Fields that the file does not have count with their default: files of before a field existed stay good.
    """
    return sorted(_differences(found, recipe, ""))


def _differences(found: Mapping[str, Any], recipe: Any, prefix: str) -> Iterator[str]:
    fields = {field.name: field for field in dataclasses.fields(recipe)}
    yield from (prefix + name for name in found if name not in fields)
    for name, field in fields.items():
        value = getattr(recipe, name)
        if name in CIRCUMSTANCES:
            continue
        if name not in found:
            default = field.default_factory() if callable(field.default_factory) else field.default
            if value != default:
                yield prefix + name
        elif dataclasses.is_dataclass(value) and isinstance(found[name], dict):
            yield from _differences(found[name], value, f"{prefix}{name}.")
        elif found[name] != json.loads(json.dumps(_plain(value))):
            yield prefix + name


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value


def _replace(node: Any, path: list[str], value: object, name: str) -> Any:
    fields = [field.name for field in dataclasses.fields(node)] if dataclasses.is_dataclass(node) else []
    if path[0] not in fields:
        raise UsageError(
            f"the recipe has no field {name}", got=path[0], expected=", ".join(fields) or "no further field"
        )
    kind = get_type_hints(type(node))[path[0]]
    new = _replace(getattr(node, path[0]), path[1:], value, name) if len(path) > 1 else _converted(kind, value, name)
    return dataclasses.replace(node, **{path[0]: new})


def _converted(kind: Any, value: Any, name: str) -> Any:
    """The value as the type of a field, checked."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in get_args(kind):
            return None
        return _converted(next(part for part in get_args(kind) if part is not type(None)), value, name)
    if origin is Literal:
        if value not in get_args(kind):
            raise UsageError(f"{name} is out of range", got=repr(value), expected=" or ".join(map(str, get_args(kind))))
        return value
    if origin is tuple and isinstance(value, (list, tuple)):
        items = get_args(kind)
        if items[-1] is not Ellipsis and len(items) != len(value):
            raise UsageError(f"{name} has another length", got=len(value), expected=f"{len(items)} values")
        return tuple(_converted(items[0], item, name) for item in value)
    if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
        return _made(kind, value, name)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{name} is no number", got=value, expected="a finite number")
    plain = kind if isinstance(kind, type) and origin is None else origin or object
    if type(value) is plain or (dataclasses.is_dataclass(kind) and isinstance(value, plain)):
        return value
    raise UsageError(f"the recipe's field {name} has another type", got=repr(value), expected=_in_words(kind, name))


def _in_words(kind: Any, name: str) -> str:
    """What a field takes, as it is written on the command line."""
    if dataclasses.is_dataclass(kind):
        return f"a value for one of its fields, such as {name}.{dataclasses.fields(kind)[0].name}"
    if get_origin(kind) is tuple:
        return "a list such as [8,16]"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}[kind]


def _made(kind: Any, values: Mapping[str, Any], name: str) -> Any:
    hints, fields = get_type_hints(kind), {field.name for field in dataclasses.fields(kind)}
    unknown = sorted(set(values) - fields)
    if unknown:
        raise UsageError(f"{name} has no field {unknown[0]}", expected=", ".join(sorted(fields)))
    absent = (field for field in dataclasses.fields(kind) if field.name not in values)
    missing = [field.name for field in absent if field.default is field.default_factory is dataclasses.MISSING]
    if missing:
        raise UsageError(f"{name} is incomplete", expected=f"also {', '.join(missing)}")
    return kind(**{key: _converted(hints[key], value, f"{name}.{key}") for key, value in values.items()})
