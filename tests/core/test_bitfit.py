"""BitFit: exactly the chosen biases train, and the model is otherwise the plain one."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from tupe_plugin.core.bitfit import (
    PUBLISHED,
    ROLES,
    drift_of_metric,
    mean_drift,
    metric_name,
    parse_roles,
    train_only_biases,
    trained_terms,
)
from tupe_plugin.core.encoder import TupeEncoder
from tupe_plugin.core.encoder_view import names_of, view_of
from tupe_plugin.core.mfac import MFAC
from tupe_plugin.core.position_scheme import POSITION_SCHEMES

from .random_parameters import randomized

VOCAB, PAD, LAYERS, HEADS, EMBED, FFN = 23, 1, 2, 3, 15, 7
CHOICES = ("all", "query", "key", "value", "query,output", "key,value", "query,key,value")

every_choice = pytest.mark.parametrize("choice", [*CHOICES, *ROLES[3:]])


def encoder(*, pre_norm: bool = False, dropout: float = 0.0, scheme: str = "tupe-r") -> TupeEncoder:
    """With all the biases that there can be; the same parameters each time, in float64."""
    made = TupeEncoder(
        VOCAB,
        PAD,
        num_layers=LAYERS,
        embed_dim=EMBED,
        ffn_embed_dim=FFN,
        num_heads=HEADS,
        max_positions=11,
        scheme=POSITION_SCHEMES[scheme],
        dropout=dropout,
        attention_dropout=dropout,
        embedding_normalize=True,
        normalize_before=pre_norm,
    )
    return randomized(made)


def sentences() -> Tensor:
    tokens = torch.randint(4, VOCAB, (2, 5), generator=torch.Generator().manual_seed(2))
    tokens[1, 3:] = PAD
    return tokens


def expected_vectors(model: TupeEncoder, choice: str) -> dict[str, list[Tensor]]:
    """Role -> the plain model's vectors; by the names in the code of the layers."""
    vectors: dict[str, list[Tensor]] = {role: [] for role in ROLES}
    vectors["layer_norm"].append(model.embedding_layer_norm.bias)
    for layer in model.layers:
        query, key, value = layer.self_attn.in_proj_bias.split(EMBED)
        vectors["query"].append(query)
        vectors["key"].append(key)
        vectors["value"].append(value)
        vectors["attention_output"].append(layer.self_attn.out_proj.bias)
        vectors["intermediate"].append(layer.fc1.bias)
        vectors["output"].append(layer.fc2.bias)
        vectors["layer_norm"] += [layer.self_attn_layer_norm.bias, layer.final_layer_norm.bias]
    if model.final_layer_norm is not None:
        vectors["layer_norm"].append(model.final_layer_norm.bias)
    chosen = ROLES if choice == "all" else choice.split(",")
    return {role: vectors[role] for role in chosen}


def bitfit(choice: str, **options: Any) -> TupeEncoder:
    model = encoder(**options)
    train_only_biases(model, parse_roles(choice))
    return model


def trainable(model: TupeEncoder) -> list[torch.nn.Parameter]:
    return [p for p in model.parameters() if p.requires_grad]


# ---- which biases


@every_choice
@pytest.mark.parametrize("pre_norm", [False, True])
def test_the_roles_train_and_nothing_else(choice: str, pre_norm: bool) -> None:
    expected = expected_vectors(encoder(pre_norm=pre_norm), choice)
    size = sum(vector.numel() for vectors in expected.values() for vector in vectors)
    model = bitfit(choice, pre_norm=pre_norm)
    assert sum(p.numel() for p in trainable(model)) == size
    state = model.state_dict()
    found: dict[str, list[Tensor]] = {role: [] for role in expected}
    for term in trained_terms(model):
        found[term.role].append(term.of(state))
    for role, vectors in expected.items():
        assert len(found[role]) == len(vectors)
        assert all(map(torch.equal, found[role], vectors))


@pytest.mark.parametrize("scheme", list(POSITION_SCHEMES))
def test_positions_and_embeddings_have_no_role(scheme: str) -> None:
    model = bitfit("all", scheme=scheme)
    frozen = [*model.positions.parameters(), *model.embed_tokens.parameters()]
    assert not any(parameter.requires_grad for parameter in frozen)
    places = {(term.place, term.role) for term in view_of(model).biases}
    assert places == {("embedding", "layer_norm")} | {
        (str(layer), role) for layer in range(LAYERS) for role in ROLES
    }


