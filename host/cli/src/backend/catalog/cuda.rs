//! The libraries and headers of CUDA 13.0, for ONNX Runtime's execution provider and for tract's
//! runtime.
//!
//! 13.0 is the oldest version that both support (`onnxruntime-gpu` declares `~=13.0`, tract is built for
//! 13.0), so it works with the oldest drivers. All libraries are in `lib`, in an order in which each can
//! be opened after those before it. `include` contains the headers that tract compiles its kernels with.
//! NVIDIA's licenses are stored next to them, one for each of its packages.

use super::super::package::{Package, Wheel, member};

pub(super) static CUDA: Package = Package {
    name: "cuda",
    // The versions of CUDA and of ONNX Runtime.
    version: "13.0-1.31.1",
    machine: ("linux", "x86_64"),
    wheels: WHEELS,
};

const WHEELS: &[Wheel] = &[
    Wheel {
        project: "nvidia-cuda-runtime",
        file: "nvidia_cuda_runtime-13.0.96-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        bytes: 2_243_632,
        sha256: "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
        members: &[
            member(
                "nvidia/cu13/lib/libcudart.so.13",
                "lib/libcudart.so.13",
                704_288,
            ),
            member("nvidia/cu13/include/", "include/", 4_091_322),
            member(
                "nvidia_cuda_runtime-13.0.96.dist-info/licenses/License.txt",
                "licenses/nvidia-cuda-runtime.txt",
                59_262,
            ),
        ],
    },
    Wheel {
        project: "nvidia-cuda-nvrtc",
        file: "nvidia_cuda_nvrtc-13.0.88-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl",
        bytes: 90_215_200,
        sha256: "ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575",
        members: &[
            member(
                "nvidia/cu13/lib/libnvrtc-builtins.so.13.0",
                "lib/libnvrtc-builtins.so.13.0",
                4_380_616,
            ),
            member(
                "nvidia/cu13/lib/libnvrtc.so.13",
                "lib/libnvrtc.so.13",
                109_338_064,
            ),
            member(
                "nvidia_cuda_nvrtc-13.0.88.dist-info/licenses/License.txt",
                "licenses/nvidia-cuda-nvrtc.txt",
                59_262,
            ),
        ],
    },
    Wheel {
        project: "nvidia-cuda-cccl",
        file: "nvidia_cuda_cccl-13.0.85-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        bytes: 3_120_526,
        sha256: "e0da7ad981f3a8aff08241b5bfc1af868742a63e2762f53a5171c492ef242649",
        members: &[
            member("nvidia/cu13/include/", "include/", 13_731_132),
            member(
                "nvidia_cuda_cccl-13.0.85.dist-info/licenses/License.txt",
                "licenses/nvidia-cuda-cccl.txt",
                59_262,
            ),
        ],
    },
    Wheel {
        project: "nvidia-cublas",
        file: "nvidia_cublas-13.0.2.14-py3-none-manylinux_2_27_x86_64.whl",
        bytes: 420_882_912,
        sha256: "0cf238ffdbe46c00cb9aa98e7bca745c223a5ca5a53e686ac8b3e5a08fe80d6c",
        members: &[
            member(
                "nvidia/cu13/lib/libcublasLt.so.13",
                "lib/libcublasLt.so.13",
                539_533_072,
            ),
            member(
                "nvidia/cu13/lib/libcublas.so.13",
                "lib/libcublas.so.13",
                54_440_120,
            ),
            member(
                "nvidia_cublas-13.0.2.14.dist-info/licenses/License.txt",
                "licenses/nvidia-cublas.txt",
                59_262,
            ),
        ],
    },
    Wheel {
        project: "nvidia-nvjitlink",
        file: "nvidia_nvjitlink-13.0.88-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl",
        bytes: 40_713_933,
        sha256: "13a74f429e23b921c1109976abefacc69835f2f433ebd323d3946e11d804e47b",
        members: &[
            member(
                "nvidia/cu13/lib/libnvJitLink.so.13",
                "lib/libnvJitLink.so.13",
                98_806_736,
            ),
            member(
                "nvidia_nvjitlink-13.0.88.dist-info/licenses/License.txt",
                "licenses/nvidia-nvjitlink.txt",
                59_262,
            ),
        ],
    },
    Wheel {
        project: "nvidia-cufft",
        file: "nvidia_cufft-12.0.0.61-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        bytes: 214_085_489,
        sha256: "6c44f692dce8fd5ffd3e3df134b6cdb9c2f72d99cf40b62c32dde45eea9ddad3",
        members: &[
            member(
                "nvidia/cu13/lib/libcufft.so.12",
                "lib/libcufft.so.12",
                286_542_352,
            ),
            member(
                "nvidia_cufft-12.0.0.61.dist-info/licenses/License.txt",
                "licenses/nvidia-cufft.txt",
                59_262,
            ),
        ],
    },
    Wheel {
        project: "nvidia-curand",
        file: "nvidia_curand-10.4.0.35-py3-none-manylinux_2_27_x86_64.whl",
        bytes: 59_544_258,
        sha256: "1aee33a5da6e1db083fe2b90082def8915f30f3248d5896bcec36a579d941bfc",
        members: &[
            member(
                "nvidia/cu13/lib/libcurand.so.10",
                "lib/libcurand.so.10",
                132_698_328,
            ),
            member(
                "nvidia_curand-10.4.0.35.dist-info/licenses/License.txt",
                "licenses/nvidia-curand.txt",
                59_262,
            ),
        ],
    },
    Wheel {
        project: "nvidia-cudnn-cu13",
        file: "nvidia_cudnn_cu13-9.20.0.48-py3-none-manylinux_2_27_x86_64.whl",
        bytes: 366_173_588,
        sha256: "0c45dd8eeb50b603f07995b1b300c62ffe6a1980482b82b3bcf94a4ca9d49304",
        members: &[
            member(
                "nvidia/cudnn/lib/libcudnn_graph.so.9",
                "lib/libcudnn_graph.so.9",
                4_460_192,
            ),
            member(
                "nvidia/cudnn/lib/libcudnn.so.9",
                "lib/libcudnn.so.9",
                129_240,
            ),
            member(
                "nvidia/cudnn/lib/libcudnn_ops.so.9",
                "lib/libcudnn_ops.so.9",
                39_855_888,
            ),
            member(
                "nvidia/cudnn/lib/libcudnn_cnn.so.9",
                "lib/libcudnn_cnn.so.9",
                4_203_904,
            ),
            member(
                "nvidia/cudnn/lib/libcudnn_adv.so.9",
                "lib/libcudnn_adv.so.9",
                109_169_104,
            ),
            member(
                "nvidia/cudnn/lib/libcudnn_heuristic.so.9",
                "lib/libcudnn_heuristic.so.9",
                60_822_040,
            ),
            member(
                "nvidia/cudnn/lib/libcudnn_engines_precompiled.so.9",
                "lib/libcudnn_engines_precompiled.so.9",
                245_391_920,
            ),
            member(
                "nvidia/cudnn/lib/libcudnn_engines_runtime_compiled.so.9",
                "lib/libcudnn_engines_runtime_compiled.so.9",
                29_386_664,
            ),
            member(
                "nvidia_cudnn_cu13-9.20.0.48.dist-info/licenses/License.txt",
                "licenses/nvidia-cudnn-cu13.txt",
                18_174,
            ),
        ],
    },
    Wheel {
        project: "onnxruntime-gpu",
        file: "onnxruntime_gpu-1.31.1-cp312-cp312-manylinux_2_28_x86_64.whl",
        bytes: 255_569_273,
        sha256: "05d548956197b9d01f59b625de740e0d6be3593f874e241a12dc0362650ecdf7",
        members: &[
            member(
                "onnxruntime/capi/libonnxruntime_providers_shared.so",
                "lib/libonnxruntime_providers_shared.so",
                14_632,
            ),
            member(
                "onnxruntime/capi/libonnxruntime.so.1.31.1",
                "lib/libonnxruntime.so.1.31.1",
                29_421_832,
            ),
            member(
                "onnxruntime/capi/libonnxruntime_providers_cuda.so",
                "lib/libonnxruntime_providers_cuda.so",
                284_014_752,
            ),
            member("onnxruntime/LICENSE", "licenses/onnxruntime/LICENSE", 1_073),
            member(
                "onnxruntime/ThirdPartyNotices.txt",
                "licenses/onnxruntime/ThirdPartyNotices.txt",
                338_088,
            ),
        ],
    },
];
