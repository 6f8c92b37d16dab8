"""What stands on top of the page: the verdict on each checkpoint, or what is known without one."""

from collections.abc import Iterator

from diffeval.gate.terminal import WORD
from diffeval.report.names import listed
from diffeval.report.story import Judged, Story, Told
from diffeval.report.view import Banner

CHANGED = "changed after it was written"


def banners(story: Story) -> tuple[Banner, ...]:
    """What was decided of each checkpoint; where nothing was, what is known."""
    if story.verdicts:
        return tuple(_of_verdict(one, story) for one in story.verdicts)
    first = next((one for one in story.runs if one.is_evaluation), story.runs[0])
    changed = [one for one in story.runs if one.changed]
    if changed:
        named = listed(one.name for one in changed)
        was, it = ("was", "it") if len(changed) == 1 else ("were", "them")
        said = f"{named} {was} {CHANGED}: what this page says of {it} is not what was found. Measure {it} again."
        return (Banner("error", "CHANGED", said, changed[0].subject, about_run(changed[0])),)
    checks = [check for one in story.runs if one.results is not None for check in one.results.checks]
    failed = [check for check in checks if check.status == "fail"]
    why = "No gate was given" if story.gate is None else "The gate had nothing to judge but the baseline itself"
    if failed:
        named = listed(check.name for check in failed)
        ends = "a health check fails" if len({check.name for check in failed}) == 1 else "health checks fail"
        return (Banner("fail", "CHECK FAILED", f"{why}, and {ends}: {named}.", first.subject, about_run(first)),)
    said = f"{why}, so that nothing was decided: the numbers are for you to judge."
    word = "NO GATE" if story.gate is None else "NOT JUDGED"
    return (Banner("none", word, said, first.subject, about_run(first)),)


def about_run(told: Told) -> str:
    """The checkpoint's hash, the images with their seed, and the day."""
    return " · ".join(_about(told))


def _about(told: Told) -> Iterator[str]:
    results, protocol = told.results, told.protocol
    if told.task == "train":
        yield f"training to step {told.state.n:,}"
    else:
        yield f"checkpoint {told.state.checkpoint_sha256[:8]}"
    step = None if results is None else results.provenance.training_step
    if step is not None:
        yield f"training step {step:,}"
    n = 0 if results is None else results.provenance.n
    if n and protocol is not None and not (results is not None and not results.scores):
        yield f"n={n:,}"
        yield f"seed {told.state.seed}, images 0 to {n - 1:,}" if protocol.sampler else "ready-made images"
    yield f"measured {told.state.started[:10]}" if told.task != "train" else f"begun {told.state.started[:10]}"


def _of_verdict(one: Judged, story: Story) -> Banner:
    verdict = one.verdict
    about = about_run(one.first)
    if story.baseline is not None:
        about += f" · against {story.baseline.checkpoint} {story.baseline.sha256[:8]}, {story.baseline.made[:10]}"
    said = verdict.sentence.removeprefix("gate: ").rstrip(".")
    # A path at its beginning stays what it is.
    sentence = f"{said if not verdict.outcomes else said[0].upper() + said[1:]}."
    unruled = listed(checks_without_rule(one))
    if unruled:
        sentence += f" No rule looks at a health check that fails: {unruled}."
    name = one.first.name if sum(other.first.subject == one.first.subject for other in story.verdicts) > 1 else ""
    return Banner(verdict.status, WORD[verdict.status], sentence, name or one.first.subject, about)


def checks_without_rule(one: Judged) -> tuple[str, ...]:
    """Health checks of what was judged that fail, and that the gate file does not name: it may pass all the same."""
    ruled = {rule.subject for rule in one.verdict.outcomes if rule.kind == "check"}
    checks = [check for run in one.runs if run.results is not None for check in run.results.checks]
    return tuple(dict.fromkeys(check.name for check in checks if check.status == "fail" and check.name not in ruled))
