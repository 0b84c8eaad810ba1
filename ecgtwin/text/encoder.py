"""Statements as vectors: sentence encoders behind one protocol, and a cache on disk.

An encoder is needed to embed new statements (training, `scripts/embed_statements.py`); generating needs none, since a
model carries the table of what it knows. The extra `text` brings what the encoders import.

All encoders read a folder with safetensors weights. They are offline unless told otherwise, run no code of the model's
author, and never unpickle.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable
from uuid import uuid4

import numpy as np

FILES = (
    "*.safetensors", "*.safetensors.index.json", "config.json", "*tokenizer*.json", "special_tokens_map.json",
    "added_tokens.json", "vocab.*", "merges.txt", "*.model", "modules.json", "sentence_*_config.json",
    "config_sentence_transformers.json",
)  # fmt: skip
"""The files of a model folder that decide its vectors; there may be more of them in `1_Pooling`, `2_Dense`, ..."""


@runtime_checkable
class ReportEncoder(Protocol):
    """Turns statements into vectors.

    name: for people. width: length of a vector. fingerprint: hash of everything that decides the vectors, so that two
    encoders with the same fingerprint give the same vectors, wherever their files lie.
    """

    name: str
    width: int
    fingerprint: str

    def encode(self, statements: Sequence[str]) -> np.ndarray:
        """Vectors (N, width), float32."""
        ...


class SentenceTransformerEncoder:
    """Any model that sentence-transformers reads: all-MiniLM-L6-v2 (width 384), e5, gte, ...

    path_or_name: a folder, or the name of a model on the Hugging Face hub. The hub is asked only with `offline=False`;
    otherwise a name must be in the local cache already. prefix: put before each statement ("query: " for e5).
    matryoshka: keep only the first so many coordinates and normalise again, for models trained for that. name: what to
    call it (default: its folder's name).
    """

    def __init__(
        self,
        path_or_name: str | Path,
        *,
        offline: bool = True,
        prefix: str = "",
        matryoshka: int | None = None,
        name: str | None = None,
    ):
        folder = model_folder(path_or_name, offline=offline)
        self._model = sentence_transformer(folder)
        full = len(self._model.encode(["sinus rhythm"], show_progress_bar=False)[0])
        self.width = checked_width(matryoshka or full, full)
        self.name = name or folder_name(path_or_name)
        self._prefix, self._cut = prefix, self.width < full
        self.fingerprint = fingerprint(folder, {"kind": "sentence-transformer", "prefix": prefix, "width": self.width})

    def encode(self, statements: Sequence[str]) -> np.ndarray:
        if not len(statements):
            return np.zeros((0, self.width), np.float32)
        texts = [self._prefix + statement for statement in statements]
        vectors = np.asarray(self._model.encode(texts, batch_size=64, show_progress_bar=False), np.float32)
        return unit(vectors[:, : self.width]) if self._cut else vectors


class NomicEncoder:
    """nomic-embed-text-v1.5 (Nussbaum et al. 2024, arXiv 2402.01613) through transformers' own NomicBert.

    As the published ECG model uses it: no task prefix; mean of the token vectors under the mask; layer norm without
    weights; the first `width` coordinates (Matryoshka; 768 is all); unit length.

    path: the model's folder. transformers >= 5.5 has the network, so that no code from the model's folder runs.
    """

    def __init__(self, path: str | Path, width: int = 768, *, offline: bool = True, name: str | None = None):
        folder = model_folder(path, offline=offline)
        try:
            import torch
            from transformers import AutoTokenizer, NomicBertConfig, NomicBertModel
        except ImportError as error:
            raise ImportError(MISSING.format("transformers >= 5.5")) from error
        settings = nomic_settings(folder)
        self._torch = torch
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        self._model, report = NomicBertModel.from_pretrained(
            folder,
            config=NomicBertConfig(**settings),
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
        check_weights(folder, "NomicBert", report)
        self._model.eval()
        self.width = checked_width(width, self._model.config.hidden_size)
        self.name = name or folder_name(path)
        self.fingerprint = fingerprint(folder, {"kind": "nomic", "width": self.width})

    def encode(self, statements: Sequence[str]) -> np.ndarray:
        if not len(statements):
            return np.zeros((0, self.width), np.float32)
        return np.concatenate([self._batch(list(statements[i : i + 64])) for i in range(0, len(statements), 64)])

    def _batch(self, statements: list[str]) -> np.ndarray:
        torch = self._torch
        tokens = self._tokenizer(statements, padding=True, truncation=True, max_length=512, return_tensors="pt")
        with torch.inference_mode():
            states = self._model(**tokens).last_hidden_state  # (N, T, hidden)
            mask = tokens["attention_mask"].unsqueeze(-1).to(states.dtype)
            mean = (states * mask).sum(1) / mask.sum(1)
            mean = torch.nn.functional.layer_norm(mean, mean.shape[-1:])[:, : self.width]
            return torch.nn.functional.normalize(mean, dim=-1).numpy()


class CachedEncoder:
    """An encoder that embeds each statement once and keeps the vector in a folder.

    One small file per (fingerprint, statement), written whole or not at all, so that processes may share the folder.
    """

    def __init__(self, encoder: ReportEncoder, folder: str | Path):
        self._encoder = encoder
        self.name, self.width, self.fingerprint = encoder.name, encoder.width, encoder.fingerprint
        self._folder = Path(folder) / encoder.fingerprint[:32]

    def encode(self, statements: Sequence[str]) -> np.ndarray:
        missing = [s for s in dict.fromkeys(statements) if not self._file(s).is_file()]
        if missing:
            self._folder.mkdir(parents=True, exist_ok=True)
            for statement, vector in zip(missing, self._encoder.encode(missing), strict=True):
                self._write(self._file(statement), vector)
        vectors = {s: self._read(self._file(s)) for s in dict.fromkeys(statements)}
        return np.array([vectors[s] for s in statements], np.float32).reshape(len(statements), self.width)

    def _file(self, statement: str) -> Path:
        return self._folder / (hashlib.sha256(statement.encode()).hexdigest() + ".npy")

    def _read(self, file: Path) -> np.ndarray:
        vector = np.load(file, allow_pickle=False)
        if vector.shape != (self.width,):
            raise ValueError(f"{file} holds shape {vector.shape}: expected ({self.width},); delete the file")
        return vector

    def _write(self, file: Path, vector: np.ndarray) -> None:
        part = file.with_suffix(f".{os.getpid()}-{uuid4().hex}.part")
        try:
            with part.open("wb") as stream:
                np.save(stream, np.asarray(vector, np.float32), allow_pickle=False)
            os.replace(part, file)
        finally:
            part.unlink(missing_ok=True)


MISSING = '{} is not installed: embedding new statements needs it; in a clone of ecgtwin run pip install ".[text]"'


def sentence_transformer(folder: Path):
    """A model that sentence-transformers reads, on the CPU; nothing is fetched and no code
    of the model's author runs."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ImportError(MISSING.format("sentence-transformers")) from error
    safe = {"use_safetensors": True}
    return SentenceTransformer(
        str(folder), device="cpu", local_files_only=True, trust_remote_code=False, model_kwargs=safe
    ).eval()


def check_weights(folder: Path, kind: str, report: dict) -> None:
    """ValueError where a checkpoint lacks weights, which the library would replace by random ones."""
    absent = sorted(report["missing_keys"])
    if absent:
        raise ValueError(
            f"{folder} lacks weights of a {kind}, among them {absent[:3]}: it is incomplete or another kind"
        )


def model_folder(path_or_name: str | Path, *, offline: bool = True) -> Path:
    """The folder of a model: a path as it is, else a name in the local Hugging Face cache (not offline: on the hub).

    FileNotFoundError: it is nowhere, or has no safetensors weights.
    """
    folder = Path(path_or_name).expanduser()
    if not folder.is_dir():
        folder = _hub_folder(str(path_or_name), offline)
    if not any(folder.glob("*.safetensors")):
        raise FileNotFoundError(f"no *.safetensors in {folder}: expected a model folder with safetensors weights")
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"no config.json in {folder}: expected a complete model folder")
    return folder


