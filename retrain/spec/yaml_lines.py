"""YAML text → plain values, and the line of each; a key given twice is a problem. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

_TAGS = frozenset(
    f"tag:yaml.org,2002:{kind}"
    for kind in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp")
)

Place = tuple[str | int, ...]
"""Keys and indexes from the top, `("gate", "slices", "by", 0)`."""


@dataclass(frozen=True)
class LocatedYaml:
    """A document's value, the line of every place in it, and what YAML itself holds against it."""

    value: Any
    lines: dict[Place, int] = field(default_factory=dict)
    problems: tuple[tuple[int, str], ...] = ()
    """Line and sentence."""

    def line_of(self, place: Place) -> int:
        """The line of a place, or of the nearest place around it that the text has."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)


def read_yaml(text: str) -> LocatedYaml:
    r"""Return what a YAML text says, with lines from 1.

    >>> read_yaml("a: 1\nb: [x, y]\n").line_of(("b", 1))
    2
    >>> read_yaml("a: 1\na: 2\n").problems
    ((2, '`a` is given twice, first on line 1'),)
    """
    loader = yaml.SafeLoader(text)
    lines: dict[Place, int] = {}
    problems: list[tuple[int, str]] = []
    try:
        node = loader.get_single_node()
        value = None if node is None else _plain(loader, node, (), lines, problems)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return LocatedYaml(
            None,
            {},
            ((mark.line + 1 if mark else 1, f"not YAML: {error.problem or error.context}"),),
        )
    except RecursionError:
        return LocatedYaml(
            None, {}, ((1, "not YAML that a model needs: nested too deeply, or within itself"),)
        )
    finally:
        loader.dispose()
    return LocatedYaml(value, lines, tuple(problems))


def _plain(
    loader: yaml.SafeLoader,
    node: yaml.Node,
    place: Place,
    lines: dict[Place, int],
    problems: list[tuple[int, str]],
) -> Any:
    lines.setdefault(place, node.start_mark.line + 1)
    if node.tag not in _TAGS:
        problems.append((lines[place], f"`{node.tag}` has no meaning here; write plain values"))
        return None
    if isinstance(node, yaml.MappingNode):
        return _mapping(loader, node, place, lines, problems)
    if isinstance(node, yaml.SequenceNode):
        return [
            _plain(loader, item, (*place, index), lines, problems)
            for index, item in enumerate(node.value)
        ]
    try:
        return loader.construct_object(node, deep=True)
    except ValueError as error:
        problems.append(
            (
                lines[place],
                f"`{node.value}` looks like {node.tag.rpartition(':')[2]} and is none: {error}",
            )
        )
        return None


def _mapping(
    loader: yaml.SafeLoader,
    node: yaml.MappingNode,
    place: Place,
    lines: dict[Place, int],
    problems: list[tuple[int, str]],
) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key, line = str(key_node.value), key_node.start_mark.line + 1
        if key in mapping:
            problems.append((line, f"`{key}` is given twice, first on line {lines[(*place, key)]}"))
            continue
        lines[(*place, key)] = line
        mapping[key] = _plain(loader, value_node, (*place, key), lines, problems)
    return mapping
