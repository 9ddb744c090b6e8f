"""`python -m cidrgate`: the same as the `cidrgate` command."""

from cidrgate.cli import main

if __name__ == "__main__":
    main()
