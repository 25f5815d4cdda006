"""Who takes part in the benchmark: all contenders, section by section."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from experiments import GUIDES, STUDIES

from vitsd_helpers import PRESETS, ViTConfig

BACKENDS = ("torch", "tensorflow", "jax")
TITLES = {"vit": "ViT", "sl": "SL-ViT"}
#: The paper's recipe without its augmentation, which the peer has not.
PLAIN = {
    "flip": False,
    "crop": 0,
    "rand_augment": 0,
    "random_erasing": 0.0,
    "mix": 0.0,
    "label_smoothing": 0.0,
}
PAPER, SEED = "paper", "seed-as-printed"
#: For the ladder's models, whose step is short.
LONGER = 8
#: What our step is measured without, or with, and where.
TRIED = {
    "dense": ("Keras's Dense, not tokens as rows", BACKENDS),
    "attention": ("the other attention", BACKENDS),
    "fit": ("Keras's fit, no scanned epoch", ("jax",)),
    "bfloat16": ("mixed bfloat16", BACKENDS),
    "compiled": ("torch.compile", ("torch",)),
}
#: What the example's SL-ViT is measured without: changes of the model, and
#: of the recipe.
LEFT_OUT = {
    "weights-dropout": (
        "no dropout on the attention weights",
        {"attention_dropout": 0.0},
        {},
    ),
    "dropout": (
        "no dropout",
        {"attention_dropout": 0.0, "dropout": 0.0, "head_dropout": 0.0},
        {},
    ),
    "augmentation": (
        "no augmentation",
        {},
        {"flip": False, "rotate": 0.0, "zoom": 0.0},
    ),
}
#: The changes of the price list, for the reader.
PRICES = {
    "spt": "shifted patches",
    "lsa": "mask and temperature",
    "norm": "LayerNorm in the tokenizer",
    "relative": "relative positions",
    "rotary": "rotary positions, 2-D",
    "separate": "Muon on separate q, k, v",
    "seqpool": "sequence pooling",
    "overlap": "overlapping patches",
    "stem": "convolutional stem",
    "ssat": "reconstruction beside, SSAT",
    "guide": "a CNN's logits as guide",
    "adamw": "AdamW, not Muon",
    "cutmix": "CutMix",
    "mixup": "MixUp",
    "randaugment": "RandAugment",
    "erasing": "random erasing",
    "no-smoothing": "no label smoothing",
    "ema": "mean of the weights",
    "patch-dropout": "half of the patches",
}


@dataclass(frozen=True, kw_only=True)
class Contender:
    """Who runs what: by default our SL-ViT of the paper's size trains.

    Attributes:
        name: unique, of words joined by hyphens.
        section: those of a section run together.
        title: for the reader.
        code: "ours", "example" or "peer".
        model: "vit" or "sl".
        mode: "train" or "infer".
        reference: the name of whom it is compared with.
        recipe, changes: what ours trains by.
        xla: whether our recipe asks for it.
        way: what is done another way, see `bench_ways.py`.
        longer: how many times as many steps a turn has: one of a small model
            is over too soon to be timed.
    """

    name: str
    section: str
    title: str = "our SL-ViT"
    code: str = "ours"
    model: str = "sl"
    mode: str = "train"
    backend: str
    batch: int
    config: ViTConfig = PRESETS["paper-sl"]
    reference: str | None = None
    recipe: str = PAPER
    changes: dict = field(default_factory=lambda: dict(PLAIN))
    xla: bool = True
    way: str = ""
    longer: int = 1


def peer(
    section: str, mode: str, batch: int, size: str = "paper-sl"
) -> Contender:
    """vit-pytorch's SL-ViT, which always has a class token."""
    return Contender(
        name=f"peer-{section}",
        section=section,
        title="vit-pytorch SL-ViT",
        code="peer",
        mode=mode,
        backend="torch",
        batch=batch,
        config=replace(PRESETS[size], pooling="token"),
    )


def variation(base: Contender, name: str, title: str, **changes) -> Contender:
    """The base with something changed, to be compared with it."""
    return replace(
        base, name=name, title=title, reference=base.name, **changes
    )


def without_xla(contender: Contender) -> Contender:
    """The same, not compiled by XLA."""
    return replace(
        contender,
        name=f"{contender.name}-graph",
        title=f"{contender.title}, no XLA",
        xla=False,
    )


