"""A language model in the GGUF format that loads and generates, of random weights: what llama.cpp is tried with."""

import random
import struct

U32, F32, STRING, ARRAY = 4, 6, 8, 9
I32 = 5
F16_TENSOR, F32_TENSOR = 1, 0
ALIGNMENT = 32
WIDTH, LAYERS, HEADS, INNER = 256, 2, 4, 512


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def field(name, kind, data):
    return text(name) + struct.pack("<I", kind) + data


def array(name, kind, items):
    return field(name, ARRAY, struct.pack("<IQ", kind, len(items)) + b"".join(items))


def write(path):
    """Writes it; some 3 MB."""
    draw = random.Random(7)
    # Three that mean something, every byte, and the words that it knows.
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁hello", "▁world", "▁"]
    kinds = [2, 3, 3, *[6] * 256, 1, 1, 1]
    vocabulary = len(tokens)
    numbers = {
        "llama.block_count": LAYERS, "llama.context_length": 256, "llama.embedding_length": WIDTH, "llama.feed_forward_length": INNER,
        "llama.attention.head_count": HEADS, "llama.attention.head_count_kv": HEADS, "llama.rope.dimension_count": WIDTH // HEADS,
        "llama.vocab_size": vocabulary, "general.file_type": 1, "tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    }
    fields = [
        field("general.architecture", STRING, text("llama")),
        field("tokenizer.ggml.model", STRING, text("llama")),
        field("llama.attention.layer_norm_rms_epsilon", F32, struct.pack("<f", 1e-5)),
        *(field(name, U32, struct.pack("<I", value)) for name, value in numbers.items()),
        array("tokenizer.ggml.tokens", STRING, [text(token) for token in tokens]),
        array("tokenizer.ggml.scores", F32, [struct.pack("<f", -float(at)) for at in range(vocabulary)]),
        array("tokenizer.ggml.token_type", I32, [struct.pack("<i", kind) for kind in kinds]),
    ]

    def weights(*shape):
        count = shape[0] * shape[1]
        return F16_TENSOR, shape, struct.pack(f"<{count}e", *(draw.gauss(0, 0.02) for _ in range(count)))

    def ones(width):
        return F32_TENSOR, (width,), struct.pack(f"<{width}f", *[1.0] * width)

    tensors = {"token_embd.weight": weights(WIDTH, vocabulary), "output_norm.weight": ones(WIDTH), "output.weight": weights(WIDTH, vocabulary)}
    for layer in range(LAYERS):
        named = {
            "attn_norm": ones(WIDTH), "ffn_norm": ones(WIDTH),
            **{f"attn_{part}": weights(WIDTH, WIDTH) for part in ("q", "k", "v", "output")},
            "ffn_gate": weights(WIDTH, INNER), "ffn_up": weights(WIDTH, INNER), "ffn_down": weights(INNER, WIDTH),
        }
        tensors |= {f"blk.{layer}.{part}.weight": tensor for part, tensor in named.items()}
    infos, body = [], bytearray()
    for name, (kind, shape, data) in tensors.items():
        dimensions = struct.pack(f"<{len(shape)}Q", *shape)
        infos.append(text(name) + struct.pack("<I", len(shape)) + dimensions + struct.pack("<IQ", kind, len(body)))
        body += data + bytes(-len(data) % ALIGNMENT)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(fields)) + b"".join(fields) + b"".join(infos)
    path.write_bytes(head + bytes(-len(head) % ALIGNMENT) + body)
