"""Parts by name, and the notation that puts them together."""

import ast
import importlib
import inspect
import operator
import pkgutil
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

FOLDERS = ("transforms", "similarities", "penalties", "search", "optimise")
PARTS: dict[str, type] = {}

T = TypeVar("T", bound=type)


def named(name: str) -> Callable[[T], T]:
    """Make a part available as `name` in text, files and on the command line."""

    def register(part: T) -> T:
        if name in PARTS and PARTS[name].__qualname__ != part.__qualname__:
            raise ValueError(f"two parts are called {name!r}: {PARTS[name]} and {part}")
        PARTS[name] = part
        part.name = name  # type: ignore[attr-defined]
        return part

    return register


def parts(kind: type | tuple[type, ...] = object) -> dict[str, type]:
    """Every registered part of a kind, by name; importing all part folders first."""
    for folder in FOLDERS:
        package = importlib.import_module(f"coincide.{folder}")
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"coincide.{folder}.{module.name}")
    return {name: part for name, part in sorted(PARTS.items()) if issubclass(part, kind)}


def every(given: Any) -> list[Any]:
    """What is given for the levels, coarse to fine: a sequence, text with semicolons, or one."""
    if isinstance(given, str):
        return [text.strip() for text in given.split(";")]
    return list(given) if isinstance(given, Sequence) else [given]


def build(text: str, kind: type | tuple[type, ...] = object) -> Any:
    """Read a part, or a weighted sum of terms, from text such as `"ngf(eta=0.5) + 0.1*bending"`.

    Only names, numbers, strings, tuples, `+`, `*` and calls with keywords are understood; nothing
    is evaluated.

    Args:
        text: The expression.
        kind: What the result must be, for the error message.

    Raises:
        ValueError: naming the unknown part or argument, and what would work.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"cannot read {text!r}: {error.msg}") from None
    result = _value(tree, text)
    if not isinstance(result, kind):
        known = ", ".join(parts(kind))
        wanted = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise ValueError(f"{text!r} is not a {wanted.lower()}; known: {known}")
    return result


def _value(node: ast.AST, text: str) -> Any:
    match node:
        case ast.Constant(value=value) if isinstance(value, int | float | str):
            return value
        case ast.Tuple(elts=elements):
            return tuple(_value(element, text) for element in elements)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _apply(operator.neg, node, text, _value(operand, text))
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _apply(operator.add, node, text, _value(left, text), _value(right, text))
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _apply(operator.mul, node, text, _value(left, text), _value(right, text))
        case ast.Name(id=name):
            return _make(name, {})
        case ast.Call(func=ast.Name(id=name), args=[], keywords=keywords):
            return _make(name, {str(k.arg): _value(k.value, text) for k in keywords})
    raise _unreadable(node, text)


def _apply(function: Callable[..., Any], node: ast.AST, text: str, *values: Any) -> Any:
    """A sum, a product or a negative, where the values have one."""
    try:
        return function(*values)
    except (TypeError, ValueError):
        raise _unreadable(node, text) from None


def _unreadable(node: ast.AST, text: str) -> ValueError:
    return ValueError(
        f"cannot read {ast.unparse(node)!r} in {text!r}; "
        "write parts like ngf(eta=0.5), joined by + and weighted by a number and *"
    )


def _make(name: str, arguments: dict[str, Any]) -> Any:
    known = parts()
    if name not in known:
        raise ValueError(f"no part is called {name!r}; known: {', '.join(known)}")
    try:
        return known[name](**arguments)
    except TypeError:
        accepted = list(inspect.signature(known[name]).parameters)
        raise ValueError(
            f"{name} does not take {', '.join(arguments)}; "
            f"it takes {', '.join(accepted) or 'nothing'}"
        ) from None
