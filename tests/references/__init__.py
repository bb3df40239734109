"""What the package computes, slowly and plainly: torch and loops, nothing from the package."""
