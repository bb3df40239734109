"""Run a command and write the largest resident size of its processes, in bytes, into a file.

    python record_peak_memory.py FILE COMMAND [ARGUMENT...]          # sweep.sh does

`tupe report` shows it where the file is called peak_memory.txt and lies beside train.log.
"""

import resource
import subprocess
import sys
from pathlib import Path

if len(sys.argv) < 3:
    sys.exit("usage: record_peak_memory.py FILE COMMAND [ARGUMENT...]")
status = subprocess.call(sys.argv[2:])
unit = 1 if sys.platform == "darwin" else 1024
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
if status == 0:
    Path(sys.argv[1]).write_text(f"{peak}\n")
sys.exit(status)
