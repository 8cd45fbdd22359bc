"""Retrieval: which passages an embedding model finds for a query, among all passages of a split.

Queries and passages are embedded each by itself, with a prompt of their own, as ``feature_extraction`` embeds texts;
for every query all passages are ranked by how near they are. There is one row of outcomes per query. The corpus is what
the rows' passages and the column of ``data_keys.corpus`` hold together, over the whole split, however many queries of
it are evaluated; it is embedded once per arm. Of other rows, such as those that a search tries versions on, it is their
own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, JsonValue

from quantbench.plugins.examples import Prediction
from quantbench.plugins.options import typed
from quantbench.plugins.protocols import Likelihood, Rule
from quantbench.schema.base import digest
from quantbench.schema.results import Scores
from quantbench.schema.settings import Settings, Sources, TaskArgs
from quantbench.served import queries
from quantbench.served import retrieval as served
from quantbench.served.feature_extraction import cosines
from quantbench.sources import cells, judgments, sentence_transformers
from quantbench.sources.hub import mistake
from quantbench.sources.judgments import Judged, Passage
from quantbench.tasks import _embeddings, _ranking
from quantbench.tasks._text import SearchProcessor

SUMMARY = "the passages of a corpus that an embedding model finds for a query"
PIPELINE_TAG = "feature-extraction"
AUTO_CLASS = "AutoModel"
ARCHITECTURE_SUFFIX = ""
DATA_KEYS = judgments.DATA_KEYS
KEPT = "kept"
COSINE = "cosine"
METRICS: Mapping[str, tuple[str, ...]] = {
    name: (name,) for name in (*_ranking.at_every(_ranking.CUTOFFS, (*_ranking.AT_DEPTH, KEPT)), COSINE)
}
OUTPUTS = {"last_hidden_state": {0: "batch_size", 1: "sequence_length"}}
PROCESSOR = SearchProcessor
SERVED = served
LIBRARIES: tuple[str, ...] = ()
EXTRA = ""
QUERY_PROMPTS = ("query",)
PASSAGE_PROMPTS = ("document", "passage", "corpus")
"""Names of a folder's prompts; the first that says something is the default."""
BLOCK = 64
"""Queries that are held against all passages at once."""
DOUBTED = 4096
"""Inputs that are looked at for unknown tokens."""


class Args(TaskArgs, extra="forbid"):
    """Options of this task.

    ``k`` is how deep rankings are looked at, one depth or several; the first is that of the limit. ``pooling`` is that
    of feature-extraction. ``query_prompt`` stands before every query, ``passage_prompt`` before every passage: the name
    of a prompt of the folder, or a text; by default what the folder names ``query``, and the first of ``document``,
    ``passage`` and ``corpus``, else none. ``similarity`` is by default what the folder says, else the cosine.
    """

    k: _ranking.Cutoffs = (10,)
    pooling: _embeddings.Pooling | None = None
    query_prompt: Annotated[str, Field(strict=True)] | None = None
    passage_prompt: Annotated[str, Field(strict=True)] | None = None
    similarity: Literal["cosine", "dot"] | None = None


RULES: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class SearchedExamples(served.Encoded):
    """Tokenized queries and passages, and what is right.

    Attributes:
        truths: of each query, with passages by their numbers.
        own: number of the passage that has the id of the query, which is not ranked for it; None where there is none.
        depths: how deep rankings are looked at.
        similarity: see ``served.similarities``.
        samples: of each query its input and that of one of its passages.
        fingerprint: hash of all of this.
        notes: what a reader of the scores must know.

    """

    truths: Sequence[_ranking.Truth]
    own: Sequence[int | None]
    depths: Sequence[int]
    similarity: str
    samples: Sequence[int]
    fingerprint: str
    notes: tuple[str, ...]


def known_metrics(sources: Sources) -> tuple[str, ...]:
    """All measures at the depths that are asked for, and the cosine."""
    return (*_ranking.at_every(typed(Args, sources).k, (*_ranking.AT_DEPTH, KEPT)), COSINE)


def default_metrics(sources: Sources, labels: Sequence[str] = ()) -> tuple[str, ...]:
    """nDCG, MRR and recall at the depths that are asked for, and the cosine."""
    return (*_ranking.at_every(typed(Args, sources).k), COSINE)


def default_limit(sources: Sources, labels: Sequence[str] = ()) -> tuple[str, float]:
    """NDCG at the first depth may drop by 0.005."""
    return _ranking.name("ndcg", typed(Args, sources).k[0]), _ranking.DROP


