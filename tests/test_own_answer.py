"""What is explained is the model's own forward pass: on the input's ids, and on the baseline's."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

import pellucid
from drawn import TOKENIZER, VOCABULARY, Drawn, text
from families import model, tokenizer
from pellucid.models.own_answer import furthest_apart

DRAWS = int(os.environ.get("PELLUCID_DRAWS", "150"))
"""2,000 by `make draws`."""
METHODS = ("deeplift", "deeplift", "integrated_gradients", "occlusion", "shapley", "input_x_gradient")


def outputs(net: nn.Module, given: str, baseline: str = "mask") -> tuple[Tensor, Tensor]:
    """The network's own answers on a text's ids, and with every token that is not special replaced."""
    ids = torch.tensor([TOKENIZER(given)["input_ids"]])
    masked = ids.clone()
    masked[:, 1:-1] = getattr(TOKENIZER, f"{baseline}_token_id")
    with torch.no_grad():
        return net(ids)[0], net(masked)[0]


def test_no_drawn_network_is_explained_wrong_in_silence() -> None:
    """Refused with a message, or the outputs are the network's own and the scores their difference, or it says not."""
    ends: Counter[str] = Counter()
    for seed in range(DRAWS):
        net, given, method = Drawn(seed), text(seed), METHODS[seed % len(METHODS)]
        baseline = "pad" if seed % 7 == 0 else "mask"
        options: dict[str, Any] = {"max_passes": 40} if method == "integrated_gradients" else {}
        torch.manual_seed(seed)
        y, y0 = outputs(net, given, baseline)
        torch.manual_seed(seed)
        try:
            e = pellucid.explain(pellucid.Model(net, TOKENIZER), given, method, target=1, baseline=baseline, **options)
        except pellucid.PellucidError as error:
            assert len(str(error)) > 60, (seed, net, error)
            ends["refused"] += 1
            continue
        about = (seed, method, net, e)
        if not net.draws:
            assert abs(e.output - y[1].item()) < 1e-8, about
            assert abs(e.baseline_output - y0[1].item()) < 1e-8, about
        change = e.output - e.baseline_output
        off = abs(e.scores.sum() - change)
        assert e.status != "exact" or off <= 1e-6 * abs(change) + 1e-12, about
        assert e.status != "converged" or off <= 0.05 * abs(change) + 1e-9, about
        if method == "deeplift" and not net.draws and not net.cut:
            assert e.status in ("exact", "rounded"), about
        ends[str(e.status)] += 1
    assert ends["exact"] > 0.2 * DRAWS, ends
    assert ends["refused"] < 0.4 * DRAWS, ends


class Read(nn.Module):
    """The mean of what a table returns for changed ids, each position weighed by a number of its own."""

    def __init__(self, change: Any, mode: str = "each"):
        super().__init__()
        torch.manual_seed(0)
        self.change, self.mode = change, mode
        self.table, self.out = nn.Embedding(VOCABULARY + 9, 8), nn.Linear(8, 2)
        self.bag = nn.EmbeddingBag(VOCABULARY, 8, mode="sum")
        self.double().eval()

    def forward(self, input_ids: Tensor) -> Tensor:
        if self.mode == "bag":
            return self.out(self.bag(input_ids))
        e = self.table(self.change(input_ids))
        weights = torch.arange(1, e.shape[1] + 1).to(e).view(1, -1, 1)
        return self.out((e * weights).sum(1))


@pytest.mark.parametrize("method", ["deeplift", "integrated_gradients", "occlusion", "shapley"])
@pytest.mark.parametrize(
    "change",
    [lambda i: i + 1, lambda i: i.flip(1), lambda i: i.roll(2, 1), lambda i: i.clamp(max=11), lambda i: i * 7 % 13],
    ids=["shifted", "turned round", "moved", "clamped", "hashed"],
)
def test_each_score_is_on_its_token(change: Any, method: str) -> None:
    """The network is linear in what it looks up, so a token's score is what the output loses without it."""
    net, given = Read(change), "the film was so very good"
    ids = torch.tensor([TOKENIZER(given)["input_ids"]])
    e = pellucid.explain(pellucid.Model(net, TOKENIZER), given, method, target=0)
    with torch.no_grad():
        expected = torch.zeros(ids.shape[1], dtype=torch.float64)
        for i in range(1, ids.shape[1] - 1):
            without = ids.clone()
            without[0, i] = TOKENIZER.mask_token_id
            expected[i] = net(ids)[0, 0] - net(without)[0, 0]
    np.testing.assert_allclose(e.scores, expected.numpy(), atol=1e-6 * float(expected.abs().max()))


