//! Tests of the reserved parameters that schedule a request.

use super::*;
use crate::call::Scheduling;
use std::time::Duration;

#[test]
fn priority_and_timeout_are_wishes_for_the_queue() -> anyhow::Result<()> {
    for (parameters, priority, timeout) in [
        (r"{}", 0, None),
        (r#"{"priority":2,"timeout":5000}"#, 2, Some(5000)),
        (r#"{"priority":0,"timeout":0}"#, 0, None),
        // No model has this level, which stands for the default one.
        (r#"{"priority":18446744073709551615}"#, u32::MAX, None),
    ] {
        let (request, _) = decode(&format!(r#"{{"inputs":[],"parameters":{parameters}}}"#))?;
        let expected = Scheduling {
            priority,
            timeout: timeout.map(Duration::from_micros),
        };
        assert_eq!(request.scheduling, expected, "{parameters}");
        assert_eq!(request.parameters, []);
    }
    Ok(())
}
