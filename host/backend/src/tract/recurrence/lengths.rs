//! The lengths of sequences, some of which end before the last step.

use super::writer::Writer;
use crate::onnx::node_builder::with_integer;
use crate::pb::tensor_proto::DataType;

/// The names of values that follow from the lengths of the sequences.
pub(super) struct Lengths {
    /// For all steps and sequences, true if the step is before the end of the sequence.
    pub(super) steps: String,
    /// For all sequences, true if the sequence has steps at all.
    pub(super) any: String,
}

impl Lengths {
    /// Adds the nodes that compare each step with the lengths, and that fail if a length is out of range.
    pub(super) fn of(lengths: &str, shape: &str, writer: &mut Writer<'_>) -> Lengths {
        let (zero, one) = (writer.integer(0), writer.integer(1));
        let (first, second) = (writer.integers(&[0]), writer.integers(&[1]));
        let steps = writer.add("Gather", &[shape, &first]);
        // One for each sequence; others would be broadcast.
        let batch = writer.add("Gather", &[shape, &second]);
        let lengths = writer.add("Reshape", &[lengths, &batch]);
        let lengths = writer.add_with("Cast", &[&lengths], |node| {
            with_integer(node, "to", i64::from(DataType::Int64 as i32))
        });
        // An element for each length that can be; a negative index would count from the end.
        let end = writer.add("Add", &[&steps, &one]);
        let possible = writer.zeros(&end, DataType::Int64);
        let is_negative = writer.add("Less", &[&lengths, &zero]);
        let positions = writer.add("Where", &[&is_negative, &end, &lengths]);
        let nothing = writer.add("Gather", &[&possible, &positions]);
        let lengths = writer.add("Add", &[&lengths, &nothing]);

        let count = writer.add("Gather", &[shape, &zero]);
        let steps = writer.add("Range", &[&zero, &count, &one]);
        let (column, row) = (writer.integers(&[-1, 1, 1]), writer.integers(&[1, -1, 1]));
        let each = writer.integers(&[-1, 1]);
        let steps = writer.add("Reshape", &[&steps, &column]);
        let ends = writer.add("Reshape", &[&lengths, &row]);
        let lengths = writer.add("Reshape", &[&lengths, &each]);
        Lengths {
            steps: writer.add("Less", &[&steps, &ends]),
            any: writer.add("Greater", &[&lengths, &zero]),
        }
    }
}