@pytest.mark.parametrize("baseline", ["mask", "pad"])
def test_a_bag_of_words_gives_each_word_its_own(baseline: str) -> None:
    net, given = Read(None, "bag"), "so good so bad"
    ids = torch.tensor(TOKENIZER(given)["input_ids"])
    w = (net.bag.weight @ net.out.weight[0]).detach()
    e = pellucid.explain(pellucid.Model(net, TOKENIZER), given, target=0, baseline=baseline)
    replaced = getattr(TOKENIZER, f"{baseline}_token_id")
    expected = [0.0, *(float(w[i] - w[replaced]) for i in ids[1:-1]), 0.0]
    np.testing.assert_allclose(e.scores, expected, atol=1e-12)
    assert e.status == "exact"


def test_a_text_that_is_changed_after_one_that_was_not() -> None:
    """Whether ids are changed may depend on them: the first text has none that are clamped."""
    net = Read(lambda i: i.clamp(max=VOCABULARY - 30))
    model = pellucid.Model(net, TOKENIZER)
    for given in ("the film was good", "zyx film zz", "the film"):
        y, y0 = outputs(net, given)
        e = pellucid.explain(model, given, target=0)
        assert e.output == pytest.approx(y[0].item(), abs=1e-12)
        assert e.baseline_output == pytest.approx(y0[0].item(), abs=1e-12)
        assert e.status == "exact"


def test_several_tables_are_found_or_named() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.words, self.kinds, self.out = nn.Embedding(VOCABULARY, 8), nn.Embedding(5, 4), nn.Linear(12, 2)

        def forward(self, input_ids: Tensor) -> Tensor:
            both = torch.cat([self.words(input_ids), self.kinds(input_ids % 5)], -1)
            return self.out(both.tanh().cumsum(1).mean(1))

    net = Two().double().eval()
    y, y0 = outputs(net, "a good film")
    found = [
        pellucid.explain(pellucid.Model(net, TOKENIZER, embeddings=names), "a good film", target=0)
        for names in (None, "words", ["words", "kinds"], net.kinds)
    ]
    for e in found:
        assert (e.output, e.baseline_output) == pytest.approx((y[0].item(), y0[0].item()), abs=1e-12)
        np.testing.assert_allclose(e.scores, found[0].scores, atol=1e-12)
    with pytest.raises(pellucid.PellucidError, match="no module 'letters'"):
        pellucid.Model(net, TOKENIZER, embeddings=["words", "letters"])


@pytest.mark.parametrize("baseline", ["zero", "mean"])
def test_a_baseline_without_ids_where_ids_are_changed(baseline: str) -> None:
    net = Read(lambda i: i + 1)
    ids = torch.tensor([TOKENIZER("a good film")["input_ids"]])
    e = pellucid.explain(pellucid.Model(net, TOKENIZER), "a good film", target=0, baseline=baseline)
    x = net.table.weight[ids + 1][0].clone()
    x[1:-1] = 0 if baseline == "zero" else net.table.weight.mean(0)
    weights = torch.arange(1, x.shape[0] + 1).to(x).view(-1, 1)
    expected = F.linear((x * weights).sum(0), net.out.weight, net.out.bias)[0]
    assert e.baseline_output == pytest.approx(expected.item(), abs=1e-12) and e.status == "exact"


def test_what_reads_ids_by_hand_is_refused_where_embeddings_are_needed_and_right_on_ids() -> None:
    class Compares(Read):
        def forward(self, input_ids: Tensor) -> Tensor:
            return super().forward(input_ids) * (1 + (input_ids == 4).double().mean(1, keepdim=True))

    net = Compares(lambda i: i)
    model = pellucid.Model(net, TOKENIZER)
    for method in ("deeplift", "integrated_gradients", "saliency"):
        with pytest.raises(pellucid.PellucidError, match="on the baseline, where Compares itself"):
            pellucid.explain(model, "a good film", method, target=0)
    y, y0 = outputs(net, "a good film")
    for method in ("occlusion", "shapley", "lime"):
        e = pellucid.explain(model, "a good film", method, target=0)
        assert (e.output, e.baseline_output) == pytest.approx((y[0].item(), y0[0].item()), abs=1e-12)


