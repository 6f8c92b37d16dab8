"""Short trainings on small images: healthy ones that differ in one factor each, and ones with a planted fault."""
