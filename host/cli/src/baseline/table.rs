//! A table of data, read row by row from CSV or Parquet. The first bytes of a Parquet file are `PAR1`; any other file is
//! CSV.

use crate::display;
use crate::failure::{BadConfiguration, bad_configuration};
use anyhow::Context;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// The first bytes of a Parquet file.
const PARQUET: &[u8; 4] = b"PAR1";

/// The maximum length of a CSV header from which the separator is derived.
const MAX_HEADER_BYTES: u64 = 1 << 20;

/// A value of a table.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell<'a> {
    Missing,
    Number(f64),
    /// A text, which may contain a number in CSV.
    Text(Cow<'a, str>),
    /// A list, a time or another value of a type that no feature has.
    Unsupported,
}

/// An open table.
pub(super) struct Table {
    /// The path, for errors.
    shown: String,
    columns: Vec<String>,
    rows: Rows,
}

enum Rows {
    Csv(Box<csv::Reader<File>>),
    Parquet(Box<RowIter<'static>>),
}

/// A function that receives the cells of a row.
pub(super) type RowVisitor<'a> = &'a mut dyn FnMut(&[Cell<'_>]) -> anyhow::Result<()>;

impl Table {
    /// Opens a file and reads the names of its columns.
    pub(super) fn open(path: &Path) -> anyhow::Result<Table> {
        let shown = display::path(path);
        let cannot_open =
            |error: std::io::Error| bad_configuration(format!("cannot open `{shown}`: {error}"));
        let mut file = File::open(path).map_err(cannot_open)?;
        let mut start = Vec::new();
        let length = u64::try_from(PARQUET.len())?;
        (&mut file)
            .take(length)
            .read_to_end(&mut start)
            .map_err(cannot_open)?;
        file.seek(SeekFrom::Start(0)).map_err(cannot_open)?;
        let refused = || BadConfiguration::new(format!("cannot read `{shown}`"));
        let (columns, rows) = match start == PARQUET {
            true => parquet_rows(file).with_context(refused)?,
            false => csv_rows(file).with_context(refused)?,
        };
        Ok(Table {
            columns,
            rows,
            shown,
        })
    }

    /// Returns the names of the columns.
    pub(super) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Reads all rows. An error names the file and the row.
    pub(super) fn for_each_row(self, visit: RowVisitor<'_>) -> anyhow::Result<()> {
        let Table { shown, rows, .. } = self;
        let mut number = 0u64;
        match rows {
            Rows::Csv(mut reader) => {
                let mut record = csv::StringRecord::new();
                loop {
                    number += 1;
                    let context = || BadConfiguration::new(format!("`{shown}`, row {number}"));
                    if !reader.read_record(&mut record).with_context(context)? {
                        return Ok(());
                    }
                    let cells = record.iter().map(|text| Cell::Text(Cow::Borrowed(text)));
                    let cells: Vec<Cell<'_>> = cells.collect();
                    visit(&cells).with_context(context)?;
                }
            }
            Rows::Parquet(rows) => {
                for row in *rows {
                    number += 1;
                    let context = || BadConfiguration::new(format!("`{shown}`, row {number}"));
                    let row: Row = row.with_context(context)?;
                    let cells = row.get_column_iter().map(|(_, field)| cell(field));
                    let cells: Vec<Cell<'_>> = cells.collect();
                    visit(&cells).with_context(context)?;
                }
                Ok(())
            }
        }
    }
}

fn parquet_rows(file: File) -> anyhow::Result<(Vec<String>, Rows)> {
    let reader = SerializedFileReader::new(file)?;
    let schema = reader.metadata().file_metadata().schema();
    let columns = schema.get_fields().iter();
    let columns: Vec<String> = columns.map(|field| field.name().to_owned()).collect();
    let rows = RowIter::from_file_into(Box::new(reader));
    Ok((columns, Rows::Parquet(Box::new(rows))))
}

fn csv_rows(mut file: File) -> anyhow::Result<(Vec<String>, Rows)> {
    let mut header = Vec::new();
    BufReader::new((&mut file).take(MAX_HEADER_BYTES)).read_until(b'\n', &mut header)?;
    file.seek(SeekFrom::Start(0))?;
    let mut builder = csv::ReaderBuilder::new();
    builder.delimiter(separator(&header)).trim(csv::Trim::All);
    let mut reader = builder.from_reader(file);
    let columns: Vec<String> = reader.headers()?.iter().map(ToOwned::to_owned).collect();
    anyhow::ensure!(!columns.is_empty(), "it is empty: expected a header");
    Ok((columns, Rows::Csv(Box::new(reader))))
}

/// Returns the most frequent separator in a header, a comma by default.
fn separator(header: &[u8]) -> u8 {
    let count = |separator: u8| header.iter().filter(|&&byte| byte == separator).count();
    let mut most = b',';
    for separator in [b';', b'\t'] {
        if count(separator) > count(most) {
            most = separator;
        }
    }
    most
}

fn cell(field: &Field) -> Cell<'_> {
    match field {
        Field::Null => Cell::Missing,
        Field::Bool(value) => Cell::Number(f64::from(u8::from(*value))),
        Field::Byte(value) => Cell::Number(f64::from(*value)),
        Field::Short(value) => Cell::Number(f64::from(*value)),
        Field::Int(value) => Cell::Number(f64::from(*value)),
        Field::Long(value) => Cell::Number(*value as f64),
        Field::UByte(value) => Cell::Number(f64::from(*value)),
        Field::UShort(value) => Cell::Number(f64::from(*value)),
        Field::UInt(value) => Cell::Number(f64::from(*value)),
        Field::ULong(value) => Cell::Number(*value as f64),
        Field::Float16(value) => Cell::Number(f64::from(*value)),
        Field::Float(value) => Cell::Number(f64::from(*value)),
        Field::Double(value) => Cell::Number(*value),
        // A decimal is displayed as a number.
        Field::Decimal(_) => Cell::Text(Cow::Owned(field.to_string())),
        Field::Str(text) => Cell::Text(Cow::Borrowed(text)),
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(text) => Cell::Text(Cow::Borrowed(text)),
            Err(_) => Cell::Unsupported,
        },
        _ => Cell::Unsupported,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> anyhow::Result<(Vec<String>, Vec<Vec<String>>)> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("table.csv");
        std::fs::write(&path, text)?;
        let table = Table::open(&path)?;
        let columns = table.columns().to_vec();
        let mut rows = Vec::new();
        table.for_each_row(&mut |cells| {
            let texts = cells.iter().map(|cell| match cell {
                Cell::Text(text) => text.to_string(),
                other => format!("{other:?}"),
            });
            rows.push(texts.collect());
            Ok(())
        })?;
        Ok((columns, rows))
    }

    #[test]
    fn the_separator_is_that_of_the_header() -> anyhow::Result<()> {
        for text in [
            "a,b c\n1,2\n3, 4\n",
            "\"a\";\"b c\"\n1;2\n3;4",
            "\u{feff}a\tb c\r\n1\t2\r\n3\t4\r\n",
        ] {
            let (columns, rows) = rows(text)?;
            assert_eq!(columns, ["a", "b c"], "{text}");
            assert_eq!(rows, [["1", "2"], ["3", "4"]], "{text}");
        }
        Ok(())
    }

    #[test]
    fn a_file_that_is_no_table_is_named_with_its_row() -> anyhow::Result<()> {
        let error = rows("a,b\n1,2\n3\n").expect_err("the second row is short");
        let text = format!("{error:#}");
        assert!(text.contains("table.csv`, row 2"), "{text}");
        assert!(error.is::<BadConfiguration>());
        assert!(rows("").is_err());
        let error = rows("PAR1 and no more").expect_err("it is damaged");
        assert!(error.is::<BadConfiguration>());
        assert!(Table::open(Path::new("no such file")).is_err());
        Ok(())
    }
}
