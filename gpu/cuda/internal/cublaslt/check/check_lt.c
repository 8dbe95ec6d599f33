/* Compiles against NVIDIA's cublasLt.h if ../lt.h agrees with it:
 *   cc -fsyntax-only -I TOOLKIT/include check_lt.c
 * With the headers of the separate packages (cublas, runtime, nvcc) add -D__CUDA_FP16_H__ -D__CUDA_BF16_H__: those two, which
 * need one package more, are not used. */
#include <cublasLt.h>
#include "../lt.h"

#define S(a, b) _Static_assert((long)(a) == (long)(b), #a)
S(LT_R_32F, CUDA_R_32F);
S(LT_R_16F, CUDA_R_16F);
S(LT_R_16BF, CUDA_R_16BF);
S(LT_COMPUTE_32F, CUBLAS_COMPUTE_32F);
S(LT_OP_N, CUBLAS_OP_N);
S(LT_OP_T, CUBLAS_OP_T);
S(LT_DESC_TRANSA, CUBLASLT_MATMUL_DESC_TRANSA);
S(LT_DESC_TRANSB, CUBLASLT_MATMUL_DESC_TRANSB);
S(LT_DESC_EPILOGUE, CUBLASLT_MATMUL_DESC_EPILOGUE);
S(LT_DESC_BIAS_POINTER, CUBLASLT_MATMUL_DESC_BIAS_POINTER);
S(LT_DESC_BIAS_TYPE, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE);
S(LT_EPI_NONE, CUBLASLT_EPILOGUE_DEFAULT);
S(LT_EPI_BIAS, CUBLASLT_EPILOGUE_BIAS);
S(LT_PREF_WORKSPACE, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
S(LT_PREF_REDUCTION, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK);
S(LT_PREF_ALIGN_A, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
S(LT_PREF_ALIGN_B, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES);
S(LT_PREF_ALIGN_C, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES);
S(LT_PREF_ALIGN_D, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
S(LT_LAYOUT_BATCH, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT);
S(LT_LAYOUT_STRIDE, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET);
S(LT_ALGO_ID, CUBLASLT_ALGO_CONFIG_ID);
S(LT_ALGO_TILE, CUBLASLT_ALGO_CONFIG_TILE_ID);
S(LT_ALGO_SPLITK, CUBLASLT_ALGO_CONFIG_SPLITK_NUM);
S(LT_ALGO_REDUCTION, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME);
S(LT_ALGO_SWIZZLE, CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING);
S(LT_ALGO_CUSTOM, CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION);
S(LT_ALGO_STAGES, CUBLASLT_ALGO_CONFIG_STAGES_ID);
S(LT_ALGO_INNER, CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID);
S(LT_ALGO_CLUSTER, CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID);
S(0, CUBLASLT_REDUCTION_SCHEME_NONE);
S(sizeof(lt_algo), sizeof(cublasLtMatmulAlgo_t));
S(sizeof(lt_heuristic), sizeof(cublasLtMatmulHeuristicResult_t));
S(offsetof(lt_heuristic, workspace), offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize));
S(offsetof(lt_heuristic, state), offsetof(cublasLtMatmulHeuristicResult_t, state));
S(offsetof(lt_heuristic, waves), offsetof(cublasLtMatmulHeuristicResult_t, wavesCount));

#define SAME(f, ...) _Static_assert(__builtin_types_compatible_p(__typeof__(f), __VA_ARGS__), #f)
SAME(cublasLtGetVersion, size_t(void));
SAME(cublasLtMatrixLayoutCreate, cublasStatus_t(cublasLtMatrixLayout_t *, cudaDataType, uint64_t, uint64_t, int64_t));
SAME(cublasLtMatmulDescCreate, cublasStatus_t(cublasLtMatmulDesc_t *, cublasComputeType_t, cudaDataType_t));
SAME(cublasLtMatmulAlgoCheck, cublasStatus_t(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
	cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, const cublasLtMatmulAlgo_t *, cublasLtMatmulHeuristicResult_t *));
SAME(cublasLtMatmulAlgoGetHeuristic, cublasStatus_t(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
	cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatmulPreference_t, int, cublasLtMatmulHeuristicResult_t *, int *));
SAME(cublasLtMatmulAlgoConfigGetAttribute, cublasStatus_t(const cublasLtMatmulAlgo_t *, cublasLtMatmulAlgoConfigAttributes_t, void *, size_t, size_t *));
SAME(cublasLtMatmul, cublasStatus_t(cublasLtHandle_t, cublasLtMatmulDesc_t, const void *, const void *, cublasLtMatrixLayout_t, const void *,
	cublasLtMatrixLayout_t, const void *, const void *, cublasLtMatrixLayout_t, void *, cublasLtMatrixLayout_t, const cublasLtMatmulAlgo_t *,
	void *, size_t, cudaStream_t));
