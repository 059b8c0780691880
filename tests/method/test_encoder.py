from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from seewhy.errors import SeeWhyError
from seewhy.method.encoder import Encoder, embed_to_file, is_plain_e5

WORDS = ("[UNK]", "black", "bill", "yellow", "legs", "query", "passage", ":", "find")


@pytest.fixture(scope="module")
def save_static(tmp_path_factory):
    """Saves a StaticEmbedding model over WORDS: [UNK] is the zero vector, each other word its own direction."""

    def save(name, **kwargs):
        tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        weight_WE = torch.eye(len(WORDS))
        weight_WE[0] = 0
        module = StaticEmbedding(tokenizer, embedding_weights=weight_WE.numpy())
        folder = tmp_path_factory.mktemp("models") / name
        SentenceTransformer(modules=[module], device="cpu", **kwargs).save(str(folder))
        return str(folder)

    return save


def direction(*words):
    vector_E = np.zeros(len(WORDS), dtype=np.float32)
    for word in words:
        vector_E[WORDS.index(word)] += 1
    return vector_E / np.linalg.norm(vector_E)


def test_a_static_model(save_static):
    encoder = Encoder(save_static("static"), "cpu")
    concepts_CE = encoder.embed_concepts(["black bill", "yellow legs", "black"])
    assert concepts_CE.dtype == np.float32
    np.testing.assert_allclose(
        concepts_CE, [direction("black", "bill"), direction("yellow", "legs"), direction("black")], atol=1e-6
    )
    np.testing.assert_allclose(encoder.embed_texts(["black bill"]) @ concepts_CE.T, [[1, 0, 0.5**0.5]], atol=1e-6)


def test_rows_do_not_depend_on_the_batch(save_static):
    folder = save_static("static")
    texts = ["black bill", "yellow", "legs legs bill", "black legs"]
    whole_XE = Encoder(folder, "cpu").embed_texts(texts)
    np.testing.assert_array_equal(Encoder(folder, "cpu", batch_size=1).embed_texts(texts), whole_XE)
    np.testing.assert_array_equal(Encoder(folder, "cpu").embed_texts(texts[::-1])[::-1], whole_XE)


def test_e5_gets_its_prefixes(save_static):
    encoder = Encoder(save_static("tiny-e5-small"), "cpu")
    np.testing.assert_allclose(encoder.embed_concepts(["bill"]), [direction("query", ":", "bill")], atol=1e-6)
    np.testing.assert_allclose(encoder.embed_texts(["bill"]), [direction("passage", ":", "bill")], atol=1e-6)


@pytest.mark.parametrize("prompts", [None, {"query": "find: ", "document": "passage: "}])
def test_without_prefixes_texts_are_embedded_as_they_stand(save_static, prompts):
    name = save_static("bare-e5-small", **({"prompts": prompts} if prompts else {}))
    encoder = Encoder(name, "cpu", prefixes=False)
    np.testing.assert_allclose(encoder.embed_concepts(["bill"]), [direction("bill")], atol=1e-6)
    np.testing.assert_allclose(encoder.embed_texts(["bill"]), [direction("bill")], atol=1e-6)


@pytest.mark.parametrize("name", ["plain", "tiny-e5"])
def test_a_models_own_prompts_are_honoured(save_static, name):
    encoder = Encoder(save_static(name, prompts={"query": "find: ", "document": ""}), "cpu")
    np.testing.assert_allclose(encoder.embed_concepts(["bill"]), [direction("find", ":", "bill")], atol=1e-6)
    np.testing.assert_allclose(encoder.embed_texts(["bill"]), [direction("bill")], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("intfloat/e5-large", True),
        ("intfloat/multilingual-e5-base", True),
        ("models/E5-large-v2/", True),
        ("intfloat/e5-mistral-7b-instruct", False),
        ("e5/bge-large", False),
        ("some/base500", False),
        ("some/face5", False),
    ],
)
def test_names_of_e5(name, expected):
    assert is_plain_e5(name) is expected


def test_no_texts(save_static):
    assert Encoder(save_static("static"), "cpu").embed_texts([]).shape == (0, len(WORDS))


def test_unknown_words_are_similar_to_nothing(save_static):
    encoder = Encoder(save_static("static"), "cpu")
    np.testing.assert_array_equal(encoder.embed_texts(["zzz", ""]), np.zeros((2, len(WORDS))))


