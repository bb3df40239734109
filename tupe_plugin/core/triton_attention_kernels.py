"""The Triton kernels of :mod:`.triton_attention`, whose first screen has equations and symbols.

Every kernel works on tiles of ``ROWS`` queries by ``COLUMNS`` keys and owns what it writes:

| kernel                        | a program has                     | walks over | writes |
|-------------------------------|-----------------------------------|------------|--------|
| `forward`                     | sentence, head, block of queries  | keys       | O, L   |
| `gradient_of_queries`         | the same                          | keys       | D, dQ  |
| `gradient_of_keys_and_values` | sentence, head, block of keys     | queries    | dK, dV |
| `gradient_of_bias`            | head, block of queries, of keys   | sentences  | dB     |

So nothing is added atomically and two runs give the same bits.  Tiles are ``(query, key)`` in all
of them; positions outside are loaded as zeros, and a query outside has L = inf, so P = 0.  Tiles
of keys after a sentence's last word are left out, and with SKIP_QUERIES those of queries there too.
"""

# mypy: ignore-errors
# Triton compiles these functions from their source, with types of its own.

try:  # transformers demands what a copied file imports, unless it stands in a `try`
    import triton
    import triton.language as tl
except ImportError as error:
    raise ImportError("triton attention needs the package triton: pip install triton") from error

from .triton_attention_tiles import (
    ends_of,
    kept,
    logits,
    product,
    store_vectors,
    vectors,
    weights_and_logit_gradient,
)


