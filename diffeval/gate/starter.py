"""A commented gate file to start from, with rules for what a run holds, and margins that its noise affords."""

import json
from collections.abc import Iterator
from pathlib import Path

from diffeval.compare.side import Side
from diffeval.compare.uncertain import Uncertain, stored
from diffeval.errors import NoEvidenceError
from diffeval.gate.calibrate import apart, propose, rounded_up
from diffeval.gate.calibration import Noise
from diffeval.gate.classes import SHARES, class_values
from diffeval.gate.config import SCHEMA
from diffeval.gate.evidence import PER_CLASS, Evidence
from diffeval.runs.words import number

# Scores that decide; others are warned of, and those that another one says better are left out.
DECIDE = ("fid_debiased", "clip_score", "precision", "recall", "class_accuracy")
INSTEAD = {"fid": "fid_debiased"}

HEAD = """\
# A release gate, made from {origin}.
#
#   diffeval gate RUN --config gate.toml --baseline RUN      judges a run
#   diffeval gate lint --config gate.toml RUN                tells limits that cannot hold, or lie inside the noise
#   diffeval gate promote RUN -o baselines/main.json         makes a run the baseline
#
# Exit code 0: passed. 3: failed. 4: inconclusive, measure more images. 5: no evidence. 2: a file is wrong.
# A rule passes where the one-sided 95% bound lies inside its limit, not where the number does.
schema = {schema}
name = {name}

[baseline]
# What runs are held against where --baseline names nothing: a promoted file, "run:DIR", or
# "git:main:baselines/main.json".
# source = "baselines/main.json"
# max_age_days = 90

[protocol]
# Scores that were measured otherwise are no evidence; run and baseline must be measured alike in any case.
{protocol}
# Settings under test, e.g. another sampler, or ready-made images (source) against a sampled checkpoint:
# may_differ = ["sampler", "w", "source"]
"""

REGRESSION = """
[[rule]]
score = {score}
max_regression = {{ abs = {margin} }}{level}
why = {why}
"""

CLASSES = """
[[rule]]
# The worst class, so that a broken one cannot hide in a mean.
score = {score}
reduce = "min"
min = {limit}
level = "warn"
why = {why}
"""

CHECK = """
[[rule]]
check = {check}
"""

TAIL = """
# Other limits: max = 0.05, min = 0.9, window = [0.01, 0.05] (too good is suspicious, too),
# max_regression = {{ rel = 0.1 }} (a tenth of the baseline's value) or {{ sigmas = 5 }} (with calibration = FILE, from
# diffeval gate calibrate RUN...). level = "warn" is only said, level = "off" is not looked at.
"""


def starter_text(run: Evidence) -> str:
    """A commented gate file that the run, held against itself, passes.

    Raises:
        NoEvidenceError: if the run holds neither a score with an error nor a check that passed.
    """
    rules = [*_scores(run), *_classes(run), *_checks(run)]
    if not any("level" not in rule for rule in rules):
        raise NoEvidenceError(
            f"gate: {run.origin} holds no score with an error and no check that passed; run diffeval eval or diffeval "
            "check first"
        )
    origin = run.sides[0].results.provenance
    head = HEAD.format(
        origin=" ".join(str(run.origin).split()),
        schema=_quoted(SCHEMA),
        name=_quoted(f"{Path(origin.checkpoint).name or 'checkpoint'}-release"),
        protocol="\n".join(_protocol(run)),
    )
    return head + "".join(rules) + TAIL.format()


def _protocol(run: Evidence) -> Iterator[str]:
    """What defines the numbers, as requirements; how images are made, as requirements that may be switched on."""
    scored = [side for side in run.sides if side.results.scores]
    if not scored:
        yield '# extractor = "inception"\n# n_min = 10000'
        return
    protocol = scored[0].results.protocol
    for key, value, wanted in (
        ("extractor", protocol.extractor and protocol.extractor.split("/")[0], True),
        ("reference", protocol.reference, True),
        ("sampler", protocol.sampler, False),
        ("steps", protocol.steps, False),
        ("w", protocol.w, False),
    ):
        same = all(getattr(side.results.protocol, key) == getattr(protocol, key) for side in scored)
        if value is not None and same:
            yield f"{'' if wanted else '# '}{key} = {json.dumps(value)}"
    yield f"# n_min = {max(side.results.provenance.n for side in scored)}"


def _scores(run: Evidence) -> Iterator[str]:
    known = dict(_with_errors(run))
    deciding = [name for name in known if name in DECIDE] or list(known)
    for name, found in known.items():
        noise = Noise(name, found.value, None, max(found.below, found.above), found.n, 1)
        proposal = propose(noise, len(deciding))
        why = (
            f"noise at n={found.n}: with other seeds a model that is no worse passes {proposal.passes:.1%} of the "
            f"time, and one worse by {number(proposal.caught)} fails 4 times in 5 by this rule alone"
        )
        yield REGRESSION.format(
            score=_quoted(name),
            margin=_plain(proposal.margin),
            level="" if name in deciding else '\nlevel = "warn"',
            why=_quoted(why),
        )


def _with_errors(run: Evidence) -> Iterator[tuple[str, Uncertain]]:
    """Scores that a rule can be about."""
    for name in run.titles:
        if INSTEAD.get(name) in run.titles or not any(side.counts(name) for side in run.sides):
            continue
        found = stored(run.side_with(name).score(name))
        if found is not None and found.std_error:
            yield name, found


def _classes(run: Evidence) -> Iterator[str]:
    for column in SHARES:
        side = _with_classes(run, column)
        if side is None:
            continue
        low = min(one.bound(upper=False) - 2 * apart(one.below) for one in class_values(side, column).values())
        limit = 1 - rounded_up(1 - low)
        if limit > 0:
            yield CLASSES.format(
                score=_quoted(column),
                limit=f"{limit:.2g}",
                why=_quoted("below what the run's worst class may be by chance"),
            )


def _with_classes(run: Evidence, column: str) -> Side | None:
    for side in run.sides:
        rows = side.results.tables.get(PER_CLASS, ())
        if rows and all(isinstance(row.get(column), int | float) for row in rows):
            return side
    return None


def _checks(run: Evidence) -> Iterator[str]:
    kept = [one for one in run.checks if one.status in ("pass", "warn")]
    yield from (CHECK.format(check=_quoted(one.name)) for one in kept)
    left = [f"{one.name} ({one.status})" for one in run.checks if one not in kept]
    if left:
        yield "\n# Checks of this run without a rule: " + ", ".join(left) + ".\n"


def _quoted(text: str) -> str:
    """A TOML string: JSON's escapes are among TOML's."""
    return json.dumps(text, ensure_ascii=True)


def _plain(value: float) -> str:
    """A TOML number of few digits."""
    return f"{value:.2g}"
