#!/usr/bin/env python3
"""Checks a dashboard against Grafana's own schema, and prints its title.

    grafana_dashboard.py FILE

Grafana publishes the schema of dashboards, panels and queries as the classes of its foundation SDK, which are generated
from it. Reading a dashboard into these classes drops members that the schema does not have, and keeps values of any type:
this script refuses both. The changes in INVALID show that it does.
"""

import copy
import enum
import json
import sys
import typing
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

# Each changes a valid dashboard into one that is not.
INVALID = {
    "an unknown member": lambda board: board.update(colour="red"),
    "a number that is a text": lambda board: board["panels"][0]["gridPos"].update(h="8"),
    "a text that is a number": lambda board: board["panels"][0].update(title=1),
    "an unknown value": lambda board: board.update(graphTooltip=7),
    "an unknown member of a query": lambda board: board["panels"][0]["targets"][0].update(query="up"),
    "a query that is a number": lambda board: board["panels"][0]["targets"][0].update(expr=1),
}


def fits(value, expected):
    """Returns whether a value has a type of the annotations."""
    arguments = typing.get_args(expected)
    match typing.get_origin(expected):
        case typing.Union:
            return any(fits(value, argument) for argument in arguments)
        case typing.Literal:
            return value in arguments
        case origin if origin is list:
            return isinstance(value, list) and all(fits(item, arguments[0]) for item in value)
        case origin if origin is dict:
            return isinstance(value, dict) and all(fits(item, arguments[1]) for item in value.values())
    if expected in (typing.Any, object):
        return True
    if issubclass(expected, enum.Enum):
        return value in [member.value for member in expected]
    if expected in (int, float):
        return isinstance(value, (int, expected)) and not isinstance(value, bool)
    return isinstance(value, expected)


def check_types(value, path):
    """Checks the members of a value, and of the values in it, against the annotations of their classes."""
    hints = typing.get_type_hints(type(value), vars(sys.modules[type(value).__module__]))
    for name, member in vars(value).items():
        assert name not in hints or fits(member, hints[name]), f"{path}.{name} is {member!r}, expected {hints[name]}"
        for part in member if isinstance(member, list) else [member]:
            if type(part).__module__.startswith("grafana_foundation_sdk"):
                check_types(part, f"{path}.{name}")


def check_members(known, member, path):
    """Checks that everything that a file has is in what the classes have kept of it."""
    if isinstance(member, dict):
        for name, value in member.items():
            assert name in known, f"{path}.{name} is not in the schema"
            check_members(known[name], value, f"{path}.{name}")
    elif isinstance(member, list):
        for position, (one, other) in enumerate(zip(known, member, strict=True)):
            check_members(one, other, f"{path}[{position}]")
    else:
        assert known == member, f"{path} is {member!r}, and the schema makes {known!r} of it"


def check(document):
    dashboard = Dashboard.from_json(copy.deepcopy(document))
    check_types(dashboard, "dashboard")
    check_members(json.loads(json.dumps(dashboard, cls=JSONEncoder)), document, "dashboard")


def is_valid(document):
    try:
        check(document)
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError):
        return False
    return True


def main(path):
    register_default_plugins()
    document = json.loads(Path(path).read_text())
    check(document)
    for name, change in INVALID.items():
        changed = copy.deepcopy(document)
        change(changed)
        assert not is_valid(changed), name
    print(document["title"])


main(*sys.argv[1:])
