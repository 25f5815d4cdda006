"""Sphinx: settings and layers, as the pages of the package show them."""

import inspect

from sphinx.util.docutils import SphinxDirective
from sphinx.util.inspect import stringify_signature

import vitsd_helpers

VALUES = ("attribute", "data", "property")


def take_whole(app, what, name, obj, options, lines) -> None:
    """Keep napoleon from reading "a part: the rest" as a type and a text.

    It looks for the type of a value in the first line alone, which is made
    an empty comment of reStructuredText.
    """
    if what in VALUES:
        lines[:0] = ["..", ""]


def take_own(app, what, name, obj, options, signature, returned):
    """A layer's arguments: Keras puts a `__new__` that takes all before it."""
    if what != "class" or signature != "(*args, **kwargs)":
        return None
    found = inspect.signature(obj.__init__)
    arguments = list(found.parameters.values())[1:]
    shown = found.replace(
        parameters=arguments, return_annotation=inspect.Signature.empty
    )
    return stringify_signature(shown, show_annotation=False), returned


class PromisedDirective(SphinxDirective):
    """``{promised}``: what `vitsd_helpers.__all__` has, each with a link."""

    def run(self):
        """The names, in the order of `__all__`."""
        names = [
            f"{{py:obj}}`~vitsd_helpers.{vitsd_helpers._LAZY[name]}.{name}`"
            for name in vitsd_helpers.__all__
        ]
        return self.parse_text_to_nodes(", ".join(names) + ".")


def setup(app):
    """Sphinx calls it."""
    app.add_directive("promised", PromisedDirective)
    app.connect("autodoc-process-signature", take_own)
    app.connect("autodoc-process-docstring", take_whole, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
