"""Sphinx: a link `page.md#label` leads to a label, not to a heading only.

MyST finds headings that way, and labels by roles alone, which a notebook
does without: GitHub and Colab would show them raw.
"""


def add_labels(app, doctree) -> None:
    """Count the labels of a page among the places that links may name."""
    places = app.env.metadata[app.env.docname].setdefault("myst_slugs", {})
    for name, explicit in doctree.nametypes.items():
        if explicit and doctree.nameids.get(name):
            places.setdefault(name, (0, doctree.nameids[name], name))


def setup(app):
    """Sphinx calls it."""
    app.connect("doctree-read", add_labels)
    return {"parallel_read_safe": True}
