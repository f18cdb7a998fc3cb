"""What the commands do: one seam between Hydra and the program."""