def test_the_check_costs_one_pass_for_a_model() -> None:
    calls = Counter[str]()
    net = Read(lambda i: i)
    net.register_forward_hook(lambda *_: calls.update(["pass"]))
    model = pellucid.Model(net, TOKENIZER)
    pellucid.explain(model, "a good film", target=0)
    first = calls["pass"]
    for given in ("a film was", "the plot was dull", "so good"):
        pellucid.explain(model, given, target=0)  # the first text of a length is checked, the next ones are not
        calls.clear()
        pellucid.explain(model, given, target=0)
        assert calls["pass"] == 2 < first


def test_details_and_several_baselines_where_look_ups_are_followed() -> None:
    net = Read(lambda i: i.flip(1))
    model = pellucid.Model(net, TOKENIZER)
    texts = ["so good", "the plot was very dull", "a film"]
    together = pellucid.explain(model, texts, target=0, baseline=["mask", "pad"])
    for given, e in zip(texts, together, strict=True):
        each = [pellucid.explain(model, given, target=0, baseline=b) for b in ("mask", "pad")]
        np.testing.assert_allclose(e.scores, np.mean([a.scores for a in each], 0), atol=1e-12)
    e = pellucid.explain(model, "so good", target=0, at="table")
    assert e.output == pytest.approx(outputs(net, "so good")[0][0].item())


def test_other_tasks_follow_too() -> None:
    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.table, self.gru = nn.Embedding(VOCABULARY + 1, 8), nn.GRU(8, 8, batch_first=True)
            self.out = nn.Linear(16, 3)

        def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
            h = self.gru(self.table(input_ids))[0]
            return self.out(torch.cat([h, self.table(input_ids + 1)], -1))

    net = Tagger().double().eval()
    model = pellucid.Model(net, tokenizer(), "token-classification")
    e = pellucid.explain(model, "the film was good", target={"word": "film", "label": 1})
    ids = torch.tensor([TOKENIZER("the film was good")["input_ids"]])
    masked = ids.clone()
    masked[:, 1:-1] = TOKENIZER.mask_token_id
    with torch.no_grad():
        at = lambda i: net(i)[0, 2, 1].item()
        assert (e.output, e.baseline_output) == pytest.approx((at(ids), at(masked)), abs=1e-12)
    assert e.status == "exact"


@pytest.mark.parametrize("baseline", ["zero", "mean"])
def test_an_embedding_that_is_read_twice_is_zero_in_both_places(baseline: str) -> None:
    """A baseline without ids has no answer of the model's own: that both calls are followed shows in the scores."""

    class Twice(Read):
        def forward(self, input_ids: Tensor) -> Tensor:
            return self.out((self.table(input_ids) + 2 * self.table(input_ids)).mean(1))

    net = Twice(None)
    ids = torch.tensor([TOKENIZER("a good film")["input_ids"]])
    e = pellucid.explain(pellucid.Model(net, TOKENIZER), "a good film", target=0, baseline=baseline)
    x = net.table.weight[ids[0, 1:-1]] - (0 if baseline == "zero" else net.table.weight.mean(0))
    np.testing.assert_allclose(e.scores[1:-1], (3 * x @ net.out.weight[0] / ids.shape[1]).detach(), atol=1e-12)


def test_a_first_text_that_is_its_own_baseline_proves_nothing() -> None:
    net = Read(lambda i: i.where(i == TOKENIZER.mask_token_id, i + 1))
    model = pellucid.Model(net, TOKENIZER)
    pellucid.explain(model, "[MASK] [MASK]", target=0)
    y, y0 = outputs(net, "a good film")
    e = pellucid.explain(model, "a good film", target=0)
    assert (e.output, e.baseline_output) == pytest.approx((y[0].item(), y0[0].item()), abs=1e-12)


