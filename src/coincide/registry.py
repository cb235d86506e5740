"""Parts by name, and the notation that puts them together."""

import ast
import difflib
import importlib
import inspect
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

PARTS: dict[str, type] = {}
ROOT = Path(__file__).parent

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
    """Every registered part of a kind, by name; importing all modules that name one first."""
    for module in _modules().values():
        importlib.import_module(module)
    return {name: part for name, part in sorted(PARTS.items()) if issubclass(part, kind)}


@cache
def _modules() -> dict[str, str]:
    """Modules that name a part, by their last name; read as text, so that no other is imported."""
    return {
        file.stem: f"coincide.{file.parent.name}.{file.stem}"
        for file in sorted(ROOT.glob("*/*.py"))
        if b"\n@named(" in file.read_bytes()
    }


class Chainable(ABC):
    """What `>>` puts one after the other: ways, and the transforms that they find."""

    @abstractmethod
    def __call__(self, *arguments: Any) -> Any:
        """What it does."""

    def __rshift__(self, after: "Chainable | Ways") -> "Ways":
        return Ways([self, *(after if isinstance(after, Ways) else [after])])


class Ways(tuple[Any, ...]):
    """Parts that are done one after the other, as in `affine >> convex(reach=36) >> displacement`.

    Args:
        parts: First to last.
    """

    __slots__ = ()

    def __new__(cls, parts: Iterable[Any] = ()) -> "Ways":
        """Refuse what cannot be done after anything else.

        Raises:
            TypeError: if a part is neither a way nor a transform.
        """
        parts = tuple(parts)
        for part in parts:
            if not isinstance(part, Chainable):
                raise TypeError(f"{part!r} is no step of a registration")
        return super().__new__(cls, parts)

    def __rshift__(self, after: "Chainable | Ways") -> "Ways":
        return Ways([*self, *(after if isinstance(after, Ways) else [after])])

    def __str__(self) -> str:
        return " >> ".join(written(part) for part in self)


def per_level(given: Any) -> list[Any]:
    """What is given for the levels, coarse to fine: a sequence, text with semicolons, or one."""
    if isinstance(given, str):
        return [text.strip() for text in given.split(";")]
    return list(given) if isinstance(given, Sequence) else [given]


def written(part: Any) -> str:
    """A part as text that `build` reads back: its name and the arguments that are not default."""
    name: str = part.name
    if is_dataclass(part):
        defaults = {f.name: f.default for f in fields(part) if f.init}
    else:
        defaults = {n: p.default for n, p in inspect.signature(type(part)).parameters.items()}
    given = []
    for argument, default in defaults.items():
        value = getattr(part, argument, default)
        if isinstance(value, Literal) and value != default:
            given.append(f"{argument}={_literal(value)}")
    return f"{name}({', '.join(given)})" if given else name


Literal = str | bool | int | float | tuple | Chainable


def _literal(value: Any) -> str:
    if isinstance(value, tuple):
        inner = [_literal(one) for one in value]
        return f"({', '.join(inner)}{',' if len(inner) == 1 else ''})"
    plain = isinstance(value, str | bool | int | float)
    return repr(value) if plain else str(value) if is_dataclass(value) else written(value)


def build(text: str, kind: type | tuple[type, ...] = object, *, among: type | None = None) -> Any:
    """Read a part, a sum of terms or a chain of ways from text: `"ngf(eta=0.5) + 0.1*bending"`.

    Only names, numbers, strings, tuples, `+`, `*`, `>>` and calls with keywords are understood;
    nothing is evaluated.

    Args:
        text: The expression.
        kind: What the result must be, for the error message.
        among: The kind of its parts, whose names are told where one is not known; None: `kind`.

    Raises:
        ValueError: naming the unknown part or argument, and what would work.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"cannot read {text!r}: {error.msg}") from None
    result = _value(tree, text, among or kind)
    if not isinstance(result, kind):
        known = ", ".join(parts(kind))
        wanted = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise ValueError(f"{text!r} is not a {wanted.lower()}; known: {known}")
    return result


JOINED = {ast.Add: operator.add, ast.Mult: operator.mul, ast.RShift: operator.rshift}


def _value(node: ast.AST, text: str, kind: type | tuple[type, ...]) -> Any:
    match node:
        case ast.Constant(value=value) if isinstance(value, int | float | str):
            return value
        case ast.Tuple(elts=elements):
            return tuple(_value(element, text, object) for element in elements)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _apply(operator.neg, node, text, _value(operand, text, kind))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in JOINED:
            both = _value(left, text, kind), _value(right, text, kind)
            return _apply(JOINED[type(op)], node, text, *both)
        case ast.Name(id="inf"):
            return float("inf")
        case ast.Name(id=name):
            return _make(name, {}, kind)
        case ast.Call(func=ast.Name(id=name), args=[], keywords=keywords):
            given = {str(k.arg): _value(k.value, text, object) for k in keywords}
            return _make(name, given, kind)
    raise _unreadable(node, text)


def _apply(function: Callable[..., Any], node: ast.AST, text: str, *values: Any) -> Any:
    """A sum, a product, a chain or a negative, where the values have one."""
    try:
        return function(*values)
    except (TypeError, ValueError):
        raise _unreadable(node, text) from None


def _unreadable(node: ast.AST, text: str) -> ValueError:
    return ValueError(
        f"cannot read {ast.unparse(node)!r} in {text!r}; write parts like ngf(eta=0.5), terms "
        "joined by + and weighted by a number and *, ways joined by >>"
    )


def _make(name: str, arguments: dict[str, Any], kind: type | tuple[type, ...]) -> Any:
    part = _found(name, kind)
    try:
        return part(**arguments)
    except TypeError:
        accepted = list(inspect.signature(part).parameters)
        raise ValueError(
            f"{name} does not take {', '.join(arguments)}; "
            f"it takes {', '.join(accepted) or 'nothing'}"
        ) from None


def _found(name: str, kind: type | tuple[type, ...]) -> type:
    """The part of that name: known already, in the module of that name, or in any other."""
    if name not in PARTS and name in _modules():
        importlib.import_module(_modules()[name])
    if name in PARTS:
        return PARTS[name]
    known = parts()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, parts(kind), 1) or difflib.get_close_matches(
        name, known, 1
    )
    hint = f"did you mean {near[0]!r}? " if near else ""
    some = parts(kind)
    if kind is object and near:  # of the same room: who writes bendin wants a penalty
        some = {n: p for n, p in known.items() if _room(p) == _room(known[near[0]])}
    raise ValueError(f"no part is called {name!r}; {hint}known: {', '.join(some)}")


def _room(part: type) -> str:
    return part.__module__.rpartition(".")[0]


def positive(part: Any, *names: str, zero: bool = False) -> None:
    """Refuse arguments of a part that are not above 0, or, where it may be, not 0 either.

    Args:
        part: The part, with each argument under its name.
        names: Arguments that must be numbers above 0.
        zero: Whether 0 is allowed too.

    Raises:
        ValueError: naming the argument and what is allowed.
    """
    for name in names:
        value = getattr(part, name)
        if not (value >= 0 if zero else value > 0) or value == float("inf"):
            least = "of 0 or more" if zero else "above 0"
            raise ValueError(f"{part.name} takes {name} {least}, not {value}")
