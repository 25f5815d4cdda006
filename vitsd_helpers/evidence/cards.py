"""A model's card for the Hugging Face Hub, made from its record."""

import json
from collections.abc import Iterable

from .statistics import share_interval

#: What is known of data by the name that a record gives it: the title, the
#: name on the Hub, and a sentence.
DATA = {
    "cifar100": (
        "CIFAR-100",
        "uoft-cs/cifar100",
        "photographs of 32 x 32 pixels in 100 classes (Krizhevsky 2009), "
        "collected from the web and published without a licence of their "
        "own",
    ),
    "digits": (
        "Digits",
        None,
        "handwritten digits of 8 x 8 pixels from scikit-learn (UCI, "
        "CC BY 4.0), enlarged to 32 x 32",
    ),
}
OWN = "pictures of the trainer's own, read from a folder"
#: What a file of the folder is for.
FILES = {
    "model.safetensors": "the weights, float32",
    "model.json": "the configuration and the names of the classes",
    "classes.txt": "the names of the classes, in the order of the logits",
    "model.keras": "the same in Keras's own format, to be loaded after "
    "`import keras, vitsd_helpers`",
    "model.onnx": "the same for ONNX Runtime",
    "model.tflite": "the same for LiteRT",
    "record.json": "the record of the training, of which this card is made",
}
SOURCE = "https://arxiv.org/abs/2112.13492"


def front_matter(head: dict) -> str:
    """The lines of a card's head: JSON is YAML, and quotes what it must."""
    return "".join(
        f"{key}: {json.dumps(value, ensure_ascii=False)}\n"
        for key, value in head.items()
    )


def model_card(
    record: dict,
    files: Iterable[str],
    *,
    apart: dict[str, float] | None = None,
    repository: str | None = None,
    licence: str | None = None,
    notes: Iterable[str] = (),
) -> str:
    """The text of a README.md with its YAML head.

    Args:
        record: see `records.make_record`.
        files: names of the files beside it.
        apart: by file, the largest difference of its logits from Keras's, as
            a part of the largest logit.
        repository: on the Hub, such as "ada/sl-vit", for the example.
        licence: as the Hub names it, such as "mit".
        notes: sentences on what was done to the weights since.
    """
    name = record.get("name", record["variant"])
    title, dataset, described = DATA.get(
        record["data"], (record["data"], None, OWN)
    )
    config, test = record["config"], record["test"]
    head: dict = {
        "library_name": "vitsd-helpers",
        "pipeline_tag": "image-classification",
        "tags": ["keras", "vision-transformer", "small-datasets"],
    }
    if licence:
        head = {"license": licence, **head}
    if dataset:
        head["datasets"] = [dataset]
    if test:
        head["metrics"] = ["accuracy"]
        head["model-index"] = [_index(name, record, title, dataset)]
    parts = [
        f"---\n{front_matter(head)}---\n",
        f"# {name}\n",
        _about(record, title, described, config),
        "## How good it is\n",
        _accuracy(record),
        "## How to use it\n",
        _use(repository, config, files),
        "## Its limits\n",
        "".join(f"- {line}\n" for line in _limits(record, config)),
        "## How it was trained\n",
        _training(record),
        "## The files\n",
        _files(files, apart or {}),
        "## Licence\n",
        _licence(licence),
    ]
    parts[5:5] = [f"{sentence}\n" for sentence in notes]
    return "\n".join(parts)


def _index(name, record, title, dataset) -> dict:
    """The result as the Hub lists it."""
    metrics = [
        {"type": "accuracy", "name": label, "value": record["test"][key]}
        for key, label in (("top1", "top-1"), ("top5", "top-5"))
    ]
    split = "test" if record["tested_on"] == "test" else "held out"
    data = {"name": title, "type": dataset or record["data"], "split": split}
    return {
        "name": name,
        "results": [
            {
                "task": {"type": "image-classification"},
                "dataset": data,
                "metrics": metrics,
            }
        ],
    }


