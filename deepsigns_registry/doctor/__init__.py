"""Examines an installation from outside: what is in order, what is not, and what to do about it.

    check.py        what a check is, and what it finds
    examination.py  all of them in order, each bounded in time
    asking.py       one question to the server
    checks/         one check a file

A check changes nothing that stays, needs no more than the base install, and says in a line what it
could not look at. No line holds a secret.
"""