def _hub_folder(name: str, offline: bool) -> Path:
    looks_like_path = name.count("/") > 1 or name.startswith((".", "~", "/")) or not name.strip("/ ")
    if not looks_like_path:
        try:
            from huggingface_hub import snapshot_download
        except ImportError as error:
            raise ImportError(MISSING.format("huggingface-hub")) from error
        try:
            wanted = [*FILES, *(f"[0-9]*_*/{pattern}" for pattern in FILES)]
            return Path(snapshot_download(name, local_files_only=offline, allow_patterns=wanted))
        except Exception as error:  # the hub's own exceptions differ between its versions; the cause is chained
            where = "the local cache (offline; `offline=False` would ask the hub)" if offline else "the hub"
            raise FileNotFoundError(f"no encoder {name!r}: it is neither a folder nor in {where}") from error
    raise FileNotFoundError(f"no encoder folder {name!r}: give the folder of a sentence-transformers or nomic model")


AUTHORS = {
    "vocab_size": "vocab_size",
    "n_embd": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_inner": "intermediate_size",
    "n_positions": "max_position_embeddings",
    "type_vocab_size": "type_vocab_size",
    "layer_norm_epsilon": "layer_norm_eps",
}
"""Names in the configuration that nomic publishes -> those of transformers, which would pass over the former."""
ALWAYS = {
    "activation_function": "swiglu",
    "prenorm": False,
    "qkv_proj_bias": False,
    "mlp_fc1_bias": False,
    "mlp_fc2_bias": False,
    "rotary_emb_fraction": 1.0,
    "rotary_emb_interleaved": False,
    "rotary_scaling_factor": None,
}
"""What the authors' configuration must say for transformers' NomicBert to be the same network."""


