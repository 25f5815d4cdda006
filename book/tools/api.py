"""Sphinx: the comments of settings, as the pages of the package show them."""

VALUES = ("attribute", "data", "property")


def take_whole(app, what, name, obj, options, lines) -> None:
    """Keep napoleon from reading "a part: the rest" as a type and a text.

    It looks for the type of a value in the first line alone, which is made
    an empty comment of reStructuredText.
    """
    if what in VALUES:
        lines[:0] = ["..", ""]


def setup(app):
    """Sphinx calls it."""
    app.connect("autodoc-process-docstring", take_whole, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
