//! The libraries of ONNX Runtime, for each machine that its publisher builds wheels for.

use super::super::package::{Member, Package, Wheel, member};

const LICENSE: Member = member("onnxruntime/LICENSE", "LICENSE", 1_073);
const NOTICES: Member = member(
    "onnxruntime/ThirdPartyNotices.txt",
    "ThirdPartyNotices.txt",
    338_088,
);

pub(super) static ONNXRUNTIME: [Package; 3] = [
    Package {
        name: "onnxruntime",
        version: "1.31.1",
        machine: ("linux", "x86_64"),
        wheels: &[Wheel {
            project: "onnxruntime",
            file: "onnxruntime-1.31.1-cp312-cp312-manylinux_2_28_x86_64.whl",
            bytes: 23_760_988,
            sha256: "1f3dea47f2f0e5117c2404cea7d21fd253ae7836a3bf167a501cdfbb2600d536",
            members: &[
                member(
                    "onnxruntime/capi/libonnxruntime.so.1.31.1",
                    "libonnxruntime.so.1.31.1",
                    29_352_200,
                ),
                LICENSE,
                NOTICES,
            ],
        }],
    },
    Package {
        name: "onnxruntime",
        version: "1.31.1",
        machine: ("linux", "aarch64"),
        wheels: &[Wheel {
            project: "onnxruntime",
            file: "onnxruntime-1.31.1-cp312-cp312-manylinux_2_28_aarch64.whl",
            bytes: 21_420_803,
            sha256: "0b9a492176886992e0e875f06bc0367e333f5fff11711a2d642e18b02f3009cc",
            members: &[
                member(
                    "onnxruntime/capi/libonnxruntime.so.1.31.1",
                    "libonnxruntime.so.1.31.1",
                    25_265_040,
                ),
                LICENSE,
                NOTICES,
            ],
        }],
    },
    Package {
        name: "onnxruntime",
        version: "1.31.1",
        machine: ("macos", "aarch64"),
        wheels: &[Wheel {
            project: "onnxruntime",
            file: "onnxruntime-1.31.1-cp312-cp312-macosx_14_0_arm64.whl",
            bytes: 20_882_125,
            sha256: "96dd2564b10ea7153ad9c207e7cd8e5917cb3ba521e0e0a62ac03486fdc8d56c",
            members: &[
                member(
                    "onnxruntime/capi/libonnxruntime.1.31.1.dylib",
                    "libonnxruntime.1.31.1.dylib",
                    33_037_336,
                ),
                LICENSE,
                NOTICES,
            ],
        }],
    },
];
