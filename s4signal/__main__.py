"""`python -m s4signal`: the command line."""

from s4signal.cli import main

if __name__ == "__main__":
    main()
