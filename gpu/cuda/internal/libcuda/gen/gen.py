#!/usr/bin/env python3
"""Writes what package gorgonia.org/cu needs in place of a CUDA toolkit.

    python3 gen/gen.py "$(go list -m -f '{{.Dir}}' gorgonia.org/cu)" .      (in gpu/cuda/internal/libcuda)

  include/cuda.h        a minimal header: the types, constants and functions that cu names
  shim.c                those functions, forwarded to libcuda.so.1 through dlopen
  gen/check_toolkit.c   compiles against NVIDIA's cuda.h only if every value and prototype agrees

The names come from cu's own cgo uses; prototypes and values from the listing of the API that the module carries for its own
generator (cmd/genlib/cuda.h, Apache-2.0). Needs Python 3 and a C compiler.
"""
import glob
import os
import re
import subprocess
import sys
import tempfile

# libcuda exports these with a suffix (the 64-bit interface); the plain symbol is the older, 32-bit one.
SUFFIXED = {'cu' + n: '_v2' for n in '''
    DeviceTotalMem CtxCreate ModuleGetGlobal MemGetInfo MemAlloc MemAllocPitch MemFree MemGetAddressRange
    MemcpyHtoD MemcpyDtoH MemcpyDtoD MemcpyDtoA MemcpyAtoD MemcpyHtoA MemcpyAtoH MemcpyAtoA MemcpyHtoAAsync
    MemcpyAtoHAsync Memcpy2D Memcpy2DUnaligned Memcpy3D MemcpyHtoDAsync MemcpyDtoHAsync MemcpyDtoDAsync
    Memcpy2DAsync Memcpy3DAsync MemsetD8 MemsetD16 MemsetD32 MemsetD2D8 MemsetD2D16 MemsetD2D32 ArrayCreate
    ArrayGetDescriptor Array3DCreate Array3DGetDescriptor TexRefSetAddress TexRefGetAddress CtxDestroy
    CtxPopCurrent CtxPushCurrent StreamDestroy EventDestroy LinkCreate LinkAddData LinkAddFile
    DevicePrimaryCtxRelease DevicePrimaryCtxReset DevicePrimaryCtxSetFlags'''.split()}
SUFFIXED['cuTexRefSetAddress2D'] = '_v3'

DEFINED_BY_CU = {'cuAllocAndCopy', 'cuLaunchAndSync', 'cuDeviceGetAttributes'}  # in its batch.c

# Declared otherwise since CUDA 13; the driver keeps exporting the older symbols that we bind to.
CHANGED_IN_13 = {'cuCtxCreate', 'cuMemAdvise', 'cuMemPrefetchAsync', 'cuGraphAddDependencies', 'cuGraphGetEdges'}

# A mask that grew with CUDA 12 (0x1f to 0xff); cu only masks with it.
DIFFERS = {'CU_CTX_FLAGS_MASK'}


def cu_sources(module):
    text = ''
    for f in sorted(glob.glob(module + '/*.go') + glob.glob(module + '/*.c')):
        if f.endswith('_test.go'):
            continue
        comments = r'//[^\n]*' if f.endswith('.go') else r'//[^\n]*|/\*.*?\*/'
        text += re.sub(comments, '', open(f).read(), flags=re.S)
    return text


def read_listing(module):
    text = open(module + '/cmd/genlib/cuda.h').read()
    return text[text.index('typedef uint32_t cuuint32_t;'):]


def prototypes(listing):
    found = re.finditer(r'CUresult\s+(cu\w+)\s*\((.*?)\);', listing, re.S)
    return {m.group(1): re.sub(r'\s+', ' ', m.group(2)).strip() for m in found}


def typedefs_of(listing):
    pattern = (r'typedef (?:struct|union|enum) \w+ \{.*?\n\} (\w+);|typedef [^{};]*?\b(\w+);'
               r'|typedef void \( \*(\w+)\)\([^)]*\);')
    found = re.finditer(pattern, listing, re.S)
    return {m.group(1) or m.group(2) or m.group(3): m.group(0) for m in found}


def closure(roots, typedefs):
    """The types that roots need, each after those it names itself."""
    seen, order = set(), []

    def want(name):
        if name in seen or name not in typedefs:
            return
        seen.add(name)
        if ' enum ' not in typedefs[name][:20]:
            for other in re.findall(r'\b(CU\w+|cuu\w+)\b', typedefs[name]):
                want(other)
        order.append(name)

    for r in roots:
        want(r)
    return order


