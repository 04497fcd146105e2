"""MLflow with the gate and one worker on one machine: what `deepsigns up` runs.

`home` makes or reads the folder with the settings, `services` runs the two processes.
"""