def test_the_name_of_a_special_token_is_text(tmp_path):
    """A BERT whose tokenizer would make its separator of "[SEP]"; as text it is a bracket, a word and a bracket."""
    words = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "bill", "[", "]", "SEP")
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=16, **special).save_pretrained(tmp_path)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
    )
    BertModel(config).save_pretrained(tmp_path)
    encoder = Encoder(str(tmp_path), "cpu")
    assert encoder.model.tokenizer(["bill [SEP]"])["input_ids"] == [[2, 4, 5, 7, 6, 3]]
    spelt_XE = encoder.embed_texts(["bill [SEP]", "bill [ SEP ]", "bill"])
    np.testing.assert_allclose(spelt_XE[0], spelt_XE[1], atol=1e-6)
    assert np.abs(spelt_XE[0] - spelt_XE[2]).max() > 1e-3


def test_a_number_that_is_none_is_refused(save_static):
    encoder = Encoder(save_static("static"), "cpu")
    with torch.no_grad():
        embedding: Any = encoder.model[0].embedding
        embedding.weight[WORDS.index("legs")] = torch.nan
    with pytest.raises(SeeWhyError, match="'yellow legs'"):
        encoder.embed_texts(["bill", "yellow legs"])


def test_a_model_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(SeeWhyError, match=r"nowhere.*select\.encoder"):
        Encoder(str(tmp_path / "nowhere"), "cpu")
    with pytest.raises(SeeWhyError, match=r"nobody/nothing.*select\.encoder"):
        Encoder("nobody/nothing", "cpu")


def test_a_folder_that_is_no_model(tmp_path):
    with pytest.raises(SeeWhyError, match=r"select\.encoder"):
        Encoder(str(tmp_path), "cpu")


@pytest.mark.parametrize("count", [0, 1, 4, 5])
def test_embeddings_in_a_file(save_static, tmp_path, count):
    encoder = Encoder(save_static("static"), "cpu")
    texts = ["black bill", "yellow", "legs legs bill", "black legs", "bill"][:count]
    embedded_DE = embed_to_file(tmp_path / "texts.npy", texts, encoder, block=2)
    assert embedded_DE.shape == (count, len(WORDS))
    np.testing.assert_array_equal(embedded_DE, encoder.embed_texts(texts))


BROKEN = {
    "a pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 4921\n",
    "empty": b"",
    "bytes": bytes(range(256)) * 4,
    "null": b"null",
}


@pytest.mark.parametrize("way", [*BROKEN, "half"])
@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "modules.json"])
def test_a_broken_file_of_a_model_is_named(save_static, file, way):
    path = Path(save_static("broken")) / file
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if way == "half" else BROKEN[way])
    with pytest.raises(SeeWhyError, match=rf"{path} (is|holds) .*Get it again: .*--local-dir"):
        Encoder(str(path.parent), "cpu")


def test_a_file_that_is_missing_or_says_nonsense(save_static):
    path = Path(save_static("broken")) / "tokenizer.json"
    for text in ('{"model": {}}', None):
        path.unlink() if text is None else path.write_text(text)
        with pytest.raises(SeeWhyError, match=r"no sentence-transformers model .*broken' that can be read \(.+\). Set"):
            Encoder(str(path.parent), "cpu")


def test_weights_that_do_not_fit_the_tokenizer(save_static):
    """An index beyond the table is found when the model is loaded, not at the first text after the descriptions."""
    path = Path(save_static("broken")) / "model.safetensors"
    weights = {name: weight[:1] for name, weight in load_file(path).items()}
    save_file(weights, path)
    vocabulary = path.with_name("tokenizer.json")
    vocabulary.write_text(vocabulary.read_text().replace('"black"', '"The"'))
    with pytest.raises(SeeWhyError, match="that can be read"):
        Encoder(str(path.parent), "cpu")


def test_embeddings_that_a_file_holds_are_taken_over_in_whole_blocks(save_static, tmp_path, monkeypatch):
    encoder, asked = Encoder(save_static("static"), "cpu"), []
    embed = encoder.embed_texts
    monkeypatch.setattr(encoder, "embed_texts", lambda texts: asked.extend(texts) or embed(texts))

    def embedded(file, texts, held=0):
        asked.clear()
        return np.array(embed_to_file(tmp_path / file, iter(texts), encoder, block=2, count=len(texts), held=held))

    train = ["black bill", "yellow", "legs legs bill", "black legs", "bill"]
    both = [*train, "yellow legs", "find", "query"]
    first_DE = embedded("texts.npy", train)
    kept_DE = embedded("texts.npy", both, held=5)
    assert asked == both[4:]
    np.testing.assert_array_equal(kept_DE, embedded("anew.npy", both))
    assert (tmp_path / "texts.npy").read_bytes() == (tmp_path / "anew.npy").read_bytes()
    np.testing.assert_array_equal(
        embedded("texts.npy", [*train, "find"], held=5), embedded("anew.npy", [*train, "find"])
    )
    np.testing.assert_array_equal(embedded("texts.npy", train[:4], held=5), first_DE[:4])
    assert asked == []