def _about(record, title, described, config) -> str:
    parameters = f"{record['parameters']:,} parameters"
    if not config:
        what = f"{record['model']}, {parameters}"
    else:
        shifts = len(config["shift_directions"])
        has = []
        if shifts:
            has.append(f"Shifted Patch Tokenization with {shifts} shifts")
        if config["diagonal_mask"]:
            has.append("attention without a token's own")
        if config["learnable_temperature"]:
            has.append("a learned temperature")
        what = (
            f"{record['model']}, a vision transformer with "
            f"{config['depth']} blocks of width {config['width']}, "
            f"{config['num_heads']} heads, patches of "
            f"{config['patch_size']} x {config['patch_size']} pixels and "
            f"{parameters}"
        )
        if has:
            what += f"; it has {', '.join(has)} ([Lee et al. 2021]({SOURCE}))"
    return (
        f"{what}. Trained from scratch on {record['train_images']:,} images "
        f"of {title}: {described}.\n"
    )


def _accuracy(record) -> str:
    test, count = record["test"], record["test_images"]
    if not test:
        return "The run did not come to its end, so it was not tested.\n"
    lines = ["| | share | 95 % interval |", "|---|---|---|"]
    for key, label in (("top1", "top-1"), ("top5", "top-5")):
        low, high = share_interval(test[key], count)
        lines.append(
            f"| {label} | {100 * test[key]:.1f} % "
            f"| {100 * low:.1f} to {100 * high:.1f} % |"
        )
    held = record["tested_on"] != "test"
    images = "images held out of the training" if held else "test images"
    return (
        "\n".join(lines)
        + f"\n\nMeasured once, after the last epoch, on {count:,} {images}. "
        "The interval (Wilson) is that of the images alone: it is one run "
        f"with seed {record['seed']}, and another seed moves the numbers "
        "too.\n"
    )


def _use(repository, config, files) -> str:
    place = f"hf://{repository}" if repository else "hf://USER/NAME"
    text = (
        "```python\n"
        "from vitsd_helpers import load_model, predict\n\n"
        f'model = load_model("{place}")\n'
        'predict(model, ["picture.jpg"])[0][:5]\n'
        "```\n\n"
        "`load_model` takes the folder, too, and any backend of Keras.\n"
    )
    if "model.onnx" in files:
        text += (
            "\nWithout Keras, from pixels 0 to 255, any number of images:\n\n"
            "```python\n"
            "import onnxruntime\n\n"
            'session = onnxruntime.InferenceSession("model.onnx")\n'
            'logits = session.run(None, {"images": pixels})[0]\n'
            "```\n"
        )
    if config:
        size, channels = config["input_size"], config["channels"]
        text += (
            f"\nPixels are float32 of shape (batch, {size}, {size}, "
            f"{channels}) on the scale 0 to 255; the model normalises them "
            "itself. It gives logits: their softmax are the shares.\n"
        )
    return text


def _limits(record, config):
    if config:
        size = config["input_size"]
        yield (
            f"It sees {size} x {size} pixels: a larger picture is cropped to "
            "its central square and shrunk first."
        )
        yield (
            f"Whatever a picture shows, the answer is one of its "
            f"{config['num_classes']} classes. A high share is no sign that "
            "the answer is right on pictures of another kind."
        )
    yield (
        f"It learned from {record['train_images']:,} images and nothing "
        "else. A network pretrained on many more will mostly be better."
    )
    yield "It is made for study, and was tested for no use beyond it."


def _training(record) -> str:
    recipe, versions = record["recipe"], record["versions"]
    packages = ", ".join(f"{k} {v}" for k, v in versions.items())
    minutes = (record["seconds"] + record["compile_seconds"]) / 60
    rows = {
        "recipe": f"{recipe['name']} (hash {record['recipe_hash']})",
        "images seen": f"{record['steps'] * recipe['batch_size']:,}",
        "precision": recipe["precision"],
        "tested weights": record["tested_weights"],
        "time": f"{minutes:.1f} minutes on {record['device']}",
        "versions": packages,
        "data, MD5": record["data_md5"],
        "code, commit": record["commit"] or "unknown",
        "date": record["date"],
    }
    lines = [f"| {key} | {value} |" for key, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines]) + "\n"


def _files(files, apart) -> str:
    lines = []
    for name in files:
        line = f"- `{name}`: {FILES.get(name, 'see its name')}"
        if name in apart:
            line += (
                "; its logits differ from Keras's by at most "
                f"{apart[name]:.0e} of the largest"
            )
        lines.append(f"{line}.")
    return "\n".join(lines) + "\n"


def _licence(licence) -> str:
    if licence:
        return f"{licence}, as the head of this file says.\n"
    return (
        "None is stated yet: without one nobody may use the model. Add a "
        "line `license:` to the head of this file before you publish it.\n"
    )