@pytest.mark.parametrize("family", ["Bart", "T5"])
def test_a_classifier_with_a_decoder_says_that_it_is_explained_through_its_encoder(family: str) -> None:

    net = model(family, dtype=torch.float64)
    e = pellucid.explain(pellucid.Model(net, TOKENIZER), "a good film", target=0)
    assert any("through the encoder" in note for note in e.notes) and e.status == "exact"
    assert not pellucid.explain(pellucid.load(), "a good film").notes


@pytest.mark.parametrize("method", ["deeplift", "integrated_gradients", "shapley"])
def test_a_model_that_packs_its_texts_before_it_looks_them_up(method: str) -> None:
    """The first tokens of all rows stand first: what belongs to a row is seen only where it goes alone."""

    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.table, self.gru = nn.Embedding(VOCABULARY, 8), nn.GRU(8, 8, batch_first=True)
            self.out = nn.Linear(8, 2)

        def forward(self, input_ids: Tensor) -> Tensor:
            lengths = torch.full((len(input_ids),), input_ids.shape[1])
            ids = nn.utils.rnn.pack_padded_sequence(input_ids.unsqueeze(-1), lengths, batch_first=True)
            packed = ids._replace(data=self.table(ids.data.squeeze(-1)))
            return self.out(self.gru(packed)[1][0])

    net = Packed().double().eval()
    texts = ["a good film", "the film bad", "so very dull"]
    for given, e in zip(texts, pellucid.explain(pellucid.Model(net, TOKENIZER), texts, method, target=0), strict=True):
        y, y0 = outputs(net, given)
        assert (e.output, e.baseline_output) == pytest.approx((y[0].item(), y0[0].item()), abs=1e-9)
        alone = pellucid.explain(pellucid.Model(net, TOKENIZER), given, method, target=0)
        np.testing.assert_allclose(e.scores, alone.scores, atol=1e-6)
        assert e.relative_delta < (0.02 if method == "integrated_gradients" else 1e-9)


def test_inputs_nested_by_token_are_padded_and_deleted_with_their_tokens() -> None:
    """LayoutLM's boxes: four numbers for each token."""

    class Boxed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.table, self.boxes, self.out = nn.Embedding(VOCABULARY, 8), nn.Linear(4, 8), nn.Linear(8, 2)

        def forward(self, input_ids: Tensor, bbox: Tensor) -> Tensor:
            return self.out((self.table(input_ids) * self.boxes(bbox.to(self.table.weight)).tanh()).mean(1))

    class Boxes:
        """A tokenizer that gives each token a box."""

        def __getattr__(self, name: str) -> Any:
            return getattr(TOKENIZER, name)

        def __len__(self) -> int:
            return VOCABULARY

        def __call__(self, *args: Any, **how: Any) -> Any:
            found = TOKENIZER(*args, **how)
            found["bbox"] = [[[i, 2 * i, i + 1, 9 - i] for i in range(len(ids))] for ids in found["input_ids"]]
            return found

    net, tok = Boxed().double().eval(), Boxes()
    e = pellucid.explain(pellucid.Model(net, tok), "so good film", "occlusion", target=0, baseline="delete")
    given = tok(["so good film"])
    ids, boxes = torch.tensor(given["input_ids"]), torch.tensor(given["bbox"])
    with torch.no_grad():
        for i in (1, 2, 3):
            keep = [j for j in range(ids.shape[1]) if j != i]
            expected = net(ids, boxes)[0, 0] - net(ids[:, keep], boxes[:, keep])[0, 0]
            assert e.scores[i] == pytest.approx(expected.item(), abs=1e-12)
    assert pellucid.explain(pellucid.Model(net, tok), ["so good", "a very bad film"], target=0)[0].status == "exact"


class Mixed(Read):
    """Its rows influence each other, or it has two answers to one input."""

    def __init__(self, kind: str):
        super().__init__(lambda i: i)
        self.kind, self.calls = kind, 0

    def forward(self, input_ids: Tensor) -> Tensor:
        self.calls += 1
        h = self.table(input_ids)
        if self.kind == "rows":
            h = h - h.mean((0, 1))
        elif self.kind == "NumPy":
            h = h + torch.from_numpy(np.random.default_rng().standard_normal(8))
        elif self.kind == "calls":
            h = h * (1 + 0.1 * self.calls)
        return self.out(h.tanh().cumsum(1).tanh().mean(1))


