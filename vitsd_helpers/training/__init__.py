"""The engine: recipes, and the training that follows them."""
