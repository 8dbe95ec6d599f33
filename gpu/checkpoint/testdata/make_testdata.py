"""Writes the .pt files of this folder: the byte forms of torch.save, made without PyTorch.

    python3 make_testdata.py OUT_DIR        (standard library only; output is deterministic)

Every file holds  weight f32 [2 3] = 0 1 2 3 4 5,  half f16 [4] = 1 -2 0.5 65504,  bf16 [2] = 1 -3  and, where the form
allows it, transposed = weight seen as [3 2] with strides [1 3].
"""

import argparse
import collections
import io
import os
import pickle
import struct
import sys
import types
import zipfile

# Stand-ins with PyTorch's module and class names, so that the pickles name what real ones name.
torch = types.ModuleType("torch")
utils = types.ModuleType("torch._utils")
torch._utils = utils
sys.modules["torch"], sys.modules["torch._utils"] = torch, utils
for kind in ("FloatStorage", "HalfStorage", "BFloat16Storage", "LongStorage"):
    cls = type(kind, (), {})
    cls.__module__ = "torch"
    setattr(torch, kind, cls)


def rebuild(name):
    def f(*args):
        raise RuntimeError("never called")
    f.__module__, f.__qualname__, f.__name__ = "torch._utils", name, name
    setattr(utils, name, f)
    return f


rebuild_tensor, rebuild_parameter = rebuild("_rebuild_tensor_v2"), rebuild("_rebuild_parameter")


class Storage:
    def __init__(self, kind, key, raw, count):
        self.kind, self.key, self.raw, self.count = kind, key, raw, count


class Call:
    """Pickles as a call of fn with args."""

    def __init__(self, fn, *args):
        self.fn, self.args = fn, args

    def __reduce__(self):
        return self.fn, self.args


WEIGHT = Storage(torch.FloatStorage, "0", struct.pack("<6f", *range(6)), 6)
HALF = Storage(torch.HalfStorage, "1", struct.pack("<4e", 1, -2, 0.5, 65504), 4)
BF16 = Storage(torch.BFloat16Storage, "2", struct.pack("<2H", 0x3F80, 0xC040), 2)
STEPS = Storage(torch.LongStorage, "3", struct.pack("<q", 7), 1)


def tensor(s, size, stride, offset=0):
    return Call(rebuild_tensor, s, offset, size, stride, False, collections.OrderedDict())


def state(parameter=False):
    w = tensor(WEIGHT, (2, 3), (3, 1))
    return collections.OrderedDict([
        ("weight", Call(rebuild_parameter, w, True, collections.OrderedDict()) if parameter else w),
        ("half", tensor(HALF, (4,), (1,))),
        ("bf16", tensor(BF16, (2,), (1,))),
        ("transposed", tensor(WEIGHT, (3, 2), (1, 3))),
        ("steps", tensor(STEPS, (), ())),
    ])


class Pickler(pickle.Pickler):
    def __init__(self, f, seen, legacy):
        super().__init__(f, protocol=2)
        self.seen, self.legacy = seen, legacy

    def persistent_id(self, obj):
        if isinstance(obj, Storage):
            self.seen[obj.key] = obj
            id = ("storage", obj.kind, obj.key, "cpu", obj.count)
            return id + (None,) if self.legacy else id


def zipped(path, obj, method=zipfile.ZIP_STORED):
    seen, out = {}, io.BytesIO()
    Pickler(out, seen, False).dump(obj)
    with zipfile.ZipFile(path, "w", method) as z:
        def put(name, data):
            z.writestr(zipfile.ZipInfo("archive/" + name, (1980, 1, 1, 0, 0, 0)), data, method)
        put("data.pkl", out.getvalue())
        put("byteorder", "little")
        for key, s in sorted(seen.items()):
            put("data/" + key, s.raw)
        put("version", "3\n")


def legacy(path, obj):
    seen, out = {}, io.BytesIO()
    pickle.dump(0x1950A86A20F9469CFC6C, out, protocol=2)
    pickle.dump(1001, out, protocol=2)
    pickle.dump({"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}, out, protocol=2)
    Pickler(out, seen, True).dump(obj)
    pickle.dump(sorted(seen), out, protocol=2)
    for key in sorted(seen):
        out.write(struct.pack("<q", seen[key].count) + seen[key].raw)
    open(path, "wb").write(out.getvalue())


def main(out):
    os.makedirs(out, exist_ok=True)
    p = lambda name: os.path.join(out, name)
    zipped(p("zip.pt"), state())
    zipped(p("deflated.pt"), state(), zipfile.ZIP_DEFLATED)
    zipped(p("parameter.pt"), state(parameter=True))
    zipped(p("nested.pth"), {"epoch": 3, "args": argparse.Namespace(lr=1e-4, name="run"), "model": state(), "scaler": None})
    legacy(p("legacy.pt"), state())
    zipped(p("code.pt"), {**state(), "boom": Call(os.system, "touch sower-ran-code")})
    zipped(p("only-code.pt"), Call(os.system, "touch sower-ran-code"))
    open(p("only-code.pkl"), "wb").write(pickle.dumps(Call(os.system, "touch sower-ran-code"), protocol=2))
    short = collections.OrderedDict(weight=tensor(WEIGHT, (2, 4), (4, 1)))
    zipped(p("too-short.pt"), short)
    zipped(p("huge.pt"), collections.OrderedDict(weight=tensor(WEIGHT, (1 << 40, 1 << 40), (1 << 40, 1))))


main(sys.argv[1])
