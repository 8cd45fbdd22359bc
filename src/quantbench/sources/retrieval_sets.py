"""Retrieval data sets of the hub: queries, passages and judgments in configurations of their own.

Names and columns as they stand on the hub (looked up in November 2026):

* mteb: ``corpus`` and ``queries`` with ``_id`` or ``id``, ``title`` and ``text``; judgments in ``default`` or ``qrels``
  with ``query-id``, ``corpus-id`` and ``score``; of a set in several languages ``NAME-corpus``, ``NAME-queries`` and
  ``NAME-qrels``. What is to be reranked stands in ``top_ranked``: ``query-id`` and ``corpus-ids``, a list.
* BeIR: ``corpus`` and ``queries``; the judgments are another data set, which is called so with ``-qrels`` behind it.
* NanoBEIR: ``corpus``, ``queries`` and ``qrels`` without scores, all with a split per data set.

Queries and passages are of the split that is judged, or of the only one that there is, as in mteb's own loader.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quantbench.schema.settings import Dataset
from quantbench.sources import repositories
from quantbench.sources.cells import CORPUS, missing, number, some
from quantbench.sources.hub import mistake
from quantbench.sources.joined import QUERIES, Judgment, add_text

JUDGED = ("default", "qrels")
RANKED, INSTRUCTED = "top_ranked", ("instruction", "instructions")
APART = "-qrels"
"""What follows the name of a data set in that of its judgments, where they are another."""
IDS = ("_id", "id")
QUERY, PASSAGE, PASSAGES, SCORE = "query-id", "corpus-id", "corpus-ids", "score"
TOLD = 1
"""Grade of a judgment without a score."""


def find(dataset: Dataset) -> RetrievalSet | None:
    """The data set's collection; None if it has no such configurations.

    Raises:
        BadInput: at ``dataset.path``, if it has passages and queries and what else it needs is not there, or not read.

    """
    known = repositories.configurations(dataset)
    before = f"{dataset.name}-" if dataset.name else ""
    if not {f"{before}{CORPUS}", f"{before}{QUERIES}"} <= set(known):
        return None
    told = [f"{before}{part}" for part in INSTRUCTED if f"{before}{part}" in known]
    if told:
        message = f"{dataset.path!r} has instructions to its queries ({told[0]}), which are not read"
        raise mistake("dataset.path", f"{message}; write them into the queries of a set of your own")
    plain = dataset.model_copy(update={"name": None})
    judged = next((part for part in JUDGED if f"{before}{part}" in known), None)
    place = _of(plain, f"{before}{judged}") if judged else _apart(plain)
    ranked = f"{before}{RANKED}" if f"{before}{RANKED}" in known else None
    return RetrievalSet(plain, before, place, ranked)


def _of(dataset: Dataset, configuration: str | None) -> Dataset:
    """A configuration of a data set, whose ids are texts whatever they look like."""
    keys = {name: name for name in (*IDS, QUERY, PASSAGE)}
    return dataset.model_copy(update={"name": configuration, "data_keys": keys, "ref_keys": ()})


def _apart(dataset: Dataset) -> Dataset:
    """The data set of the judgments of another."""
    apart = _of(dataset.model_copy(update={"path": f"{dataset.path.rstrip('/')}{APART}", "revision": None}), None)
    try:
        repositories.split_names(apart)
    except Exception as error:
        message = f"{dataset.path!r} has queries and passages, and no judgments: neither {' nor '.join(JUDGED)} is a"
        told = f"configuration of it, and {apart.path!r} cannot be had"
        raise mistake("dataset.path", f"{message} {told}; add one of them") from error
    return apart


@dataclass(frozen=True)
class RetrievalSet:
    """A data set of this kind; see ``joined.Collection``.

    Attributes:
        dataset: its path and revision.
        before: what stands before the names of its configurations.
        judged: where its judgments are.
        ranked: the configuration of what is to be reranked, None where there is none.

    """

    dataset: Dataset
    before: str
    judged: Dataset
    ranked: str | None

    def splits(self) -> list[str]:
        """Those of its judgments."""
        return repositories.split_names(self.judged)

    def named(self, part: str) -> str:
        """The configuration's name."""
        return f"the configuration {self.before}{part} of {self.dataset.path!r}"

    def texts(self, part: str, splits: Sequence[str]) -> dict[str, str]:
        """Texts by id, of these splits or of the only one."""
        where, found = self.named(part), dict[str, str]()
        place = _of(self.dataset, f"{self.before}{part}")
        for split in self._own(place, splits):
            data = repositories.load(place, split)
            names = [name for name in IDS if name in data.column_names]
            if not names or "text" not in data.column_names:
                message = f"{where} has the columns {some(data.column_names)}"
                raise mistake("dataset.path", f"{message}; it needs {' or '.join(IDS)}, and text")
            read = [name for name in ("title", "text") if name in data.column_names]
            columns = [data[name][:] for name in (names[0], *read)]
            for count, (key, *cells) in enumerate(zip(*columns, strict=True), start=1):
                add_text(found, key, dict(zip(read, cells, strict=True)), f"row {count} of {split!r} of {where}")
        return found

    def judgments(self, split: str) -> Iterator[Judgment]:
        """What a split judges; the grade is 1 where nothing says it."""
        where = f"of {split!r} of {self.judged.path!r}"
        data = self._table(self.judged, split, (QUERY, PASSAGE))
        scores = data[SCORE][:] if SCORE in data.column_names else [TOLD] * len(data)
        for count, (query, cell, score) in enumerate(zip(data[QUERY], data[PASSAGE], scores, strict=True), start=1):
            for passage in cell if isinstance(cell, list) else [cell]:
                if missing(query) or missing(passage):
                    raise mistake("dataset.path", f"row {count} {where} lacks {QUERY} or {PASSAGE}; write both")
                yield Judgment(f"row {count} {where}", str(query), str(passage), _grade(score, f"row {count} {where}"))

    def candidates(self, split: str) -> Mapping[str, Sequence[str]]:
        """What is to be reranked for each query."""
        if self.ranked is None:
            return {}
        place, found = _of(self.dataset, self.ranked), dict[str, list[str]]()
        for own in self._own(place, [split]):
            data = self._table(place, own, (QUERY, PASSAGES))
            for query, passages in zip(data[QUERY], data[PASSAGES], strict=True):
                found.setdefault(str(query), []).extend(map(str, passages))
        return found

    def _own(self, place: Dataset, splits: Sequence[str]) -> list[str]:
        """The splits of a configuration that stand for others: those of the same names, or the only one."""
        known = repositories.split_names(place)
        if len(known) == 1:
            return known
        absent = [split for split in splits if split not in known]
        if absent:
            message = f"the configuration {place.name} of {place.path!r} has no split {absent[0]!r}"
            raise mistake("dataset.path", f"{message}; it has {some(known)}")
        return list(dict.fromkeys(splits))

    def _table(self, place: Dataset, split: str, columns: Sequence[str]) -> Any:
        data = repositories.load(place, split)
        absent = [name for name in columns if name not in data.column_names]
        if absent:
            message = (
                f"split {split!r} of {place.name or 'the judgments'} of {place.path!r} has no column {absent[0]!r}"
            )
            raise mistake("dataset.path", f"{message}; it has {some(data.column_names)}")
        return data


def _grade(score: Any, where: str) -> int:
    try:
        found = number(score)
    except ValueError:
        found = None
    if found is None or not found.is_integer():
        raise mistake("dataset.path", f"{where} has the score {score!r}; what a passage is worth is a whole number")
    return int(found)
