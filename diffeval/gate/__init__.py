"""The release gate: rules against what runs hold, verdicts that follow from intervals. Nothing here imports torch."""
