"""A Slurm of three commands, for machines without one: jobs are processes of this machine.

`write_commands(folder)` writes sbatch, srun, squeue and scancel. What they are asked and answer was
compared with Slurm 22.05 on one node.
"""

from __future__ import annotations

import sys
from pathlib import Path

_START = f"#!{sys.executable}\nimport os, re, subprocess, sys\nfrom pathlib import Path\n"
_COMMANDS = {
    "sbatch": """
script = Path(sys.argv[1])
text = script.read_text()
number = len(list(HERE.glob("sbatch.*"))) + 1
(HERE / f"sbatch.{number}").write_text(text)
array = re.search(r"--array=0-(\\d+)", text)
jobs = {f"{number}": {"SLURM_JOB_ID": f"{number}"}}
if array:
    jobs = {f"{number}_{task}": {"SLURM_JOB_ID": f"{number}0{task}",
                                 "SLURM_ARRAY_JOB_ID": f"{number}",
                                 "SLURM_ARRAY_TASK_ID": f"{task}"}
            for task in range(int(array[1]) + 1)}
for name, told in jobs.items():
    started = subprocess.Popen(
        ["bash", str(script)],
        env={**os.environ, **told, "SLURM_PROCID": "0", "SLURM_NTASKS": "1"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )
    (HERE / f"{name}.pid").write_text(str(started.pid))
print(f"Submitted batch job {number}")
""",
    "srun": """
command = sys.argv[sys.argv.index("--error") + 2:]
os.execv(command[0], command)
""",
    "squeue": """
for path in HERE.glob("*.pid"):
    state = Path(f"/proc/{path.read_text()}/stat")
    if state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z":
        print(path.stem)
""",
    "scancel": """
os.killpg(int((HERE / f"{sys.argv[1]}.pid").read_text()), 15)
""",
}


def write_commands(folder: Path) -> None:
    """Into a folder for PATH, in which they also note what they did."""
    for name, source in _COMMANDS.items():
        path = folder / name
        path.write_text(f"{_START}HERE = Path({str(folder)!r})\n{source}", "utf-8")
        path.chmod(0o755)
