"""ONNX Runtime on the CPU as a peer: the SEED-2 encoder in float32. See README.md."""

import protocol

args = protocol.arguments(__doc__, ("plain", "fused"), ("f32",))

import onnxruntime as ort  # noqa: E402

import model  # noqa: E402
import onnx_graph  # noqa: E402

cache = model.cache_folder(args.cache)
file, rows = onnx_graph.files(args.config, args.seed, cache, args.threads, args.mode == "fused")
o = ort.SessionOptions()
o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
o.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
o.intra_op_num_threads, o.inter_op_num_threads = args.threads, 1
session = ort.InferenceSession(str(file), o, providers=["CPUExecutionProvider"])
assert session.get_providers() == ["CPUExecutionProvider"]
book = model.Codebook(rows)


def encode(x):
    return book.nearest(session.run(["vectors"], {"images": x})[0])


# Spinning is left at its default: threads wait in a loop between operators and for a moment after a run, then sleep.
flags = "CPUExecutionProvider; ORT_ENABLE_ALL; sequential; intra_op_spinning=default"
name = "ONNX Runtime" + (" fused" if args.mode == "fused" else "")
protocol.serve(args, name, ort.__version__, "f32", flags, lambda n: False, encode)
