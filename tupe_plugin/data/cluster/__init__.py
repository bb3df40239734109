"""Parts of a corpus as jobs of an engine: Slurm by submitit, or Ray."""
