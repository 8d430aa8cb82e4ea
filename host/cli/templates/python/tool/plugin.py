"""Adds numbers, because policies cannot."""

from typing import Annotated

from rewarden import tool


@tool
def add(a: Annotated[float, "the first number"], b: Annotated[float, "the second number"]) -> str:
    """Adds two numbers."""
    # The name, the docstring and the hints above are what the policy is told; a call that does not follow them is
    # answered without asking this function.
    return f"{a + b:.15g}"
