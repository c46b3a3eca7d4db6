//! The share of requests that are traced or whose payloads are logged.
//!
//! The decision depends on a number of the request alone, such as a part of its trace id, so that servers with the
//! same ratio decide alike about the same trace.

use std::fmt;
use std::str::FromStr;

/// A ratio from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleRatio(f64);

/// The error for a text that is not a ratio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a ratio from 0 (none) to 1 (all), such as 0.01")]
pub struct SampleRatioError;

/// 2 to the power of 53: the numbers below it are exact as `f64`.
const SCALE: f64 = 9_007_199_254_740_992.0;

impl SampleRatio {
    /// All requests.
    pub const ALL: SampleRatio = SampleRatio(1.0);

    /// Returns the ratio, or an error if it is not from 0 to 1.
    pub fn new(ratio: f64) -> Result<SampleRatio, SampleRatioError> {
        match (0.0..=1.0).contains(&ratio) {
            true => Ok(SampleRatio(ratio)),
            false => Err(SampleRatioError),
        }
    }

    /// Returns whether the request with this number, of which all 64 bits are random, belongs to the share.
    pub fn admits(self, random: u64) -> bool {
        // The upper 53 bits, which convert without rounding. The result is below 1.
        let position = (random >> 11) as f64 / SCALE;
        position < self.0
    }
}

impl Default for SampleRatio {
    fn default() -> SampleRatio {
        SampleRatio::ALL
    }
}

impl FromStr for SampleRatio {
    type Err = SampleRatioError;

    fn from_str(text: &str) -> Result<SampleRatio, SampleRatioError> {
        let ratio: f64 = text.parse().map_err(|_| SampleRatioError)?;
        SampleRatio::new(ratio)
    }
}

impl fmt::Display for SampleRatio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_a_number_from_0_to_1() {
        for (text, shown) in [("0", "0"), ("1", "1"), ("0.25", "0.25"), ("1e-3", "0.001")] {
            let ratio: SampleRatio = text.parse().unwrap();
            assert_eq!(ratio.to_string(), shown);
        }
        for text in ["", "-0.1", "1.01", "NaN", "inf", "10%", "1/2", " 1"] {
            assert_eq!(text.parse::<SampleRatio>(), Err(SampleRatioError), "{text}");
        }
    }

    #[test]
    fn none_and_all_are_exact() {
        let none = SampleRatio::new(0.0).unwrap();
        for random in [0, 1, 1 << 11, u64::MAX / 2, u64::MAX] {
            assert!(!none.admits(random), "{random}");
            assert!(SampleRatio::ALL.admits(random), "{random}");
        }
    }

    #[test]
    fn a_share_is_a_beginning_of_the_numbers() {
        let quarter = SampleRatio::new(0.25).unwrap();
        assert!(quarter.admits(0));
        assert!(quarter.admits((1 << 62) - 1));
        assert!(!quarter.admits(1 << 62));
        assert!(!quarter.admits(u64::MAX));
    }
}
