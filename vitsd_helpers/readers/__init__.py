"""Files of images, and how they are checked and read."""
