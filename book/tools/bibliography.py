"""Sphinx: a bibliography whose labels are what the text cites.

The text says "Lee et al. [2021]". The style `author_year` puts the same
names and year before each entry, where pybtex's own styles put numbers.
"""

from collections import Counter

from pybtex.plugin import register_plugin
from pybtex.style.formatting.plain import Style as PlainStyle
from pybtex.style.labels import BaseLabelStyle


class AuthorYearLabels(BaseLabelStyle):
    """Labels such as "Lee et al. 2021"."""

    def format_labels(self, sorted_entries):
        seen = Counter()
        for entry in sorted_entries:
            names = [
                " ".join(person.last_names)
                for person in entry.persons["author"]
            ]
            short = " and ".join(names)
            if len(names) > 2:
                short = f"{names[0]} et al."
            label = f"{short} {entry.fields['year']}"
            seen[label] += 1  # a second one is "2021b"
            yield label + ("" if seen[label] == 1 else "abc"[seen[label] - 1])


class AuthorYearStyle(PlainStyle):
    """Pybtex's plain style with those labels."""

    default_label_style = AuthorYearLabels


def setup(app):
    """Sphinx calls it."""
    register_plugin("pybtex.style.formatting", "author_year", AuthorYearStyle)
    return {"parallel_read_safe": True}
