"""
``python -m twistginx``: the command.
"""

from twistginx.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