def likelihood(sources: Sources) -> Likelihood:
    """``gaussian``: every number of an embedding is a mean with variance 1."""
    return "gaussian"


def check(settings: Settings, features: Any, split: str, labels: Sequence[str]) -> list[tuple[str, str]]:
    """Mistakes in the columns of a split, given its ``datasets.Features``."""
    found = judgments.check(settings, features, split)
    if not found and cells.CORPUS in features and cells.CORPUS not in settings.dataset.data_keys:
        message = "the column 'corpus' is not read, so that passages which nobody judged could not be found"
        found.append(("dataset.data_keys", f"{message}; add corpus: corpus to data_keys"))
    return found


def check_model(sources: Sources, model_config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """No mistakes: every model that gives hidden states embeds."""
    return []


def references(sources: Sources, dataset: Any, labels: Sequence[str]) -> Sequence[Any]:
    """The grades of each query's passages, None where none are judged."""
    return judgments.grades(sources, dataset)


def prepare(sources: Sources, dataset: Any, processor: Any, model_config: Any) -> SearchedExamples:
    """Tokenize queries, and the corpus that they are looked for in.

    Raises:
        BadInput: at ``dataset.data_keys``, if an id stands for two texts.

    """
    args, asked = serving(sources, processor, model_config), typed(Args, sources)
    rows = judgments.read(sources, dataset)
    numbers, texts = _corpus(_passages(sources, cells.whole(dataset)))
    members = [[numbers[_key(passage)] for passage in row.passages if passage.text is not None] for row in rows]
    encoded = served.encode_texts([row.query for row in rows], texts, members, processor, args)
    truths = [_truth(row, numbers) for row in rows]
    own = [None if row.id is None else numbers.get(row.id) for row in rows]
    made = {
        "inputs": _ranking.fingerprint(encoded.inputs),
        "truths": [[sorted(truth.grades.items()), list(truth.absent)] for truth in truths],
        "own": own,
        "depths": asked.k,
        "args": args,
        "processor": processor.known(),
    }
    return SearchedExamples(
        **vars(encoded),
        truths=truths,
        own=own,
        depths=asked.k,
        similarity=str(args["similarity"]),
        samples=_samples(members),
        fingerprint=digest(made),
        notes=(*judgments.notes(rows), *_notes(encoded, own, processor, args)),
    )


def _passages(sources: Sources, dataset: Any) -> Iterator[Passage]:
    """All passages of rows, judged ones first."""
    keys = sources.dataset.data_keys
    for key in (judgments.PASSAGES, judgments.POSITIVE, judgments.NEGATIVE, cells.CORPUS):
        for row in judgments.passages_of(sources, dataset, key) if key in keys else ():
            yield from row


def _key(passage: Passage) -> str:
    """What tells a passage from others: its id, else its text."""
    return str(passage.text) if passage.id is None else passage.id


def _corpus(passages: Iterator[Passage]) -> tuple[dict[str, int], list[str]]:
    """Numbers by key, and texts by number: in the order of their ids, else in that in which they are met first.

    Of passages of equal score the one of the higher number stands first, so that ties fall as in trec_eval.
    """
    found: dict[str, str] = {}
    named = False
    for passage in passages:
        if passage.text is None:
            continue
        named = named or passage.id is not None
        if found.setdefault(_key(passage), passage.text) != passage.text:
            message = f"the id {passage.id!r} stands for two passages"
            raise mistake("dataset.data_keys", f"{message}; give each an id of its own, or none")
    names = sorted(found, key=str.encode) if named else list(found)
    return {name: number for number, name in enumerate(names)}, [found[name] for name in names]


def _truth(row: Judged, numbers: Mapping[str, int]) -> _ranking.Truth:
    """What is right for a query; of a passage that is judged twice the higher grade counts."""
    grades: dict[int, int] = {}
    for passage, grade in zip(row.passages, row.grades, strict=True):
        if passage.text is not None:
            number = numbers[_key(passage)]
            grades[number] = max(grade, grades.get(number, grade))
    absent = [grade for passage, grade in zip(row.passages, row.grades, strict=True) if passage.text is None]
    return _ranking.Truth(grades, absent)


def _samples(members: Sequence[Sequence[int]]) -> list[int]:
    """The input of each query and that of one of its passages, in turn the first, the second and so on."""
    found: list[int] = []
    for row, own in enumerate(members):
        found.append(row)
        if own:
            found.append(len(members) + own[row % len(own)])
    return found


def serving(sources: Sources, processor: Any, model_config: Mapping[str, Any]) -> dict[str, JsonValue]:
    """What texts are encoded, embedded and compared with, here and beside a deployed model.

    Raises:
        BadInput: if sources and the model's folder say another pooling, or the folder has no prompt of that name.

    """
    args, declared = typed(Args, sources), processor.declared
    return {
        "steps": _embeddings.steps(args.pooling, declared, model_config),
        "query_prompt": _prompt("query_prompt", args.query_prompt, declared, QUERY_PROMPTS),
        "passage_prompt": _prompt("passage_prompt", args.passage_prompt, declared, PASSAGE_PROMPTS),
        "similarity": args.similarity or _similarity(declared),
    }


def _prompt(
    option: str, asked: str | None, declared: sentence_transformers.Declared | None, usual: Sequence[str]
) -> str:
    """What stands before every text of a kind."""
    if asked is not None:
        return _embeddings.prompt(option, asked, declared)
    prompts = declared.prompts if declared else {}
    return next((prompts[name] for name in usual if prompts.get(name)), "")


def _similarity(declared: sentence_transformers.Declared | None) -> str:
    named = declared.similarity if declared else None
    if named is not None and named not in served.SIMILARITIES:
        message = f"the model's folder says the similarity {named}, which is not followed here"
        raise mistake("task_args.similarity", f"{message}; set it to one of {', '.join(served.SIMILARITIES)}")
    return named or served.SIMILARITIES[0]


def _notes(
    encoded: served.Encoded, own: Sequence[int | None], processor: Any, args: Mapping[str, Any]
) -> Iterator[str]:
    """How large the corpus is, how embeddings are made and compared, what was cut off or is unknown."""
    passages = len(encoded.inputs) - encoded.queries
    yield f"{encoded.queries} queries are looked for in {passages} passages, by the {args['similarity']} of embeddings"
    same = sum(number is not None for number in own)
    if same:
        yield f"queries for which the passage of the same id is not ranked, as in BEIR: {same}"
    limit = processor.facts.limit
    full = sum(cost == limit for cost in encoded.costs)
    if full:
        yield f"texts that reach the model's maximum of {limit} tokens and may be cut off: {full}"
    if processor.declared:
        yield processor.declared.describe("")
    for what in ("query", "passage"):
        if args[f"{what}_prompt"]:
            yield f"Before every {what} stands the prompt {args[f'{what}_prompt']!r}"
    yield from processor.notes
    yield from processor.doubts(encoded.inputs[:DOUBTED])


decode = served.decode


def score(examples: SearchedExamples, predictions: Sequence[Prediction], original: Sequence[Prediction]) -> Scores:
    """Outcomes per query; a query counts as changed where another passage is the first."""
    found, before = np.asarray(predictions), np.asarray(original)
    near = cosines(found, before)
    depths, outcomes, changed = examples.depths, [], 0
    rankings = zip(_rankings(examples, found), _rankings(examples, before), strict=True)
    for row, (ranking, first) in enumerate(rankings):
        truth = examples.truths[row]
        texts = [row, *(examples.queries + number for number in truth.grades)]
        kept = [len(set(ranking[:depth]) & set(first[:depth])) / max(1, len(first[:depth])) for depth in depths]
        outcomes.append((*_ranking.values(ranking, truth, depths), *kept, float(near[texts].mean())))
        changed += int(ranking[:1] != first[:1])
    columns = (*_ranking.at_every(depths), *_ranking.at_every(depths, (KEPT,)), COSINE)
    return Scores(
        metrics=metrics(columns, np.asarray(outcomes), np.ones(len(outcomes))),
        examples=len(outcomes),
        changed=changed,
        columns=columns,
        outcomes=tuple(outcomes),
    )


def _rankings(examples: SearchedExamples, embeddings: np.ndarray[Any, Any]) -> Iterator[list[int]]:
    """The numbers of the first passages of each query."""
    asked, passages = embeddings[: examples.queries], embeddings[examples.queries :]
    depth = max(examples.depths)
    for start in range(0, len(asked), BLOCK):
        block = served.similarities(asked[start : start + BLOCK], passages, examples.similarity)
        for row, scores in enumerate(block, start=start):
            ranking = queries.ranked(scores, depth + 1).tolist()
            yield [number for number in ranking if number != examples.own[row]][:depth]


metrics = _ranking.means
