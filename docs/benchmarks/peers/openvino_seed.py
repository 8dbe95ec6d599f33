"""OpenVINO on the CPU as a peer: the SEED-2 encoder. See README.md."""

from collections import Counter

import protocol

args = protocol.arguments(__doc__, ("onnx",), ("f32", "bf16"))

import openvino as ov  # noqa: E402

import model  # noqa: E402
import onnx_graph  # noqa: E402

c, cache = model.CONFIGS[args.config], model.cache_folder(args.cache)
file, rows = onnx_graph.files(args.config, args.seed, cache, args.threads, False)
core = ov.Core()
wanted = {"f32": ov.Type.f32, "bf16": ov.Type.bf16}[args.precision]
settings = {"INFERENCE_PRECISION_HINT": wanted, "INFERENCE_NUM_THREADS": args.threads, "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1}
book = model.Codebook(rows)
compiled = {}


def prepare(n):
    """One compiled graph at a time, because each has its own copy of the weights; of a fixed size, which is faster."""
    if n in compiled:
        return False
    compiled.clear()
    graph = core.read_model(file)
    graph.reshape([n, c["image_size"], c["image_size"], 3])
    compiled[n] = core.compile_model(graph, "CPU", settings)
    # The hint is only a hint: what the plugin took is what counts.
    got = compiled[n].get_property("INFERENCE_PRECISION_HINT")
    assert got == wanted, f"asked for {wanted}, got {got}"
    assert compiled[n].get_property("INFERENCE_NUM_THREADS") == args.threads
    return True


def executed():
    """What the heavy nodes of the compiled graph compute in, by kind, and by which kernels."""
    seen = Counter()
    for node in compiled[1].get_runtime_model().get_ops():
        say = lambda key: node.rt_info[key].astype(str) if key in node.rt_info else "?"
        if say("layerType") in ("FullyConnected", "MatMul", "Convolution", "Subgraph", "ScaledDotProductAttention", "MHA"):
            seen[f"{say('layerType')} {say('runtimePrecision')} {say('primitiveType')}"] += 1
    return [f"{count} {what}" for what, count in sorted(seen.items())]


def encode(x):
    request = compiled[len(x)].create_infer_request()
    return book.nearest(request.infer({"images": x}, share_inputs=True)["vectors"])


def text(value):
    """A type by its short name, as in bf16; other values as they are."""
    return value.get_type_name() if isinstance(value, ov.Type) else str(value).split(".")[-1]


prepare(1)
words = [f"{k}={text(compiled[1].get_property(k))}" for k in ("INFERENCE_PRECISION_HINT", "INFERENCE_NUM_THREADS", "NUM_STREAMS",
                                                        "PERFORMANCE_HINT", "ENABLE_CPU_PINNING", "EXECUTION_MODE_HINT")]
protocol.serve(args, "OpenVINO", ov.__version__, args.precision, "; ".join(words + executed()), prepare, encode)