@pytest.mark.parametrize("method", ["deeplift", "integrated_gradients", "shapley", "partition_shap", "occlusion"])
def test_rows_that_influence_each_other_go_one_at_a_time(method: str) -> None:
    net, texts = Mixed("rows"), ["the film was great", "so very dull"]
    found = pellucid.explain(pellucid.Model(net, TOKENIZER), texts, method, target=0)
    for given, e in zip(texts, found, strict=True):
        y, y0 = outputs(net, given)
        assert (e.output, e.baseline_output) == pytest.approx((y[0].item(), y0[0].item()), abs=1e-9)
        assert method == "occlusion" or e.relative_delta < 0.02


@pytest.mark.parametrize("method", ["deeplift", "shapley", "occlusion"])
def test_two_answers_to_one_input_are_found(method: str) -> None:
    with pytest.raises(pellucid.PellucidError, match="two answers to the same ids"):
        pellucid.explain(pellucid.Model(Mixed("NumPy"), TOKENIZER), "a good film", method, target=0)


@pytest.mark.parametrize("method", ["deeplift", "shapley", "occlusion"])
def test_a_model_that_changes_with_every_call_is_explained_as_it_is_and_a_note_says_so(method: str) -> None:
    net, new = (Mixed("calls") for _ in range(2))
    new.register_forward_pre_hook(lambda module, _: setattr(module, "calls", 0))
    new.load_state_dict(net.state_dict())
    found = pellucid.explain(pellucid.Model(net, TOKENIZER), ["a good film", "so very dull"], method, target=0)
    assert net.calls == 0
    for given, e in zip(["a good film", "so very dull"], found, strict=True):
        y, y0 = outputs(new, given)
        assert (e.output, e.baseline_output) == pytest.approx((y[0].item(), y0[0].item()), abs=1e-9)
        assert any("changes itself" in note for note in e.notes)


def test_boxes_are_given_by_word_or_by_token_or_a_note_says_that_none_were() -> None:
    from transformers import LayoutLMConfig, LayoutLMForSequenceClassification

    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    net = LayoutLMForSequenceClassification(LayoutLMConfig(vocab_size=100, **shape)).double().eval()  # type: ignore
    model, given = pellucid.Model(net, TOKENIZER), "good xyz film"  # xyz is in three pieces
    boxes = [[1, 2, 3, 4], [5, 6, 70, 80], [9, 10, 110, 120]]
    (e,) = pellucid.explain(model, [{"text": given, "bbox": boxes}], target=0)
    inputs = TOKENIZER(given, return_tensors="pt")
    placed = [[0] * 4, boxes[0], boxes[1], boxes[1], boxes[1], boxes[2], [1000] * 4]
    with torch.no_grad():
        expected = net(**inputs, bbox=torch.tensor([placed])).logits[0, 0].item()
    assert e.output == pytest.approx(expected, abs=1e-12) and not e.notes
    by_token = pellucid.explain(model, {"text": given, "bbox": placed[1:-1]}, target=0)
    assert by_token.output == pytest.approx(expected, abs=1e-12)
    assert any("'bbox'" in note for note in pellucid.explain(model, given, target=0).notes)
    with pytest.raises(pellucid.PellucidError, match=r"Found 2 of .bbox..*3 words, of its 5 tokens"):
        pellucid.explain(model, {"text": given, "bbox": boxes[:2]}, target=0)


def test_an_infinite_logit_does_not_blind_the_check() -> None:
    inf = float("inf")
    for mine, own, apart in (
        ([-inf, 5.0], [-inf, 0.0], True),
        ([-inf, 5.0], [-inf, 5.0], False),
        ([-inf, 5.0], [1.0, 5.0], True),
        ([float("nan"), 5.0], [1.0, 5.0], True),
        ([2.0, 5.0], [float("nan"), 5.0], False),
    ):
        assert (furthest_apart(torch.tensor([mine]), torch.tensor([own])).relative > 1e-3) == apart, (mine, own)


