"""Health checks, one file each: a status, one sentence with the number and its limit, and the numbers behind it."""
