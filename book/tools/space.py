"""Write the attention explorer as a static Space for the Hugging Face Hub.

    python book/tools/space.py [--hub USER]

One folder, _build/share/space: the page, its modules and pictures, and the
pair of models that the book's explorer runs. Nothing is sent: the command
that does is printed. Served by anything else, the folder is the same page.
"""

import shutil
import sys
from pathlib import Path

import live
from share import NOBODY, ROOT, SHARE, describe_push
from terminal import Parser, command

from vitsd_helpers.evidence.cards import front_matter

STATIC = ROOT / "book" / "_static"
STILL = "stills/live-attention.webp"
#: What the SL-ViT is from.
PAPER = "https://arxiv.org/abs/2112.13492"
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<meta name="description" content="{description}">
<link rel="icon" href="favicon.svg">
<link rel="stylesheet" href="live/live.css">
<style>
:root {{ color-scheme: light dark;
  --pst-color-background: light-dark(#fff, #14181e);
  --pst-color-surface: light-dark(#f3f4f5, #29313d);
  --pst-color-border: light-dark(#d1d5da, #48566b);
  --pst-color-text-base: light-dark(#222832, #ced6dd);
  --pst-color-text-muted: light-dark(#48566b, #9ca4af);
  --pst-color-primary: light-dark(#0a5aa8, #8fc1f5);
  --pst-color-danger: light-dark(#b3001e, #ff8a95);
  --pst-color-success: light-dark(#00650f, #6fd08c);
  --pst-color-accent: light-dark(#b35900, #e89217); }}
* {{ box-sizing: border-box; }}
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 52rem;
  margin: 0 auto; padding: 1rem; background: var(--pst-color-background);
  color: var(--pst-color-text-base); }}
h1 {{ font-size: 1.6rem; font-weight: 500; margin-block: 0.5rem; }}
a {{ color: var(--pst-color-primary); }}
p > img {{ max-width: 100%; height: auto; }}
button, select, input {{ font: inherit; }}
</style>
<script type="module" src="live/main.mjs"></script>
</head>
<body>
<main class="bd-article">
<h1>{title}</h1>
<p>{description}</p>
<p><img src="{still}" alt="The explorer, as a still picture"></p>
<p>{about}</p>
</main>
</body>
</html>
"""
TITLE = "Where does a vision transformer look?"
DESCRIPTION = (
    "A ViT and an SL-ViT look at one picture, in your browser: move over a "
    "patch, turn the temperature, take the mask away. Your own photo works, "
    "too, and never leaves the page."
)
CARD = """# {title}

{description}

Both models were trained on CIFAR-100 with the recipe `{recipe}`, from one
seed, and run in plain JavaScript: no server, no library.

{table}

The pictures keep their own licences: see `live/pictures/README.md`.
"""


def write(hub: str, folder: Path = SHARE / "space") -> Path:
    """Write the folder, made anew; its path."""
    import address

    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(
        STATIC / "live",
        folder / "live",
        ignore=shutil.ignore_patterns("models"),
    )
    (folder / STILL).parent.mkdir()
    shutil.copy(STATIC / STILL, folder / STILL)
    shutil.copy(STATIC / "favicon.svg", folder)
    listed = live.write_models(folder / "live" / "models")
    source = "Shifted Patch Tokenization and Locality Self-Attention"
    about = f'Made of <a href="{PAPER}">{source}</a>.'
    if address.is_set():
        site = address.site()
        about += f' The <a href="{site}">book</a> tells how.'
    page = PAGE.format(
        title=TITLE, description=DESCRIPTION, still=STILL, about=about
    )
    (folder / "index.html").write_text(page, "utf-8")
    (folder / "README.md").write_text(card(listed, hub), "utf-8")
    return folder


def card(listed: dict, hub: str) -> str:
    """The Space's README.md, whose head says that it is a static one."""
    models = listed["models"]
    head: dict = {
        "title": TITLE,
        "emoji": "🔍",
        "colorFrom": "blue",
        "colorTo": "yellow",
        "sdk": "static",
        "app_file": "index.html",
        "license": "mit",
        "short_description": "Attention of two small models, in the browser",
    }
    if hub != NOBODY:
        names = [Path(model["file"]).stem for model in models]
        head["models"] = [f"{hub}/{name}" for name in names]
    rows = ["| model | top-1 on the test images |", "|---|---|"]
    for model in models:
        rows.append(f"| {model['title']} | {100 * model['top1']:.1f} % |")
    text = CARD.format(
        title=TITLE,
        description=DESCRIPTION,
        recipe=listed["recipe"],
        table="\n".join(rows),
    )
    return f"---\n{front_matter(head)}---\n\n{text}"


def main() -> None:
    """Write the folder that the command line names."""
    parser = Parser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--hub", default=NOBODY, metavar="USER", help="your name on the Hub"
    )
    hub = parser.parse_args().hub
    try:
        folder = write(hub)
    except FileNotFoundError as error:
        sys.exit(str(error))
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    print(f"{folder.relative_to(ROOT)}: {size / live.MEGABYTE:.1f} MB")
    describe_push({f"spaces/{hub}/attention-explorer": folder})


if __name__ == "__main__":
    command(main)