def values(listing, names):
    """The constants' values, read by compiling the listing."""
    macros = 'enum { CU_TRSF_READ_AS_INTEGER = 1, CU_TRSF_NORMALIZED_COORDINATES = 2 };\n'  # macros in the interface
    lines = [f'printf("{n} %lld\\n", (long long){n});' for n in names]
    source = ('#include <stdio.h>\n#include <stdint.h>\n#include <stddef.h>\n' + listing + '\n' + macros +
              'int main(void) {\n' + '\n'.join(lines) + '\n}\n')
    with tempfile.TemporaryDirectory() as d:
        with open(d + '/a.c', 'w') as f:
            f.write(source)
        subprocess.run(['cc', '-w', '-o', d + '/a', d + '/a.c'], check=True)
        out = subprocess.check_output([d + '/a'], text=True)
    return dict(line.split() for line in out.splitlines())


def arguments(params):
    """The names of a prototype's parameters."""
    if params in ('', 'void'):
        return []
    parts, depth, part = [], 0, ''
    for ch in params + ',':
        if ch == ',' and depth == 0:
            parts.append(part.strip())
            part = ''
            continue
        part += ch
        depth += (ch in '([') - (ch in ')]')
    return [re.search(r'(\w+)(?:\[\d*\])?$', p).group(1) for p in parts]


def enum(name, items, value):
    items = [f'{i} = {value[i]}' for i in items] or [f'{name}_unused = 0']
    return 'typedef enum {\n\t' + ',\n\t'.join(items) + f'\n}} {name};'


def header(funcs, protos, types, typedefs, consts, value):
    out = ['/* Minimal CUDA driver interface for gorgonia.org/cu v0.9.6: what that package names and nothing else, bound to the',
           ' * driver symbols of CUDA 11 and 12, which libcuda.so.1 keeps exporting. Written by gen/gen.py. */',
           '#ifndef SOWER_CUDA_H', '#define SOWER_CUDA_H', '#include <stddef.h>', '#include <stdint.h>',
           '#include <stdlib.h>', '', '#define CUDA_VERSION 11080 /* the interface bound here, not the driver found */', '']
    placed = set()
    for t in types:
        if typedefs[t].startswith('typedef enum'):
            listed = re.findall(r'\b(CU\w+)\b', typedefs[t].split('{', 1)[1])
            mine = [i for i in listed if i in value and i not in placed]
            placed.update(mine)
            out.append(enum(t, mine, value))
        else:
            out.append(re.sub(r'\s+', ' ', typedefs[t]).replace('__attribute__((deprecated)) ', ''))
    rest = [c for c in consts if c not in placed]
    out += ['enum {\n\t' + ',\n\t'.join(f'{c} = {value[c]}' for c in rest) + '\n};', '']
    out += [f'#define {f} {f}{SUFFIXED[f]}' for f in funcs if f in SUFFIXED]
    out += [''] + [f'CUresult {f}({protos[f]});' for f in funcs] + ['', '#endif']
    return '\n'.join(out) + '\n'


SHIM_HEAD = '''//go:build cuda && linux && cgo

/* Stands in for libcuda at link time: see doc.go. Written by gen/gen.py. */
#define _GNU_SOURCE
#include "shim.h"
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
'''

SHIM_LOAD = '''} table;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static void *lib;
static CUresult outcome = CUDA_ERROR_NO_DEVICE; /* the true outcome of cuInit */
static char why[1024] = "not tried", path[512];

static void resolve(void);

static void tried(const char *text) {
	size_t n = strlen(why);
	snprintf(why + n, sizeof why - n, "%s%s", n ? "; " : "no CUDA driver: ", text ? text : "unknown error");
}

static void load(void) {
	static const char *const places[] = {
		"libcuda.so.1", "/usr/local/nvidia/lib64/libcuda.so.1", "/usr/local/cuda/compat/libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1"};
	const char *named = getenv("SOWER_LIBCUDA");
	why[0] = 0;
	if (named && *named) { /* a named library is used, or none */
		if (!(lib = dlopen(named, RTLD_NOW | RTLD_LOCAL))) tried(dlerror());
	} else {
		for (size_t i = 0; !lib && i < sizeof places / sizeof *places; i++)
			if (!(lib = dlopen(places[i], RTLD_NOW | RTLD_LOCAL))) tried(dlerror());
	}
	if (!lib) return;
	why[0] = 0;
	struct link_map *map;
	if (!dlinfo(lib, RTLD_DI_LINKMAP, &map)) snprintf(path, sizeof path, "%s", map->l_name);
	resolve();
	if (!table.cuInit_) {
		snprintf(why, sizeof why, "%s has no cuInit: it is no CUDA driver library", path);
		return;
	}
	outcome = table.cuInit_(0);
	if (outcome == CUDA_SUCCESS) return;
	const char *text = NULL;
	CUresult (*describe)(CUresult, const char **) = (CUresult (*)(CUresult, const char **))dlsym(lib, "cuGetErrorString");
	if (!describe || describe(outcome, &text) || !text) text = "no description";
	snprintf(why, sizeof why, "cuInit of %s returned %d (%s)", path, (int)outcome, text);
}

static const struct {
	const char *name;
	void **at;
} entries[] = {
'''

