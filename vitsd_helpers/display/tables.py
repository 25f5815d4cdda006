"""Tables and sentences that a cell shows: set on the page, text elsewhere."""

import html
import sys
from collections.abc import Iterable, Mapping, Sequence

#: What stands where a table has no value.
NOTHING = "–"


def say(text: str) -> None:
    """Show Markdown below the cell; a terminal shows the text as it is."""
    _show({"text/markdown": text, "text/plain": text})


def table(columns: Mapping[str, str], rows: Iterable[Sequence]) -> None:
    """Show a table below the cell; a terminal shows it as aligned text.

    Args:
        columns: the format of each column by its title, Python's, such as
            `{"model": "", "top-1 %": ".1f"}`. Columns without one hold
            words and stand to the left, the others to the right.
        rows: a value for each column: a number, a text, which stays as it
            is, or None where there is none. The first names the row.

    Raises:
        ValueError: if a row has not a value for each column.
    """
    formats = list(columns.values())
    cells = [_texts(formats, row) for row in rows]
    data = {
        "text/html": _html(columns, cells),
        "text/plain": _plain(columns, cells),
    }
    _show(data)


def format_number(value, spec: str) -> str:
    """A number by Python's format, per cent as in a sentence: "97 %"."""
    return format(value, spec).replace("%", " %")


def _texts(formats: Sequence[str], row: Sequence) -> list[str]:
    if len(row) != len(formats):
        raise ValueError(
            f"the row {list(row)} has {len(row)} values for "
            f"{len(formats)} columns: give None where there is none."
        )
    texts = []
    for spec, value in zip(formats, row, strict=True):
        if value is None:
            texts.append(NOTHING)
        elif isinstance(value, str):
            texts.append(value)
        else:
            texts.append(format_number(value, spec))
    return texts


def _html(columns: Mapping[str, str], cells: list[list[str]]) -> str:
    def line(tags: Sequence[str], texts: Iterable[str]) -> str:
        parts = []
        for tag, text, spec in zip(tags, texts, columns.values(), strict=True):
            scope = {"th": ' scope="row"', "head": ' scope="col"'}.get(tag, "")
            name = "td" if tag == "td" else "th"
            words = "" if spec else ' class="words" style="text-align: left"'
            content = html.escape(text)
            parts.append(f"<{name}{scope}{words}>{content}</{name}>")
        return f"<tr>{''.join(parts)}</tr>"

    body = ["th"] + ["td"] * (len(columns) - 1)
    return "\n".join(
        [
            '<div class="figures pst-scrollable-table-container"><table>',
            f"<thead>{line(['head'] * len(columns), columns)}</thead>",
            "<tbody>",
            *(line(body, texts) for texts in cells),
            "</tbody></table></div>",
        ]
    )


def _plain(columns: Mapping[str, str], cells: list[list[str]]) -> str:
    lines = [list(columns), *cells]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    sides = [">" if spec else "<" for spec in columns.values()]
    return "\n".join(
        "  ".join(
            f"{text:{side}{width}}"
            for text, side, width in zip(line, sides, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def _show(data: dict[str, str]) -> None:
    # IPython is no dependency of the package. Where none runs, as in a
    # script, the text is printed.
    ipython = sys.modules.get("IPython")
    if ipython is None or ipython.get_ipython() is None:
        print(data["text/plain"])
    else:
        ipython.display.display(data, raw=True)