def test_the_list_of_roles() -> None:
    assert parse_roles("all") == parse_roles("query,all") == ROLES
    assert parse_roles(" output, query,query ") == ("query", "output")
    with pytest.raises(ValueError, match=r"no bias term is called 'querry'; give all, .*, key"):
        parse_roles("querry,key")
    for text, problem in (("", "names no"), (" , ", "names no"), ("query,,", "a name is missing")):
        with pytest.raises(ValueError, match=rf"{problem}.*; give all, or some of query"):
            parse_roles(text)


@pytest.mark.parametrize(
    ("make", "roles", "message"),
    [
        (lambda: torch.nn.Linear(2, 3), ["query"], "Linear has no encoder of a known family"),
        (
            lambda: torch.nn.Sequential(encoder(), encoder()),
            ["query"],
            "2 encoders .tupe at 0., tupe at 1..: give the one",
        ),
        (encoder, ["querry"], "no bias term is called 'querry'"),
        (encoder, [], "names no bias term"),
    ],
)
def test_what_would_freeze_everything_is_refused(make, roles, message) -> None:
    model = make()
    with pytest.raises(ValueError, match=message):
        train_only_biases(model, roles)
    assert all(p.requires_grad for p in model.parameters())


def test_the_published_pair() -> None:
    """Section 4 of the paper, in its symbols: b_q and b_m2."""
    assert parse_roles(PUBLISHED) == ("query", "intermediate")


# ---- what they learn


@every_choice
@pytest.mark.parametrize("training", [False, True])
def test_gradients_are_those_of_full_fine_tuning(choice: str, training: bool) -> None:
    plain, model = encoder(dropout=0.3), bitfit(choice, dropout=0.3)
    direction = torch.randn(2, 5, EMBED, generator=torch.Generator().manual_seed(3)).double()
    for each in (plain, model):
        torch.manual_seed(4)
        (each.train(training)(sentences())[-1] * direction).sum().backward()
    frozen = [p for p in model.parameters() if not p.requires_grad]
    assert frozen
    assert all(p.grad is None for p in frozen)
    full = {name: p.grad for name, p in plain.named_parameters() if p.grad is not None}
    ours = iter(gradients_in_order(model))
    for term in trained_terms(model):
        torch.testing.assert_close(next(ours), term.of(full), rtol=1e-10, atol=1e-10)


def gradients_in_order(model: TupeEncoder) -> Iterator[Tensor]:
    """Of the trained terms, in their order; read off the modules."""
    for term in trained_terms(model):
        path = term.key.split(".")
        module = model.get_submodule(".".join(path[:-1]))
        part = ROLES.index(term.role)
        if part > 2:
            yield module.get_parameter(path[-1]).grad
        elif hasattr(module, "parametrizations"):
            yield module.get_parameter(f"parametrizations.in_proj_bias.original{part}").grad
        else:
            yield module.in_proj_bias.grad.split(EMBED)[part]


@pytest.mark.parametrize("training", [False, True])
def test_the_key_bias_changes_nothing(training: bool) -> None:
    """It adds one number to all logits of a query: a softmax does not see it."""
    model = bitfit("key", dropout=0.3).train(training)
    outputs = []
    for shift in (0.0, 5.0):
        with torch.no_grad():
            for parameter in trainable(model):
                parameter += shift
            torch.manual_seed(4)
            outputs.append(model(sentences())[-1])
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-10, atol=1e-10)
    control = bitfit("query", dropout=0.3).train(training)  # that one is seen
    with torch.no_grad():
        for parameter in trainable(control):
            parameter += 5.0
        torch.manual_seed(4)
        assert not torch.allclose(control(sentences())[-1], outputs[0])


# ---- what it costs

