"""What every part of a manifest has in common: nothing beyond what is described, and knowing what a file says of it."""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,  # it may be a secret
        use_attribute_docstrings=False,
    )

    def states(self, field: str) -> bool:
        """Whether the file says anything about this field."""
        return field in self.model_fields_set
