"""What joins ztmon to web frameworks and other sources: each module translates, nothing else."""
