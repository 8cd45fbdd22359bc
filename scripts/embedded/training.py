"""The encoder with a new head, and its training."""

import copy
import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForTokenClassification, AutoTokenizer

from embedded.corpora import LABELS, Corpora
from embedded.encoding import NO_LABEL, Example, encode, pad
from embedded.measurement import measure
from embedded.recipe import Recipe
from embedded.vocabulary import SPECIAL, choose_pieces, encoder_folder, pruned_tokenizer, save_tokenizer

log = logging.getLogger("build_embedded")


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
