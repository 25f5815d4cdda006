"""vit-pytorch's model for small datasets, trained by a plain PyTorch loop.

    python book/tools/peer.py FOLDER [--passes 8] [--precision bfloat16]
        [--rate 1e-3] [--seed 0] [--held-out 5000] [--work FOLDER]
        [--optimizer muon]

What a reader of vit-pytorch would write: AdamW, cosine with warm-up, and
the augmentation, batch, decay and smoothing of our ladder. With Muon it is
PyTorch's, for the matrices of the blocks, and AdamW for the rest, as in our
recipes. It leaves a record like ours in FOLDER, so that chapter 12 can
compare the passes to a given accuracy. Stopped, it goes on from the last
pass. It needs torch, vit-pytorch and einops, which are not in
requirements.txt.
"""

import argparse
import datetime
import hashlib
import json
import time
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from bench_worker import peers_class, peers_optimizers
from torch.nn import functional

from vitsd_helpers.data import ImageData, load_data
from vitsd_helpers.evidence.files import write_whole
from vitsd_helpers.evidence.records import commit, device_name, versions
from vitsd_helpers.training.recipes import get_recipe
from vitsd_helpers.training.splits import hold_out

#: Batch, decay, smoothing, crop, warm-up and the model's sizes are its.
OURS = get_recipe("ladder-8")


