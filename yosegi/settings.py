"""The base of all settings classes: what no setting may be, whatever it is for."""

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

LARGEST = 2**53
"""Whole numbers beyond it are not the same in every file."""
SEEDS = 2**32
"""NumPy takes smaller ones only."""


class CheckedSettings(BaseModel):
    """Settings are not changed once they are made; unknown names, numbers that are not finite and empty names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _plain(cls, value: Any, info: ValidationInfo) -> Any:
        name = info.field_name or ""
        field = cls.model_fields[name]
        if isinstance(value, bool) and bool not in _kinds(field.annotation):
            raise ValueError("true and false are for switches; this is none")
        if isinstance(value, int) and abs(value) > LARGEST:
            raise ValueError("that is too large")
        if name.endswith("seed") and isinstance(value, int) and not 0 <= value < SEEDS:
            raise ValueError(f"a seed is a whole number from 0 to {SEEDS - 1}")
        if isinstance(value, str) and not value.strip() and field.default != "" and str in _kinds(field.annotation):
            raise ValueError("it is empty")
        return value


def _kinds(annotation: Any) -> set[Any]:
    """Returns the types that an annotation is made of."""
    return {annotation}.union(*map(_kinds, get_args(annotation)))
