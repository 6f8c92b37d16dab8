"""What a gate file may say, as typed models: they check it, and give editors its JSON schema."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA = "diffeval.gate-file/1"

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Text = Annotated[str, Field(strict=True, min_length=1)]
Count = Annotated[int, Field(strict=True, ge=1)]
Flag = Annotated[bool, Field(strict=True)]

Level = Literal["error", "warn", "off"]
Reduce = Literal["max", "min"]


class Model(BaseModel):
    """Unknown keys are errors, and nothing changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Margin(Model):
    """How much worse than the baseline is still allowed; exactly one of the three."""

    abs: Annotated[Number, Field(ge=0)] | None = Field(None, description="In units of the score.")
    rel: Annotated[Number, Field(gt=0)] | None = Field(None, description="As a share of the baseline's value.")
    sigmas: Annotated[Number, Field(gt=0)] | None = Field(
        None, description="In standard deviations over seeds, from the file that gate calibrate writes."
    )

    @model_validator(mode="after")
    def _one(self) -> "Margin":
        given = [name for name in ("abs", "rel", "sigmas") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"max_regression takes one of abs, rel and sigmas, got {' and '.join(given) or 'none'}")
        return self


class Rule(Model):
    """One thing that must hold."""

    id: Text | None = Field(None, description="Its name in every output; by default made of the score and the limit.")
    score: Text | None = Field(None, description="A score of the run, e.g. fid_debiased.")
    check: Text | None = Field(None, description="A health check that must not fail, e.g. noise-schedule.")
    max: Number | None = Field(None, description="The score is at most this.")
    min: Number | None = Field(None, description="The score is at least this.")
    window: tuple[Number, Number] | None = Field(None, description="The score lies between: too good is wrong, too.")
    max_regression: Margin | None = Field(None, description="Not worse than the baseline by more than this.")
    reduce: Reduce | None = Field(None, description="Holds for every class: the largest, or the smallest, decides.")
    level: Level = Field("error", description="error decides the gate, warn is only said, off is not looked at.")
    why: str = Field("", description="Shown beside the outcome: where the limit comes from.")
    fail_on: Literal["fail", "warn"] = Field("fail", description="warn: a check that warns fails the rule, too.")
    allow_not_applicable: Flag = Field(False, description="A check that does not apply to this model passes.")

    @model_validator(mode="after")
    def _sound(self) -> "Rule":
        if (self.score is None) is (self.check is None):
            raise ValueError("a rule is about one score or one check: give score = or check =")
        limits = [name for name in ("max", "min", "window", "max_regression") if getattr(self, name) is not None]
        if self.check is not None:
            of_scores = [*limits, *(["reduce"] if self.reduce else [])]
            if of_scores:
                raise ValueError(f"a check has no {of_scores[0]}: the rule is that it must not fail")
            return self
        self._sound_score(limits)
        return self

    def _sound_score(self, limits: list[str]) -> None:
        if self.allow_not_applicable:
            raise ValueError("allow_not_applicable is for checks; a score that is missing is never allowed")
        if self.fail_on != "fail":
            raise ValueError("fail_on is for checks; for a warning about a score write a rule with the level warn")
        if not limits:
            raise ValueError(f"{self.score} has no limit: give max, min, window or max_regression")
        if len(limits) > 1 and limits != ["max", "min"]:
            raise ValueError(f"{self.score} has {' and '.join(limits)}: write a rule for each")
        low, high = self.limits
        if low is not None and high is not None and low > high:
            raise ValueError(f"{self.score} cannot be at least {low:g} and at most {high:g}: min is above max")
        if low is not None and low == high:
            raise ValueError(f"{self.score} cannot be exactly {low:g}: the window needs a width")
        if (self.reduce == "max" and low is not None) or (self.reduce == "min" and high is not None):
            other = "max" if self.reduce == "max" else "min"
            raise ValueError(f"reduce = {self.reduce!r} goes with {other} = or max_regression")
        if self.reduce and self.max_regression is not None and self.max_regression.sigmas is not None:
            raise ValueError("a margin in sigmas is of all images; for classes give abs or rel")

    @property
    def limits(self) -> tuple[float | None, float | None]:
        """The least and the greatest value that are allowed."""
        return self.window if self.window is not None else (self.min, self.max)

    @property
    def subject(self) -> str:
        """The score or the check."""
        return str(self.score or self.check)

    @property
    def named(self) -> str:
        """The id, or one made of what the rule says."""
        if self.id is not None or self.check is not None:
            return self.id or str(self.check)
        low, high = self.limits
        kind = "regression" if self.max_regression else "window" if None not in (low, high) else "max"
        kind = "min" if kind == "max" and high is None else kind
        return f"{self.score}.{kind}" + (".classes" if self.reduce else "")


class Baseline(Model):
    """What the run is held against, where the command line names none."""

    source: Text | None = Field(None, description="A promoted file, run:DIR, or git:REVISION:PATH of a promoted file.")
    max_age_days: Annotated[Number, Field(gt=0)] | None = Field(None, description="An older baseline is no evidence.")


class Required(Model):
    """What every score must have been measured with."""

    n_min: Count | None = Field(None, description="Images, at least.")
    may_differ: tuple[Text, ...] = Field(
        (), description="Settings under test, which the run and the baseline may differ in, e.g. sampler, w, source."
    )
    sampler: Text | None = None
    steps: Count | None = None
    w: Number | None = None
    dtype: Text | None = None
    labels: Text | None = None
    rounding: Text | None = None
    extractor: Text | None = Field(None, description="Its name, or all of its id.")
    resize: Text | None = None
    reference: Text | None = None
    reference_hash: Text | None = None
    judge: Text | None = None
    template: Text | None = None
    prompts: Text | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Required":
        both = [name for name in self.may_differ if getattr(self, name, None) is not None]
        if both:
            raise ValueError(f"{both[0]} is both required and in may_differ; leave one of them out")
        return self

    @property
    def settings(self) -> dict[str, Any]:
        """What is required of the protocol, by its names."""
        return {name: value for name, value in self if value is not None and name not in ("n_min", "may_differ")}


class GateFile(Model):
    """A gate: its rules, the baseline, and what runs must have been measured with."""

    schema_: Literal["diffeval.gate-file/1"] = Field("diffeval.gate-file/1", alias="schema")
    name: Text = Field("gate", description="Told in every output.")
    calibration: Text | None = Field(None, description="The file of gate calibrate, for margins in sigmas.")
    baseline: Baseline = Field(default_factory=lambda: Baseline(source=None, max_age_days=None))
    protocol: Required = Field(default_factory=lambda: Required.model_validate({}))
    rule: tuple[Rule, ...] = Field(description="The rules.")

    @model_validator(mode="after")
    def _can_fail(self) -> "GateFile":
        if not any(rule.level == "error" for rule in self.rule):
            raise ValueError("no rule has the level error: a gate that cannot fail is none")
        if any(rule.max_regression and rule.max_regression.sigmas for rule in self.rule) and not self.calibration:
            raise ValueError("a margin in sigmas needs calibration = FILE, which diffeval gate calibrate writes")
        names = [rule.named for rule in self.rule if rule.id is not None]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"two rules have the id {twice[0]!r}")
        return self


def json_schema() -> dict[str, Any]:
    """The JSON schema of a gate file, for editors."""
    made = GateFile.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA, **made}
