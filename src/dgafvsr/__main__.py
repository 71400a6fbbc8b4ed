"""`python -m dgafvsr`: the command line where its script is not on the path."""

from dgafvsr.apps.cli.main import main

if __name__ == "__main__":
    main()
