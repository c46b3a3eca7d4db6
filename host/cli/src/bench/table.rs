//! Prints a comparison as a table.

use super::report::{BatchReport, GraphReport};
use crate::display;
use std::io::{self, Write};

/// Prints the results for one graph.
pub(super) fn print(report: &GraphReport, out: &mut impl Write) -> io::Result<()> {
    let GraphReport {
        graph,
        device,
        threads,
        backends,
        batches,
        failures,
        remarks,
    } = report;
    let plural = if *threads == 1 { "" } else { "s" };
    writeln!(
        out,
        "graph `{graph}` on {device}, {threads} thread{plural} a computation\n"
    )?;
    let mut lines = vec![
        ["backend", "version", "load", "memory"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for backend in backends {
        let mut line = vec![backend.backend.to_owned(), backend.version.clone()];
        match (&backend.problem, &backend.cost) {
            (Some(problem), _) => line.push(problem.clone()),
            (None, Some(cost)) => {
                line.push(time(cost.load_microseconds));
                line.push(cost.memory_bytes.map_or("-".to_owned(), display::size));
            }
            // The graph was loaded in this process, but not in the one that measures the cost.
            (None, None) => line.extend(["-".to_owned(), "-".to_owned()]),
        }
        lines.push(line);
    }
    write_aligned(&lines, out)?;
    writeln!(out)?;
    let heads = [
        "batch",
        "backend",
        "median",
        "p99",
        "rows/s",
        "of best",
        "difference",
    ];
    let mut lines = vec![heads.map(str::to_owned).to_vec()];
    for batch in batches {
        let best = batches
            .iter()
            .filter(|other| other.batch == batch.batch)
            .map(|other| other.median_microseconds)
            .fold(f64::INFINITY, f64::min);
        lines.push(line(batch, best));
    }
    write_aligned(&lines, out)?;
    if !remarks.is_empty() || !failures.is_empty() {
        writeln!(out)?;
    }
    for failure in failures {
        let (batch, backend) = (failure.batch, failure.backend);
        let reason = &failure.reason;
        writeln!(out, "failed: {backend} with a batch of {batch}: {reason}")?;
    }
    for remark in remarks {
        writeln!(out, "remark: {remark}")?;
    }
    writeln!(out)
}

fn line(batch: &BatchReport, best: f64) -> Vec<String> {
    vec![
        batch.batch.to_string(),
        batch.backend.to_owned(),
        time(batch.median_microseconds),
        time(batch.p99_microseconds),
        format!("{:.0}", batch.rows_per_second),
        format!(
            "{:.2}x",
            batch.median_microseconds / best.max(f64::MIN_POSITIVE)
        ),
        match batch.difference {
            difference if difference.is_nan() => "-".to_owned(),
            0.0 => "0".to_owned(),
            difference => format!("{difference:.1e}"),
        },
    ]
}

/// Formats a time in the unit that gives few digits: `4.2 us`, `17 ms`.
fn time(microseconds: f64) -> String {
    match microseconds {
        us if us < 1e3 => format!("{us:.1} us"),
        us if us < 1e6 => format!("{:.2} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

/// Writes columns that are as wide as their widest entry; the last entry of a line may be wider.
fn write_aligned(lines: &[Vec<String>], out: &mut impl Write) -> io::Result<()> {
    let columns = lines.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let widths = lines.iter().filter_map(|line| {
            let entry = line.get(column)?;
            (column + 1 < line.len() || line.len() == columns).then(|| entry.chars().count())
        });
        widths.max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for line in lines {
        let entries = line.iter().zip(&widths);
        let text: Vec<String> = entries
            .map(|(entry, width)| format!("{entry:width$}"))
            .collect();
        writeln!(out, "{}", text.join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_few_digits() {
        for (microseconds, text) in [(4.24, "4.2 us"), (17_312.0, "17.31 ms"), (2e6, "2.00 s")] {
            assert_eq!(time(microseconds), text);
        }
    }

    #[test]
    fn columns_are_aligned_and_a_long_last_entry_widens_none() {
        let line = |entries: &[&str]| entries.iter().map(|e| (*e).to_owned()).collect::<Vec<_>>();
        let lines = [
            line(&["a", "b", "c"]),
            line(&["long", "a very long reason"]),
        ];
        let mut out = Vec::new();
        write_aligned(&lines, &mut out).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&out),
            "a     b  c\nlong  a very long reason\n"
        );
    }
}
