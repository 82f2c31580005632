"""`python -m zart.cli`: the command line where no script is installed."""

from zart.cli.app import main

if __name__ == "__main__":
    main()
