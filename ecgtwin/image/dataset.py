"""Pictures with captions: from a folder, or scikit-learn's handwritten digits.

Shapes: B batch · C channels · H W what the model sees, one shape for a whole batch.
"""

import csv
import json
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ..text.captions import TextModel
from .config import DataConfig, PictureConfig

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
NARROWEST = 50
"""How many times its shorter side a picture's longer one may be."""
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


class Batch(NamedTuple):
    pixels: Tensor  # (B, C, H, W) in [-1, 1]
    frame: Tensor  # (B, 4): original height and width, top and left of the crop; (B, 6) with buckets: H and W, too
    rows: Tensor  # (B,): which pictures


@dataclass(frozen=True)
class Pictures:
    """Decoded pictures, scaled so that they cover what the model sees; crops of `size` are cut while drawing.

    images: one uint8 (C, h, w) per picture; shrunk: the same after a passage through half the resolution, or ().
    originals: (N, 2), height and width of each file. captions: one per picture.
    """

    images: tuple[Tensor, ...]
    shrunk: tuple[Tensor, ...]
    originals: Tensor
    captions: tuple[str, ...]
    size: tuple[int, int]
    """Height and width of what the model sees."""
    sizes: tuple[tuple[int, int], ...] = ()
    """With buckets: the same of each picture."""

    def __len__(self) -> int:
        return len(self.images)

    def draw(self, rows: Tensor, generator: torch.Generator, share: float = 0.0) -> Batch:
        """Random crops of the pictures `rows` (B,), a `share` of them from the shrunk versions."""
        halved = torch.rand(len(rows), generator=generator) < share
        return self.cropped(rows, halved, torch.rand(len(rows), 2, generator=generator))

    def cropped(self, rows: Tensor, halved: Tensor, place: Tensor) -> Batch:
        """Crops of the pictures `rows` (B,), of the shrunk version where `halved` (B,), at `place` (B, 2) in [0, 1]."""
        pixels, frames = [], []
        for row, half, at in zip(rows.tolist(), halved.tolist(), place, strict=True):
            image = self.shrunk[row] if half else self.images[row]
            size = self.size_of(row)
            spare = torch.tensor(image.shape[1:]) - torch.tensor(size)
            corner = (at * (spare + 1)).long().minimum(spare)
            pixels.append(crop(image, corner.tolist(), size))
            original = (self.originals[row] + 1) // 2 if half else self.originals[row]
            frames.append(torch.cat([original, corner, torch.tensor(size if self.sizes else ()).long()]))
        return Batch(as_pixels(stacked(pixels)), torch.stack(frames).float(), rows)

    def centred(self, rows: Tensor | None = None) -> Batch:
        """The same without chance: centre crops at full resolution, of all pictures unless told which."""
        rows = torch.arange(len(self)) if rows is None else rows
        pixels, frames = [], []
        for row in rows.tolist():
            image, size = self.images[row], self.size_of(row)
            corner = [(n - own) // 2 for n, own in zip(image.shape[1:], size, strict=True)]
            pixels.append(crop(image, corner, size))
            frames.append([*self.originals[row].tolist(), *corner, *(size if self.sizes else ())])
        return Batch(as_pixels(stacked(pixels)), torch.tensor(frames).float(), rows)

    def size_of(self, row: int) -> tuple[int, int]:
        """Height and width of what the model sees of one."""
        return self.sizes[row] if self.sizes else self.size

    def rows(self, n: int, generator: torch.Generator) -> Tensor:
        """(n,) pictures drawn for a batch, all of one shape: of each shape as often as there are pictures of it."""
        if not self.sizes:
            return torch.randint(len(self), (n,), generator=generator)
        shape = self.sizes[int(torch.randint(len(self), (), generator=generator))]
        inside = self.by_shape()[shape]
        return inside[torch.randint(len(inside), (n,), generator=generator)]

    def by_shape(self, rows: Tensor | None = None) -> dict[tuple[int, int], Tensor]:
        """Those of the pictures `rows`, of all unless told which, that are seen in each shape."""
        rows = torch.arange(len(self)) if rows is None else rows
        found: dict[tuple[int, int], list[int]] = {}
        for row in rows.tolist():
            found.setdefault(self.size_of(row), []).append(row)
        return {shape: torch.tensor(those) for shape, those in sorted(found.items())}

    def commonest(self) -> "Pictures":
        """Those of the shape that most have."""
        return self if not self.sizes else self.select(max(self.by_shape().values(), key=len).tolist())

    def select(self, rows: Sequence[int]) -> "Pictures":
        """The pictures `rows` alone."""
        return Pictures(
            tuple(self.images[k] for k in rows),
            tuple(self.shrunk[k] for k in rows) if self.shrunk else (),
            self.originals[list(rows)],
            tuple(self.captions[k] for k in rows),
            self.size,
            tuple(self.sizes[k] for k in rows) if self.sizes else (),
        )

    def readable(self, text: TextModel) -> tuple["Pictures", int]:
        """Those whose captions a text model takes, and how many others there are; ValueError where it takes none."""
        rows = [k for k, caption in enumerate(self.captions) if text.takes(caption)]
        if not rows:
            raise ValueError(
                f"none of {len(self)} held-out captions has only words of the training set, such as "
                f"{self.captions[0]!r}: use text kind clip or sentence, or more pictures"
            )
        return (self, 0) if len(rows) == len(self) else (self.select(rows), len(self) - len(rows))

    def split(self, share: float, seed: int = 0) -> tuple["Pictures", "Pictures"]:
        """(training, held out): the same split for the same seed, each caption's pictures divided alike."""
        order = np.random.default_rng(seed).permutation(len(self))
        order = sorted(order, key=lambda k: self.captions[k])  # stable: random inside each caption
        held = {k for place, k in enumerate(order) if math.floor((place + 1) * share) > math.floor(place * share)}
        train = [k for k in range(len(self)) if k not in held]
        if not held or not train:
            raise ValueError(f"{len(self)} pictures cannot be divided with a held-out share of {share}: add pictures")
        return self.select(train), self.select(sorted(held))

    def typical(self) -> tuple[float, float, float, float]:
        """Original size and crop corner of a typical picture of the shape `size`, cut at its centre: what to ask for
        unless told else. Of other shapes originals count as if they were stretched to it."""
        frames = torch.cat([self.centred(rows).frame[:, :4] for rows in self.by_shape().values()])
        seen = torch.cat([torch.tensor([shape] * len(rows)) for shape, rows in self.by_shape().items()])
        frames[:, :2] *= torch.tensor(self.size) / seen
        return tuple(frames.median(0).values.tolist())


def stacked(pixels: Sequence[Tensor]) -> Tensor:
    """ValueError where they are of several shapes."""
    if len(shapes := {tuple(x.shape[1:]) for x in pixels}) > 1:
        names = ", ".join(f"{height} x {width}" for height, width in sorted(shapes))
        raise ValueError(f"pictures of several shapes ({names}) are no batch: take those of one (`by_shape`)")
    return torch.stack(list(pixels))


def crop(image: Tensor, corner: Sequence[int], size: tuple[int, int]) -> Tensor:
    (top, left), (height, width) = corner, size
    return image[:, top : top + height, left : left + width]


def as_pixels(images: Tensor) -> Tensor:
    """uint8 -> [-1, 1]."""
    return images.float() / 127.5 - 1


def gather(
    images: Sequence[Image.Image], captions: Sequence[str], picture: PictureConfig, data: DataConfig
) -> Pictures:
    """Pictures of PIL images, scaled as `data.zoom` says, each to the shape nearest to its own."""
    mode, whole, half = {1: "L", 3: "RGB"}[picture.channels], [], []
    sizes = [nearest(image, picture.shapes) for image in images]
    for image, size in zip(images, sizes, strict=True):
        check_sides(image)
        image, least = image.convert(mode), tuple(round(n * data.zoom) for n in size)
        whole.append(scaled(image, least))
        if data.shrunk:
            small = image.resize([max(1, (n + 1) // 2) for n in image.size], Image.Resampling.BICUBIC)
            half.append(scaled(small, least, like=whole[-1]))
    originals = torch.tensor([[image.height, image.width] for image in images])
    known = tuple(sizes) if picture.buckets else ()
    return Pictures(tuple(whole), tuple(half), originals, tuple(captions), picture.shape, known)


def nearest(image: Image.Image, shapes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The height and width whose ratio is nearest to a picture's, by their logarithms."""
    own = math.log(image.height / image.width)
    return min(shapes, key=lambda shape: abs(math.log(shape[0] / shape[1]) - own))


def check_sides(image: Image.Image) -> None:
    """ValueError for a picture so narrow that it would be huge with its shorter side as the model wants it."""
    if max(image.size) > NARROWEST * min(image.size):
        width, height = image.size
        raise ValueError(
            f"{width} x {height} pixels: one side may be {NARROWEST} times the other at most; cut it first"
        )


def scaled(image: Image.Image, least: tuple[int, int], like: Tensor | None = None) -> Tensor:
    """uint8 (C, h, w) that just covers `least`, height and width, or of the shape of another."""
    wanted = least[::-1]  # as Pillow counts: width, height
    factor = max(n / own for n, own in zip(wanted, image.size, strict=True))
    width, height = (
        (max(n, round(own * factor)) for n, own in zip(wanted, image.size, strict=True))
        if like is None
        else (like.shape[2], like.shape[1])
    )
    pixels = np.array(image.resize((width, height), Image.Resampling.BICUBIC))
    return torch.from_numpy(pixels.reshape(height, width, -1)).permute(2, 0, 1).contiguous()


def read_digits(picture: PictureConfig, data: DataConfig) -> Pictures:
    """The 1,797 handwritten digits (8 x 8) inside scikit-learn, captioned "a handwritten seven".

    From the test set of E. Alpaydin and C. Kaynak's "Optical Recognition of Handwritten Digits" (UCI, CC BY 4.0).
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError('scikit-learn brings the digits: in a clone of ecgtwin run pip install ".[image]"') from error
    found = load_digits()
    images = [Image.fromarray((x * (255 / 16)).round().astype(np.uint8)) for x in found.images]
    return gather(images, [f"a handwritten {DIGITS[k]}" for k in found.target], picture, data)


def read_folder(folder: str | Path, picture: PictureConfig, data: DataConfig) -> Pictures:
    """Every image below a folder with its caption.

    Captions come from `metadata.jsonl` (file_name and text or caption), else from `captions.csv` (columns file and
    caption), else from a text file of the same name beside each image (cat.jpg, cat.txt).
    Raises FileNotFoundError where there is no image, and ValueError that names every file that cannot be read, has no
    caption, or is captioned and absent.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}: expected a folder of images with captions")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in ENDINGS and p.is_file())
    if not paths:
        raise FileNotFoundError(f"no image in {folder}: expected files that end in {', '.join(ENDINGS)}")
    captions = read_captions(folder, paths)
    images, broken = [], []
    for path in paths:
        try:
            images.append(read_image(path))
        except (OSError, ValueError, SyntaxError) as error:
            broken.append(f"{path.relative_to(folder)} ({error})")
    complain(folder, "cannot be read as an image", broken)
    return gather(images, [captions[path] for path in paths], picture, data)


def read_image(path: Path) -> Image.Image:
    """One image, whole and upright, transparency over white; ValueError for more than 8 bits per channel, for more
    pixels than Pillow takes for an honest picture, and as `check_sides`."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            file = Image.open(path)
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise ValueError(f"{error}: give a smaller picture") from None
    with file:
        check_sides(file)
        file.load()
        if file.mode.startswith(("I", "F")):
            raise ValueError(f"{file.mode} pixels: save it with 8 bits per channel")
        image = ImageOps.exif_transpose(file)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
        return image.copy()


def read_captions(folder: Path, paths: Sequence[Path]) -> dict[Path, str]:
    """The caption of every image, as `read_folder` says."""
    lines, table = folder / "metadata.jsonl", folder / "captions.csv"
    if lines.is_file():
        found = {folder / name: text for name, text in parse_jsonl(lines)}
    elif table.is_file():
        found = {folder / name: text for name, text in parse_csv(table)}
    else:
        beside = {path: path.with_suffix(".txt") for path in paths}
        found = {p: t.read_text(encoding="utf-8").strip() for p, t in beside.items() if t.is_file()}
    named = set(paths)
    complain(folder, "have a caption but are not there", [p.relative_to(folder) for p in found if p not in named])
    complain(folder, "have no caption", [p.relative_to(folder) for p in paths if not found.get(p)])
    return found


def parse_jsonl(path: Path) -> list[tuple[str, str]]:
    pairs = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            pairs.append((str(row["file_name"]), str(row["text"] if "text" in row else row["caption"]).strip()))
        except (ValueError, KeyError, TypeError):
            raise ValueError(
                f'{path}, line {number}: expected {{"file_name": "cat.jpg", "text": "a cat"}}, found {line[:80]!r}'
            ) from None
    return pairs


def parse_csv(path: Path) -> list[tuple[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if not {"file", "caption"} <= set(reader.fieldnames or ()):
            raise ValueError(f"{path} has columns {reader.fieldnames}: expected file and caption")
        return [(row["file"] or "", (row["caption"] or "").strip()) for row in reader]


def complain(folder: Path, what: str, found: Sequence[object]) -> None:
    """ValueError that names the first of the files found wanting, and counts the rest."""
    if found:
        more = f" and {len(found) - 8} more" if len(found) > 8 else ""
        raise ValueError(f"{folder}: {len(found)} files {what}: {', '.join(map(str, found[:8]))}{more}")
