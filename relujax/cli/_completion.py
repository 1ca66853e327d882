"""``relujax completion``: the words of the command line, for a shell."""

import argparse
from typing import Any

from ._common import EXIT_CODES, need_extra

_EXAMPLES = """examples:
  relujax completion bash > ~/.local/share/bash-completion/completions/relujax
  relujax completion zsh > ~/.zsh/completions/_relujax      (a folder of $fpath)
  relujax completion tcsh >> ~/.tcshrc

"""


def add(commands: Any) -> None:
    """The command with its option."""
    parser = commands.add_parser(
        "completion",
        help="print a script that completes the words of relujax in a shell",
        description="Print a script that completes commands and options of relujax in a shell.",
        epilog=_EXAMPLES + EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"))
    parser.set_defaults(command=_completion)


def _completion(args: argparse.Namespace) -> int:
    need_extra("shtab")
    import shtab

    from ._main import parser

    print(shtab.complete(parser(), shell=args.shell))
    return 0