SHIM_CALLS = '''};

#define ENTRIES (sizeof entries / sizeof *entries)

static void resolve(void) {
	for (size_t i = 0; i < ENTRIES; i++) *entries[i].at = dlsym(lib, entries[i].name);
}

const char *sower_cuda_missing(size_t i) {
	pthread_once(&once, load);
	for (size_t e = 0; lib && e < ENTRIES; e++)
		if (!*entries[e].at && i-- == 0) return entries[e].name;
	return NULL;
}

int sower_cuda_state(void) { pthread_once(&once, load); return (int)outcome; }
const char *sower_cuda_why(void) { pthread_once(&once, load); return why; }
const char *sower_cuda_path(void) { pthread_once(&once, load); return path; }
void *sower_cuda_symbol(const char *name) { pthread_once(&once, load); return lib ? dlsym(lib, name) : NULL; }

#define HIDE __attribute__((visibility("hidden")))
#define NEED(f) pthread_once(&once, load); if (outcome != CUDA_SUCCESS) return outcome; if (!table.f##_) return CUDA_ERROR_NOT_SUPPORTED

HIDE CUresult cuInit(unsigned int Flags) { (void)Flags; pthread_once(&once, load); return CUDA_SUCCESS; }
'''


def shim(funcs, protos):
    out = SHIM_HEAD
    out += ''.join(f'\tCUresult (*{f}_)({protos[f]});\n' for f in funcs)
    out += SHIM_LOAD
    out += ''.join(f'\t{{"{f}{SUFFIXED.get(f, "")}", (void **)&table.{f}_}},\n' for f in funcs)
    out += SHIM_CALLS
    for f in funcs:
        if f != 'cuInit':
            out += f'HIDE CUresult {f}({protos[f]}) {{ NEED({f}); return table.{f}_({", ".join(arguments(protos[f]))}); }}\n'
    return out


def check(funcs, protos, consts, value):
    out = ['/* Compiles against NVIDIA\'s cuda.h if libcuda/include/cuda.h agrees with it. Written by gen/gen.py:',
           ' *   cc -fsyntax-only -I TOOLKIT/include gen/check_toolkit.c */', '#include <cuda.h>']
    out += [f'_Static_assert((long long){c} == {value[c]}LL, "{c}");' for c in consts if c not in DIFFERS]
    for f in funcs:
        line = f'_Static_assert(__builtin_types_compatible_p(__typeof__({f}), CUresult({protos[f]})), "{f}");'
        out.append(f'#if CUDA_VERSION < 13000\n{line}\n#endif' if f in CHANGED_IN_13 else line)
    return '\n'.join(out) + '\n'


def main():
    module, folder = sys.argv[1], sys.argv[2]
    source, listing = cu_sources(module), read_listing(module)
    protos, typedefs = prototypes(listing), typedefs_of(listing)
    consts = sorted(set(re.findall(r'\b(CU_[A-Z0-9_]+|CUDA_SUCCESS|CUDA_ERROR_[A-Z0-9_]+)\b', source)))
    called = sorted(set(re.findall(r'\b(cu[A-Z][A-Za-z0-9]+)\s*\(', source)))
    funcs = [f for f in called if f in protos]
    unknown = [f for f in called if f not in protos and f not in DEFINED_BY_CU]
    roots = re.findall(r'\b(CU\w+|cuu\w+)\b', ' '.join(protos[f] for f in funcs))
    roots += sorted(set(re.findall(r'C\.(CU[A-Za-z0-9_]+)\b', source))) + ['CUresult', 'CUhostFn']
    types = closure(roots, typedefs)
    value = values(listing, consts)
    for name, text in (('include/cuda.h', header(funcs, protos, types, typedefs, consts, value)),
                       ('shim.c', shim(funcs, protos)), ('gen/check_toolkit.c', check(funcs, protos, consts, value))):
        with open(os.path.join(folder, name), 'w') as f:
            f.write(text)
    print(len(funcs), 'functions,', len(consts), 'constants; called but not in the listing:', unknown or 'none')


if __name__ == '__main__':
    main()
