//! The rows of a request, joined into one tensor per input.
//!
//! Each row has a value for every input, without the batch axis. An invalid row is removed completely,
//! so that a protocol can continue with the next row.
//!
//! Invariant: all rows of a column are complete and have the same sizes.

use super::error::{RowError, ValueError};
use super::reader::Reader;
use super::tensor::{self, ArrayForm};
use crate::call::ModelDescription;
use crate::quoted::Quoted;
use bytes::Bytes;
use wisp_tensor::{Dimension, ElementType, NamedTensor, Shape, Tensor, TensorError, TensorSpec};

/// The maximum number of bytes of the defaults of a request, repeated for each row. Without the limit, a
/// short text could become a large tensor.
pub(crate) const MAX_DEFAULT_BYTES: usize = 16 << 20;

/// The inputs of a request, extended row by row. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct Rows<'m> {
    columns: Vec<Column<'m>>,
    axis: Axis,
    rows: u32,
    default_bytes: usize,
}

/// The meaning of axis 0 of the inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Axis {
    /// The batch axis, which rows lack.
    Batch,
    /// An axis of the tensor itself, which is the only row.
    Tensor,
}

#[derive(Debug)]
struct Column<'m> {
    spec: &'m TensorSpec,
    /// The declared shape of a row.
    shape: &'m [Dimension],
    /// The sizes that all rows share; `None` before the first row.
    sizes: Option<Vec<u32>>,
    content: Vec<u8>,
    /// The offset of the last row in the content.
    last_row: usize,
    rows: u32,
}

/// The value of each input for rows that do not give one. Lifetime: one request.
#[derive(Debug, Default)]
pub(crate) struct Defaults(Vec<Option<Value>>);

#[derive(Debug)]
struct Value {
    sizes: Vec<u32>,
    content: Vec<u8>,
}

// === impl Rows ===

