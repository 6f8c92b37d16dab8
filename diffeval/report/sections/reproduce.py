"""How to make the same numbers, and the same page, again: exact commands and versions."""

import shlex
from collections.abc import Iterator, Sequence

from diffeval.report.sections import section
from diffeval.report.story import Story, Told
from diffeval.report.view import Block, Commands, Facts
from diffeval.runs.records import Results

# What pip knows of what touched the numbers.
OWN = "diffeval"
NOT_PACKAGES = ("python",)
PAGE = "report.html"


@section("reproduce", "Reproduce", 150)
def reproduce(story: Story) -> list[Block]:
    """Versions, the command of each run, and that of the page; then where the numbers come from."""
    measured = [(one, one.results) for one in story.runs if one.results is not None]
    typed: dict[str, list[str]] = {}
    for one, results in measured:
        typed.setdefault(_typed(results), []).append(one.name)
    commands = [*_installing(measured), *((", ".join(names), words) for words, names in typed.items())]
    found: list[Block] = [
        Commands("Commands", (*commands, ("this page", shlex.join(_page(story))))),
    ]
    return [*found, *(_origin(one, results, several=len(measured) > 1) for one, results in measured)]


def _installing(measured: Sequence[tuple[Told, Results]]) -> Iterator[tuple[str, str]]:
    """One line for each set of versions that runs were made with."""
    made: dict[tuple[str, ...], list[str]] = {}
    for one, results in measured:
        versions = results.provenance.versions
        packages = tuple(
            f"{name}=={version.partition('+')[0]}"
            for name, version in sorted(versions.items(), key=lambda entry: entry[0] != OWN)
            if name not in NOT_PACKAGES and version != "missing"
        )
        made.setdefault((versions.get("python", ""), *packages), []).append(one.name)
    for (python, *rest), names in made.items():
        if rest:
            whose = f" of {', '.join(names)}" if len(made) > 1 else ""
            yield f"the versions{whose}, on Python {python}", shlex.join(["pip", "install", *rest])


def _typed(results: Results) -> str:
    """The command as typed; of a module, as Python starts it."""
    words = results.provenance.command
    if words and words[0] == "__main__.py":
        words = ("python", "-m", OWN, *words[1:])
    return shlex.join(words) if words else f"# made from Python: diffeval.evaluate({results.provenance.checkpoint!r})"


def _page(story: Story) -> list[str]:
    words = [OWN, "report", *(str(one.run.path) for one in story.runs)]
    words += [] if story.gate is None else ["--gate", str(story.gate)]
    for one in story.given:
        words += ["--baseline", one]
    return [*words, "-o", PAGE]


def _origin(told: Told, results: Results, *, several: bool) -> Facts:
    """Seeds, hashes and the machine: what a number must be traced by; closed where there are several."""
    origin, protocol = results.provenance, results.protocol
    rows = [
        ("checkpoint", f"{origin.checkpoint}, sha256 {origin.checkpoint_sha256}"),
        ("git commit", origin.git or "none: not in a repository"),
    ]
    if protocol.sampler is not None and results.scores:
        rows.append(("seeds", f"{origin.seed}, images 0 to {origin.n - 1:,}"))
    for name, value in (
        ("reference", protocol.reference_hash and f"{protocol.reference}, sha256 {protocol.reference_hash}"),
        ("extractor", protocol.extractor),
        ("judge", protocol.judge),
    ):
        if value:
            rows.append((name, value))
    threads = f"{origin.threads} thread{'s' * (origin.threads != 1)}"
    ranks = f"{origin.ranks} ranks of " if origin.ranks > 1 else ""
    rows.append(("machine", f"{origin.device}, {ranks}{threads}, batch {origin.batch}, {origin.host}"))
    rows.append(("begun", origin.started))
    return Facts(f"Traced: {told.name}", "", tuple(rows), folded=several)