OPTIMIZERS = {
    "adamw": lambda params: torch.optim.AdamW(params, lr=0.1, weight_decay=0.5),
    "adam, coupled decay": lambda params: torch.optim.Adam(params, lr=0.1, weight_decay=0.5),
    "mfac": lambda params: MFAC(params, 0.1, num_grads=3, damping=0.1, weight_decay=0.5),
    "mfac, decoupled": lambda params: MFAC(
        params, 0.1, num_grads=3, damping=0.1, decoupled_weight_decay=0.5
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("choice", ["query,output", "key,value", "all"])
def test_frozen_parts_get_no_update_and_no_optimizer_state(name: str, choice: str) -> None:
    model = bitfit(choice)
    start = {key: value.clone() for key, value in model.state_dict().items()}
    # As fairseq does: it hands over what requires gradients.
    optimizer = OPTIMIZERS[name](trainable(model))
    for _ in range(3):
        optimizer.zero_grad()
        model(sentences())[-1].square().sum().backward()
        optimizer.step()
    end = model.state_dict()
    roles = parse_roles(choice)
    terms = names_of(end).biases
    for term in terms:
        assert torch.equal(term.of(start), term.of(end)) == (term.role not in roles), term
    for key in end.keys() - {term.key for term in terms}:
        assert torch.equal(start[key], end[key]), key
    trained = sum(parameter.numel() for parameter in trainable(model))
    if isinstance(optimizer, MFAC):
        rows = optimizer.state_dict()["fisher_window"]["rows"]
        assert {block.size(1) for block in rows} == {trained}
    else:
        for moment in ("exp_avg", "exp_avg_sq"):
            assert sum(s[moment].numel() for s in optimizer.state.values()) == trained


def saved_bytes(model: TupeEncoder) -> tuple[int, int]:
    """Activations that a forward keeps for the backward: before the first layer, and in all."""
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    seen: dict[int, int] = {}
    before: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    kept_alive = []
    model.layers[0].register_forward_pre_hook(lambda *_: before.append(sum(seen.values())))
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        kept_alive.append(model(sentences()))
    return before[0], sum(seen.values())


def test_frozen_embeddings_and_positions_keep_no_activations() -> None:
    full_before, full = saved_bytes(encoder(dropout=0.1).train())
    before, total = saved_bytes(bitfit("query,output", dropout=0.1).train())
    assert full_before > 0
    assert before == 0
    assert total < full - full_before  # linear maps do not keep their inputs either


# ---- checkpoints


@every_choice
def test_state_dicts_are_those_of_the_plain_model(choice: str) -> None:
    plain, model = encoder(), bitfit(choice)
    expected = plain.state_dict()
    assert {key: value.shape for key, value in model.state_dict().items()} == {
        key: value.shape for key, value in expected.items()
    }
    torch.manual_seed(5)
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter)
    model.load_state_dict(plain.state_dict())
    torch.testing.assert_close(model(sentences())[-1], plain(sentences())[-1])
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    plain.load_state_dict(model.state_dict())
    torch.testing.assert_close(model(sentences())[-1], plain(sentences())[-1])


def test_a_copy_has_parameters_of_its_own() -> None:
    model = bitfit("query,output")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    other = copy.deepcopy(model)
    for parameter in other.parameters():
        torch.nn.init.normal_(parameter)
    assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items())
    model.load_state_dict(other.state_dict())
    torch.testing.assert_close(model(sentences())[-1], other(sentences())[-1])


def test_a_missing_or_short_packed_bias_is_an_error() -> None:
    model = bitfit("query")
    state = model.state_dict()
    key = "layers.0.self_attn.in_proj_bias"
    with pytest.raises(RuntimeError, match="size mismatch"):
        model.load_state_dict({**state, key: state[key][:-3]})
    del state[key]
    with pytest.raises(RuntimeError, match="Missing key"):
        model.load_state_dict(state)


def test_training_the_terms_twice_is_training_them_once() -> None:
    model = bitfit("query")
    train_only_biases(model, ("value", "output"))
    assert {term.role for term in trained_terms(model)} == {"value", "output"}
    assert model.state_dict().keys() == encoder().state_dict().keys()


# ---- drift


def test_drift_is_the_mean_absolute_change_of_each_role_in_each_layer() -> None:
    before, after = encoder(pre_norm=True).state_dict(), encoder(pre_norm=True)
    after = randomized(after, seed=6).state_dict()
    terms = names_of(after).biases
    changes: dict[tuple[str, str], list[float]] = {}
    for term in terms:
        for one, other in zip(term.of(before).tolist(), term.of(after).tolist(), strict=True):
            changes.setdefault((term.place, term.role), []).append(abs(one - other))
    drift = mean_drift(terms, before, after)
    assert drift.keys() == changes.keys()
    assert len(changes["0", "layer_norm"]) == 2 * EMBED
    for cell, values in changes.items():
        assert drift[cell] == pytest.approx(sum(values) / len(values), rel=1e-6)


def test_drift_of_one_role_is_seen_there_and_nowhere_else() -> None:
    model = encoder()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        model.layers[1].self_attn.in_proj_bias[2 * EMBED :] -= 0.25
    drift = mean_drift(names_of(before).biases, before, model.state_dict())
    assert drift.pop(("1", "value")) == 0.25
    assert set(drift.values()) == {0.0}
    assert mean_drift([], before, before) == {}


def test_names_of_logged_drifts() -> None:
    for cell in [("0", "query"), ("11", "attention_output"), ("embedding", "layer_norm")]:
        assert drift_of_metric(metric_name(*cell)) == cell
    assert drift_of_metric("loss") is None
    assert drift_of_metric("bias_drift_0_weight") is None
