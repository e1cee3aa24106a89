"""The type of a JSON object, which all rooms share."""

from typing import Any, TypeAlias

# A member can be any JSON value. Code that has not checked a single value yet takes it as `object`, so that
# mypy asks for the check.
JsonObject: TypeAlias = dict[str, Any]
