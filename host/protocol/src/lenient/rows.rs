//! The rows of a request, joined into one tensor per input.
//!
//! Each row is a value for every input, without the batch axis. A row that fails leaves no trace,
//! so that a dialect may go on with the next one.
//!
//! Invariant: all rows of a column have the same sizes and are complete.

use super::error::{Problem, RowProblem};
use super::reader::Reader;
use super::tensor::{self, Form};
use crate::call::ModelDescription;
use crate::label::Label;
use bytes::Bytes;
use wisp_tensor::{Dimension, ElementType, NamedTensor, Shape, Tensor, TensorError, TensorSpec};

/// The most bytes that the defaults of a request may grow to by being repeated: short text would
/// otherwise become long content.
pub(crate) const MAX_DEFAULT_BYTES: usize = 16 << 20;

/// The inputs of a request as they grow row by row. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct Rows<'m> {
    columns: Vec<Column<'m>>,
    axis: Axis,
    rows: u32,
    default_bytes: usize,
}

/// What axis 0 of the inputs is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Axis {
    /// The batch: rows lack it.
    Batch,
    /// A part of the tensor: there is one row, the tensor itself.
    Tensor,
}

#[derive(Debug)]
struct Column<'m> {
    spec: &'m TensorSpec,
    /// The declared shape of a row.
    shape: &'m [Dimension],
    /// The sizes of every row, once there is one.
    sizes: Option<Vec<u32>>,
    content: Vec<u8>,
    /// Where the last row begins in the content.
    last_row: usize,
    rows: u32,
}

/// For each input, the value that a row without one has. Lifetime: one request.
#[derive(Debug, Default)]
pub(crate) struct Defaults(Vec<Option<Value>>);

#[derive(Debug)]
struct Value {
    sizes: Vec<u32>,
    content: Vec<u8>,
}

// === impl Rows ===

impl<'m> Rows<'m> {
    /// No rows yet, each of them to lack the batch axis; `None` if the model has no such axis.
    pub(crate) fn new(model: &'m ModelDescription) -> Option<Rows<'m>> {
        if model.max_batch_size == 0 {
            return None;
        }
        let inputs = model.signature.inputs.iter();
        let columns = inputs.map(|spec| Some(Column::new(spec, spec.shape.get(1..)?)));
        Some(Rows::of(columns.collect::<Option<_>>()?, Axis::Batch))
    }

    /// Room for one row that is the tensors themselves, all axes included.
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

    /// The rows so far.
    pub(crate) fn count(&self) -> u32 {
        self.rows
    }

    /// The only input that a row must have; `None` if there are several or none.
    pub(crate) fn only_input(&self) -> Option<&'m TensorSpec> {
        match self.columns.as_slice() {
            [column] => Some(column.spec),
            columns => one(columns.iter().map(|c| c.spec).filter(|spec| !spec.optional)),
        }
    }

