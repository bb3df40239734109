"""`python -m tupe_plugin fairseq-train ...`: fairseq's commands where nothing can be installed.

An installed package has a start-up hook that lets `fairseq-train` itself start; a package that is
only on PYTHONPATH has none, because Python reads no `.pth` file there. Here it is done by hand, in
each process that a command spawns as well. `torchrun -m tupe_plugin fairseq-train ...` works
likewise; other arguments are those of the `tupe` command.
"""

import importlib
import sys

from .commands import main
from .registration import use_with_fairseq

PREFIX = "fairseq-"

use_with_fairseq()


def run_fairseq_command(name: str) -> None:
    """Run the console command `name` of fairseq with the rest of the command line."""
    module = importlib.import_module(f"fairseq_cli.{name.removeprefix(PREFIX).replace('-', '_')}")
    sys.argv = sys.argv[1:]
    module.cli_main()


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1].startswith(PREFIX):
        run_fairseq_command(sys.argv[1])
    else:
        sys.exit(main())
