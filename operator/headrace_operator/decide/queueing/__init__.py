"""
Who may start, and who goes first: slots, rates, pools, quotas and places, shared by all waiting runs.

    terms.py       what goes in and what comes out, as data
    resources.py   what is scarce, each thing by its name; what a demand needs of it
    accounts.py    who uses how much of it
    slots.py       slots of ConcurrencyLimits, held in word or by Lease
    starts.py      starts within a window
    lines.py       waiting runs, in lines of equal demands
    admission.py   one pass over the heads of the lines
    preemption.py  whom a run of higher priority may send away
    reasons.py     what a run waits for, in words
    board.py       all of it in one object: the only thing that others call

Nothing here reads a clock, waits, or calls anybody.
"""