    /// The only input at all, otherwise the only one of numbers, or the only one of these that a row
    /// must have.
    pub(crate) fn only_numeric_input(&self) -> Option<&'m TensorSpec> {
        let specs = self.columns.iter().map(|column| column.spec);
        let numeric = specs
            .clone()
            .filter(|spec| spec.element_type != ElementType::Bytes);
        one(specs)
            .or_else(|| one(numeric.clone()))
            .or_else(|| one(numeric.filter(|spec| !spec.optional)))
    }

    /// Adds a row that is the value of this input alone; the others must be optional.
    pub(crate) fn push_value(
        &mut self,
        input: &TensorSpec,
        reader: &mut Reader,
        form: Form,
    ) -> Result<(), RowProblem> {
        let added = self.read_input(&input.name, reader, form);
        self.end_row(added, &Defaults::default())
    }

    /// Adds a row that is an object with a value for each input, or for those without a default.
    pub(crate) fn push_object(
        &mut self,
        reader: &mut Reader,
        form: Form,
        defaults: &Defaults,
    ) -> Result<(), RowProblem> {
        let added = reader.object(|name, reader| self.read_input(name, reader, form));
        self.end_row(added, defaults)
    }

    /// The defaults that the object ahead holds.
    pub(crate) fn defaults(&self, reader: &mut Reader, form: Form) -> Result<Defaults, RowProblem> {
        let mut values: Vec<Option<Value>> = self.columns.iter().map(|_| None).collect();
        reader.object(|name, reader| {
            let index = self.index(name)?;
            if values[index].is_some() {
                return Err(RowProblem::Repeated(Label::new(name)));
            }
            values[index] = Some(self.columns[index].value(reader, form)?);
            Ok(())
        })?;
        Ok(Defaults(values))
    }

    /// The tensors of all rows; an optional input that no row has is absent.
    pub(crate) fn finish(self) -> Result<Vec<NamedTensor>, TensorError> {
        let present = self.columns.into_iter().filter(|column| column.rows > 0);
        present.map(|column| column.finish(self.axis)).collect()
    }

    /// The refusal of a row that is not an object, although only an object says which input is meant.
    pub(crate) fn needs_object(&self) -> RowProblem {
        RowProblem::NeedsObject {
            expected: self.names(),
        }
    }

    fn read_input(
        &mut self,
        name: &str,
        reader: &mut Reader,
        form: Form,
    ) -> Result<(), RowProblem> {
        let index = self.index(name)?;
        let (rows, column) = (self.rows, &mut self.columns[index]);
        if column.rows > rows {
            return Err(RowProblem::Repeated(Label::new(name)));
        }
        if column.rows < rows {
            return Err(RowProblem::Uneven(Label::new(name)));
        }
        column.push(reader, form)
    }

    /// Completes the row with defaults, or takes all of it back.
    fn end_row(
        &mut self,
        added: Result<(), RowProblem>,
        defaults: &Defaults,
    ) -> Result<(), RowProblem> {
        let result = added.and_then(|()| self.complete(defaults));
        match result {
            Ok(()) => self.rows += 1,
            Err(_) => {
                let rows = self.rows;
                self.columns.iter_mut().for_each(|c| c.cut_to(rows));
            }
        }
        result
    }

    fn complete(&mut self, defaults: &Defaults) -> Result<(), RowProblem> {
        // One below the type's limit, so that no count of rows overflows.
        if self.rows == u32::MAX - 1 {
            return Err(RowProblem::TooMany { limit: self.rows });
        }
        let rows = self.rows;
        // An optional input may stand for required ones, which only the handler that declared it
        // knows; models without a handler have none.
        let mut columns = self.columns.iter();
        let stands_in = columns.any(|column| column.spec.optional && column.rows > rows);
        for (index, column) in self.columns.iter_mut().enumerate() {
            if column.rows > rows {
                continue;
            }
            match defaults.0.get(index).and_then(Option::as_ref) {
                Some(value) => {
                    self.default_bytes = self.default_bytes.saturating_add(value.content.len());
                    if self.default_bytes > MAX_DEFAULT_BYTES {
                        return Err(RowProblem::Defaults {
                            limit: MAX_DEFAULT_BYTES,
                        });
                    }
                    column.push_copy(value)?;
                }
                None if !column.spec.optional && !stands_in => {
                    return Err(RowProblem::Missing(column.label()));
                }
                None if column.rows > 0 => return Err(RowProblem::Uneven(column.label())),
                None => {}
            }
        }
        Ok(())
    }

    fn index(&self, name: &str) -> Result<usize, RowProblem> {
        let index = self.columns.iter().position(|c| c.spec.name == name);
        index.ok_or_else(|| RowProblem::Unknown {
            name: Label::new(name),
            expected: self.names(),
        })
    }

    fn names(&self) -> Box<str> {
        let names = self.columns.iter().map(|column| column.spec.name.as_str());
        names.collect::<Vec<_>>().join(", ").into()
    }
}

/// The item of an iterator that has exactly one.
fn one<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
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

    fn label(&self) -> Label {
        Label::new(&self.spec.name)
    }

    fn problem(&self, problem: Problem) -> RowProblem {
        RowProblem::Input {
            name: self.label(),
            problem,
        }
    }

    /// Reads one row onto the end. After an error, [`Column::cut_to`] removes what it left.
    fn push(&mut self, reader: &mut Reader, form: Form) -> Result<(), RowProblem> {
        self.last_row = self.content.len();
        let declared = (self.spec.element_type, self.shape);
        let read = tensor::read(reader, declared, form, &mut self.content);
        let result = read.and_then(|sizes| self.agree(&sizes));
        match result {
            Ok(()) => self.rows += 1,
            Err(_) => self.content.truncate(self.last_row),
        }
        result.map_err(|problem| self.problem(problem))
    }

    fn push_copy(&mut self, value: &Value) -> Result<(), RowProblem> {
        self.agree(&value.sizes)
            .map_err(|problem| self.problem(problem))?;
        self.last_row = self.content.len();
        self.content.extend_from_slice(&value.content);
        self.rows += 1;
        Ok(())
    }

    fn value(&self, reader: &mut Reader, form: Form) -> Result<Value, RowProblem> {
        let mut content = Vec::new();
        let declared = (self.spec.element_type, self.shape);
        match tensor::read(reader, declared, form, &mut content) {
            Ok(sizes) => Ok(Value { sizes, content }),
            Err(problem) => Err(self.problem(problem)),
        }
    }

    /// Whether a row of these sizes may follow those before it.
    fn agree(&mut self, sizes: &[u32]) -> Result<(), Problem> {
        match &self.sizes {
            Some(known) if known == sizes => Ok(()),
            Some(known) => Err(Problem::Disagrees {
                actual: format!("{sizes:?}").into(),
                expected: format!("{known:?}").into(),
            }),
            None => {
                self.sizes = Some(sizes.to_vec());
                Ok(())
            }
        }
    }

    /// Takes back the one row after these, if it is there.
    fn cut_to(&mut self, rows: u32) {
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
