"""What can be set about the emulated vendor, at the start or while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from kontext_local.segmind import inference
from kontext_local.segmind.inference import Inference, Lognormal
from kontext_local.segmind.rates import RESET_FORMS, WINDOWS
from kontext_local.segmind.shapes import SHAPES, USUAL

MODEL = "multi-image-kontext-pro"
MODEL_STATES = ("available", "forbidden", "retired")


@dataclass(frozen=True)
class Settings:
    """Seconds, USD, and requests a minute throughout.

    `rate_limit` None means unlimited; `spend_limit` None means that the team has none. `output_shapes` are
    given to the jobs in turn. `credits` is the balance at the start; setting it later sets the balance.
    `jobs_per_key`: a key sees no jobs but those that were submitted with it.
    """

    inference: Inference = field(default_factory=Lognormal)
    workers: int = 8
    rate_limit: int | None = 50
    rate_window: str = "fixed"
    count_gets: bool = False
    reset_form: str = "iso"
    credits: float = 100.0
    price: float = 0.05
    spend_limit: float | None = None
    keys: tuple[str, ...] = ()
    jobs_per_key: bool = False
    models: Mapping[str, str] = field(default_factory=lambda: {MODEL: "available"})
    record_seconds: float = 3600.0
    output_seconds: float = 7 * 86400.0
    output_shapes: tuple[str, ...] = USUAL

    def __post_init__(self) -> None:
        _one_of("rate_window", self.rate_window, WINDOWS)
        _one_of("reset_form", self.reset_form, RESET_FORMS)
        for shape in self.output_shapes:
            _one_of("output_shapes", shape, SHAPES)
        for state in self.models.values():
            _one_of("models", state, MODEL_STATES)
        if self.workers < 1:
            raise ValueError(f"workers: at least 1, got {self.workers}")

    def changed(self, changes: Mapping[str, Any]) -> Settings:
        """These settings with some replaced, as JSON gives them. Raises ValueError naming the wrong one."""
        for name in changes:
            _one_of("settings", name, [one.name for one in fields(self)])
        return replace(self, **{name: _read(name, value) for name, value in changes.items()})

    def as_json(self) -> dict[str, Any]:
        """The settings as `changed` takes them."""
        return asdict(self)


def _read(name: str, value: Any) -> Any:
    if name == "inference":
        return inference.parse(value)
    return tuple(value) if isinstance(value, list) else value


def _one_of(name: str, value: str, allowed: Any) -> None:
    if value not in allowed:
        raise ValueError(f"{name}: {value!r} is none of {', '.join(allowed)}")
