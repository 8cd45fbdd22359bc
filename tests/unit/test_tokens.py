"""The longest input that models of all kinds of positions take, and what they are padded with."""

from types import SimpleNamespace

import pytest
import torch
from transformers import AutoConfig, AutoModel

from quantbench.served.tokens import NO_LIMIT, facts, longest, padding_id

SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 32,
    "max_position_embeddings": 20,
}
WITHOUT_LIMIT = SimpleNamespace(model_max_length=NO_LIMIT)
KINDS = {
    "bert": {},
    "camembert": {},
    "data2vec-text": {},
    "distilbert": {},
    "esm": {"position_embedding_type": "absolute"},
    "ibert": {},
    "longformer": {"attention_window": 4},
    "mpnet": {},
    "roberta": {},
    "roberta-prelayernorm": {},
    "xlm-roberta": {},
    "xlm-roberta-xl": {},
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    "gpt2": {"n_embd": 32, "n_layer": 1, "n_head": 4, "n_positions": 20},
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_longest_text_fits_and_one_token_more_does_not(kind):
    padding = {} if kind in ("bert", "distilbert", "gpt2") else {"pad_token_id": 1}
    sizes = {} if kind == "gpt2" else SIZES
    config = AutoConfig.for_model(kind, **{**sizes, **padding, "vocab_size": 50, **KINDS[kind]})
    model = AutoModel.from_config(config).eval()
    limit = longest(config.to_dict(), WITHOUT_LIMIT)
    assert limit is not None

    def run(length):
        ids = torch.full((1, length), 7)

        with torch.inference_mode():
            return model(input_ids=ids, attention_mask=torch.ones_like(ids))

    run(limit)
    with pytest.raises((IndexError, RuntimeError)):
        run(limit + 1)


def test_relative_positions_are_no_limit():
    assert longest({"model_type": "t5", "n_positions": 512}, WITHOUT_LIMIT) is None
    assert longest({"model_type": "xlnet", "max_position_embeddings": -1}, WITHOUT_LIMIT) is None


@pytest.mark.parametrize(
    ("config", "tokenizer", "wanted"),
    [
        ({"pad_token_id": 3, "eos_token_id": 5}, {"pad_token_id": 0}, 3),
        ({"pad_token_id": None, "eos_token_id": 5}, {"pad_token_id": 0}, 5),
        ({"eos_token_id": [6, 7]}, {}, 6),
        ({"eos_token_id": 50256, "vocab_size": 100}, {"eos_token_id": 2}, 2),
        ({}, {"pad_token_id": 4}, 4),
        ({}, {}, 0),
    ],
)
def test_padding_is_the_configurations_or_the_end(config, tokenizer, wanted):
    assert padding_id(config, SimpleNamespace(**tokenizer)) == wanted


def test_only_classifiers_that_read_the_last_place_are_padded_on_the_left():
    config = {"model_type": "xlnet", "architectures": ["XLNetForSequenceClassification"]}
    assert facts(config, WITHOUT_LIMIT).padding_left
    assert not facts({**config, "architectures": ["XLNetForTokenClassification"]}, WITHOUT_LIMIT).padding_left
    assert not facts({"model_type": "gpt2", "architectures": config["architectures"]}, WITHOUT_LIMIT).padding_left
