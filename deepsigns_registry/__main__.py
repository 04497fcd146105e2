"""`python -m deepsigns_registry` is the command `deepsigns`."""

from deepsigns_registry.cli import main

if __name__ == "__main__":
    main(prog_name="deepsigns")
