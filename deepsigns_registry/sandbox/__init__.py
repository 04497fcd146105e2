"""The room in which everything runs that is not ours: a stranger's model, and nothing else.

`room` starts a process, gives it requests and watches it; `enter` is the first thing that runs
there and closes the doors, each in a file of its own: `limits` (what may be used up), `namespaces`
(what can be seen at all), `landlock` (which files may be opened), `seccomp` (what may be asked of
the kernel) and `privileges`. What is in force is read back from the kernel; see `doors`.
"""
