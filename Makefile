# Everything but the CUDA back end builds with the go command alone. The targets here add what -tags cuda needs: package
# gorgonia.org/cu has to be compiled against this repository's cuda.h, which CGO_CFLAGS puts first on the include path. No
# CUDA toolkit and no driver is needed for any of them.

GO ?= go
CUDA_INCLUDE := $(CURDIR)/gpu/cuda/internal/libcuda/include
CUDA := CGO_ENABLED=1 CGO_CFLAGS="-O2 -g -I$(CUDA_INCLUDE)" $(GO)
# ptxas of NVIDIA's wheel nvidia-cuda-nvcc-cu12 (unzip it; the file is nvidia/cuda_nvcc/bin/ptxas) or of a toolkit.
PTXAS ?= ptxas
KERNELS := gpu/cuda/kernels

.PHONY: help cuda cuda-test cuda-check firstrun ptx ptxas

help:
	@echo "make cuda        bin/sower-cuda: the program with the CUDA back end; starts with and without a driver"
	@echo "make cuda-test   bin/*.test: the back end's tests as programs, for a machine with a GPU and no Go (SOWER_TEST_REAL_GPU=1)"
	@echo "make cuda-check  vet and test the back end against the stand-in for the driver, also with the race detector and with models"
	@echo "make firstrun    bin/firstrun.tar.gz: both, stripped, for gpu/cuda/firstrun/firstrun on such a machine"
	@echo "make ptx         compile the kernels to PTX with clang-19"
	@echo "make ptxas       assemble the PTX with NVIDIA's ptxas, where there is one: registers, spills"

cuda:
	$(CUDA) build -tags cuda -o bin/sower-cuda ./cmd/sower

cuda-test:
	@mkdir -p bin
	@set -e; for p in $$($(CUDA) list -tags cuda -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./gpu/cuda/... ./gpu/models/seed); do \
		name=$$(echo "$$p" | sed 's,^sower/gpu/,,; s,internal/,,; s,/,-,g'); \
		echo "bin/$$name.test"; \
		$(CUDA) test -c -tags cuda -ldflags '-s -w' -o "bin/$$name.test" "$$p"; \
	done

firstrun: cuda-test
	$(CUDA) build -tags cuda -ldflags '-s -w' -o bin/firstrun/sower-cuda ./cmd/sower
	cp bin/cuda.test bin/cuda-ext.test bin/cuda-cublaslt.test bin/cuda-libcuda.test bin/models-seed.test bin/firstrun/
	tar -czf bin/firstrun.tar.gz -C bin/firstrun .
	@ls -l bin/firstrun.tar.gz

cuda-check:
	@command -v clang++-19 >/dev/null || command -v clang++ >/dev/null || { echo "cuda-check needs clang (Debian: apt-get install clang-19): without it every test would be skipped"; exit 1; }
	$(CUDA) vet -tags cuda ./gpu/...
	CGO_ENABLED=0 $(GO) test ./gpu/cuda/kernels
	$(CUDA) test -tags cuda $$($(CUDA) list -tags cuda ./gpu/cuda/... | grep -v '/cuda/kernels$$')
	$(CUDA) test -race -short -tags cuda ./gpu/cuda
	@variables=$$($(CUDA) run -tags cuda ./gpu/cuda/internal/fakecuda/env) || exit 1; eval "$$variables"; \
	export SOWER_TEST_DEVICE=cuda; \
	echo "on SOWER_TEST_DEVICE=cuda:"; \
	$(CUDA) test -tags cuda ./gpu/models/lm ./gpu/models/seed && $(CUDA) test -short -tags cuda ./gpu/lora && \
	FAKECUDA_DEVICES=3 $(CUDA) test -tags cuda -run SeveralDevices ./internal/encode

ptx:
	$(KERNELS)/build.sh

ptxas:
	@command -v $(PTXAS) >/dev/null || { echo "skipped: no ptxas here (PTXAS=path; the wheel nvidia-cuda-nvcc-cu12 holds one)"; exit 0; }; \
	$(KERNELS)/ptxas.sh "$$(command -v $(PTXAS))"
