"""Make the small text encoder of the field guide: a sentence-transformers StaticEmbedding that knows phrases.

    python -m tools.fieldguide_encoder --output DIR

A bag of words cannot tell 'a red crown and a yellow breast' from 'a yellow crown and a red breast'. So the tokenizer
cuts a text at punctuation and at words such as 'and' or 'has', and has a token for each phrase that is common in the
base model's language. A token's vector is the mean of its words' vectors plus one of its own; both are learnt by
contrast: a phrase is nearer to the descriptions that state it than to those that do not.
"""

import argparse
import random
import re
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch.nn import functional as F

from seewhy.domain.questions import Questions
from seewhy.fieldguide import quiz
from seewhy.fieldguide.world import random_look
from tools import fieldguide_language as language

WIDTH = 96
VOCABULARY = 3000
TEMPERATURE = 0.1
_CUT = r"[.,:;!?()]+|\b(?:and|with|has|shows|show|see|also|which|because|since|tell|by|in|i|can|so|this|is|it|as)\b"
_DROP = r"\b(?:an?|the)\b"


def build_tokenizer(texts: list[str]) -> Tokenizer:
    """Return byte-level BPE whose tokens may span words, but never a cut; articles are dropped and case is folded."""
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.normalizer = normalizers.Sequence([
        normalizers.NFKC(), normalizers.Lowercase(), normalizers.Replace(Regex(_DROP), ""),
        normalizers.Replace(Regex(r"\s+"), " ")])  # fmt: skip
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(rf"\s*(?:{_CUT})\s*"), behavior="removed"),
        pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False)])  # fmt: skip
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["[PAD]"],
        show_progress=False, max_token_length=48))  # fmt: skip
    return tokenizer


class Composed(torch.nn.Module):
    """(V, E) token vectors: the mean of the words' vectors, plus the token's own."""

    def __init__(self, tokens: list[str]) -> None:
        super().__init__()
        words = [re.findall(r"[^\s-]+", token.replace("Ġ", " ")) or [token] for token in tokens]
        index = {word: row for row, word in enumerate(sorted({w for ws in words for w in ws}))}
        self.word = torch.nn.Parameter(torch.randn(len(index), WIDTH) * 0.5)
        self.own = torch.nn.Parameter(torch.randn(len(tokens), WIDTH) * 0.1)
        mean = torch.zeros(len(tokens), len(index))
        for row, ws in enumerate(words):
            for word in ws:
                mean[row, index[word]] += 1 / len(ws)
        self.register_buffer("mean", mean.to_sparse())

    def forward(self, dropout: float = 0.0) -> torch.Tensor:
        """Return the vectors; a share `dropout` of the tokens lacks its own, so that words carry meaning too."""
        keep_V1 = torch.rand(len(self.own), 1) >= dropout
        return torch.sparse.mm(self.mean, self.word) + self.own * keep_V1


def train(tokenizer: Tokenizer, steps: int, batch: int = 128) -> torch.Tensor:
    """Return token vectors (V, E), trained by contrasting descriptions with the phrases of the whole batch."""
    rng = random.Random(5)
    composed = Composed([str(tokenizer.id_to_token(i)) for i in range(tokenizer.get_vocab_size())])
    optimizer = torch.optim.AdamW(composed.parameters(), lr=0.02, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=steps)
    for step in range(steps):
        texts, stated = zip(*(_example(rng) for _ in range(batch)), strict=True)
        phrases = sorted({p for ps in stated for p in ps})
        target_DC = torch.tensor([[p in ps for p in phrases] for ps in map(set, stated)])
        weights = composed(dropout=0.5)
        sim_DC = _embed(tokenizer, weights, list(texts)) @ _embed(tokenizer, weights, phrases).T
        log_DC = F.log_softmax(
            sim_DC / TEMPERATURE, dim=0
        )  # a phrase against the batch's descriptions, as InfoNCE does
        loss = -(log_DC * target_DC).sum() / target_DC.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 200 == 199:
            print(f"encoder {step + 1}/{steps} loss {loss.item():.3f}", flush=True)
    return composed().detach()


def _embed(tokenizer: Tokenizer, weights: torch.Tensor, texts: list[str]) -> torch.Tensor:
    ids = [e.ids or [0] for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
    offsets = torch.tensor([0, *(len(i) for i in ids[:-1])]).cumsum(0)
    flat = torch.tensor([token for i in ids for token in i])
    return F.normalize(F.embedding_bag(flat, weights, offsets, mode="mean"), dim=-1)


_QUESTIONS = {noun: Questions.for_noun(noun) for nouns in language.NOUNS.values() for noun in nouns}


def _example(rng: random.Random) -> tuple[str, list[str]]:
    """Return a description or a reasoned answer, and the phrases in it: the world's own, or made up."""
    kind = rng.choice(("bird", "produce"))
    look = random_look(quiz.ATTRIBUTES[kind], rng)
    phrases = [rng.choice(a.values[look[a.name]]) for a in quiz.ATTRIBUTES[kind]]
    if rng.random() < 0.4:
        phrases = [language.made_up_feature(rng) for _ in range(8)]
    phrases = rng.sample(phrases, min(len(phrases), rng.randint(3, 7)))
    questions = _QUESTIONS[rng.choice(language.NOUNS[kind])]
    if rng.random() < 0.5:
        text = language.describe(phrases, questions, rng, at_least=len(phrases)).answer
    else:
        text = language.name_it(language.made_up_name(rng), phrases, questions, rng, kinds=("explain", "cot")).answer
    return text, phrases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder for the finished encoder")
    parser.add_argument("--steps", type=int, default=1200)
    options = parser.parse_args()
    torch.manual_seed(5)
    rng = random.Random(4)
    texts = [text for text, phrases in (_example(rng) for _ in range(12_000)) for text in (text, *phrases)]
    tokenizer = build_tokenizer(texts)
    weights = train(tokenizer, options.steps)
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights.numpy())]).save(
        str(options.output)
    )
    print(f"saved {weights.shape[0]:,} tokens to {options.output}", flush=True)


if __name__ == "__main__":
    main()
