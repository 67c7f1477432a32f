"""``python -m ringfort`` is the ``ringfort`` command."""

from ringfort.cli.main import main

if __name__ == "__main__":
    main()
