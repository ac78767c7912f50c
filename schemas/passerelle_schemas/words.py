"""The same words in the two languages of the city."""

from pydantic import BaseModel, ConfigDict, Field


class Text(BaseModel):
    """What people read: French, which is the source, and English."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    fr: str = Field(min_length=1)
    en: str = Field(min_length=1)