impl<'m> Rows<'m> {
    /// Returns an empty set of rows that lack the batch axis; `None` if the model has no such axis.
    pub(crate) fn new(model: &'m ModelDescription) -> Option<Rows<'m>> {
        if model.max_batch_size == 0 {
            return None;
        }
        let inputs = model.signature.inputs.iter();
        let inputs = inputs.filter(|spec| !spec.is_parameter());
        let columns = inputs.map(|spec| Some(Column::new(spec, spec.shape.get(1..)?)));
        Some(Rows::of(columns.collect::<Option<_>>()?, Axis::Batch))
    }

    /// Returns an empty set for one row, the whole tensors with all axes.
    pub(crate) fn whole(model: &'m ModelDescription) -> Rows<'m> {
        let inputs = model.signature.inputs.iter();
        let columns = inputs.map(|spec| Column::new(spec, &spec.shape));
        Rows::of(columns.collect(), Axis::Tensor)
    }

    fn of(columns: Vec<Column<'m>>, axis: Axis) -> Rows<'m> {
        Rows {
            columns,
            axis,
            rows: 0,
            default_bytes: 0,
        }
    }

    /// Returns the number of rows so far.
    pub(crate) fn count(&self) -> u32 {
        self.rows
    }

    /// Returns the only input, or else the only required input; `None` if there is no such input.
    pub(crate) fn only_input(&self) -> Option<&'m TensorSpec> {
        match self.columns.as_slice() {
            [column] => Some(column.spec),
            columns => exactly_one(columns.iter().map(|c| c.spec).filter(|spec| !spec.optional)),
        }
    }

    /// Returns the only input, or else the only input that is not BYTES, or else the only required one
    /// among the latter.
    pub(crate) fn only_numeric_input(&self) -> Option<&'m TensorSpec> {
        let specs = self.columns.iter().map(|column| column.spec);
        let numeric = specs
            .clone()
            .filter(|spec| spec.element_type != ElementType::Bytes);
        exactly_one(specs)
            .or_else(|| exactly_one(numeric.clone()))
            .or_else(|| exactly_one(numeric.filter(|spec| !spec.optional)))
    }

    /// Adds a row with a value for this input only; the other inputs must be optional.
    pub(crate) fn push_value(
        &mut self,
        input: &TensorSpec,
        reader: &mut Reader,
        form: ArrayForm,
    ) -> Result<(), RowError> {
        let added = self.read_input(&input.name, reader, form);
        self.end_row(added, &Defaults::default())
    }

    /// Adds a row from an object with a value for each input, or for those without a default.
    pub(crate) fn push_object(
        &mut self,
        reader: &mut Reader,
        form: ArrayForm,
        defaults: &Defaults,
    ) -> Result<(), RowError> {
        let added = reader.object(|name, reader| self.read_input(name, reader, form));
        self.end_row(added, defaults)
    }

    /// Reads the defaults in the object ahead.
    pub(crate) fn defaults(
        &self,
        reader: &mut Reader,
        form: ArrayForm,
    ) -> Result<Defaults, RowError> {
        let mut values: Vec<Option<Value>> = self.columns.iter().map(|_| None).collect();
        reader.object(|name, reader| {
            let index = self.index(name)?;
            if values[index].is_some() {
                return Err(RowError::Repeated(Quoted::new(name)));
            }
            values[index] = Some(self.columns[index].value(reader, form)?);
            Ok(())
        })?;
        Ok(Defaults(values))
    }

    /// Returns the tensors of all rows, without the optional inputs that no row has.
    pub(crate) fn finish(self) -> Result<Vec<NamedTensor>, TensorError> {
        let present = self.columns.into_iter().filter(|column| column.rows > 0);
        present.map(|column| column.finish(self.axis)).collect()
    }

    /// Returns the error for a row that must be an object to name its inputs, but is not.
    pub(crate) fn needs_object(&self) -> RowError {
        RowError::NeedsObject {
            expected: self.names(),
        }
    }

    fn read_input(
        &mut self,
        name: &str,
        reader: &mut Reader,
        form: ArrayForm,
    ) -> Result<(), RowError> {
        let index = self.index(name)?;
        let (rows, column) = (self.rows, &mut self.columns[index]);
        if column.rows > rows {
            return Err(RowError::Repeated(Quoted::new(name)));
        }
        if column.rows < rows {
            return Err(RowError::Uneven(Quoted::new(name)));
        }
        column.push(reader, form)
    }

    /// Completes the row with defaults, or removes it after an error.
    fn end_row(
        &mut self,
        added: Result<(), RowError>,
        defaults: &Defaults,
    ) -> Result<(), RowError> {
        let result = added.and_then(|()| self.complete(defaults));
        match result {
            Ok(()) => self.rows += 1,
            Err(_) => {
                let rows = self.rows;
                self.columns.iter_mut().for_each(|c| c.truncate_rows(rows));
            }
        }
        result
    }

    fn complete(&mut self, defaults: &Defaults) -> Result<(), RowError> {
        // One below the type's limit, so that no count of rows overflows.
        if self.rows == u32::MAX - 1 {
            return Err(RowError::TooMany { limit: self.rows });
        }
        let rows = self.rows;
        // An optional input may replace required ones, which only the handler that declares it can
        // check. Without a handler, completeness is checked before the graph computes.
        let mut columns = self.columns.iter();
        let replaces_required = columns.any(|column| column.spec.optional && column.rows > rows);
        for (index, column) in self.columns.iter_mut().enumerate() {
            if column.rows > rows {
                continue;
            }
            match defaults.0.get(index).and_then(Option::as_ref) {
                Some(value) => {
                    self.default_bytes = self.default_bytes.saturating_add(value.content.len());
                    if self.default_bytes > MAX_DEFAULT_BYTES {
                        return Err(RowError::Defaults {
                            limit: MAX_DEFAULT_BYTES,
                        });
                    }
                    column.push_copy(value)?;
                }
                None if !column.spec.optional && !replaces_required => {
                    return Err(RowError::Missing(column.name()));
                }
                None if column.rows > 0 => return Err(RowError::Uneven(column.name())),
                None => {}
            }
        }
        Ok(())
    }

    fn index(&self, name: &str) -> Result<usize, RowError> {
        let index = self.columns.iter().position(|c| c.spec.name == name);
        index.ok_or_else(|| RowError::Unknown {
            name: Quoted::new(name),
            expected: self.names(),
        })
    }

    fn names(&self) -> Box<str> {
        let names = self.columns.iter().map(|column| column.spec.name.as_str());
        names.collect::<Vec<_>>().join(", ").into()
    }
}

/// Returns the item of an iterator that has exactly one.
fn exactly_one<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let first = items.next()?;
    items.next().is_none().then_some(first)
}

