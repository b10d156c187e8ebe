"""``python -m scaling``: the command, where the console script is not on the path."""

from scaling.cli import main

main()
