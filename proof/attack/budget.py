"""How much of a long load a run does: all of it with `--full`, else what there is time for, which is then said."""

# Seconds of one load, requests of one flood, and samples of each kind, at most.
SECONDS_MAX = 5
COUNT_MAX = 20_000
SAMPLES_MAX = 2_000

is_full = False
shortened = []


def bounded(value, most, what, shot):
    """A count or a time of a shot, no more than a run has time for."""
    if is_full or value <= most:
        return value
    if (note := f"{shot.case_id}: {most:,} of {value:,} {what}") not in shortened:
        shortened.append(note)
    return most