// === impl Column ===

impl<'m> Column<'m> {
    fn new(spec: &'m TensorSpec, shape: &'m [Dimension]) -> Column<'m> {
        Column {
            spec,
            shape,
            sizes: None,
            content: Vec::new(),
            last_row: 0,
            rows: 0,
        }
    }

    fn name(&self) -> Quoted {
        Quoted::new(&self.spec.name)
    }

    fn value_error(&self, error: ValueError) -> RowError {
        RowError::Input {
            name: self.name(),
            error,
        }
    }

    /// Appends one row. After an error, the content is as before. [`Column::truncate_rows`] removes a row
    /// that was appended.
    fn push(&mut self, reader: &mut Reader, form: ArrayForm) -> Result<(), RowError> {
        self.last_row = self.content.len();
        let declared = (self.spec.element_type, self.shape);
        let read = tensor::read(reader, declared, form, &mut self.content);
        let result = read.and_then(|sizes| self.check_sizes(&sizes));
        match result {
            Ok(()) => self.rows += 1,
            Err(_) => self.content.truncate(self.last_row),
        }
        result.map_err(|error| self.value_error(error))
    }

    fn push_copy(&mut self, value: &Value) -> Result<(), RowError> {
        self.check_sizes(&value.sizes)
            .map_err(|error| self.value_error(error))?;
        self.last_row = self.content.len();
        self.content.extend_from_slice(&value.content);
        self.rows += 1;
        Ok(())
    }

    fn value(&self, reader: &mut Reader, form: ArrayForm) -> Result<Value, RowError> {
        let mut content = Vec::new();
        let declared = (self.spec.element_type, self.shape);
        match tensor::read(reader, declared, form, &mut content) {
            Ok(sizes) => Ok(Value { sizes, content }),
            Err(error) => Err(self.value_error(error)),
        }
    }

    /// Checks that a row has the same sizes as the rows before it. The first row sets them.
    fn check_sizes(&mut self, sizes: &[u32]) -> Result<(), ValueError> {
        match &self.sizes {
            Some(known) if known == sizes => Ok(()),
            Some(known) => Err(ValueError::Disagrees {
                actual: format!("{sizes:?}").into(),
                expected: format!("{known:?}").into(),
            }),
            None => {
                self.sizes = Some(sizes.to_vec());
                Ok(())
            }
        }
    }

    /// Removes the one row after the first `rows`, if there is one. Without rows, the sizes are open
    /// again.
    fn truncate_rows(&mut self, rows: u32) {
        if self.rows > rows {
            self.content.truncate(self.last_row);
            self.rows = rows;
        }
        if rows == 0 {
            self.sizes = None;
        }
    }

    fn finish(self, axis: Axis) -> Result<NamedTensor, TensorError> {
        let sizes = self.sizes.unwrap_or_default();
        let dimensions = match axis {
            Axis::Batch => std::iter::once(self.rows).chain(sizes).collect(),
            Axis::Tensor => sizes,
        };
        let shape = Shape::new(dimensions)?;
        let content = Bytes::from(self.content);
        Ok(NamedTensor {
            name: self.spec.name.clone(),
            tensor: Tensor::new(self.spec.element_type, shape, content)?,
        })
    }
}

#[cfg(test)]
mod tests;