@triton.jit
def forward(
    query, key, value, bias, padding, ends, seed, out, logsumexp,
    query_strides, key_strides, value_strides, bias_strides, padding_strides, out_strides,
    heads, queries, keys, scale, keep_scale,
    HEAD_DIM: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    DROPPED: tl.constexpr, UPCAST: tl.constexpr, SKIP_QUERIES: tl.constexpr,
):  # fmt: skip
    """O and L with an online softmax: FlashAttention-2, algorithm 1."""
    blocks = tl.cdiv(queries, ROWS)
    sentence_head = tl.program_id(0) // blocks
    first_row = tl.program_id(0) % blocks * ROWS
    batch, head = sentence_head // heads, sentence_head % heads
    rows = first_row + tl.arange(0, ROWS)
    query_tile = vectors(query, query_strides, batch, head, rows, queries, HEAD_DIM)
    drawn = tl.load(seed) if DROPPED else 0
    query_end, key_end = ends_of(ends, batch, queries, keys, SKIP_QUERIES)
    key_end = tl.where(first_row < query_end, key_end, 0)

    largest = tl.full((ROWS,), float("-inf"), tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    context = tl.zeros((ROWS, HEAD_DIM), tl.float32)
    for first_column in range(0, key_end, COLUMNS):
        columns = first_column + tl.arange(0, COLUMNS)
        key_tile = vectors(key, key_strides, batch, head, columns, keys, HEAD_DIM)
        value_tile = vectors(value, value_strides, batch, head, columns, keys, HEAD_DIM)
        logit_tile = logits(
            query_tile, key_tile, bias, bias_strides, padding, padding_strides,
            batch, head, rows, columns, queries, keys, scale, UPCAST,
        )  # fmt: skip
        new_largest = tl.maximum(largest, tl.max(logit_tile, 1))
        # Without a key so far the largest is -inf, and -inf - (-inf) would be NaN.
        shift = tl.where(new_largest == float("-inf"), 0.0, new_largest)
        weights = tl.exp(logit_tile - shift[:, None])
        shrink = tl.exp(largest - shift)
        total = total * shrink + tl.sum(weights, 1)
        if DROPPED:
            keep = kept(drawn, sentence_head, first_row, first_column, ROWS, COLUMNS, DROPPED)
            weights = tl.where(keep, weights, 0.0)
        context = context * shrink[:, None]
        context += product(weights.to(value_tile.dtype), value_tile, UPCAST)
        largest = new_largest

    nobody = (total == 0.0) | (rows >= query_end)
    divisor = tl.where(nobody, 1.0, total)
    context = tl.where(nobody[:, None], 0.0, context * (keep_scale / divisor)[:, None])
    store_vectors(out, out_strides, batch, head, rows, queries, context, HEAD_DIM)
    row_logsumexp = tl.where(nobody, float("inf"), largest + tl.log(divisor))
    places = sentence_head.to(tl.int64) * queries + rows
    tl.store(logsumexp + places, row_logsumexp, mask=rows < queries)


@triton.jit
def gradient_of_queries(
    query, key, value, bias, padding, ends, seed, out_gradient, logsumexp, deltas,
    out, query_gradient,
    query_strides, key_strides, value_strides, bias_strides, padding_strides,
    out_gradient_strides, out_strides, query_gradient_strides,
    heads, queries, keys, scale, keep_scale,
    HEAD_DIM: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    DROPPED: tl.constexpr, UPCAST: tl.constexpr, SKIP_QUERIES: tl.constexpr,
):  # fmt: skip
    """D, and dQ = scale dS K."""
    blocks = tl.cdiv(queries, ROWS)
    sentence_head = tl.program_id(0) // blocks
    first_row = tl.program_id(0) % blocks * ROWS
    batch, head = sentence_head // heads, sentence_head % heads
    rows = first_row + tl.arange(0, ROWS)
    places = sentence_head.to(tl.int64) * queries + rows
    query_tile = vectors(query, query_strides, batch, head, rows, queries, HEAD_DIM)
    gradient = vectors(out_gradient, out_gradient_strides, batch, head, rows, queries, HEAD_DIM)
    logsumexp_rows = tl.load(logsumexp + places, mask=rows < queries, other=float("inf"))
    out_tile = vectors(out, out_strides, batch, head, rows, queries, HEAD_DIM)
    delta_rows = tl.sum(out_tile.to(tl.float32) * gradient.to(tl.float32), 1)
    tl.store(deltas + places, delta_rows, mask=rows < queries)
    drawn = tl.load(seed) if DROPPED else 0
    query_end, key_end = ends_of(ends, batch, queries, keys, SKIP_QUERIES)
    key_end = tl.where(first_row < query_end, key_end, 0)

    to_queries = tl.zeros((ROWS, HEAD_DIM), tl.float32)
    for first_column in range(0, key_end, COLUMNS):
        columns = first_column + tl.arange(0, COLUMNS)
        key_tile = vectors(key, key_strides, batch, head, columns, keys, HEAD_DIM)
        value_tile = vectors(value, value_strides, batch, head, columns, keys, HEAD_DIM)
        logit_tile = logits(
            query_tile, key_tile, bias, bias_strides, padding, padding_strides,
            batch, head, rows, columns, queries, keys, scale, UPCAST,
        )  # fmt: skip
        _, logit_gradient = weights_and_logit_gradient(
            logit_tile, value_tile, gradient, logsumexp_rows, delta_rows,
            drawn, sentence_head, first_row, first_column, keep_scale,
            ROWS, COLUMNS, DROPPED, UPCAST,
        )  # fmt: skip
        to_queries += product(logit_gradient.to(key_tile.dtype), key_tile, UPCAST)

    store_vectors(
        query_gradient, query_gradient_strides, batch, head, rows, queries,
        to_queries * scale, HEAD_DIM,
    )  # fmt: skip


@triton.jit
def gradient_of_keys_and_values(
    query, key, value, bias, padding, ends, seed, out_gradient, logsumexp, deltas,
    key_gradient, value_gradient,
    query_strides, key_strides, value_strides, bias_strides, padding_strides,
    out_gradient_strides, key_gradient_strides, value_gradient_strides,
    heads, queries, keys, scale, keep_scale,
    HEAD_DIM: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    DROPPED: tl.constexpr, UPCAST: tl.constexpr, SKIP_QUERIES: tl.constexpr,
):  # fmt: skip
    """dV = (P * Z)^T dO and dK = scale dS^T Q."""
    blocks = tl.cdiv(keys, COLUMNS)
    sentence_head = tl.program_id(0) // blocks
    first_column = tl.program_id(0) % blocks * COLUMNS
    batch, head = sentence_head // heads, sentence_head % heads
    columns = first_column + tl.arange(0, COLUMNS)
    key_tile = vectors(key, key_strides, batch, head, columns, keys, HEAD_DIM)
    value_tile = vectors(value, value_strides, batch, head, columns, keys, HEAD_DIM)
    drawn = tl.load(seed) if DROPPED else 0
    query_end, key_end = ends_of(ends, batch, queries, keys, SKIP_QUERIES)
    query_end = tl.where(first_column < key_end, query_end, 0)

    to_keys = tl.zeros((COLUMNS, HEAD_DIM), tl.float32)
    to_values = tl.zeros((COLUMNS, HEAD_DIM), tl.float32)
    for first_row in range(0, query_end, ROWS):
        rows = first_row + tl.arange(0, ROWS)
        places = sentence_head.to(tl.int64) * queries + rows
        query_tile = vectors(query, query_strides, batch, head, rows, queries, HEAD_DIM)
        gradient = vectors(out_gradient, out_gradient_strides, batch, head, rows, queries, HEAD_DIM)
        logit_tile = logits(
            query_tile, key_tile, bias, bias_strides, padding, padding_strides,
            batch, head, rows, columns, queries, keys, scale, UPCAST,
        )  # fmt: skip
        weights, logit_gradient = weights_and_logit_gradient(
            logit_tile, value_tile, gradient,
            tl.load(logsumexp + places, mask=rows < queries, other=float("inf")),
            tl.load(deltas + places, mask=rows < queries, other=0.0),
            drawn, sentence_head, first_row, first_column, keep_scale,
            ROWS, COLUMNS, DROPPED, UPCAST,
        )  # fmt: skip
        to_values += product(tl.trans(weights.to(gradient.dtype)), gradient, UPCAST)
        to_keys += product(tl.trans(logit_gradient.to(query_tile.dtype)), query_tile, UPCAST)

    store_vectors(
        key_gradient, key_gradient_strides, batch, head, columns, keys, to_keys * scale, HEAD_DIM
    )
    store_vectors(
        value_gradient, value_gradient_strides, batch, head, columns, keys, to_values, HEAD_DIM
    )


@triton.jit
def gradient_of_bias(
    query, key, value, bias, padding, ends, seed, out_gradient, logsumexp, deltas,
    bias_gradient, by_length, longer,
    query_strides, key_strides, value_strides, bias_strides, padding_strides,
    out_gradient_strides,
    sentences, heads, queries, keys, scale, keep_scale,
    HEAD_DIM: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    DROPPED: tl.constexpr, UPCAST: tl.constexpr, SKIP_QUERIES: tl.constexpr,
):  # fmt: skip
    """dB = sum over the batch of dS, of the longest sentence first.

    The first ``longer[i]`` sentences of ``by_length`` have a word after ``i`` places.
    """
    column_blocks, row_blocks = tl.cdiv(keys, COLUMNS), tl.cdiv(queries, ROWS)
    first_column = tl.program_id(0) % column_blocks * COLUMNS
    first_row = tl.program_id(0) // column_blocks % row_blocks * ROWS
    head = tl.program_id(0) // (column_blocks * row_blocks)
    rows = first_row + tl.arange(0, ROWS)
    columns = first_column + tl.arange(0, COLUMNS)
    drawn = tl.load(seed) if DROPPED else 0

    to_bias = tl.zeros((ROWS, COLUMNS), tl.float32)
    first = tl.maximum(first_row, first_column) if SKIP_QUERIES else first_column
    for rank in range(0, sentences if ends is None else tl.load(longer + first)):
        batch = rank if ends is None else tl.load(by_length + rank)
        sentence_head = batch * heads + head
        places = sentence_head.to(tl.int64) * queries + rows
        query_tile = vectors(query, query_strides, batch, head, rows, queries, HEAD_DIM)
        key_tile = vectors(key, key_strides, batch, head, columns, keys, HEAD_DIM)
        value_tile = vectors(value, value_strides, batch, head, columns, keys, HEAD_DIM)
        gradient = vectors(out_gradient, out_gradient_strides, batch, head, rows, queries, HEAD_DIM)
        logit_tile = logits(
            query_tile, key_tile, bias, bias_strides, padding, padding_strides,
            batch, head, rows, columns, queries, keys, scale, UPCAST,
        )  # fmt: skip
        _, logit_gradient = weights_and_logit_gradient(
            logit_tile, value_tile, gradient,
            tl.load(logsumexp + places, mask=rows < queries, other=float("inf")),
            tl.load(deltas + places, mask=rows < queries, other=0.0),
            drawn, sentence_head, first_row, first_column, keep_scale,
            ROWS, COLUMNS, DROPPED, UPCAST,
        )  # fmt: skip
        to_bias += logit_gradient

    places = (head.to(tl.int64) * queries + rows)[:, None] * keys + columns[None, :]
    inside = (rows < queries)[:, None] & (columns < keys)[None, :]
    tl.store(bias_gradient + places, to_bias.to(bias_gradient.dtype.element_ty), mask=inside)


KERNELS = {
    "forward": forward,
    "gradient_of_queries": gradient_of_queries,
    "gradient_of_keys_and_values": gradient_of_keys_and_values,
    "gradient_of_bias": gradient_of_bias,
}
