"""Steps of text: one file each, with a pure function of a line that has the name of the file."""