def test_embeddings_behind_the_positions_are_right_in_a_batch_padded_on_the_left() -> None:
    """The embeddings and the pass that they are put into have the same positions, padding and precision."""
    reader = tokenizer(side="left")
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(reader), n_layer=2, n_head=2, n_embd=32, n_positions=64, bos_token_id=1, eos_token_id=2
    )
    net = GPT2LMHeadModel(config).eval()
    m = pellucid.Model(net, reader, task="text-generation", embeddings="transformer.drop")
    short, long = (
        {"prompt": p, "continuation": " great"} for p in ("good film", "a very bad film , not good and dull")
    )
    alone = pellucid.explain(m, short, baseline="pad", target="total")
    batched = pellucid.explain(m, [short, long], baseline="pad", target="total")[0]
    ids = torch.tensor([[t.id for t in alone.tokens]])
    with torch.no_grad():
        at = net(ids).logits.log_softmax(-1)[0]
    assert alone.output == pytest.approx(at[-2, ids[0, -1]].item(), abs=1e-4)
    assert batched.output == pytest.approx(alone.output, abs=1e-4)
    np.testing.assert_allclose(batched.scores, alone.scores, atol=1e-4)


class OfSomeTexts(nn.Module):
    """Reads the ids of one text in another way than those of another: by hand where a word is in it, through the table
    a second time or through a second table where it is long."""

    def __init__(self, kind: str):
        super().__init__()
        torch.manual_seed(1)
        self.kind, self.word = kind, reader_id("not")
        self.table, self.other = nn.Embedding(len(TOKENIZER), 8), nn.Embedding(len(TOKENIZER), 8)
        self.out = nn.Linear(8, 2)

    def forward(self, input_ids: Tensor) -> Tensor:
        y = self.out(self.table(input_ids).tanh().mean(1))
        if self.kind == "a word":
            return torch.where((input_ids == self.word).any(1)[:, None], -y, y)
        if input_ids.shape[1] > 8:
            y = y + self.out((self.table if self.kind == "twice" else self.other)(input_ids.flip(1)).sin().mean(1))
        return y


def reader_id(word: str) -> int:
    return TOKENIZER(word, add_special_tokens=False)["input_ids"][0]


@pytest.mark.parametrize("kind", ["a word", "twice", "another table"])
@pytest.mark.parametrize("together", [True, False])
def test_every_text_of_a_users_own_network_is_checked(kind: str, together: bool) -> None:
    """What holds for the first text need not hold for the next: refused, or the network's own answer."""
    net = OfSomeTexts(kind).double()
    m = pellucid.Model(net, TOKENIZER)
    texts = ["good film", "good and not bad film", "very good film and not very bad film , and good"]
    given = [texts] if together else [[text] for text in texts]
    found = [e for some in given for e in pellucid.explain(m, some, target=0, errors="return")]
    answered = 0
    for given_text, e in zip(texts, found, strict=True):
        if isinstance(e, pellucid.Failure):
            assert e.type == "UnsupportedModel"
            continue
        y, y0 = outputs(net, given_text)
        assert abs(e.output - y[0].item()) < 1e-9 and abs(e.baseline_output - y0[0].item()) < 1e-9, given_text
        assert abs(e.scores.sum() - (y[0] - y0[0]).item()) < 1e-8, given_text
        answered += 1
    assert answered == (1 if kind == "a word" else 3)


def test_embeddings_inside_a_transform_are_refused_with_what_works() -> None:
    class Mapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Embedding(VOCABULARY, 6), nn.Linear(6, 2)

        def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
            return torch.vmap(lambda row: self.head(self.table(row).mean(0)))(input_ids)

    m = pellucid.Model(Mapped().eval(), TOKENIZER)
    with pytest.raises(pellucid.errors.UnsupportedModel, match=r"inside a transform such as torch.vmap.*occlusion"):
        pellucid.explain(m, text(1))
    y, y0 = outputs(m.model, text(1))
    e = pellucid.explain(m, text(1), method="occlusion", target=0)
    assert e.output == pytest.approx(y[0].item(), rel=1e-5) and e.baseline_output == pytest.approx(
        y0[0].item(), rel=1e-5
    )
