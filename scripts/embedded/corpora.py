"""Reading the corpora: sentences with person, location and organisation tags."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG"]
WIKIGOLD = "wikigold/wikigold.conll.txt"
UNER_DEV = "uner-english-ewt/en_ewt-ud-dev.iob2"
UNER_TEST = "uner-english-ewt/en_ewt-ud-test.iob2"
TWITTER = "broad-twitter"


@dataclass(frozen=True)
class Sentence:
    """Words of one sentence with one BIO tag each."""

    id: str
    tokens: list[str]
    tags: list[str]


@dataclass(frozen=True)
class Corpora:
    """Sentences for all epochs (focus), for the first (extra), and held out."""

    focus: list[Sentence]
    extra: list[Sentence]
    held: list[Sentence]


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


def load_corpora(folder: Path, sections: str, holdout: int) -> Corpora:
    """Read the training corpora; with ``holdout``, set every n-th document aside."""
    dev = read_uner(folder / UNER_DEV)
    held: list[Sentence] = []
    if holdout:
        dev, held = split_documents(dev, holdout)
    extra = read_twitter(folder / TWITTER, sections)
    return Corpora(dev + read_columns(folder / WIKIGOLD), extra, held)