def nomic_settings(folder: Path) -> dict:
    """Arguments of NomicBertConfig, from either form of config.json. ValueError: the model is another network."""
    raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if raw.get("model_type") != "nomic_bert":
        kind = raw.get("model_type")
        raise ValueError(f"{folder} holds a {kind!r} model: expected 'nomic_bert'; use SentenceTransformerEncoder")
    if "n_embd" not in raw:
        return {k: v for k, v in raw.items() if k not in ("auto_map", "model_type", "transformers_version")}
    for name, value in ALWAYS.items():
        if raw.get(name, value) != value:
            raise ValueError(f"{folder}: {name} is {raw[name]!r}, expected {value!r} as in nomic-embed-text-v1.5")
    if raw.get("num_experts"):
        raise ValueError(f"{folder} is a mixture of experts: expected nomic-embed-text-v1.5 or its like")
    rope = {"rope_type": "default", "rope_theta": float(raw.get("rotary_emb_base", 1000))}
    return {ours: raw[name] for name, ours in AUTHORS.items() if name in raw} | {"rope_parameters": rope}


def fingerprint(folder: str | Path, settings: dict) -> str:
    """SHA-256 over settings and a model's weight, tokenizer and configuration files: names within it and contents."""
    folder, total = Path(folder), hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    paths = {p for pattern in FILES for p in (*folder.glob(pattern), *folder.glob(f"[0-9]*_*/{pattern}"))}
    for path in sorted(paths, key=lambda p: p.relative_to(folder).as_posix()):
        with path.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        total.update(f"\n{path.relative_to(folder).as_posix()} {content}".encode())
    return total.hexdigest()


def folder_name(path_or_name: str | Path) -> str:
    return Path(path_or_name).expanduser().resolve().name


def checked_width(width: int, full: int) -> int:
    if not 1 <= width <= full:
        raise ValueError(f"width {width}: this encoder gives 1 to {full} coordinates")
    return int(width)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows at unit length."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