def of_the_paper(section: str, mode: str, batch: int) -> list[Contender]:
    """Both our models on every backend, and the peer."""
    found = [peer(section, mode, batch)]
    for backend in BACKENDS:
        for model, title in TITLES.items():
            one = Contender(
                name=f"{model}-{section}-{backend}",
                section=section,
                title=f"our {title}",
                model=model,
                mode=mode,
                backend=backend,
                batch=batch,
                config=PRESETS[f"paper-{model}"],
                reference=f"peer-{section}",
            )
            found.append(one)
            # Whether XLA pays is measured where one can do without.
            if (backend, mode) == ("tensorflow", "train"):
                found.append(without_xla(one))
    return found


def of_the_example(section: str, mode: str, batch: int) -> list[Contender]:
    """The example's models in its own code and in ours."""
    found = []
    for model, title in TITLES.items():
        theirs = Contender(
            name=f"example-{model}-{section}",
            section=section,
            title=f"the example's {title}",
            code="example",
            model=model,
            mode=mode,
            backend="tensorflow",
            batch=batch,
            config=PRESETS[f"seed-{model}"],
        )
        found.append(theirs)
        for backend in BACKENDS:
            found.append(
                replace(
                    theirs,
                    name=f"seed-{model}-{section}-{backend}",
                    title=f"the same {title}, our code",
                    code="ours",
                    backend=backend,
                    reference=theirs.name,
                    recipe=SEED,
                    changes={},
                )
            )
    if mode == "train":
        found += of_the_chain(found)
    return found


def of_the_chain(found: list[Contender]) -> list[Contender]:
    """From the example's SL-ViT to ours in steps, and ours without XLA."""
    by_name = {c.name: c for c in found}
    theirs = by_name["example-sl-seed-train"]
    chain = [
        variation(
            theirs,
            f"example-sl-{way}",
            f"the example's SL-ViT, {title}",
            way=way,
        )
        for way, title in (
            ("our-patches", "our patches"),
            ("our-attention", "our patches and attention"),
        )
    ]
    ours = (by_name[f"seed-{m}-seed-train-tensorflow"] for m in TITLES)
    return [*chain, *map(without_xla, ours)]


def of_the_ways(section: str, batch: int) -> list[Contender]:
    """Our SL-ViT in training with one thing done another way."""
    found = []
    for backend in BACKENDS:
        base = Contender(
            name=f"way-none-{backend}",
            section=section,
            backend=backend,
            batch=batch,
        )
        found.append(base)
        found += [
            variation(base, f"way-{way}-{backend}", title, way=way)
            for way, (title, backends) in TRIED.items()
            if backend in backends
        ]
    return found


def of_the_parts(section: str, batch: int) -> list[Contender]:
    """The example's SL-ViT in our code, with something left out."""
    found = []
    for backend in ("torch", "tensorflow"):
        base = Contender(
            name=f"parts-all-{backend}",
            section=section,
            title="the example's SL-ViT, our code",
            backend=backend,
            batch=batch,
            config=PRESETS["seed-sl"],
            recipe=SEED,
            changes={},
            xla=False,
        )
        found.append(base)
        found += [
            variation(
                base,
                f"parts-{name}-{backend}",
                title,
                config=replace(base.config, **sizes),
                changes=changes,
            )
            for name, (title, sizes, changes) in LEFT_OUT.items()
        ]
        name = f"parts-bfloat16-{backend}"
        found.append(variation(base, name, "mixed bfloat16", way="bfloat16"))
    return found


def of_the_ladder(section: str, batch: int) -> list[Contender]:
    """Both our models as the ladder trains them, and the peer of their size.

    The peer by AdamW and by PyTorch's Muon; all without augmentation, which
    it has not.
    """
    theirs = replace(peer(section, "train", batch, "small-sl"), longer=LONGER)
    return [
        theirs,
        variation(
            theirs, f"{theirs.name}-muon", "the same by Muon", way="muon"
        ),
        *(
            Contender(
                name=f"{model}-{section}-torch",
                section=section,
                title=f"our {title}",
                model=model,
                backend="torch",
                batch=batch,
                config=PRESETS[f"small-{model}"],
                reference=theirs.name,
                recipe="ladder-8",
                longer=LONGER,
            )
            for model, title in TITLES.items()
        ),
    ]


def of_the_halved_ladder(section: str, batch: int) -> list[Contender]:
    """The ladder's contenders in float32, and all by AdamW or ours in half.

    PyTorch's Muon computes its products in bfloat16 either way. Only where a
    processor has instructions for it is that the sooner.
    """
    found = of_the_ladder(section, batch)
    theirs = found[0]
    halved = [
        replace(
            c,
            name=f"{c.name}-bfloat16",
            title=f"{c.title}, bfloat16",
            way="bfloat16",
            reference=theirs.name,
        )
        for c in found
        if not c.way
    ]
    return found + halved


