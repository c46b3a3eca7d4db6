//! Sentences about large differences between backends, which are easily missed in a table.

use super::report::BatchReport;
use wisp_backend::measure::REFERENCE;

/// The ratio of median times from which one backend is much faster than another.
const MUCH_FASTER: f64 = 5.0;

/// The difference of outputs that is more than rounding, as in the automatic choice of a backend.
const MUCH_DIFFERENT: f64 = 1e-2;

/// Returns a sentence for each large difference, in the order of the batches.
pub(super) fn remarks(batches: &[BatchReport]) -> Vec<String> {
    let mut remarks = Vec::new();
    let groups = batches.chunk_by(|one, next| one.batch == next.batch);
    for group in groups {
        remarks.extend(of_batch(group));
    }
    remarks
}

/// Returns the remarks on the results of all backends for one batch size.
fn of_batch(group: &[BatchReport]) -> Vec<String> {
    let median = |report: &BatchReport| report.median_microseconds.max(f64::MIN_POSITIVE);
    let fastest = group.iter().min_by(|a, b| median(a).total_cmp(&median(b)));
    let reference = group.iter().find(|report| report.backend == REFERENCE);
    let (Some(fastest), Some(reference)) = (fastest, reference.or(group.first())) else {
        return Vec::new();
    };
    let mut remarks = Vec::new();
    for report in group {
        let (batch, backend) = (report.batch, report.backend);
        let ratio = median(report) / median(fastest);
        if ratio >= MUCH_FASTER {
            let fastest = fastest.backend;
            remarks.push(format!(
                "with a batch of {batch}, {fastest} is {ratio:.1} times as fast as {backend}"
            ));
        }
        let reference = reference.backend;
        // NaN, for outputs that could not be compared, is no difference.
        if report.difference.is_infinite() {
            remarks.push(format!(
                "with a batch of {batch}, the outputs of {backend} differ from those of {reference} in their \
                 types or shapes, or in which numbers are finite"
            ));
        } else if report.difference > MUCH_DIFFERENT {
            let difference = report.difference;
            remarks.push(format!(
                "with a batch of {batch}, the outputs of {backend} differ from those of {reference} by up to \
                 {difference:.1e}"
            ));
        }
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(batch: u32, backend: &'static str, (median, difference): (f64, f64)) -> BatchReport {
        BatchReport {
            batch,
            backend,
            median_microseconds: median,
            p99_microseconds: median,
            rows_per_second: 1.0,
            runs: 1,
            difference,
        }
    }

    #[test]
    fn only_large_differences_are_remarked() {
        let small = [
            report(1, "tract", (490.0, 9e-3)),
            report(1, "onnxruntime", (100.0, 0.0)),
            report(8, "tract", (1.0, f64::NAN)),
        ];
        assert_eq!(remarks(&small), [""; 0]);
        let large = [
            report(1, "tract", (720.0, 0.25)),
            report(1, "onnxruntime", (100.0, 0.0)),
            report(8, "tract", (100.0, f64::INFINITY)),
            report(8, "onnxruntime", (500.0, 0.0)),
        ];
        assert_eq!(
            remarks(&large),
            [
                "with a batch of 1, onnxruntime is 7.2 times as fast as tract",
                "with a batch of 1, the outputs of tract differ from those of onnxruntime by up to 2.5e-1",
                "with a batch of 8, the outputs of tract differ from those of onnxruntime in their types or \
                 shapes, or in which numbers are finite",
                "with a batch of 8, tract is 5.0 times as fast as onnxruntime",
            ]
        );
    }
}
