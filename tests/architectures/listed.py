"""Architectures of transformers' auto classes, each as a configuration of a tiny random model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ROBERTA = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
GPT = ("<unk>", "<|endoftext|>")
"""Without a token to pad with, and none around a text."""
GPT_PADDED = ("<pad>", *GPT)
TEXT, TOKENS, EMBEDDING, IMAGE = (
    "text-classification",
    "token-classification",
    "feature-extraction",
    "image-classification",
)


@dataclass(frozen=True)
class Architecture:
    """An architecture, tiny.

    Attributes:
        name: in the table.
        model_type: of transformers.
        changes: fields of its configuration, beside the usual sizes of its kind.
        task: that it is measured for.
        special: its special tokens, at the numbers that they have.
        padding: the side on which its tokenizer pads.
        model_class: of transformers, where it is not that which the task's auto class gives.
        size: pixels of an image's side.
        without: usual sizes that its configuration has not.
        tokenizer: class of transformers, where it is not a fast one that knows words.

    """

    name: str
    model_type: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    task: str = TEXT
    special: tuple[str, ...] = BERT
    padding: str = "right"
    model_class: str = ""
    size: int = 32
    without: tuple[str, ...] = ()
    tokenizer: str = ""


ENCODER_SIZES = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}

_DEBERTA = {"relative_attention": True, "type_vocab_size": 0, "position_biased_input": False}
_V2 = {**_DEBERTA, "pos_att_type": ["p2c", "c2p"], "position_buckets": 16, "share_att_key": True}
_MODERN = {"pad_token_id": 0, "cls_token_id": 2, "bos_token_id": 2, "sep_token_id": 3, "eos_token_id": 3}
_T5 = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
_GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "bos_token_id": 1, "eos_token_id": 1}
_GROUPED = {"num_key_value_heads": 2, "head_dim": 8}
_END = {"bos_token_id": None, "eos_token_id": 1, "pad_token_id": None}
_PADDED = {"bos_token_id": None, "eos_token_id": 2, "pad_token_id": 0}
_BOTH_WAYS = {
    "use_bidirectional_attention": True,
    "sliding_window": 8,
    "layer_types": ["sliding_attention", "full_attention"],
}
_BIG_BIRD = {"attention_type": "block_sparse", "block_size": 4, "num_random_blocks": 1}
_STAGES = {"depths": [1, 1], "hidden_sizes": [16, 32]}
_SWIN = {"image_size": 32, "patch_size": 4, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 4], "window_size": 4}
_FLAT = {
    "patch_size": 8,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
_TOWER = {"image_size": 32, **_FLAT}
_XLM = {"emb_dim": 32, "n_layers": 2, "n_heads": 4}
_PVT = {
    "depths": [1, 1, 1, 1],
    "hidden_sizes": [16, 16, 32, 32],
    "num_attention_heads": [1, 1, 2, 2],
    "sr_ratios": [4, 2, 1, 1],
}

ARCHITECTURES = (
    Architecture("BERT", "bert"),
    Architecture("DistilBERT", "distilbert", {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 4}),
    Architecture("RoBERTa", "roberta", {"type_vocab_size": 1}, special=ROBERTA),
    Architecture("RoBERTa PreLayerNorm", "roberta-prelayernorm", {"type_vocab_size": 1}, special=ROBERTA),
    Architecture("XLM-R", "xlm-roberta", {"type_vocab_size": 1}, TOKENS, ROBERTA),
    Architecture("XLM-R XL", "xlm-roberta-xl", {"type_vocab_size": 1}, special=ROBERTA),
    Architecture("X-MOD", "xmod", {"default_language": "en_XX"}, special=ROBERTA),
    Architecture("CamemBERT", "camembert", {"type_vocab_size": 1}, TOKENS, ROBERTA),
    Architecture("ALBERT", "albert", {"embedding_size": 16}),
    Architecture("ELECTRA", "electra", {"embedding_size": 16}, TOKENS),
    Architecture("MPNet", "mpnet", task=EMBEDDING, special=ROBERTA),
    Architecture("DeBERTa", "deberta", {**_DEBERTA, "pos_att_type": ["c2p", "p2c"]}),
    Architecture("DeBERTa-v2", "deberta-v2", {**_V2, "conv_kernel_size": 3, "conv_act": "gelu"}, TOKENS),
    Architecture("DeBERTa-v3", "deberta-v2", {**_V2, "norm_rel_ebd": "layer_norm"}),
    Architecture("MobileBERT", "mobilebert", {"embedding_size": 32, "intra_bottleneck_size": 32}),
    Architecture("SqueezeBERT", "squeezebert", {"embedding_size": 32}),
    Architecture("ConvBERT", "convbert", {"embedding_size": 16, "head_ratio": 2, "conv_kernel_size": 3}, TOKENS),
    Architecture("ERNIE", "ernie"),
    Architecture("MegatronBERT", "megatron-bert"),
    Architecture("RemBERT", "rembert", {"input_embedding_size": 16, "output_embedding_size": 16}),
    Architecture("RoFormer", "roformer", {"embedding_size": 16}),
    Architecture("I-BERT", "ibert", special=ROBERTA),
    Architecture(
        "ESM, with a fast tokenizer",
        "esm",
        {"pad_token_id": 0, "mask_token_id": 4, "position_embedding_type": "rotary"},
        TOKENS,
    ),
    Architecture("Data2Vec text", "data2vec-text", special=ROBERTA),
    Architecture("NomicBERT", "nomic_bert", task=EMBEDDING),
    Architecture("ModernBERT", "modernbert", {**_MODERN, "local_attention": 8}, TOKENS),
    Architecture(
        "EuroBERT",
        "eurobert",
        {"num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3},
        EMBEDDING,
    ),
    Architecture("GTE", "gte", task=EMBEDDING),
    Architecture("Jina embeddings v3", "jina_embeddings_v3", task=EMBEDDING),
    Architecture(
        "XLNet",
        "xlnet",
        {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64},
        without=("max_position_embeddings",),
    ),
    Architecture("XLM, with a fast tokenizer", "xlm", {**_XLM, "pad_index": 0}),
    Architecture("FlauBERT, with a fast tokenizer", "flaubert", {**_XLM, "pad_index": 0}),
    Architecture(
        "Funnel",
        "funnel",
        {"d_model": 32, "n_head": 4, "d_head": 8, "d_inner": 64, "block_sizes": [1, 1]},
        without=("num_hidden_layers",),
    ),
    Architecture("Nyströmformer", "nystromformer", {"segment_means_seq_len": 64, "num_landmarks": 64}),
    Architecture("YOSO", "yoso", {"use_expectation": True}),
    Architecture("LayoutLM, text only", "layoutlm"),
    Architecture(
        "LayoutLMv3, text only, with RoBERTa's tokenizer",
        "layoutlmv3",
        {"visual_embed": False, "coordinate_size": 6, "shape_size": 4},
        special=ROBERTA,
    ),
    Architecture("MarkupLM, text only, with RoBERTa's tokenizer", "markuplm", special=ROBERTA),
    Architecture("FNet", "fnet"),
    Architecture("Longformer", "longformer", {"attention_window": 8, "sep_token_id": 3, "bos_token_id": 2}),
    Architecture("BigBird, full attention", "big_bird", {"attention_type": "original_full"}),
    Architecture("BigBird, block-sparse attention", "big_bird", _BIG_BIRD),
    Architecture(
        "Reformer",
        "reformer",
        {
            "attn_layers": ["local"],
            "local_attn_chunk_length": 8,
            "axial_pos_shape": [8, 8],
            "axial_pos_embds_dim": [16, 16],
            "num_attention_heads": 4,
            "attention_head_size": 8,
            "feed_forward_size": 64,
            "is_decoder": False,
        },
    ),
    Architecture("CANINE", "canine", tokenizer="CanineTokenizer"),
    Architecture("T5 encoder", "t5", _T5, EMBEDDING, model_class="T5EncoderModel"),
    Architecture("mT5 encoder", "mt5", _T5, EMBEDDING, model_class="MT5EncoderModel"),
    Architecture("T5 classifier", "t5", {**_T5, "eos_token_id": 3, "decoder_start_token_id": 0}),
    Architecture("T5 tagger", "t5", {**_T5, "eos_token_id": 3, "decoder_start_token_id": 0}, TOKENS),
    Architecture(
        "BART classifier",
        "bart",
        {
            "d_model": 32,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 64,
            "decoder_ffn_dim": 64,
            "pad_token_id": 1,
            "eos_token_id": 2,
            "bos_token_id": 0,
        },
        special=ROBERTA,
    ),
    Architecture("DPR question encoder", "dpr", task=EMBEDDING, model_class="DPRQuestionEncoder"),
    Architecture("DPR context encoder", "dpr", task=EMBEDDING, model_class="DPRContextEncoder"),
    Architecture("CLIP text", "clip_text_model", {"eos_token_id": 3, "bos_token_id": 2, "pad_token_id": 0}, EMBEDDING),
    Architecture("GPT-2 without a pad token", "gpt2", _GPT2, special=GPT),
    Architecture("GPT-2 padded on the right", "gpt2", {**_GPT2, **_PADDED}, special=GPT_PADDED),
    Architecture("GPT-2 padded on the left", "gpt2", {**_GPT2, **_PADDED}, special=GPT_PADDED, padding="left"),
    Architecture("GPT-2 tagger without a pad token", "gpt2", _GPT2, TOKENS, GPT),
    Architecture("GPT-NeoX", "gpt_neox", _END, special=GPT),
    Architecture("OPT", "opt", {"ffn_dim": 64, "word_embed_proj_dim": 32, **_PADDED}, special=GPT_PADDED),
    Architecture("BLOOM", "bloom", {"n_layer": 2, "n_head": 4, **_PADDED}, special=GPT_PADDED),
    Architecture("Llama without a pad token", "llama", {**_GROUPED, **_END}, special=GPT),
    Architecture("Llama tagger", "llama", {**_GROUPED, **_PADDED}, TOKENS, GPT_PADDED),
    Architecture("Llama padded on the left", "llama", {**_GROUPED, **_PADDED}, special=GPT_PADDED, padding="left"),
    Architecture("Mistral", "mistral", {**_GROUPED, **_PADDED, "sliding_window": 8}, special=GPT_PADDED),
    Architecture("Phi-3", "phi3", {"num_key_value_heads": 2, **_PADDED}, special=GPT_PADDED),
    Architecture("Qwen3 without a pad token", "qwen3", {**_GROUPED, **_END}, special=GPT),
    Architecture(
        "Qwen3 embeddings, padded on the left", "qwen3", {**_GROUPED, **_PADDED}, EMBEDDING, GPT_PADDED, "left"
    ),
    Architecture("Gemma", "gemma", {**_GROUPED, **_PADDED}, special=GPT_PADDED),
    Architecture("Gemma 2 tagger", "gemma2", {**_GROUPED, **_PADDED, "sliding_window": 8}, TOKENS, GPT_PADDED),
    Architecture("Gemma 3", "gemma3_text", {**_GROUPED, **_PADDED, "sliding_window": 8}, special=GPT_PADDED),
    Architecture(
        "Gemma 3 in both directions", "gemma3_text", {**_GROUPED, **_PADDED, **_BOTH_WAYS}, EMBEDDING, GPT_PADDED
    ),
    Architecture(
        "Qwen3 MoE",
        "qwen3_moe",
        {**_GROUPED, **_PADDED, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
        special=GPT_PADDED,
    ),
    Architecture("ViT", "vit", _FLAT, IMAGE),
    Architecture("DeiT", "deit", _FLAT, IMAGE, model_class="DeiTForImageClassification"),
    Architecture(
        "DeiT with a teacher's head", "deit", _FLAT, IMAGE, model_class="DeiTForImageClassificationWithTeacher"
    ),
    Architecture("BEiT", "beit", _FLAT, IMAGE),
    Architecture("Data2Vec vision", "data2vec-vision", _FLAT, IMAGE),
    Architecture("DINOv2", "dinov2", _FLAT, IMAGE),
    Architecture("DINOv2 with registers", "dinov2_with_registers", _FLAT, IMAGE),
    Architecture("ViT MSN", "vit_msn", _FLAT, IMAGE),
    Architecture("I-JEPA", "ijepa", _FLAT, IMAGE),
    Architecture("CLIP vision", "clip", {"vision_config": _TOWER, "text_config": ENCODER_SIZES}, IMAGE),
    Architecture("SigLIP vision", "siglip", {"vision_config": _TOWER, "text_config": ENCODER_SIZES}, IMAGE),
    Architecture("Swin", "swin", _SWIN, IMAGE),
    Architecture("Swin v2", "swinv2", _SWIN, IMAGE),
    Architecture(
        "Hiera",
        "hiera",
        {
            "image_size": [64, 64],
            "embed_dim": 16,
            "depths": [1, 1],
            "num_heads": [1, 2],
            "patch_size": [7, 7],
            "masked_unit_size": [8, 8],
            "query_stride": [2, 2],
            "num_query_pool": 1,
        },
        IMAGE,
        size=64,
    ),
    Architecture("ConvNeXt", "convnext", {"num_stages": 2, **_STAGES}, IMAGE),
    Architecture("ConvNeXt V2", "convnextv2", {"num_stages": 2, **_STAGES}, IMAGE),
    Architecture("ResNet", "resnet", {"embedding_size": 8, **_STAGES, "layer_type": "basic"}, IMAGE),
    Architecture("RegNet", "regnet", {"embedding_size": 8, **_STAGES, "groups_width": 8}, IMAGE),
    Architecture("BiT", "bit", {"embedding_size": 8, **_STAGES, "num_groups": 4}, IMAGE),
    Architecture(
        "EfficientNet",
        "efficientnet",
        {"image_size": 64, "width_coefficient": 0.25, "depth_coefficient": 0.25, "hidden_dim": 320},
        IMAGE,
        size=64,
    ),
    Architecture("MobileNet V1", "mobilenet_v1", {"image_size": 64, "depth_multiplier": 0.25}, IMAGE, size=64),
    Architecture("MobileNet V2", "mobilenet_v2", {"image_size": 64, "depth_multiplier": 0.25}, IMAGE, size=64),
    Architecture(
        "MobileViT",
        "mobilevit",
        {"image_size": 64, "hidden_sizes": [16, 24, 32], "neck_hidden_sizes": [8, 8, 16, 16, 24, 24, 32]},
        IMAGE,
        size=64,
    ),
    Architecture("MobileViT V2", "mobilevitv2", {"image_size": 64, "width_multiplier": 0.25}, IMAGE, size=64),
    Architecture("PoolFormer", "poolformer", {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 8, 16, 16]}, IMAGE, size=64),
    Architecture("SegFormer", "segformer", _PVT, IMAGE, size=64),
    Architecture(
        "FocalNet",
        "focalnet",
        {"image_size": 32, "embed_dim": 16, "depths": [1, 1], "focal_levels": [2, 2], "focal_windows": [3, 3]},
        IMAGE,
    ),
    Architecture(
        "Perceiver",
        "perceiver",
        {
            "image_size": 32,
            "num_latents": 8,
            "d_latents": 32,
            "num_blocks": 1,
            "num_self_attends_per_block": 2,
            "num_self_attention_heads": 4,
            "num_cross_attention_heads": 1,
        },
        IMAGE,
        model_class="PerceiverForImageClassificationLearned",
    ),
)