class Peer:
    """The model, its data and its optimiser.

    Args:
        settings: see `settings_of`.
        data: trains on `x_train`.
    """

    def __init__(self, settings: dict, data: ImageData):
        torch.manual_seed(settings["seed"])
        c = OURS.model
        self.settings, self.data = settings, data
        self.model = peers_class()(
            image_size=c.image_size,
            patch_size=c.patch_size,
            num_classes=len(data.class_names),
            dim=c.width,
            depth=c.depth,
            heads=c.num_heads,
            dim_head=c.key_dim,
            mlp_dim=round(c.mlp_ratio * c.width),
            pool="mean",
        )
        self.steps = len(data.x_train) // settings["batch_size"]
        self.optimizers = peers_optimizers(
            self.model,
            settings["optimizer"],
            settings["learning_rate"],
            settings["weight_decay"],
        )
        total = self.steps * settings["epochs"]
        warmup = max(1, round(settings["warmup"] * total))
        self.schedules = [
            torch.optim.lr_scheduler.SequentialLR(
                optimizer,
                [
                    torch.optim.lr_scheduler.LinearLR(
                        optimizer, 1 / warmup, total_iters=warmup
                    ),
                    torch.optim.lr_scheduler.CosineAnnealingLR(
                        optimizer, total - warmup
                    ),
                ],
                milestones=[warmup],
            )
            for optimizer in self.optimizers
        ]
        mean, std = data.statistics
        self.mean, self.std = (
            torch.tensor(v).reshape(3, 1, 1) for v in (mean, std)
        )
        images = np.ascontiguousarray(data.x_train.transpose(0, 3, 1, 2))
        self.images = torch.from_numpy(images)
        self.labels = torch.from_numpy(data.y_train.astype("int64"))

    def logits(self, images):
        """Logits (B, classes) of images (B, 3, 32, 32), 0..255."""
        images = (images.float() - self.mean) / self.std
        half = self.settings["precision"] == "bfloat16"
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            return self.model(images).float()

    def augmented(self, images):
        """Mirror half of the images, pad all and crop them back."""
        pad = self.settings["crop"]
        count, _, side, _ = images.shape
        mirrored = torch.rand(count) < 0.5
        images = torch.where(
            mirrored[:, None, None, None], images.flip(-1), images
        )
        padded = functional.pad(images, (pad,) * 4)
        down, right = torch.randint(2 * pad + 1, (2, count, 1))
        line = torch.arange(side)
        return padded[
            torch.arange(count)[:, None, None, None],
            torch.arange(3)[:, None, None],
            (down + line)[:, None, :, None],
            (right + line)[:, None, None, :],
        ]

    def train_pass(self) -> dict[str, float]:
        """One pass over the images; the means of loss, top-1 and top-5."""
        size = self.settings["batch_size"]
        order = torch.randperm(len(self.images))[: self.steps * size]
        sums = torch.zeros(3)
        self.model.train()
        for indices in order.split(size):
            labels = self.labels[indices]
            logits = self.logits(self.augmented(self.images[indices]))
            loss = functional.cross_entropy(
                logits,
                labels,
                label_smoothing=self.settings["label_smoothing"],
            )
            self.model.zero_grad()
            loss.backward()
            for stepping in (*self.optimizers, *self.schedules):
                stepping.step()
            best = logits.detach().topk(5).indices == labels[:, None]
            hits = best[:, :1].sum(), best.sum()
            sums += torch.stack([loss.detach() * size, *hits])
        means = (sums / len(order)).tolist()
        return dict(zip(("loss", "top1", "top5"), means, strict=True))

    @torch.inference_mode()
    def test(self) -> dict[str, float]:
        """Loss, top-1 and top-5 of `x_test`, without smoothing."""
        self.model.eval()
        images = self.data.x_test.transpose(0, 3, 1, 2)
        logits = torch.cat(
            [
                self.logits(torch.from_numpy(np.ascontiguousarray(part)))
                for part in np.array_split(images, len(images) // 250)
            ]
        )
        labels = torch.from_numpy(self.data.y_test.astype("int64"))
        best = logits.topk(5).indices == labels[:, None]
        return {
            "loss": float(functional.cross_entropy(logits, labels)),
            "top1": float(best[:, 0].float().mean()),
            "top5": float(best.any(-1).float().mean()),
        }

    def state(self) -> dict:
        """All that a checkpoint must hold."""
        return {
            "model": self.model.state_dict(),
            "optimizers": [one.state_dict() for one in self.optimizers],
            "schedules": [one.state_dict() for one in self.schedules],
            "random": torch.get_rng_state(),
        }

    def restore(self, state: dict) -> None:
        """Set what `state` gave."""
        self.model.load_state_dict(state["model"])
        for part in ("optimizers", "schedules"):
            pairs = zip(getattr(self, part), state[part], strict=True)
            for one, kept in pairs:
                one.load_state_dict(kept)
        torch.set_rng_state(state["random"])


def settings_of(given: argparse.Namespace) -> dict:
    """Everything that decides a run, as its record holds it."""
    name = f"vit-pytorch-{given.passes}"
    if given.optimizer != "adamw":
        name += f"-{given.optimizer}"
    if given.precision != "float32":
        name += "-bf16"
    if given.held_out:
        name += f"-rate{given.rate:g}"
    ours = ("batch_size", "weight_decay", "warmup", "crop", "label_smoothing")
    return {
        "name": name,
        "data": OURS.data,
        "epochs": given.passes,
        "learning_rate": given.rate,
        "precision": given.precision,
        "held_out": given.held_out,
        "optimizer": given.optimizer,
        "flip": True,
        "seed": given.seed,
        **{setting: getattr(OURS, setting) for setting in ours},
    }


def train(settings: dict, data: ImageData, work: Path) -> dict:
    """Train, or go on; the record."""
    peer, began = Peer(settings, data), commit()
    epochs, seconds = {}, 0.0
    checkpoint = work / f"{settings['name']}-seed{settings['seed']}.pt"
    if checkpoint.exists():
        kept = torch.load(checkpoint, weights_only=True)
        if kept["settings"] != settings:
            raise SystemExit(f"{checkpoint} is of another run: remove it.")
        peer.restore(kept["state"])
        epochs, seconds = kept["epochs"], kept["seconds"]
    work.mkdir(parents=True, exist_ok=True)
    for number in range(len(epochs.get("loss", ())), settings["epochs"]):
        start = time.perf_counter()
        logs = peer.train_pass()
        seconds += time.perf_counter() - start
        for name, value in logs.items():
            epochs.setdefault(name, []).append(value)
        aside = checkpoint.with_suffix(".part")
        kept = {"epochs": epochs, "seconds": seconds, "settings": settings}
        torch.save({"state": peer.state(), **kept}, aside)
        aside.replace(checkpoint)
        print(number + 1, "of", settings["epochs"], logs, flush=True)
    text = json.dumps(settings, sort_keys=True)
    images = peer.steps * settings["batch_size"] * settings["epochs"]
    record = {
        "recipe": settings,
        "recipe_hash": hashlib.sha256(text.encode()).hexdigest()[:12],
        "variant": "vit-pytorch",
        "model": "vit-pytorch, plain loop",
        "config": {"class": "vit_pytorch.vit_for_small_dataset.ViT"},
        "parameters": sum(p.numel() for p in peer.model.parameters()),
        "data": settings["data"],
        "data_md5": data.md5,
        "train_images": len(data.x_train),
        "test_images": len(data.x_test),
        "tested_on": "held out" if settings["held_out"] else "test",
        "tested_weights": "last",
        "seed": settings["seed"],
        "finished": True,
        "epochs": epochs,
        "test": peer.test(),
        "steps": peer.steps * settings["epochs"],
        "images": images,
        "seconds": round(seconds, 2),
        "compile_seconds": 0.0,
        "images_per_second": round(images / seconds, 1),
        "device": device_name(),
        "backend": "torch",
        "versions": versions()
        | {"vit-pytorch": metadata.version("vit-pytorch")},
        "commit": began,
        "date": datetime.date.today().isoformat(),
    }
    checkpoint.unlink()
    return record


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--passes", type=int, default=8)
    parser.add_argument(
        "--precision", choices=("float32", "bfloat16"), default="float32"
    )
    parser.add_argument(
        "--optimizer", choices=("adamw", "muon"), default="adamw"
    )
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--held-out", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path(".checkpoints"))
    given = parser.parse_args()
    settings = settings_of(given)
    path = given.folder / f"{settings['name']}-seed{given.seed}.json"
    if path.exists():
        print(path, "is there already")
        return
    data = load_data(settings["data"])
    if given.held_out:
        data = hold_out(data, given.held_out)
        data = replace(data, x_test=data.x_val, y_test=data.y_val)
    record = train(settings, data, given.work)
    write_whole(path, json.dumps(record, indent=1) + "\n")
    print(path, record["test"])


if __name__ == "__main__":
    main()
