"""How much of a long load a run does: as much as the cases say, up to a bound that none of them should pass; with `--quick`
what there is time for; with `--full` all of it. What was cut is said."""

# Seconds of one load, requests of one flood, and samples of each kind, at most.
SECONDS_MAX = 60
COUNT_MAX = 250_000
SAMPLES_MAX = 20_000

QUICK = {SECONDS_MAX: 5, COUNT_MAX: 20_000, SAMPLES_MAX: 2_000}

is_full = False
is_quick = False
shortened = []


def bounded(value, most, what, shot):
    """A count or a time of a shot, no more than a run has time for."""
    most = QUICK.get(most, most) if is_quick else most
    if is_full or value <= most:
        return value
    if (note := f"{shot.case_id}: {most:,} of {value:,} {what}") not in shortened:
        shortened.append(note)
    return most