def of_half_precision(section: str, batch: int) -> list[Contender]:
    """The peer and our SL-ViT, all in mixed bfloat16."""
    return [
        replace(c, way="bfloat16")
        for c in of_the_paper(section, "train", batch)
        if c.model == "sl"
    ]


def of_growth(section: str, backend: str, batch: int) -> list[Contender]:
    """Our SL-ViT with one size changed at a time."""
    base = Contender(
        name="growth-base",
        section=section,
        title=f"patch 4, width 192, batch {batch}",
        backend=backend,
        batch=batch,
        reference="growth-base",
    )
    found = [base]
    for name, sizes in (("patch_size", (8, 2)), ("width", (96, 384))):
        for size in sizes:
            word = name.removesuffix("_size")
            changed = replace(base.config, **{name: size})
            if name == "width":
                # Heads keep their 16 values.
                changed = replace(changed, num_heads=size // 16)
            found.append(
                replace(
                    base,
                    name=f"growth-{word}-{size}",
                    title=f"{word} {size}",
                    config=changed,
                )
            )
    for size in (batch // 4, batch * 4):
        found.append(
            replace(
                base,
                name=f"growth-batch-{size}",
                title=f"batch {size}",
                batch=size,
            )
        )
    return found


def of_the_prices(section: str, batch: int) -> list[Contender]:
    """The small ViT of the study "prices", then each of its changes."""
    base = Contender(
        name="price-none",
        section=section,
        title="the small ViT",
        model="vit",
        backend="torch",
        batch=batch,
        config=PRESETS["small-vit"],
        recipe="ladder-8",
        changes={},
        longer=LONGER,
    )
    found = [base]
    for run in STUDIES["prices"]:
        recipe, variant, seed = run
        if seed or run in GUIDES:
            continue
        changed = {"recipe": recipe}
        if recipe == base.recipe:
            changed = {"way": variant}
            if variant == "spt":  # the directions are the configuration's
                changed["config"] = PRESETS["small-sl"]
        word = changed.get("way") or recipe.removeprefix("price-")
        word = word.removeprefix("vit_")
        found.append(variation(base, f"price-{word}", PRICES[word], **changed))
    return found


def contenders(
    batch: int, growth: str | None, growth_batch: int, precision: str
) -> list[Contender]:
    """All there are, section by section."""
    found = [
        *of_the_paper("train", "train", batch),
        *of_the_paper("infer", "infer", batch),
        *of_the_example("seed-train", "train", batch),
        *of_the_example("seed-infer", "infer", batch),
        *of_the_parts("parts", batch),
        *of_the_ways("ways", batch),
        *of_the_prices("prices", batch),
        *of_the_ladder("small", batch),
    ]
    if precision == "float32":
        found += of_half_precision("half", batch)
        found += of_the_halved_ladder("small-half", batch)
    if growth:
        found += of_growth("growth", growth, growth_batch)
    return found


def shrink(contender: Contender) -> Contender:
    """The same with one block, to see that it runs.

    The example's own code stays as it is.
    """
    return replace(contender, config=replace(contender.config, depth=1))


def choose(found: list[Contender], pattern: str) -> list[Contender]:
    """Those whose name has the pattern, and whom they are compared with."""
    chosen = [c for c in found if re.search(pattern, c.name)]
    wanted = {c.name for c in chosen} | {c.reference for c in chosen}
    return [c for c in found if c.name in wanted]


def groups(
    section: list[Contender], together: int
) -> Iterator[list[Contender]]:
    """Split a section so that few enough live at once.

    Whom a contender is compared with takes part in its group, and so does
    its twin, the other model in the same setting: their ratios are of one
    round.
    """
    by_name = {c.name: c for c in section}
    wanted = {c.reference for c in section}

    def whole(members: list[Contender]) -> list[Contender]:
        """With their references, as far as there are any."""
        names = dict.fromkeys(c.reference for c in members)
        return [by_name[n] for n in names if n in by_name] + members

    twins: dict[tuple, list[Contender]] = {}
    for c in section:
        if c.name not in wanted:
            rest = re.sub("(^|-)(vit|sl)-", "", c.name)
            key = (BACKENDS.index(c.backend), rest)
            twins.setdefault(key, []).append(c)
    if not twins:
        yield [c for c in section if c.name in wanted]
        return
    group: list[Contender] = []
    for _, pair in sorted(twins.items()):
        if group and len(whole(group + pair)) > together:
            yield whole(group)
            group = []
        group = group + pair
    yield whole(group)
