//! The operators that ONNX Runtime computes on a CPU, so that its installation is advised only where it helps.
//!
//! `tests/clients/onnxruntime_operators.py` writes the list from the release that the tests use.

use std::sync::LazyLock;

/// The domain of the operators of scikit-learn's converter: trees, scalers, encoders.
pub(super) const ML_DOMAIN: &str = "ai.onnx.ml";

/// The domain of ONNX Runtime's own operators.
pub(crate) const MICROSOFT: &str = "com.microsoft";

/// The domains whose operators ONNX Runtime has. The empty one is that of the standard operators.
const DOMAINS: [&str; 4] = ["", "ai.onnx", ML_DOMAIN, MICROSOFT];

/// The operators, in order: the domain, if it is another than that of the standard operators, and the name.
static OPERATORS: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| include_str!("onnx_runtime_operators.txt").lines().collect());

/// Returns whether ONNX Runtime has operators of the domain.
pub(super) fn has_domain(domain: &str) -> bool {
    DOMAINS.contains(&domain)
}

/// Returns whether ONNX Runtime has the operator, which is of one of its domains.
pub(super) fn has_operator(domain: &str, name: &str) -> bool {
    // A space separates a domain from a name.
    let is_standard = ["", "ai.onnx"].contains(&domain) && !name.contains(' ');
    let found = match is_standard {
        true => OPERATORS.binary_search(&name),
        false => OPERATORS.binary_search(&format!("{domain} {name}").as_str()),
    };
    found.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_are_found_by_their_domain_and_name() {
        assert!(OPERATORS.is_sorted_by(|first, second| first < second));
        for (domain, name) in [
            ("", "Celu"),
            ("ai.onnx", "Unique"),
            ("", "Constant"),
            (ML_DOMAIN, "TreeEnsembleClassifier"),
            ("com.microsoft", "QGemm"),
        ] {
            assert!(has_operator(domain, name), "{domain} {name}");
        }
        for (domain, name) in [
            ("", "NoSuchOp"),
            ("", "QGemm"),
            ("", "com.microsoft QGemm"),
            ("com.microsoft", "LongformerAttention"),
        ] {
            assert!(!has_operator(domain, name), "{domain} {name}");
        }
    }
}
