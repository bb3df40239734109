"""What a tile of :mod:`.triton_attention_kernels` is made of: ``ROWS`` queries by
``COLUMNS`` keys.

Positions outside are loaded as zeros.
"""

# mypy: ignore-errors
# Triton compiles these functions from their source, with types of its own.

try:  # transformers demands what a copied file imports, unless it stands in a `try`
    import triton
    import triton.language as tl
except ImportError as error:
    raise ImportError("triton attention needs the package triton: pip install triton") from error

ROUNDS = tl.constexpr(7)
"""Of Philox: the fewest that pass BigCrush (Salmon et al. 2011, table 2), as FlashAttention has."""


@triton.jit
def product(left, right, UPCAST: tl.constexpr):
    """Matrix product, added up in float32 and never in TF32."""
    if UPCAST:  # Triton's interpreter takes the bits of a bfloat16 for an integer
        left, right = left.to(tl.float32), right.to(tl.float32)
    return tl.dot(left, right, input_precision="ieee")


@triton.jit
def ends_of(ends, batch, queries, keys, SKIP_QUERIES: tl.constexpr):
    """How many queries and keys of a sentence there are up to its last word, or at all."""
    key_end = keys if ends is None else tl.load(ends + batch)
    query_end = key_end if SKIP_QUERIES else queries
    return query_end, key_end


@triton.jit
def vectors(pointer, strides, batch, head, positions, length, HEAD_DIM: tl.constexpr):
    """``(positions, head_dim)`` of one head of one sentence; int64, since a batch may be large."""
    start = tl.to_tensor(batch).to(tl.int64) * strides[0] + head.to(tl.int64) * strides[1]
    offsets = positions.to(tl.int64)[:, None] * strides[2] + tl.arange(0, HEAD_DIM)[None, :]
    return tl.load(pointer + start + offsets, mask=positions[:, None] < length, other=0.0)


@triton.jit
def store_vectors(pointer, strides, batch, head, positions, length, tile, HEAD_DIM: tl.constexpr):
    """The way back of `vectors`."""
    start = tl.to_tensor(batch).to(tl.int64) * strides[0] + head.to(tl.int64) * strides[1]
    offsets = positions.to(tl.int64)[:, None] * strides[2] + tl.arange(0, HEAD_DIM)[None, :]
    tile = tile.to(pointer.dtype.element_ty)
    tl.store(pointer + start + offsets, tile, mask=positions[:, None] < length)


@triton.jit
def logits(
    query_tile, key_tile, bias, bias_strides, padding, padding_strides,
    batch, head, rows, columns, queries, keys, scale, UPCAST: tl.constexpr,
):  # fmt: skip
    """S = scale Q K^T + B, and -inf at keys that nobody attends to."""
    tile = product(query_tile, tl.trans(key_tile), UPCAST) * scale
    seen = columns < keys
    if bias is not None:
        start = head.to(tl.int64) * bias_strides[0]
        offsets = rows.to(tl.int64)[:, None] * bias_strides[1] + columns[None, :] * bias_strides[2]
        inside = (rows < queries)[:, None] & seen[None, :]
        tile += tl.load(bias + start + offsets, mask=inside, other=0.0).to(tl.float32)
    if padding is not None:
        start = tl.to_tensor(batch).to(tl.int64) * padding_strides[0]
        padded = tl.load(padding + start + columns * padding_strides[1], mask=seen, other=1)
        seen = seen & (padded == 0)
    return tl.where(seen[None, :], tile, float("-inf"))


@triton.jit
def kept(
    seed, sentence_head, first_row, first_column,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DROPPED: tl.constexpr,
):  # fmt: skip
    """True where dropout keeps a weight: a function of the seed and the weight's place alone.

    One call of Philox gives four words of 32 bits, which are halved for eight keys beside each
    other: a word for each would cost far more than the matrix products.
    """
    rows = first_row + tl.arange(0, ROWS)[:, None]
    eights = first_column // 8 + tl.arange(0, COLUMNS // 8)[None, :]
    zero = (rows + eights) * 0
    first, second, third, fourth = tl.philox(
        seed, zero + eights, zero + rows, zero + sentence_head, zero, ROUNDS
    )
    words = tl.join(tl.join(first, third), tl.join(second, fourth))
    halves = tl.join(words & 0xFFFF, words >> 16)
    return tl.reshape(halves, (ROWS, COLUMNS)) >= DROPPED


@triton.jit
def weights_and_logit_gradient(
    logit_tile, value_tile, out_gradient, logsumexp_rows, delta_rows,
    seed, sentence_head, first_row, first_column, keep_scale,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DROPPED: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """``P * Z`` and ``dS = P * (Z * (dO V^T) - D)`` of one tile."""
    weights = tl.exp(logit_tile - logsumexp_rows[:, None])
    weight_gradient = product(out_gradient, tl.trans(value_tile), UPCAST)
    dropped_weights = weights
    if DROPPED:
        keep = kept(seed, sentence_head, first_row, first_column, ROWS, COLUMNS, DROPPED)
        dropped_weights = tl.where(keep, weights * keep_scale, 0.0)
        weight_gradient = tl.where(keep, weight_gradient * keep_scale, 0.0)
    return dropped_weights, weights * (weight_gradient - delta_rows[:, None])
