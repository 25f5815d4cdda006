"""What the command-line tools have in common: how they refuse and stop."""

import argparse
import os
import sys
from collections.abc import Callable


class Parser(argparse.ArgumentParser):
    """argparse, which says in one line what is wrong."""

    def error(self, message: str):
        sys.exit(f"{message} ({self.prog} --help)")


def command(main: Callable[[], None], goes_on: str = "") -> None:
    """Run a tool; Ctrl-C is one quiet line that says how to go on.

    A tool refuses by `sys.exit` with a line of text.
    """
    try:
        main()
    except KeyboardInterrupt:
        print(f"\nStopped. {goes_on}".rstrip(), file=sys.stderr, flush=True)
        # Nothing is left to tidy, and threads shall not hold it up.
        os._exit(130)
