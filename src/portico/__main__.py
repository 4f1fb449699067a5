"""`python -m portico` is the `portico` command."""

from portico.cli.main import main

if __name__ == "__main__":
    main()
